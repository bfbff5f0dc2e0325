// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/counting_host.hpp>
#include <support/faulty_hosts.hpp>
#include <support/planted_host.hpp>
#include <support/runs.hpp>
#include <support/steps.hpp>

#include <resect/residual/noise.hpp>
#include <resect/residual/norm_matching.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/steer.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;

namespace {

using size = resect::index_t;

const site all_sites[] = {site::embed_out,  site::resid_pre, site::attn_delta, site::resid_mid, site::mlp_delta,
                          site::resid_post, site::head_in,   site::head_norm,  site::logits};

site_set every_site() {
  site_set out;
  for (const site s : all_sites) out.insert(s);
  return out;
}

struct capture {
  floats values;
  std::vector<row_meta> rows;
};
using captures = std::map<std::pair<site, int>, capture>;

// What is seen at every site of one whole pass.
template <class H>
captures observed(H& host, const std::vector<row_meta>& batch) {
  captures out;
  forget_all(host, batch);
  value_or_throw(host.try_forward(batch, every_site(), [&](const tap& at, matrix_view<const float> h) {
    REQUIRE(static_cast<std::size_t>(h.rows) == at.rows.size());
    out[{at.where, at.layer}] = {copied(h), {at.rows.begin(), at.rows.end()}};
  }));
  return out;
}

// A plan of every kind that a cache can live with.
plan varied_plan(int n_layers, int d_model) {
  delta_means m{
      .n_layers = n_layers, .width = d_model, .mean = std::vector<float>(static_cast<std::size_t>(n_layers * d_model))};
  resect::random::fill_gaussian(m.mean, 4, 0, 0, 0.3);
  const auto student = [](const tap& at, matrix_view<const float> in, matrix_view<float> out) {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c)
        out(r, c) = 0.75f * in(r, c) + 0.01f * static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos);
  };
  return plan{} | scale_delta(layer(0), 0.5f) | affine_step(site::attn_delta, layer(0), 1.5f, 0.125f) |
         affine_step(site::resid_pre, layer(1), 1.0f, -0.25f) | mean_delta(layer(1), m) |
         replace_span(layer(2), student, 8) | scale_delta(layer(3), 0.5f, delta::mlp) |
         affine_step(site::resid_post, layer(3), 0.5f, 0.0f);
}

std::vector<plan> plans_of_one_step(int n_layers, int d_model) {
  std::vector<plan> out{plan{}};
  const plan all = varied_plan(n_layers, d_model);
  for (const step& s : all.steps()) out.push_back(plan{} | s);
  out.push_back(plan{} | skip(layers(1, 3)));
  out.push_back(plan{} | skip(layer(n_layers - 1)));
  out.push_back(plan{} | zero_stream(layer(0)) | affine_step(site::resid_pre, layer(1), 1.0f, 0.5f));
  out.push_back(all);
  return out;
}

std::string fingerprint_text(const plan& p) { return "plan " + std::to_string(p.fingerprint()); }

// The rows of one sequence, from one position on, as a batch.
std::vector<row_meta> rows_of(const std::vector<row_meta>& batch, int seq, int first, int last) {
  std::vector<row_meta> out;
  for (const auto& row : batch)
    if (row.seq == seq && row.pos >= first && row.pos < last) out.push_back(row);
  return out;
}

}  // namespace

// --- what a host is asked to do -------------------------------------------------------------------------

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

// --- same bits ------------------------------------------------------------------------------------------

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

// --- sites ----------------------------------------------------------------------------------------------

TEST_CASE("what is seen at the sites adds up, and one layer's output is the next one's input") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto seen = observed(host, batch);
    const int n = host.describe().n_layers;
    CHECK(seen.size() == static_cast<std::size_t>(4 + 5 * n));
    const auto sum = [](const floats& a, const floats& b) {
      floats out;
      for (std::size_t i = 0; i < a.size(); ++i) out.push_back(a[i] + b[i]);
      return out;
    };
    for (int l = 0; l < n; ++l) {
      const auto at = [&](site s) { return seen.at({s, l}).values; };
      CHECK(same_bits(at(site::resid_mid), sum(at(site::resid_pre), at(site::attn_delta))));
      CHECK(same_bits(at(site::resid_post), sum(at(site::resid_mid), at(site::mlp_delta))));
      CHECK(same_bits(at(site::resid_pre),
                      l == 0 ? seen.at({site::embed_out, 0}).values : seen.at({site::resid_post, l - 1}).values));
      for (const site s : all_sites)
        if (is_layer_site(s)) CHECK(seen.at({s, l}).rows == batch);
    }
    CHECK(same_bits(seen.at({site::head_in, 0}).values, seen.at({site::resid_post, n - 1}).values));
    CHECK(same_bits(seen.at({site::logits, 0}).values, by_surgery(host, plan{}, batch)));
  });
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

