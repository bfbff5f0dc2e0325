// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <support/faulty_hosts.hpp>
#include <support/passes.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

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
          plan{} | block_step(layer(1), replacing), plan{} | replace_span(layer(1), replacing, 1)}) {
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
