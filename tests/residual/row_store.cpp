// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include <support/every_operator.hpp>
#include <support/passes.hpp>

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
  const auto a = ramp(12, 0);
  const floats b{9, 10, 11, 103, 104, 105};  // the row at (0, 4) once more
  REQUIRE(store.try_add({site::resid_mid, 2, first}, {a.data(), 4, 3}));
  REQUIRE(store.try_add({site::resid_mid, 3, first}, {a.data(), 4, 3}));
  REQUIRE(store.try_add({site::resid_mid, 2, second}, {b.data(), 2, 3}));
  REQUIRE(store.try_add({site::resid_post, 2, second}, {b.data(), 2, 3}));  // another site
  REQUIRE(store.try_add({site::resid_mid, 4, second}, {b.data(), 2, 3}));   // another layer
  CHECK(store.size() == 4);
  CHECK(of(store.find(2, {1, 1})) == floats{0, 1, 2});
  CHECK(of(store.find(2, {0, 5})) == floats{3, 4, 5});
  CHECK(of(store.find(2, {0, 4})) == floats{9, 10, 11});
  CHECK(of(store.find(2, {3, 0})) == floats{103, 104, 105});
  CHECK(store.find(3, {3, 0}).empty());  // no such row in this layer
  CHECK(store.find(2, {7, 7}).empty());  // a pad
  CHECK(store.find(4, {0, 4}).empty());
  CHECK(store.find(1, {0, 4}).empty());
  store.clear();
  CHECK(store.size() == 0);
  CHECK(store.find(2, {1, 1}).empty());
  for (const float x : store.values()) CHECK(x == 0);
}

TEST_CASE("a known place with another token or with other values is refused, and the store stays as it was") {
  const std::vector<row_meta> rows{{0, 0, 5}, {0, 1, 6}}, more{{0, 2, 7}, {0, 1, 6}};
  row_store store(site::resid_mid, layers(0, 2), 2, 8);
  const auto h = ramp(4, 1), other = ramp(4, 9);
  REQUIRE(store.try_add({site::resid_mid, 1, rows}, {h.data(), 2, 2}));
  const auto before = store.hash(layers(0, 2));
  CHECK(parts(store.try_add({site::resid_mid, 1, more}, {other.data(), 2, 2})) ==
        "conflict | rows of resid_mid in layer 1 | other values at sequence 0 position 1 | those that the row_store "
        "holds "
        "there, or a store of their own");
  auto retold = rows;
  retold[1].token = 9;
  CHECK(
      parts(store.try_add({site::resid_mid, 0, retold}, {h.data(), 2, 2})) ==
      "conflict | rows of resid_mid in layer 0 | token 9 at sequence 0 position 1 | token 6, which the row_store holds "
      "there");
  CHECK(store.hash(layers(0, 2)) == before);
  CHECK(store.try_add({site::resid_mid, 1, rows}, {h.data(), 2, 2}));  // the same once more
  CHECK(store.hash(layers(0, 2)) == before);

  auto deltas = row_store::of_block_deltas(layer(0), 2, 8);
  REQUIRE(deltas.try_add({site::resid_pre, 0, rows}, {h.data(), 2, 2}));
  REQUIRE(deltas.try_add({site::resid_post, 0, rows}, {other.data(), 2, 2}));
  CHECK(deltas.try_add({site::resid_pre, 0, rows}, {h.data(), 2, 2}));
  CHECK(deltas.try_add({site::resid_post, 0, rows}, {other.data(), 2, 2}));
  CHECK_FALSE(deltas.try_add({site::resid_pre, 0, rows}, {other.data(), 2, 2}));
  CHECK_FALSE(deltas.try_add({site::resid_post, 0, rows}, {h.data(), 2, 2}));
  CHECK(of(deltas.find(0, {0, 1})) == floats{8, 8});
}