TEST_CASE("observing changes no bit") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto want = by_forward(host, plan{}, batch);
    (void)observed(host, batch);
    CHECK(same_bits(copied(host.logits()), want));
    for (const site s : all_sites) {
      forget_all(host, batch);
      REQUIRE(host.try_forward(
          batch, hooks<float>{{s}, {s}, resect::model::detail::ignore_rows<float, resect::host_space>, 0}));
      CHECK(same_bits(copied(host.logits()), want));
    }
    auto state = value_or_throw(host.try_embed(batch));
    int calls = 0;
    auto count = [&](const tap&, matrix_view<float>) {
      ++calls;
      return edit::unchanged;
    };
    REQUIRE(host.try_run(state, 0, host.describe().n_layers, hooks<float>{every_site(), {}, count, 0}));
    CHECK(calls == 5 * host.describe().n_layers);
    CHECK(same_bits(head_of(host, state), want));
  });
}

TEST_CASE("what is written at a site is what everything after it sees") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto intact = observed(host, batch);
    for (const site s : all_sites) {
      captures seen;
      const int l = is_layer_site(s) ? 1 : 0;
      auto write = [&](const tap& at, matrix_view<float> h) {
        const bool here = at.where == s && at.layer == l;
        if (here)
          for (size r = 0; r < h.rows; ++r)
            for (size c = 0; c < h.cols; ++c) h(r, c) += static_cast<float>((r + 2 * c) % 5) - 2.0f;
        seen[{at.where, at.layer}].values = copied(h);
        return here ? edit::modified : edit::unchanged;
      };
      forget_all(host, batch);
      REQUIRE(host.try_forward(batch, hooks<float>{every_site(), {s}, write, 5}));
      CHECK_FALSE(same_bits(seen.at({s, l}).values, intact.at({s, l}).values));
      CHECK_FALSE(same_bits(copied(host.logits()), intact.at({site::logits, 0}).values));
      CHECK(same_bits(copied(host.logits()), seen.at({site::logits, 0}).values));
      if (s == site::resid_post) CHECK(same_bits(seen.at({site::resid_pre, 2}).values, seen.at({s, 1}).values));
      if (s == site::embed_out) CHECK(same_bits(seen.at({site::resid_pre, 0}).values, seen.at({s, 0}).values));
      for (const auto& [place, value] : intact) {  // nothing before it
        const auto order = [](site where, int layer) {
          return is_layer_site(where)       ? 10 * (layer + 1) + static_cast<int>(where)
                 : where == site::embed_out ? 0
                                            : 1000 + static_cast<int>(where);
        };
        if (order(place.first, place.second) < order(s, l)) CHECK(same_bits(seen.at(place).values, value.values));
      }
    }
  });
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

// --- rows and sequences ---------------------------------------------------------------------------------

TEST_CASE("changing one token changes the later rows of its sequence and no other, under any plan") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const bool rows_mix = host.describe().name == "random";
    const int n = host.describe().n_layers;
    const auto vocab = static_cast<std::size_t>(host.describe().n_vocab);
    for (const auto& p : {plan{}, plan{} | scale_delta(layer(1), 0.5f) | scale_delta(layer(3), 2.0f, delta::mlp),
                          plan{} | skip(layers(n - 2, n))}) {
      const auto want = by_surgery(host, p, batch);
      for (const std::size_t at : {std::size_t{0}, std::size_t{3}, std::size_t{8}, batch.size() - 2}) {
        auto other = batch;
        other[at].token = (other[at].token + 5) % host.describe().n_vocab;
        const auto check = [&](const floats& got) {
          for (std::size_t r = 0; r < batch.size(); ++r) {
            const bool same = std::equal(want.begin() + static_cast<long>(r * vocab),
                                         want.begin() + static_cast<long>((r + 1) * vocab),
                                         got.begin() + static_cast<long>(r * vocab));
            const bool later = batch[r].seq == batch[at].seq && batch[r].pos >= batch[at].pos;
            if (later && (rows_mix || r == at)) CHECK_FALSE(same);
            else CHECK(same);
          }
        };
        check(by_surgery(host, p, other));
        check(by_forward(host, p, other));
      }
    }
  });
}

