// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <map>
#include <set>
#include <string>
#include <vector>

#include <support/every_operator.hpp>

#include <resect/residual/detail/apply_site.hpp>
#include <resect/residual/reinit.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/residual/swap_product.hpp>

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using resect::shared_value;
using size = resect::index_t;

namespace {

std::string shown(const step& s) { return std::string(s.op.id()); }

// Ways to cut texts into passes: each returns the batches of one way, in order. Sequences keep their rows' order.
using cuts = std::vector<std::vector<row_meta>>;
cuts in_chunks(const std::vector<row_meta>& batch, int rows) {
  cuts out;
  for (int first = 0; first < 14; first += rows) {
    std::vector<row_meta> part;
    for (const auto& row : batch)
      if (row.pos >= first && row.pos < first + rows) part.push_back(row);
    if (!part.empty()) out.push_back(part);
  }
  return out;
}
// A prompt of 4 rows, then row by row, every second sequence one row behind the others.
cuts staggered(const std::vector<row_meta>& batch) {
  cuts out;
  for (int turn = 0; turn < 16; ++turn) {
    std::vector<row_meta> part;
    for (const auto& row : batch) {
      const int when = (row.pos < 4 ? 0 : row.pos - 3) + row.seq % 2;
      if (when == turn) part.push_back(row);
    }
    if (!part.empty()) out.push_back(part);
  }
  return out;
}

// Logits of all rows of a batch, run with a cache in these parts.
template <class Host>
floats by_cache(Host&& host, const plan& p, const std::vector<row_meta>& batch, const cuts& parts) {
  forget_all(host, batch);
  std::map<token_place, floats> rows;
  const auto vocab = static_cast<long>(host.describe().n_vocab);
  pass_memory memory;
  for (const auto& part : parts) {
    resect::value_or_throw(try_forward(host, p, part, memory));
    const auto got = copied(host.logits());
    for (std::size_t r = 0; r < part.size(); ++r)
      rows[part[r].place()] =
          floats(got.begin() + static_cast<long>(r) * vocab, got.begin() + static_cast<long>(r + 1) * vocab);
  }
  forget_all(host, batch);
  floats out;
  for (const auto& row : batch) out.insert(out.end(), rows.at(row.place()).begin(), rows.at(row.place()).end());
  return out;
}

// y := own(x)/2.
struct halved {
  static constexpr std::string_view id = "tests.halved/1";
  void fields(resect::field_visitor&) const {}
  resect::status product(const weight_desc&, matrix_view<const float> x, matrix_view<float> y,
                         resect::model::own_product<float> product_of) const {
    if (auto done = product_of(x, y); !done) return done;
    for (size r = 0; r < y.rows; ++r)
      for (size c = 0; c < y.cols; ++c) y(r, c) *= 0.5f;
    return {};
  }
};

}  // namespace

TEST_CASE("under every operator a cached pass equals full recompute, however a ragged batch is cut") {
  llama_setting s;
  const host_ref host = s.host;
  const cuts ways[] = {in_chunks(s.batch, 1), in_chunks(s.batch, 3), in_chunks(s.batch, 8), staggered(s.batch)};
  double own = 0x1p-22;  // what the runtime itself differs by
  const auto intact = by_whole_pass(host, plan{}, s.batch);
  for (const auto& parts : ways)
    own = std::max(own, relative_difference(by_cache(host, plan{}, s.batch, parts), intact));
  CHECK(own < 1e-5);
  for (const step& one : every_operator(host, s.batch)) {
    const auto p = plan{} | one;
    const auto want = by_whole_pass(host, p, s.batch);
    for (std::size_t way = 0; way < std::size(ways); ++way) {
      INFO(shown(one) << ", way " << way << " of cutting; the runtime's own figure is " << own);
      const auto got = by_cache(host, p, s.batch, ways[way]);
      if (largest(want) == 0) CHECK(same_bits(got, want));  // a stream of zeros gives no logit
      else CHECK(relative_difference(got, want) <= 4 * own);
    }
  }
}

TEST_CASE(
    "under swapped, mapped and re-initialized weights, products and oracles a cached pass equals full recompute") {
  llama_setting s;
  const cuts ways[] = {in_chunks(s.batch, 1), in_chunks(s.batch, 3), staggered(s.batch)};
  const auto at_once = [&](const plan& p) { return by_cache(s.host, p, s.batch, {s.batch}); };
  double own = 0x1p-22;
  const auto intact = at_once(plan{});
  for (const auto& parts : ways)
    own = std::max(own, relative_difference(by_cache(s.host, plan{}, s.batch, parts), intact));
  CHECK(own < 1e-5);
  floats other;
  matrix_view<const float> values;
  for (const auto& w : s.host.weights(1))
    if (w.name == "attn.k") {
      other.resize(static_cast<std::size_t>(w.rows * w.cols));
      resect::random::fill_gaussian(other, 3, 0);
      for (float& x : other) x *= 0.1f;
      values = {other.data(), w.rows, w.cols};
    }
  REQUIRE(!values.empty());
  product_error seen;
  const auto half = [](const weight_desc&, matrix_view<float> w, resect::executor_ref) {
    for (size r = 0; r < w.rows; ++r)
      for (size c = 0; c < w.cols; ++c) w(r, c) *= 0.5f;
  };
  for (const step& one :
       {swap_matrix(layer(1), "attn.k", values), map_weights(layer(1), half, 1), reinit(layer(1), 5, norm_gains::keep),
        swap_product(layer(1), "attn.k", halved{}), oracle_matrix(layer(1), "attn.k", values, seen)}) {
    const auto want = at_once(plan{} | one);
    CHECK(same_bits(want, intact) == (one.op.id() == "resect.oracle_matrix/1"));
    for (std::size_t way = 0; way < std::size(ways); ++way) {
      INFO(shown(one) << ", way " << way << " of cutting; the runtime's own figure is " << own);
      CHECK(relative_difference(by_cache(s.host, plan{} | one, s.batch, ways[way]), want) <= 4 * own);
    }
  }
  CHECK(seen.rows == 4 * static_cast<size>(s.batch.size()));
  CHECK(same_bits(at_once(plan{}), intact));
}

