// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>
#include <thread>
#include <vector>

#include <support/faulty_hosts.hpp>
#include <support/passes.hpp>

#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/steer.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

TEST_CASE("an empty plan adds no call and no callback") {
  planted_host inner;
  counting_host host(inner);
  const auto batch = inner.draw(3, 5);
  const int n = host.describe().n_layers;

  auto state = value_or_throw(host.try_embed(batch));
  host.reset();
  REQUIRE(host.try_run(state, 0, n, no_hooks<float>()));
  const auto direct = host.n;
  host.reset();
  REQUIRE(try_run(host, plan{}, state, 0, n));
  CHECK(host.n == direct);

  host.reset();
  REQUIRE(host.try_forward(batch, no_hooks<float>()));
  auto whole = host.n;
  host.reset();
  REQUIRE(try_forward(host, plan{}, batch));
  whole.forgets = 3;  // sequences that begin anew
  CHECK(host.n == whole);
}

TEST_CASE("a skipped, replaced or averaged layer is not executed, and untouched stretches are one call") {
  planted_host inner;
  counting_host host(inner);
  const auto batch = inner.draw(2, 3);
  const int n = host.describe().n_layers;
  REQUIRE(n == 6);
  const auto counted = [&](const plan& p) {
    auto state = value_or_throw(host.try_embed(batch));
    host.reset();
    value_or_throw(try_run(host, p, state, 0, n));
    CHECK(host.n.snapshots == 0);
    CHECK(host.n.embeds == 0);
    return host.n;
  };
  for (int l = 0; l < n; ++l) {
    const auto c = counted(plan{} | skip(layer(l)));
    CHECK(c.layer_runs() == n - 1);
    CHECK(c.layers[static_cast<std::size_t>(l)] == 0);
    CHECK(c.runs == (l == 0 || l == n - 1 ? 1 : 2));
    CHECK(c.hook_calls == 0);
  }
  CHECK(counted(plan{} | skip(layers(1, 4))).layers == std::vector<int>{1, 0, 0, 0, 1, 1});
  CHECK(counted(plan{} | skip(layers(0, 6))).layer_runs() == 0);
  const auto student = [](const tap&, matrix_view<const float>, matrix_view<float>) {};
  CHECK(counted(plan{} | replace_span(layers(2, 5), student, 1)).layers == std::vector<int>{1, 1, 0, 0, 0, 1});
  delta_means m{.n_layers = 6, .width = 8, .mean = std::vector<float>(48, 0.0f)};
  CHECK(counted(plan{} | mean_delta(layers(4, 6), m)).layers == std::vector<int>{1, 1, 1, 1, 0, 0});
  const auto dose = counted(plan{} | scale_delta(layer(3), 0.5f));
  CHECK(dose.layers == std::vector<int>(6, 1));
  CHECK(dose.hook_calls == 0);
  CHECK(counted(plan{} | scale_delta(layer(3), 0.5f, delta::mlp)).hook_calls == 1);
  CHECK(counted(plan{} | zero_stream(layer(3))).hook_calls == 0);
}

TEST_CASE("a pass may be cut anywhere outside a replaced span, and snapshots restarted") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const int n = host.describe().n_layers;
    for (const auto& p : plans_of_one_step(n, host.describe().d_model)) {
      const auto want = by_surgery(host, p, batch);
      for (int cut = 0; cut <= n; ++cut) {
        auto state = value_or_throw(host.try_embed(batch));
        run(host, p, state, 0, cut);
        auto copy = host.snapshot(state);
        run(host, p, state, cut, n);
        CHECK(same_bits(head_of(host, state), want));
        CHECK(same_bits(copied(host.stream(copy)), [&] {
          auto again = value_or_throw(host.try_embed(batch));
          run(host, p, again, 0, cut);
          return copied(host.stream(again));
        }()));
        run(host, p, copy, cut, n);
        CHECK(same_bits(head_of(host, copy), want));
      }
    }
  });
}

TEST_CASE("a plan gives the same bits both ways") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    for (const auto& p : plans_of_one_step(host.describe().n_layers, host.describe().d_model))
      CHECK(same_bits(by_forward(host, p, batch), by_surgery(host, p, batch)));
  });
}

TEST_CASE("the bits do not depend on the number of workers, nor on whose they are") {
  const hosts::llama_config c{
      .n_layers = 4, .d_model = 32, .d_ff = 64, .n_heads = 4, .n_kv_heads = 2, .head_dim = 8, .n_vocab = 50};
  const auto model = random_llama(c, output_matrix::tied, 3);
  const int lengths[] = {70, 2, 33, 129};
  const auto batch = random_batch(lengths, c.n_vocab, 5);
  const auto p = varied_plan(4, 32);
  llama_setting<> alone(model);
  const auto plain = by_surgery(alone.host, plan{}, batch), edited = by_surgery(alone.host, p, batch);
  const auto same = [&](auto&& s) {
    CHECK(same_bits(by_surgery(s.host, plan{}, batch), plain));
    CHECK(same_bits(by_forward(s.host, plan{}, batch), plain));
    CHECK(same_bits(by_surgery(s.host, p, batch), edited));
    CHECK(same_bits(by_forward(s.host, p, batch), edited));
  };
  for (const int workers : {1, 2, 3, 7, 64})
    same(llama_setting<resect::cpu<resect::threads>>(model, resect::cpu{resect::threads{workers}}));
  struct backwards {
    void bulk(size n, resect::function_ref<void(size)> f) {
      for (size i = n; i-- > 0;) f(i);
    }
  };
  same(llama_setting<resect::cpu<backwards>>(model, resect::cpu{backwards{}}));
}

