// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <resect/quant/grids/integer.hpp>
#include <resect/quant/search/mse.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;

namespace {

using four_bits = integer_grid<4, zero_point::integer>;
static_assert(scale_search<min_max, four_bits, f32_store> && scale_search<mse_scale, four_bits, f16_store>);

// The parameters that a search gives a group whose scales are floats.
template <class G, class S>
auto fitted(const S& search, const floats& w, const floats& importance = {}) {
  return search.fit(G{}, f32_store{}, no_header{}, group_weights{w, importance});
}

// Σ a_j·(w_j − ŵ_j)², plainly.
template <class G>
double error_of(const floats& w, typename G::parameters p, const floats& importance = {}) {
  double sum = 0;
  for (std::size_t j = 0; j < w.size(); ++j) {
    const double e = double{w[j]} - double{G::nearest(w[j], p)};
    sum += (importance.empty() ? 1.0 : double{importance[j]}) * e * e;
  }
  return sum;
}

extent extent_of(const floats& w) {
  extent e{w[0], w[0]};
  for (const float x : w) e = {std::min(e.lo, x), std::max(e.hi, x)};
  return e;
}

template <class F>
void on_some_grids(F f) {
  f(integer_grid<2, zero_point::integer>{});
  f(integer_grid<4, zero_point::integer>{});
  f(integer_grid<8, zero_point::integer>{});
  f(integer_grid<2, zero_point::symmetric>{});
  f(integer_grid<3, zero_point::symmetric>{});
  f(integer_grid<8, zero_point::symmetric>{});
}

floats some_importance(index_t n) {
  floats a = gaussian(n, 77);
  for (float& x : a) x = x * x;
  return a;
}

}  // namespace

TEST_CASE("min_max is the grid's own fit of the smallest and the largest weight") {
  on_some_grids([](auto g) {
    using G = decltype(g);
    for (const family f : families) {
      const auto w = drawn(f, 37, 3);
      const auto p = fitted<G>(min_max{}, w), want = G::fit(extent_of(w));
      CHECK(p.scale == want.scale);
      CHECK(G::zero_of(p) == G::zero_of(want));
    }
  });
  CHECK(fitted<four_bits>(min_max{}, {}).scale == 0);
}

TEST_CASE("mse_scale finds the best of its ratios and is never worse than min_max") {
  on_some_grids([](auto g) {
    using G = decltype(g);
    for (const family f : families)
      for (const index_t n : {1, 9, 64}) {
        const auto w = drawn(f, n, 5);
        CAPTURE(name(f), n);
        const double none = error_of<G>(w, G::fit(extent_of(w)));
        double least = none;
        for (int i = 0; i <= 20; ++i) least = std::min(least, error_of<G>(w, G::fit(extent_of(w), 1 - 0.7 * i / 20)));
        const double got = error_of<G>(w, fitted<G>(mse_scale{.steps = 20, .smallest = 0.3}, w));
        CHECK(got <= none * (1 + 1e-6));
        CHECK(got <= least * (1 + 1e-6));
        if (G::zero == zero_point::integer)
          CHECK(got >= least * (1 - 1e-6));  // symmetric: the other sign may be better
      }
  });
}

TEST_CASE("clipping gains much at few bits and next to nothing at many") {
  const auto gain = [](auto g) {
    using G = decltype(g);
    double before = 0, after = 0;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      const auto w = drawn(family::gaussian, 128, seed);
      before += error_of<G>(w, fitted<G>(min_max{}, w));
      after += error_of<G>(w, fitted<G>(mse_scale{}, w));
    }
    return before / after;
  };
  CHECK(gain(integer_grid<2, zero_point::integer>{}) > 1.5);
  CHECK(gain(integer_grid<4, zero_point::integer>{}) > 1.08);
  CHECK(gain(integer_grid<8, zero_point::integer>{}) < 1.05);
}

TEST_CASE("importance weighs errors") {
  on_some_grids([](auto g) {
    using G = decltype(g);
    const auto importance = some_importance(32);
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const auto w = drawn(family::heavy_tails, 32, seed);
      const auto aware = fitted<G>(mse_scale{}, w, importance), blind = fitted<G>(mse_scale{}, w);
      CHECK(error_of<G>(w, aware, importance) <= error_of<G>(w, blind, importance) * (1 + 1e-6));
      CHECK(error_of<G>(w, aware, importance) <= error_of<G>(w, fitted<G>(min_max{}, w), importance) * (1 + 1e-6));
      const auto even = fitted<G>(mse_scale{}, w, floats(32, 1.0f));
      CHECK(error_of<G>(w, even) <= error_of<G>(w, blind) * (1 + 1e-6));
      CHECK(error_of<G>(w, even) >= error_of<G>(w, blind) * (1 - 1e-6));
    }
  });
}

TEST_CASE("an outlier in a column that does not matter is clipped") {
  using G = integer_grid<3, zero_point::symmetric>;
  auto w = drawn(family::gaussian, 64, 1);
  w[10] = 9.0f;
  floats importance(64, 1.0f);
  importance[10] = 0;
  const auto aware = fitted<G>(mse_scale{}, w, importance);
  CHECK(std::fabs(aware.scale) < 0.5f * std::fabs(fitted<G>(min_max{}, w).scale));
  CHECK(fitted<G>(mse_scale{.steps = 1, .smallest = 0.5}, w, importance).scale == G::fit(extent_of(w), 0.5).scale);
  const floats nothing(64, 0.0f);
  CHECK(fitted<G>(mse_scale{}, w, nothing).scale == fitted<G>(min_max{}, w).scale);
}

TEST_CASE("options that make no sense are refused by name") {
  const auto refused = [](const mse_scale& s, index_t cols) {
    const auto st = s.check(cols);
    return st ? std::string("fine") : std::string(st.error().message().view());
  };
  floats importance(5, 1.0f);
  CHECK(refused({}, 5) == "fine");
  CHECK(refused({.importance = importance}, 5) == "fine");
  CHECK(refused({.steps = 0}, 5) == "invalid argument: steps of mse_scale: got 0, wanted at least 1");
  for (const double smallest : {-0.5, 1.5, std::nan("")})
    CHECK(refused({.smallest = smallest}, 5).find("smallest ratio of mse_scale") != std::string::npos);
  CHECK(refused({.importance = importance}, 6) == "shape mismatch: importance: got 5 columns, wanted 6");
  importance[3] = -1;
  CHECK(refused({.importance = importance}, 5) ==
        "invalid argument: importance of column 3: got -1, wanted at least 0");
  importance[3] = std::numeric_limits<float>::infinity();
  CHECK(refused({.importance = importance}, 5).find("not finite: importance of column 3") == 0);
  importance[3] = std::nanf("");
  CHECK(refused({.importance = importance}, 5).find("not finite: importance of column 3") == 0);
}

}  // namespace tests