TEST_CASE("every operator gives the same bits in partial and whole passes, and does something") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const auto intact = by_whole_pass(host, plan{}, batch);
    for (const step& one : every_operator(host, batch)) {
      INFO(shown(one));
      const auto got = by_whole_pass(host, plan{} | one, batch);
      CHECK(same_bits(got, by_surgery(host, plan{} | one, batch)));
      CHECK_FALSE(same_bits(got, intact));
      CHECK(same_bits(by_whole_pass(host, plan{}, batch), intact));  // and nothing of it stays
    }
  });
}

TEST_CASE("every operator has an id with a revision, an identity of its own, and is equal to its copy") {
  llama_setting s;
  std::set<std::uint64_t> seen;
  const auto all = every_operator(s.host, s.batch);
  for (const step& one : all) {
    INFO(shown(one));
    CHECK(one.op.id().substr(0, 7) == "resect.");
    CHECK(one.op.id().substr(one.op.id().size() - 2) == "/1");
    CHECK(one.name.view() != "");
    seen.insert(one.identity());
    CHECK(step(one).op == one.op);
    CHECK(step(one).identity() == one.identity());
  }
  CHECK(seen.size() == all.size());
}

TEST_CASE("operators that change nothing change no bit") {
  on_all_hosts([](host_ref host, const std::vector<row_meta>& batch) {
    const size d = host.describe().d_model;
    const int n = host.describe().n_layers;
    const auto intact = by_whole_pass(host, plan{}, batch);
    const shared_value<row_store> post = captured_at(host, site::resid_post, batch),
                                  mid = captured_at(host, site::attn_delta, batch);
    const floats v(static_cast<std::size_t>(d), 0.25f), q = two_directions(d);
    const matrix_view<const float> basis{q.data(), d, 2};
    const few_directions code(d, 11);
    for (int l = 0; l < n; ++l)
      for (const step& one :
           {scale_delta(layer(l), 1.0f), replace_span(layer(l), own_layers(host, layer(l)), 1),
            patch(patch_direction::denoise, layer(l), site::resid_post, post),
            patch(patch_direction::noise, layer(l), site::attn_delta, mid),
            subspace_swap(layer(l), site::resid_post, basis, post), noise(layer(l), site::resid_mid, 0.0f, 1),
            steer(steering::add{}, layer(l), site::resid_post, v, 0.0f),
            splice(codec_error::keep, layer(l), site::resid_post, code),
            splice(codec_error::keep, layer(l), site::mlp_delta, code),
            match_norm(idle_rows(site::resid_mid, layer(l)))}) {
        INFO(shown(one) << " in layer " << l);
        CHECK(same_bits(by_whole_pass(host, plan{} | one, batch), intact));
        CHECK(same_bits(by_surgery(host, plan{} | one, batch), intact));
      }
  });
}

TEST_CASE("edits at one site, a few rows at a time, have the bits of one step after another") {
  constexpr size rows = 37, width = 1000;
  std::vector<row_meta> batch;
  for (int r = 0; r < rows; ++r) batch.push_back({r / 10, r % 10, r % 7, r == 12 ? row_meta::pad : 0});
  floats start(rows * width), v(width);
  resect::random::fill_gaussian(start, 1, 0);
  resect::random::fill_gaussian(v, 1, 1);
  const std::vector<step> steps{steer(steering::relative{}, layer(0), site::resid_post, v, 0.3f),
                                at(token_in({1, 4}), steer(steering::clamp{}, layer(0), site::resid_post, v, 1.0f)),
                                match_norm(noise(layer(0), site::resid_post, 0.1f, 3)),
                                at(range(3, 7), steer(steering::add{}, layer(0), site::resid_post, v, 2.0f)),
                                affine_step(site::resid_post, layer(0), 1.5f, 0.25f)};
  std::vector<const step*> pointers;
  for (const step& s : steps) pointers.push_back(&s);
  const tap at{site::resid_post, 0, batch};
  auto together = start, apart = start;
  REQUIRE(resect::residual::detail::apply_site({pointers.data(), pointers.data() + pointers.size()}, at,
                                               {together.data(), rows, width}));
  for (const step& s : steps) REQUIRE(resect::residual::detail::apply_step(s, at, {}, {apart.data(), rows, width}));
  CHECK(same_bits(together, apart));
  CHECK_FALSE(same_bits(together, start));
}
