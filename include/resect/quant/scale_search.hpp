// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/quant/grid.hpp>

// A scale search chooses the parameters of one group. check(cols) says whether it fits the matrix; fit<Grid>(w, first)
// gets the weights of a group whose first column is `first`.
namespace RESECT_NAMESPACE::quant {

// What a scale search has to have.
template <class S>
concept scale_search = requires(const S& s, std::span<const float> w, index_t first) {
  { s.check(first) } -> std::same_as<status>;
  { s.template fit<integer_grid<4, zero_point::integer>>(w, first) } -> std::same_as<group_parameters>;
};

namespace detail {

inline extent extent_of(std::span<const float> w) noexcept {
  if (w.empty()) return {};
  extent out{w[0], w[0]};
  for (const float x : w) {
    out.lo = x < out.lo ? x : out.lo;
    out.hi = x > out.hi ? x : out.hi;
  }
  return out;
}

// Σ (w − ŵ)² of rounding to the nearest level, in double. Each difference is rounded to float first (which changes
// nothing where w is not clipped), so its square is exact in double and the sum has the same bits on every machine.
template <grid G>
double squared_error(std::span<const float> w, group_parameters p) noexcept {
  double lane[8] = {};
  const std::size_t whole = w.size() & ~std::size_t{7};
  const auto square = [&](float x) {
    const float e = x - G::nearest(x, p);
    return static_cast<double>(e) * static_cast<double>(e);
  };
  for (std::size_t i = 0; i < whole; i += 8)
    for (std::size_t j = 0; j < 8; ++j) lane[j] += square(w[i + j]);
  for (std::size_t i = whole; i < w.size(); ++i) lane[i - whole] += square(w[i]);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// Σ a_j·(w_j − ŵ_j)², the same way; one rounding a term.
template <grid G>
double squared_error(std::span<const float> w, std::span<const float> importance, group_parameters p) noexcept {
  double sum = 0;
  for (std::size_t j = 0; j < w.size(); ++j) {
    const float e = w[j] - G::nearest(w[j], p);
    sum = fma_rn(static_cast<double>(e) * static_cast<double>(e), static_cast<double>(importance[j]), sum);
  }
  return sum;
}

}  // namespace detail

// The group's extent itself: with an integer zero nothing is clipped.
struct min_max {
  static status check(index_t) noexcept { return {}; }
  template <grid G>
  static group_parameters fit(std::span<const float> w, index_t) noexcept {
    return G::fit(detail::extent_of(w));
  }
};

// The clipping ratio that leaves the least Σ a_j·(w_j − ŵ_j)², tried at r_i = 1 − (1 − smallest)·i/steps, i = 0 …
// steps; the larger ratio of two equals. r = 1 is min_max, so the result is never worse than it in that sum. The
// defaults are those of the `mse` option of GPTQ's reference code (r = 1.00, 0.99, …), with the square instead of the
// power 2.4 and down to 0.2. Cost steps + 1 times that of rounding.
// Weights of heavier tails want smaller ratios at few bits; at 8 bits next to nothing is gained.
struct mse_scale {
  int steps = 80;
  double smallest = 0.2;
  std::span<const float> importance{};  // a_j ≥ 0 of each column (e.g. the mean of x_j²), or empty: 1

  // Errors: invalid_argument, shape_mismatch, not_finite.
  status check(index_t cols) const noexcept {
    if (steps < 1) return error{errc::invalid_argument, "steps of mse_scale", text(steps), "at least 1"};
    if (!(smallest > 0 && smallest <= 1))
      return error{errc::invalid_argument, "smallest ratio of mse_scale", text(smallest), "above 0, at most 1"};
    if (importance.empty()) return {};
    if (static_cast<index_t>(importance.size()) != cols)
      return error{errc::shape_mismatch, "importance", text(importance.size(), " columns"), text(cols)};
    for (std::size_t j = 0; j < importance.size(); ++j) {
      const float a = importance[j];
      if (!(a - a == 0)) return error{errc::not_finite, text("importance of column ", j), text(a), "a finite number"};
      if (a < 0) return error{errc::invalid_argument, text("importance of column ", j), text(a), "at least 0"};
    }
    return {};
  }

  template <grid G>
  group_parameters fit(std::span<const float> w, index_t first) const noexcept {
    const extent of = detail::extent_of(w);
    const auto error_of = [&](group_parameters p) {
      return importance.empty()
                 ? detail::squared_error<G>(w, p)
                 : detail::squared_error<G>(w, importance.subspan(static_cast<std::size_t>(first), w.size()), p);
    };
    group_parameters best = G::fit(of);
    double least = error_of(best);
    for (int i = 1; i <= steps && least > 0; ++i) {
      const group_parameters p = G::fit(of, 1.0 - div_rn(mul_rn(1.0 - smallest, i), steps));
      const double e = error_of(p);
      if (e < least) {
        least = e;
        best = p;
      }
    }
    return best;
  }
};

}  // namespace RESECT_NAMESPACE::quant