TEST_CASE("a sequence's logits do not depend on its company beyond rounding") {
  llama_setting s;
  const auto all = by_forward(s.host, plan{}, s.batch);
  floats apart;
  for (int seq = 0; seq < 4; ++seq) {
    const auto alone = by_forward(s.host, plan{}, rows_of(s.batch, seq, 0, 100));
    apart.insert(apart.end(), alone.begin(), alone.end());
  }
  CHECK(relative_difference(apart, all) < 2e-5);  // each is within 1e-5 of the reference
}

TEST_CASE("prefill and decode row by row give the pass in one go, under any plan, to twice the runtime's own error") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    for (const auto& p : plans_of_one_step(host.describe().n_layers, host.describe().d_model)) {
      const auto want = by_forward(host, p, batch);
      for (const int prefill : {1, 4, 8}) {
        forget_all(host, batch);
        std::map<std::pair<int, int>, floats> rows;
        const auto vocab = static_cast<long>(host.describe().n_vocab);
        const auto step_over = [&](const std::vector<row_meta>& part) {
          if (part.empty()) return;
          forward(host, p, part);
          const auto got = copied(host.logits());
          for (std::size_t r = 0; r < part.size(); ++r)
            rows[{part[r].seq, part[r].pos}] =
                floats(got.begin() + static_cast<long>(r) * vocab, got.begin() + static_cast<long>(r + 1) * vocab);
        };
        const auto of_all = [&](int first, int last) {
          std::vector<row_meta> part;
          for (int seq = 0; seq < 5; ++seq)
            for (const auto& row : rows_of(batch, seq, first, last)) part.push_back(row);
          return part;
        };
        step_over(of_all(0, prefill));
        for (int pos = prefill; pos < 14; ++pos) step_over(of_all(pos, pos + 1));
        floats got;
        for (const auto& row : batch) {
          const auto& r = rows.at({row.seq, row.pos});
          got.insert(got.end(), r.begin(), r.end());
        }
        CHECK((relative_difference(got, want) < 2e-5 || largest(want) == 0));
        for (const auto& row : batch) CHECK(host.cache_epoch(row.seq) == p.fingerprint());
      }
    }
  });
}

TEST_CASE("where a host gathers the rows that want logits, every row still finds its own input") {
  planted_options o;
  o.at_the_end = last_layer::wanted_rows;
  planted_host gathers(o), plain;
  auto batch = plain.draw(4, 6);
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i].flags = i % 3 == 2 || i == 4 ? row_meta::wants_logits : 0;
  delta_means m{.n_layers = 6, .width = 8, .mean = std::vector<float>(48)};
  resect::random::fill_gaussian(m.mean, 4, 0);
  const auto student = [](const tap& at, matrix_view<const float> in, matrix_view<float> out) {
    for (size r = 0; r < in.rows; ++r)
      for (size c = 0; c < in.cols; ++c)
        out(r, c) = 2.0f * in(r, c) + static_cast<float>(at.rows[static_cast<std::size_t>(r)].pos);
  };
  for (const auto& p :
       {plan{}, plan{} | skip(layer(5)), plan{} | skip(layers(3, 6)), plan{} | scale_delta(layer(5), 0.5f),
        plan{} | mean_delta(layer(5), m), plan{} | replace_span(layers(4, 6), student, 1)}) {
    const auto want = by_forward(plain, p, batch);
    CHECK(want.size() == 9u * static_cast<std::size_t>(plain.describe().n_vocab));
    CHECK(same_bits(by_forward(gathers, p, batch), want));
  }
}

