// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <support/faulty_hosts.hpp>
#include <support/passes.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::status;
using size = resect::index_t;

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
