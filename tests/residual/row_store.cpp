// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <support/every_operator.hpp>

#if __has_include(<xtensor/xtensor.hpp>)
#define RESECT_TEST_XTENSOR 1
#include <xtensor/xadapt.hpp>
#endif

using namespace resect::residual;
using namespace support;
using resect::matrix_view;
using size = resect::index_t;

namespace {

floats ramp(size n, float first) {
  floats out;
  for (size i = 0; i < n; ++i) out.push_back(first + static_cast<float>(i));
  return out;
}
floats of(std::span<const float> x) { return {x.begin(), x.end()}; }

}  // namespace

TEST_CASE("a row is found by layer and place, whatever the order and the company that it came in") {
  row_store store(site::resid_mid, layers(2, 4), 3, 8);
  const std::vector<row_meta> first{{1, 1}, {0, 5}, {7, 7, 0, row_meta::pad}, {0, 4}}, second{{0, 4}, {3, 0}};
  const auto a = ramp(12, 0), b = ramp(6, 100);
  REQUIRE(store.try_add({site::resid_mid, 2, first}, {a.data(), 4, 3}));
  REQUIRE(store.try_add({site::resid_mid, 3, first}, {a.data(), 4, 3}));
  REQUIRE(store.try_add({site::resid_mid, 2, second}, {b.data(), 2, 3}));
  REQUIRE(store.try_add({site::resid_post, 2, second}, {b.data(), 2, 3}));  // another site
  REQUIRE(store.try_add({site::resid_mid, 4, second}, {b.data(), 2, 3}));   // another layer
  CHECK(store.size() == 4);
  CHECK(of(store.find(2, {1, 1})) == floats{0, 1, 2});
  CHECK(of(store.find(2, {0, 5})) == floats{3, 4, 5});
  CHECK(of(store.find(2, {0, 4})) == floats{9, 10, 11});  // the first one stays
  CHECK(of(store.find(2, {3, 0})) == floats{103, 104, 105});
  CHECK(store.find(3, {3, 0}).empty());  // no such row in this layer
  CHECK(store.find(2, {7, 7}).empty());  // a pad
  CHECK(store.find(4, {0, 4}).empty());
  CHECK(store.find(1, {0, 4}).empty());
  store.clear();
  CHECK(store.size() == 0);
  CHECK(store.find(2, {1, 1}).empty());
}

TEST_CASE("a store is bounded, and one that is full stays as it was") {
  row_store store(site::resid_mid, layer(0), 2, 3);
  const std::vector<row_meta> two{{0, 0}, {0, 1}}, more{{0, 1}, {0, 2}, {0, 3}};
  const auto h = ramp(6, 1);
  REQUIRE(store.try_add({site::resid_mid, 0, two}, {h.data(), 2, 2}));
  CHECK(parts(store.try_add({site::resid_mid, 0, more}, {h.data(), 3, 2})) ==
        "invalid argument | places of a row_store | 4 | 3 at most");
  CHECK(store.size() == 2);
  CHECK(store.find(0, {0, 2}).empty());
  CHECK(parts(store.try_add({site::resid_mid, 0, two}, {h.data(), 2, 3})) ==
        "shape mismatch | rows of resid_mid in layer 0 | 3 columns | 2 columns, as the row_store");
}

TEST_CASE("a pass fills a store, also in parts, with the rows and the deltas that its sites show") {
  llama_setting s;
  const auto post = captured_at(s.host, site::resid_post, s.batch), pre = captured_at(s.host, site::resid_pre, s.batch),
             deltas = captured_deltas(s.host, s.batch);
  auto parts = row_store::of_block_deltas(layers(0, 4), s.model.config.d_model, 64);
  std::vector<row_meta> early, late;
  for (const auto& row : s.batch) (row.pos < 3 ? early : late).push_back(row);
  REQUIRE(try_capture(s.host, plan{}, early, parts));
  REQUIRE(try_capture(s.host, plan{}, late, parts));
  for (int l = 0; l < 4; ++l)
    for (const auto& row : s.batch) {
      const auto a = post.find(l, row.place()), b = pre.find(l, row.place()), d = deltas.find(l, row.place()),
                 later = parts.find(l, row.place());
      REQUIRE(a.size() == static_cast<std::size_t>(s.model.config.d_model));
      for (std::size_t c = 0; c < a.size(); ++c) {
        CHECK(d[c] == a[c] - b[c]);
        CHECK(later[c] == Approx(d[c]).margin(1e-5));
      }
    }
  row_store small(site::resid_post, layers(0, 4), s.model.config.d_model, 5);
  forget_all(s.host, s.batch);
  CHECK(support::parts(try_capture(s.host, plan{}, s.batch, small)) ==
        "invalid argument | places of a row_store | 29 | 5 at most");
  CHECK(s.host.cached(s.batch.front().seq) == 0);
  CHECK(small.size() == 0);
}

TEST_CASE("the hash of a store tells its rows, places and layers apart, and not the order of filling") {
  const auto filled = [](const std::vector<row_meta>& rows, const floats& h) {
    row_store store(site::resid_mid, layers(0, 2), 2, 4);
    for (std::size_t r = 0; r < rows.size(); ++r)
      for (int l = 0; l < 2; ++l)
        REQUIRE(store.try_add({site::resid_mid, l, batch_view(rows).subspan(r, 1)}, {h.data() + 2 * r, 1, 2}));
    return store;
  };
  const auto hash = filled({{0, 0}, {0, 1}}, {1, 2, 3, 4}).hash(layers(0, 2));
  CHECK(filled({{0, 1}, {0, 0}}, {3, 4, 1, 2}).hash(layers(0, 2)) == hash);
  CHECK(filled({{0, 0}, {0, 1}}, {1, 2, 3, 5}).hash(layers(0, 2)) != hash);
  CHECK(filled({{0, 0}, {0, 2}}, {1, 2, 3, 4}).hash(layers(0, 2)) != hash);
  CHECK(filled({{0, 0}, {0, 1}}, {1, 2, 3, 4}).hash(layer(0)) != hash);
}

TEST_CASE("the rows of a store view as matrices and, with all layers, as an xtensor") {
  row_store store(site::resid_mid, layers(1, 3), 2, 4);
  const std::vector<row_meta> rows{{0, 3}, {0, 1}};
  for (int l = 1; l < 3; ++l) {
    const auto h = ramp(4, 10.0f * static_cast<float>(l));
    REQUIRE(store.try_add({site::resid_mid, l, rows}, {h.data(), 2, 2}));
  }
  const auto m = store.rows(2);
  CHECK(m.rows == 2);
  CHECK(m(1, 0) == 22.0f);
#if RESECT_TEST_XTENSOR
  const std::array<std::size_t, 3> shape{2, static_cast<std::size_t>(store.most()), 2};
  const auto all = xt::adapt(store.values().data(), shape);
  CHECK(all(1, 1, 0) == 22.0f);
  CHECK(all(0, 1, 1) == 13.0f);
#endif
}

TEST_CASE("a teacher's norms come from a store as from the pass itself") {
  llama_setting s;
  const auto post = captured_at(s.host, site::resid_post, s.batch);
  row_norms norms, direct;
  const auto rows = post.rows(2);
  for (size i = 0; i < post.places().size(); ++i) norms.add(post.places().place(i), rows, post.places().slot(i));
  resect::value_or_throw(
      s.host.try_forward(s.batch, {site::resid_post}, [&](const tap& at, matrix_view<const float> h) {
        if (at.layer == 2) direct.add(at, h);
      }));
  CHECK(norms.hash() == direct.hash());
}