TEST_CASE("rows that are none of the layer's input are refused, and what was cached is forgotten") {
  struct mislabels : counting_host<planted_host> {
    using counting_host::counting_host;
    using counting_host::try_forward;
    status try_forward(batch_view b, const hooks& k) {
      std::vector<row_meta> other(b.begin(), b.end());
      for (auto& row : other) row.pos += 100;
      auto call = [&](const tap& at, matrix_view<float> h) {
        return k.call(at.where == site::resid_post && at.layer == 5 ? tap{at.where, at.layer, other} : at, h);
      };
      return counting_host::try_forward(b, hooks{k.read, k.write, call, k.epoch});
    }
  };
  planted_host inner;
  mislabels host(inner);
  const auto batch = inner.draw(2, 3);
  CHECK(parts(try_forward(host, plan{} | skip(layer(5)), batch)) ==
        "unsupported | rows of resid_post in layer 5 | sequence 0 position 100 | a row of the layer's input, in its "
        "order");
  CHECK(host.cached(0) == 0);
  CHECK(host.cached(1) == 0);
  CHECK(parts(try_forward(host, plan{} | skip(layer(4)), batch)) == "fine");
}

// --- caches ---------------------------------------------------------------------------------------------

TEST_CASE("a cache that grew under another plan is refused, both plans are named, and nothing is changed") {
  llama_setting s;
  const auto a = plan{} | skip(layer(1)), b = plan{} | skip(layer(2));
  const auto first = rows_of(s.batch, 0, 0, 4), next = rows_of(s.batch, 0, 4, 6);
  for (const auto& [grew, wanted] : {std::pair{a, b}, std::pair{a, plan{}}, std::pair{plan{}, b}}) {
    forget_all(s.host, s.batch);
    forward(s.host, grew, first);
    const auto other = rows_of(s.batch, 3, 0, 5);
    forward(s.host, grew, other);
    const auto logits = copied(s.host.logits());
    auto both = rows_of(s.batch, 3, 0, 2);  // begins anew: must not be forgotten by a call that is refused
    both.insert(both.end(), next.begin(), next.end());
    for (const auto& batch : {next, both}) {
      CHECK(parts(try_forward(s.host, wanted, batch)) == "stale cache | cache of sequence 0 | " +
                                                             fingerprint_text(grew) + " | " + fingerprint_text(wanted) +
                                                             "; forget(0), or start at position 0");
      CHECK(s.host.cached(0) == 4);
      CHECK(s.host.cached(3) == 5);
      CHECK(s.host.cache_epoch(0) == grew.fingerprint());
      CHECK(same_bits(copied(s.host.logits()), logits));
    }
    CHECK(try_forward(s.host, grew, next));
    s.host.forget(0);
    CHECK(try_forward(s.host, wanted, first));
    CHECK(try_forward(s.host, wanted, next));
    CHECK(try_forward(s.host, grew, first));  // position 0: begins anew without being asked
    CHECK(s.host.cached(0) == 4);
    CHECK(try_forward(s.host, grew, next));
  }
}

TEST_CASE("a sequence that has no cache cannot be continued: its position is what is wrong") {
  llama_setting s;
  const auto next = rows_of(s.batch, 0, 4, 6);
  for (const auto& p : {plan{}, plan{} | skip(layer(1))}) {
    s.host.forget(0);
    CHECK(parts(try_forward(s.host, p, next)) ==
          "invalid argument | position of sequence 0 | 4 | 0, the length of its cache");
  }
}