TEST_CASE("a capture that fails leaves the store as it was, whether a step reports or throws") {
  llama_setting s;
  const auto first = rows_of(s.batch, 0, 0, 9), second = rows_of(s.batch, 3, 0, 9);
  const int width = s.model.config.d_model;
  for (const bool of_deltas : {false, true})
    for (const bool throws : {false, true}) {
      const auto store_of = [&] {
        return of_deltas ? row_store::of_block_deltas(layers(0, 4), width, 40)
                         : row_store(site::resid_post, layers(0, 4), width, 40);
      };
      const auto fails = plan{} |
                         rows_step(site::resid_post, layer(2),
                                   [&](const tap&, matrix_view<float>) -> resect::status {
                                     if (throws) throw std::runtime_error("step");
                                     return resect::error{resect::errc::not_finite, "step", "nan", "numbers"};
                                   }) |
                         scale_delta(layer(0), 0.25f);
      auto store = store_of();
      REQUIRE(try_capture(s.host, plan{}, first, store));
      const auto before = store.hash(layers(0, 4));
      forget_all(s.host, s.batch);
      if (throws) CHECK_THROWS_AS(try_capture(s.host, fails, second, store), std::runtime_error);
      else CHECK(parts(try_capture(s.host, fails, second, store)) == "not finite | step | nan | numbers");
      CHECK(store.size() == static_cast<size>(first.size()));
      CHECK(store.hash(layers(0, 4)) == before);
      CHECK(store.find(0, second[0].place()).empty());
      forget_all(s.host, s.batch);
      auto retold = second;
      retold.push_back(rows_of(s.batch, 0, 0, 1)[0]);
      retold.back().token = (retold.back().token + 1) % s.model.config.n_vocab;
      CHECK(try_capture(s.host, plan{}, retold, store).error().code == resect::errc::conflict);
      CHECK(store.hash(layers(0, 4)) == before);
      CHECK(s.host.cached(second[0].seq) == 0);
      REQUIRE(try_capture(s.host, plan{}, second, store));
      auto fresh = store_of();
      forget_all(s.host, s.batch);
      REQUIRE(try_capture(s.host, plan{}, first, fresh));
      REQUIRE(try_capture(s.host, plan{}, second, fresh));
      CHECK(store.hash(layers(0, 4)) == fresh.hash(layers(0, 4)));
      for (int l = 0; l < 4; ++l) {
        const auto a = store.rows(l), b = fresh.rows(l);
        CHECK(same_bits(floats(a.data, a.data + a.rows * a.cols), floats(b.data, b.data + b.rows * b.cols)));
      }
      forget_all(s.host, s.batch);
    }
}

TEST_CASE("a store of no layer, no column or fewer than no places is refused, and rows outside of it are empty") {
  const auto refused = [](layer_range of, size width, size most) {
    const auto made = row_store::try_make(site::resid_mid, of, width, most),
               deltas = row_store::try_block_deltas(of, width, most);
    REQUIRE_FALSE(made);
    REQUIRE_FALSE(deltas);
    CHECK(parts(deltas.error()) == parts(made.error()));
    CHECK_THROWS_AS(row_store(site::resid_mid, of, width, most), resect::exception);
    return parts(made.error());
  };
  CHECK(refused(layers(5, 2), 8, 4) == "invalid argument | layers of a row_store | [5, 2) | 0 <= first < last");
  CHECK(refused(layers(-1, 2), 8, 4) == "invalid argument | layers of a row_store | [-1, 2) | 0 <= first < last");
  CHECK(refused(layers(0, 2), -8, 4) == "invalid argument | width of a row_store | -8 | 1 or more");
  CHECK(refused(layers(0, 2), 8, -4) == "invalid argument | places of a row_store | -4 | 0 or more");
  CHECK(refused(layers(0, 2), size{1} << 40, size{1} << 40)
            .find("invalid argument | size of a row_store | 2 layers x ") == 0);
  const auto none = row_store::try_make(site::resid_mid, layers(1, 3), 2, 0);
  REQUIRE(none);
  CHECK(none->size() == 0);
  for (const int l : {0, 3, 7, -1}) CHECK(none->rows(l).rows == 0);
  CHECK(none->row(1, 5).empty());
}

TEST_CASE("sites and layers that the host lacks are refused before a pass that would show nothing") {
  planted_options o;
  o.fused = site::resid_mid;
  planted_host host(o);
  const auto batch = host.draw(2, 3);
  row_store mid(site::resid_mid, layers(0, 6), 8, 20), beyond(site::resid_post, layers(0, 60), 8, 20);
  CHECK(parts(try_capture(host, plan{}, batch, mid)) ==
        "unsupported | row_store of resid_mid in layer 0 | a host that cannot read it | one that can");
  CHECK(parts(try_capture(host, plan{}, batch, beyond)) ==
        "invalid argument | layers of a row_store | [0, 60) | layers 0 to 5");
  int shown = 0;
  const auto look = [&](const tap&, matrix_view<const float>) { ++shown; };
  for (const auto& p : {plan{}, plan{} | skip(layer(1))})
    CHECK(parts(try_observe(host, p, batch, {site::resid_post, site::resid_mid}, look)) ==
          "unsupported | site resid_mid to observe | a host that cannot read it | one that can");
  CHECK(shown == 0);
  CHECK(host.cached(0) == 0);
  CHECK(try_observe(host, plan{}, batch, {site::resid_post, site::head_in, site::logits}, look));
  CHECK(shown == 8);
}

TEST_CASE("a list of places and one of sources of another length are refused") {
  const token_place to[] = {{0, 1}, {0, 2}}, from[] = {{1, 1}};
  const auto made = place_map::try_listed(to, from);
  REQUIRE_FALSE(made);
  CHECK(parts(made.error()) == "shape mismatch | sources of a place_map | 1 | 2, one a place");
  CHECK_THROWS_AS(place_map::listed(to, from), resect::exception);
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