TEST_CASE("the same pass gives the same bits again, wherever its memory lies") {
  const auto model = small_models()[3];
  floats want;
  std::vector<std::vector<char>> kept;
  for (int round = 0; round < 30; ++round) {
    kept.emplace_back(static_cast<std::size_t>(8 + 16 * round + round * round * 24));
    llama_setting s(model);
    const auto now = by_forward(s.host, varied_plan(4, s.model.config.d_model), s.batch);
    if (want.empty()) want = now;
    CHECK(same_bits(now, want));
  }
}

TEST_CASE("threads run one plan at once, each on a host and memory of its own, with the bits of one") {
  norm_counts counts;
  const auto p =
      plan{} | skip(layer(1)) |
      resect::value_or_throw(try_match_norm(steer(steering::add{}, layer(3), site::resid_post, floats(8, 0.5f), 2.0f),
                                            per_row_original{}, &counts)) |
      noise(layer(4), site::resid_mid, 0.1f, 5);
  planted_host alone;
  const auto batch = alone.draw(4, 9);
  const auto want = by_forward(alone, p, batch);
  const auto rows = counts.rows.load();
  constexpr int n_threads = 4, passes = 20;
  std::vector<int> right(n_threads, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < n_threads; ++t)
    threads.emplace_back([&, t] {
      planted_host host;
      pass_memory memory;
      for (int pass = 0; pass < passes; ++pass) {
        const auto done = try_forward(host, p, batch, memory);
        const auto out = host.logits();
        right[static_cast<std::size_t>(t)] += done && same_bits(floats(out.data, out.data + out.rows * out.cols), want);
        forget_all(host, batch);
      }
    });
  for (auto& t : threads) t.join();
  for (const int n : right) CHECK(n == passes);
  CHECK(counts.rows.load() == rows * (1 + n_threads * passes));
}

TEST_CASE(
    "under every kind of step, a host that copies rows back only where told that they changed gives the same bits") {
  llama_setting s;
  faulty_host copies(s.host, fault::copies_back);
  auto plans = plans_of_one_step(4, s.model.config.d_model);
  for (const site where : {site::attn_delta, site::resid_mid, site::mlp_delta, site::resid_pre, site::resid_post})
    plans.push_back(plan{} | affine_step(where, layer(2), 1.5f, 0.25f));
  const auto intact = by_forward(s.host, plan{}, s.batch);
  for (const plan& p : plans) {
    INFO(fingerprint_text(p));
    const auto whole = by_forward(s.host, p, s.batch);
    CHECK(same_bits(by_forward(copies, p, s.batch), whole));
    CHECK(same_bits(by_surgery(copies, p, s.batch), by_surgery(s.host, p, s.batch)));
    CHECK(same_bits(whole, intact) == p.empty());
  }
}

TEST_CASE(
    "layers that do not exist, cuts inside a replaced span and a second stream are refused before anything runs") {
  planted_host inner;
  counting_host host(inner);
  const auto batch = inner.draw(2, 3);
  auto state = value_or_throw(host.try_embed(batch));
  const auto before = copied(host.stream(state));
  const auto student = [](const tap&, matrix_view<const float>, matrix_view<float>) {};
  const auto span = plan{} | skip(layer(0)) | replace_span(layers(2, 5), student, 1);
  const auto refused = [&](const plan& p, int first, int last) {
    host.reset();
    const auto text = parts(try_run(host, p, state, first, last));
    CHECK(host.n.runs == 0);
    CHECK(same_bits(copied(host.stream(state)), before));
    return text;
  };
  CHECK(refused(span, 0, 3) == "invalid argument | layers to run | [0, 3) | a cut outside the replaced span [2, 5)");
  CHECK(refused(span, 3, 6) == "invalid argument | layers to run | [3, 6) | a cut outside the replaced span [2, 5)");
  CHECK(refused(span, 3, 4) == "invalid argument | layers to run | [3, 4) | a cut outside the replaced span [2, 5)");
  CHECK(refused(span, 4, 7) == "invalid argument | layers to run | [4, 7) | a range within [0, 6)");
  CHECK(refused(span, -1, 2) == "invalid argument | layers to run | [-1, 2) | a range within [0, 6)");
  CHECK(refused(span, 2, 1) == "invalid argument | layers to run | [2, 1) | a range within [0, 6)");
  CHECK(refused(plan{} | skip(layers(5, 7)), 0, 6) == "invalid argument | layers of skip | [5, 7) | layers 0 to 5");
  CHECK(parts(try_run(host, plan{}, state, 0, 7)) ==
        "invalid argument | layers to run | [0, 7) | a range within [0, 6)");
  CHECK(parts(try_forward(host, plan{} | skip(layers(5, 7)), batch)) ==
        "invalid argument | layers of skip | [5, 7) | layers 0 to 5");
  CHECK(parts(try_run(host, span, state, 2, 2)) == "fine");
  CHECK(parts(try_run(host, span, state, 5, 6)) == "fine");
  CHECK(parts(try_run(host, span, state, 2, 5)) == "fine");

  planted_options o;
  o.n_streams = 2;
  planted_host two(o);
  auto other = value_or_throw(two.try_embed(batch));
  CHECK(parts(try_run(two, plan{} | skip(layer(1)), other, 0, 6)) ==
        "unsupported | residual streams of the model | 2 | 1");
  CHECK(parts(try_forward(two, plan{} | skip(layer(1)), batch)) ==
        "unsupported | residual streams of the model | 2 | 1");
  CHECK(parts(try_forward(two, plan{}, batch)) == "fine");
}