TEST_CASE("a replacing function that fails is reported, the host stays usable and half a cache is forgotten") {
  llama_setting s;
  const auto intact = by_forward(s.host, plan{}, s.batch);
  int left = 0;
  const auto fails = [&](const tap& at, matrix_view<const float>, matrix_view<float>) -> status {
    if (left-- > 0) return {};
    return resect::error{resect::errc::not_finite, "student", resect::text("layer ", at.layer), "finite rows"};
  };
  const auto p = plan{} | replace_span(layers(1, 3), fails, 1);
  const auto text = "not finite | student | layer 1 | finite rows";
  CHECK(error_of([&] { by_surgery(s.host, p, s.batch); }) == text);
  CHECK(error_of([&] { by_forward(s.host, p, s.batch); }) == text);
  for (int seq = 0; seq < 4; ++seq) {
    CHECK(s.host.cached(seq) == 0);
    CHECK(s.host.cache_epoch(seq) == 0);
  }
  CHECK(same_bits(by_surgery(s.host, plan{}, s.batch), intact));
  CHECK(same_bits(by_forward(s.host, plan{}, s.batch), intact));

  left = 1;  // the prompt succeeds, the next token does not
  s.host.forget(0);
  forward(s.host, p, rows_of(s.batch, 0, 0, 4));
  CHECK(s.host.cached(0) == 4);
  CHECK(error_of([&] { forward(s.host, p, rows_of(s.batch, 0, 4, 5)); }) == text);
  CHECK(s.host.cached(0) == 0);
  CHECK(s.host.cached(3) == 14);  // not of that batch
}

TEST_CASE("after a step that throws the host computes as before, and half a cache is forgotten") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto intact = by_forward(host, plan{}, batch);
    const auto boom = [](auto&&...) { throw std::runtime_error("step"); };
    const auto replacing = [](const tap&, matrix_view<const float>, matrix_view<float>) -> status {
      throw std::runtime_error("step");
    };
    for (const auto& p :
         {plan{} | rows_step(site::mlp_delta, layer(2), boom), plan{} | rows_step(site::resid_post, layer(1), boom),
          plan{} | block_step(layer(1), boom), plan{} | replace_span(layer(1), replacing, 1)}) {
      CHECK_THROWS_AS(by_surgery(host, p, batch), std::runtime_error);
      forget_all(host, batch);
      CHECK_THROWS_AS(try_forward(host, p, batch), std::runtime_error);
      for (const auto& row : batch) CHECK(host.cached(row.seq) == 0);
      REQUIRE(try_forward(host, plan{}, batch));
      CHECK(same_bits(copied(host.logits()), intact));
      CHECK(same_bits(by_surgery(host, plan{}, batch), intact));
    }
  });
}

// --- refusals -------------------------------------------------------------------------------------------

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

TEST_CASE("a step at a site that the host cannot reach is refused, not lost") {
  const auto batch = planted_host{}.draw(2, 3);
  const auto at = [&](site fused, const plan& p) {
    planted_options o;
    o.fused = fused;
    planted_host host(o);
    auto state = value_or_throw(host.try_embed(batch));
    const auto surgery = parts(try_run(host, p, state, 0, 6)), forward = parts(try_forward(host, p, batch));
    return surgery == forward ? forward : surgery + " / " + forward;
  };
  CHECK(at(site::attn_delta, plan{} | scale_delta(layers(2, 4), 0.5f, delta::attention)) ==
        "unsupported | scale_delta.attention in layer 2 | a host that cannot write attn_delta | one that can");
  CHECK(at(site::attn_delta, plan{} | scale_delta(layers(2, 4), 0.5f, delta::mlp) | skip(layer(0))) == "fine");
  CHECK(at(site::resid_mid, plan{} | affine_step(site::resid_mid, layer(1), 1.0f, 1.0f)) ==
        "unsupported | affine in layer 1 | a host that cannot write resid_mid | one that can");
  CHECK(at(site::resid_post, plan{} | skip(layer(1))) ==
        "fine / unsupported | skip in layer 1 | a host that cannot write resid_post | one that can");
  CHECK(at(site::resid_pre, plan{} | skip(layer(1))) ==
        "fine / unsupported | skip in layer 1 | a host that cannot read resid_pre | one that can");
  CHECK(at(site::resid_post, plan{} | scale_delta(layer(1), 0.5f, delta::mlp)) == "fine");
  CHECK(at(site::resid_pre, plan{} | zero_stream(layer(1))) == "fine");
}

