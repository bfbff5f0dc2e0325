// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Grids that are not integers about a zero; those are in ../grid.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <resect/quant/formats/common.hpp>
#include <support/catch.hpp>

#include "../groups.hpp"
#include "../run_grid.hpp"

namespace tests {

using namespace resect::quant;
using resect::errc;
using resect::index_t;

namespace {

codebook_grid user_book() {
  const floats levels{-3.0f, -1.0f, -0.25f, 0.5f, 2.0f};
  return codebook_grid(levels);
}

template <class F>
void on_scalar_grids(F f) {
  f(minimum_grid<2>{});
  f(minimum_grid<4>{});
  f(minimum_grid<8>{});
  f(nf4_grid{});
  f(fp4_grid{});
  f(e2m1_grid{});
  f(user_book());
}

template <class G>
float value_of(const G& g, unsigned c, const typename G::parameters& p) {
  float out[static_cast<std::size_t>(grid_shape{G::shape}.size())];
  g.decode(static_cast<typename G::code>(c), p, out);
  return out[0];
}

static_assert(level_grid<nf4_grid> && level_grid<codebook_grid> && offset_grid<minimum_grid<4>>);
static_assert(!level_grid<minimum_grid<4>> && !scalar_grid<e8_grid> && grid<e8_grid>);

}  // namespace

TEST_CASE("a weight gets the nearest of all levels, and the code of a level is that level's") {
  on_scalar_grids([](const auto& g) {
    const auto levels = static_cast<unsigned>(g.level_count());
    CHECK(levels <= 1u << g.code_bits());
    for (const family kind : families)
      for (const index_t n : {1, 7, 32}) {
        CAPTURE(name(kind), n, g.name);
        const auto w = drawn(kind, n, 3);
        const auto p = g.scaled(g.fit(w, {}), 0.8);
        bool nearest = true, agree = true;
        for (const float x : w) {
          double best = std::numeric_limits<double>::infinity();
          for (unsigned c = 0; c < levels; ++c) best = std::min(best, std::fabs(double{x} - double{value_of(g, c, p)}));
          const auto code = g.encode({&x, 1}, p);
          const double got = std::fabs(double{x} - double{value_of(g, code, p)});
          nearest = nearest && code < levels && got <= best + std::ldexp(std::fabs(double{x}) + best, -22);
        }
        for (unsigned c = 0; c < levels; ++c) {
          const float v = value_of(g, c, p);
          agree = agree && value_of(g, g.encode({&v, 1}, p), p) == v;
        }
        CHECK(nearest);
        CHECK(agree);
      }
  });
}

TEST_CASE("the fit of a grid clips nothing: no weight lies beyond its first or last level") {
  on_scalar_grids([](const auto& g) {
    for (const family kind : families) {
      const auto w = drawn(kind, 40, 8);
      const auto p = g.fit(w, {});
      const float a = value_of(g, 0, p), b = value_of(g, static_cast<unsigned>(g.level_count() - 1), p);
      const double slack = std::ldexp(std::max(std::fabs(double{a}), std::fabs(double{b})), -22) + 0x1p-126;
      CAPTURE(name(kind), g.name, a, b);
      CHECK(*std::min_element(w.begin(), w.end()) >= std::min(a, b) - slack);
      CHECK(*std::max_element(w.begin(), w.end()) <= std::max(a, b) + slack);
    }
  });
}

TEST_CASE("scaled parameters have the levels times the ratio, turned over where it is negative") {
  on_scalar_grids([](const auto& g) {
    const auto w = drawn(family::gaussian, 64, 2);
    const auto p = g.fit(w, {});
    const int last = g.level_count() - 1;
    for (const double ratio : {0.5, 0.9, -0.75})
      for (int c = 0; c <= last; ++c) {
        const bool offset = offset_grid<std::remove_cvref_t<decltype(g)>>;
        const int other = ratio < 0 && offset ? last - c : c;  // a scale that is never negative
        CHECK(double{value_of(g, static_cast<unsigned>(other), g.scaled(p, ratio))} ==
              Approx(ratio * double{value_of(g, static_cast<unsigned>(c), p)}).margin(1e-6));
      }
  });
}

TEST_CASE("known codebooks: the levels of NF4, FP4 and E2M1") {
  float out = 0;
  nf4_grid::decode(8, {2.0f}, {&out, 1});
  CHECK(out == 2 * 0.07958030f);
  CHECK(nf4_grid::code_bits() == 4);
  fp4_grid::decode(8, {12.0f}, {&out, 1});
  CHECK(out == 0.0625f);
  const float x[] = {5.0f, -5.1f, 0.25f, 0.26f, 7.0f};
  const unsigned want[] = {13, 0, 7, 8, 14};  // of two equally near levels the lower one
  for (int i = 0; i < 5; ++i) CHECK(unsigned{e2m1_grid::encode({x + i, 1}, {1.0f})} == want[i]);
  e2m1_grid::decode(15, {1.0f}, {&out, 1});  // a code that no encoder writes
  CHECK(out == 6.0f);
}

TEST_CASE("a group of one value has a minimum and no scale, and is exact") {
  const floats w(5, -1.3f);
  const auto p = minimum_grid<3>::fit(w, {});
  CHECK(p.scale == 0.0f);
  for (const float x : w) CHECK(minimum_grid<3>::nearest(x, p) == x);
}

TEST_CASE("codebooks that are none are refused by level") {
  const auto refused = [](const floats& levels) {
    const auto s = codebook_grid(levels).check();
    return s ? std::string("fine") : std::string(s.error().message().view());
  };
  CHECK(user_book().check());
  CHECK(refused({1.0f}) == "invalid argument: codebook: got 1 levels, wanted 2 to 256");
  CHECK(refused(floats(257, 0.0f)) == "invalid argument: codebook: got 257 levels, wanted 2 to 256");
  CHECK(refused({1.0f, 2.0f, 2.0f}) ==
        "invalid argument: level 2 of the codebook: got 2, wanted more than the level before it, 2");
  CHECK(refused({1.0f, std::nanf("")}).find("not finite: level 1 of the codebook") == 0);
  CHECK(refused({-std::numeric_limits<float>::infinity(), 1.0f}).find("not finite: level 0 of the codebook") == 0);
}

TEST_CASE("the E8 codebook has 2^16 vectors, all different, and encode finds the nearest of them") {
  std::vector<float> all(8 << 16);
  for (unsigned c = 0; c < 1u << 16; ++c)
    e8_grid::decode(static_cast<std::uint16_t>(c), {1.0f}, {all.data() + 8 * c, 8});
  std::vector<std::uint64_t> keys;
  bool on_lattice = true;
  for (unsigned c = 0; c < 1u << 16; ++c) {
    std::uint64_t key = 0;
    double sum = 0;
    const float shift = c < 1u << 15 ? 0.25f : -0.25f;
    for (unsigned i = 0; i < 8; ++i) {
      key = key * 64 + static_cast<std::uint64_t>(4 * all[8 * c + i] + 32);
      sum += double{all[8 * c + i] - shift};
    }
    on_lattice = on_lattice && std::fmod(sum, 2.0) == 0;
    keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  CHECK(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
  CHECK(on_lattice);
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const auto w = drawn(seed % 3 == 0 ? family::heavy_tails : family::gaussian, 8, seed);
    double best = std::numeric_limits<double>::infinity();
    const auto distance = [&](const float* v) {
      double e = 0;
      for (unsigned i = 0; i < 8; ++i) e += (double{w[i]} - double{v[i]}) * (double{w[i]} - double{v[i]});
      return e;
    };
    for (unsigned c = 0; c < 1u << 16; ++c) best = std::min(best, distance(all.data() + 8 * c));
    CHECK(distance(all.data() + 8 * e8_grid::encode(w, {1.0f})) == Approx(best).epsilon(1e-4));
  }
}

TEST_CASE("a user's grid of runs with a state finds the best of its paths") {
  const run_grid g;
  const auto w = drawn(family::gaussian, 16, 5);
  const auto p = g.fit(w, {});
  const auto distance = [&](std::uint32_t c) {
    float v[16];
    g.decode(c, p, v);
    double e = 0;
    for (unsigned i = 0; i < 16; ++i) e += (double{w[i]} - double{v[i]}) * (double{w[i]} - double{v[i]});
    return e;
  };
  double best = std::numeric_limits<double>::infinity();
  for (std::uint32_t c = 0; c < 1u << 20; ++c) best = std::min(best, distance(c));
  CHECK(distance(g.encode(w, p)) == Approx(best).epsilon(1e-9));
}

}  // namespace tests
