// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <resect/quant/scale_search.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;

namespace {

static_assert(scale_search<min_max> && scale_search<mse_scale>);

// Σ a_j·(w_j − ŵ_j)², plainly.
template <class G>
double error_of(const floats& w, group_parameters p, const floats& importance = {}) {
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
      const auto p = min_max{}.fit<G>(w, 0), want = G::fit(extent_of(w));
      CHECK(p.scale == want.scale);
      CHECK(p.zero == want.zero);
    }
  });
  CHECK(min_max{}.fit<integer_grid<4, zero_point::integer>>({}, 0).scale == 0);
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
        const double got = error_of<G>(w, mse_scale{.steps = 20, .smallest = 0.3}.fit<G>(w, 0));
        CHECK(got <= none * (1 + 1e-6));
        CHECK(got <= least * (1 + 1e-6));
        CHECK(got >= least * (1 - 1e-6));
      }
  });
}

TEST_CASE("clipping gains much at few bits and next to nothing at many") {
  const auto gain = [](auto g) {
    using G = decltype(g);
    double before = 0, after = 0;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      const auto w = drawn(family::gaussian, 128, seed);
      before += error_of<G>(w, min_max{}.fit<G>(w, 0));
      after += error_of<G>(w, mse_scale{}.fit<G>(w, 0));
    }
    return before / after;
  };
  CHECK(gain(integer_grid<2, zero_point::integer>{}) > 1.5);
  CHECK(gain(integer_grid<4, zero_point::integer>{}) > 1.08);
  CHECK(gain(integer_grid<8, zero_point::integer>{}) < 1.05);
}

TEST_CASE("importance weighs columns, and is read at the group's own columns") {
  on_some_grids([](auto g) {
    using G = decltype(g);
    const auto importance = some_importance(96);
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const auto w = drawn(family::heavy_tails, 32, seed);
      const floats here(importance.begin() + 64, importance.end());
      const auto aware = mse_scale{.importance = importance}.fit<G>(w, 64), blind = mse_scale{}.fit<G>(w, 64);
      const auto only = mse_scale{.importance = here}.fit<G>(w, 0);
      CHECK(aware.scale == only.scale);
      CHECK(error_of<G>(w, aware, here) <= error_of<G>(w, blind, here) * (1 + 1e-6));
      CHECK(error_of<G>(w, aware, here) <= error_of<G>(w, min_max{}.fit<G>(w, 0), here) * (1 + 1e-6));
      const floats ones(32, 1.0f);
      const auto even = mse_scale{.importance = ones}.fit<G>(w, 0);
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
  const auto aware = mse_scale{.importance = importance}.fit<G>(w, 0);
  CHECK(std::fabs(aware.scale) < 0.5f * std::fabs(min_max{}.fit<G>(w, 0).scale));
  CHECK(mse_scale{.steps = 1, .smallest = 0.5, .importance = importance}.fit<G>(w, 0).scale ==
        G::fit(extent_of(w), 0.5).scale);
  const floats nothing(64, 0.0f);
  CHECK(mse_scale{.importance = nothing}.fit<G>(w, 0).scale == min_max{}.fit<G>(w, 0).scale);
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
  for (const double smallest : {0.0, -0.5, 1.5, std::nan("")})
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