TEST_CASE("the example runtime names what is wrong with a batch, and stays as it was") {
  llama_setting s;
  const auto first = rows_of(s.batch, 0, 0, 4);
  forward(s.host, plan{}, first);
  const auto logits = copied(s.host.logits());
  const auto both = [&](std::vector<row_meta> rows) {
    const auto embed = error_of([&] { (void)value_or_throw(s.host.try_embed(rows)); });
    const auto forward = parts(s.host.try_forward(rows, no_hooks<float>()));
    CHECK(s.host.cached(0) == 4);
    CHECK(s.host.cached(7) == 0);
    CHECK(same_bits(copied(s.host.logits()), logits));
    return embed == forward ? forward : embed + " / " + forward;
  };
  CHECK(both({{7, 0, 37, 0}}) == "invalid argument | token of row 0 | 37 | an id below 37");
  CHECK(both({{7, 0, 1, 0}, {7, 1, -1, 0}}) == "invalid argument | token of row 1 | -1 | an id below 37");
  CHECK(both({{7, -1, 1, 0}}) == "invalid argument | position of row 0 | -1 | 0 or more");
  CHECK(both({{7, 0, 1, 0}, {7, 2, 1, 0}}) == "invalid argument | position of row 1 | 2 | 1");
  CHECK(both({{7, 0, 1, 0}, {7, 0, 1, 0}}) == "invalid argument | position of row 1 | 0 | 1");
  CHECK(both({{7, 0, 1, 0}, {8, 0, 1, 0}, {7, 1, 1, 0}}) ==
        "invalid argument | rows of sequence 7 | apart from each other | rows next to each other");
  CHECK(both({{7, 3, 1, 0}}) ==
        "invalid argument | first position of sequence 7 | 3 | 0: a state holds whole sequences / "
        "invalid argument | position of sequence 7 | 3 | 0, the length of its cache");
  CHECK(parts(s.host.try_forward(rows_of(s.batch, 0, 5, 6), no_hooks<float>())) ==
        "invalid argument | position of sequence 0 | 5 | 4, the length of its cache");
  CHECK(parts(s.host.try_forward(first, no_hooks<float>())) ==
        "invalid argument | position of sequence 0 | 0 | 4, the length of its cache");

  auto state = value_or_throw(s.host.try_embed(first));
  const auto before = copied(s.host.stream(state));
  for (const auto& [a, b] : {std::pair{-1, 2}, std::pair{0, 5}, std::pair{3, 2}})
    CHECK(parts(s.host.try_run(state, a, b, no_hooks<float>())) == "invalid argument | layers to run | [" +
                                                                       std::to_string(a) + ", " + std::to_string(b) +
                                                                       ") | a range within [0, 4)");
  CHECK(same_bits(copied(s.host.stream(state)), before));
  floats norm(24 * 5, 7.0f), out(37 * 5, 7.0f);
  CHECK(parts(s.host.try_head(state, 0, {norm.data(), 5, 24}, {out.data(), 5, 37})) ==
        "invalid argument | rows of the head | [0, 5) | rows within [0, 4)");
  CHECK(parts(s.host.try_head(state, 3, {norm.data(), 2, 24}, {out.data(), 2, 37})) ==
        "invalid argument | rows of the head | [3, 5) | rows within [0, 4)");
  CHECK(parts(s.host.try_head(state, 0, {norm.data(), 2, 23}, {out.data(), 2, 37})) ==
        "shape mismatch | norm | 2 x 23 | 2 x 24");
  CHECK(parts(s.host.try_head(state, 0, {norm.data(), 2, 24}, {out.data(), 3, 37})) ==
        "shape mismatch | logits | 3 x 37 | 2 x 37");
  CHECK(norm == floats(24 * 5, 7.0f));
  CHECK(out == floats(37 * 5, 7.0f));
}

TEST_CASE("the head of some rows is those rows of the whole head") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    auto state = value_or_throw(host.try_embed(batch));
    run(host, plan{}, state, 0, host.describe().n_layers);
    const auto all = head_of(host, state);
    const auto d = host.describe().d_model, vocab = host.describe().n_vocab;
    floats some;
    for (size first = 0; first < static_cast<size>(batch.size()); first += 7) {
      const size n = std::min<size>(7, static_cast<size>(batch.size()) - first);
      floats norm(static_cast<std::size_t>(n * d)), logits(static_cast<std::size_t>(n * vocab));
      REQUIRE(host.try_head(state, first, {norm.data(), n, d}, {logits.data(), n, vocab}));
      some.insert(some.end(), logits.begin(), logits.end());
    }
    CHECK(relative_difference(some, all) < 2e-5);
  });
}
