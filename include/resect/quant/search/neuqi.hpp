// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/search/minimum_sweep.hpp>

namespace RESECT_NAMESPACE::quant {

// Scale and float zero as NeUQI has them (Lin et al., "NeUQI", 2025, after its abstract, so NeUQI-type): for a scale the best
// zero in closed form, scales from coarse to fine. The closed form takes the rounding errors of weights between the levels as
// equal, which leaves the error of those beyond them,
//   L(m) = Σ a_j·(m − w_j)₊² + Σ a_j·(w_j − m − (2^b − 1)·s)₊²:
// convex, made of parabolas that change at w_j and w_j − (2^b−1)·s; its minimum is where the slope passes 0, found by
// halving, m = the weighted mean of what is clipped. The scale with the least Σ a_j·(w_j − ŵ_j)² wins, min_max's among them, so
// the result is never worse than min_max. `exact` loses less and costs twenty times as much.
// Cost: O(n·log n) and 2·`scales` times that of rounding.
struct neuqi {
  int scales = 24;                      // coarse ones, and as many fine ones about the best of them
  std::span<const float> importance{};  // a_j ≥ 0 of each column, or empty: 1

  // As names of methods show it, and the identity of everything that changes what it does.
  static constexpr std::string_view name() noexcept { return "neuqi"; }
  std::uint64_t hash() const noexcept {
    return fingerprint{}.add("resect.neuqi/2").add(static_cast<std::uint64_t>(scales)).add(importance).value();
  }

  static constexpr min_max base() noexcept { return {}; }

  // Errors: invalid_argument, shape_mismatch, not_finite.
  status check(index_t cols) const noexcept {
    if (scales < 2) return error{errc::invalid_argument, "scales of neuqi", text(scales), "at least 2"};
    return detail::check_importance(importance, cols);
  }

  template <offset_grid G, store_of<typename G::parameters> T>
  typename G::parameters fit(const G& g, const T& t, const typename T::header& h, group_weights w) const {
    using P = typename G::parameters;
    P best = t.nearest(g.fit(w.values, w.importance), h);
    double least = detail::squared_error(g, w, best);
    const extent of = detail::extent_of(w.values);
    const double whole = div_rn(double{of.hi} - double{of.lo}, g.level_count() - 1);
    if (!(least > 0 && whole > 0)) return best;
    const auto sum = [&](double s, double m) { return slope(w, m, mul_rn(s, g.level_count() - 1)); };
    double best_scale = whole;
    const auto consider = [&](double s) {
      const double lo = double{of.lo}, hi = double{of.hi} - mul_rn(s, g.level_count() - 1);
      const P p = t.nearest(
          g.at(s, root(detail::smaller(lo, hi), detail::larger(lo, hi), [&](double m) { return sum(s, m); })), h);
      const double e = detail::squared_error(g, w, p);
      if (e < least) {
        least = e;
        best = p;
        best_scale = s;
      }
    };
    for (int i = 0; i < scales; ++i) consider(mul_rn(whole, 1.0 - div_rn(mul_rn(0.65, i), scales)));
    const double middle = best_scale, step = div_rn(mul_rn(whole, 0.65), static_cast<double>(scales) * scales);
    for (int i = -scales; i <= scales; ++i)
      if (const double s = fma_rn(step, i, middle); i != 0 && s > 0) consider(s);
    return best;
  }

 private:
  // Half the slope of L at m.
  static double slope(group_weights w, double m, double range) noexcept {
    double sum = 0;
    for (std::size_t j = 0; j < w.values.size(); ++j) {
      const double a = w.importance.empty() ? 1.0 : double{w.importance[j]}, x = double{w.values[j]};
      if (x < m) sum = fma_rn(a, m - x, sum);
      if (x > m + range) sum = fma_rn(a, m + range - x, sum);
    }
    return sum;
  }
  // Where a rising function passes 0, to 2⁻³⁰ of the interval.
  template <class F>
  static double root(double lo, double hi, F f) noexcept {
    for (int i = 0; i < 30; ++i) {
      const double middle = lo + 0.5 * (hi - lo);
      (f(middle) > 0 ? hi : lo) = middle;
    }
    return lo + 0.5 * (hi - lo);
  }
};

}  // namespace RESECT_NAMESPACE::quant
