// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/scale_search.hpp>

namespace RESECT_NAMESPACE::quant {

namespace detail {

// The least magnitude of a scale of the given sign at which a level grid's first set holds all weights of an extent.
template <level_grid G>
double holding_scale(const G& g, extent of, bool negative) noexcept {
  const double lo = negative ? -double{of.hi} : double{of.lo}, hi = negative ? -double{of.lo} : double{of.hi};
  const double first = g.level(0, 0), last = g.level(0, g.level_count() - 1);
  double s = 0;
  if (hi > 0 && last > 0) s = larger(s, div_rn(hi, last));
  if (lo < 0 && first < 0) s = larger(s, div_rn(lo, first));
  return s == 0 ? 0.0 : round_to_16_bits(negative ? -s : s);
}

// Whether scales below 0 give levels that scales above 0 do not: of a grid that is not `mirrored`, in a store that has them.
template <class G, class T>
constexpr bool both_signs() noexcept {
  if constexpr (!level_grid<G>) return false;
  else if constexpr (requires {
                       { G::mirrored } -> std::convertible_to<bool>;
                     })
    return T::negative_scales && !G::mirrored;
  else return T::negative_scales;
}

}  // namespace detail

// The scale that leaves the least Σ a_j·(w_j − ŵ_j)² of those tried: r_i of the grid's fit, r_i = 1 − (1 − smallest)·i/steps,
// i = 0 … steps, the larger ratio of two equals; also 2 − r_i for grids of several weights a code, which fit no extent, and for
// stores that list their scales, where the one nearest to the fit may be far below it.
// Where scales of the other sign give other levels, those too, r_i of the least one that clips nothing. r = 1 is min_max, so
// the result is never worse than it in that sum; where groups share a header, min_max's is tried beside its own.
// The default ratio steps by 2^−b/6 from 1 and ends at 0.2: wide codes need fine steps, since a step of the ratio moves the
// outer levels by as much of 2^(b−1) levels. The ratio goes back to the `mse` option of GPTQ's reference code (steps of
// 0.01 at every width, the power 2.4 in place of the square, one sign).
// Cost: 1 + steps times that of rounding, twice that for both signs or 2 − r.
struct mse_scale {
  int steps = 80;
  double smallest = 0.0;                // the smallest ratio, in (0, 1]; 0: 1 − steps·2^−b/6, at least 0.2
  std::span<const float> importance{};  // a_j ≥ 0 of each column (e.g. the mean of x_j²), or empty: 1

  // As names of methods show it, and the identity of everything that changes what it does.
  constexpr std::string_view name() const noexcept { return importance.empty() ? "mse" : "weighted mse"; }
  std::uint64_t hash() const noexcept {
    return fingerprint{}
        .add("resect.mse/2")
        .add(static_cast<std::uint64_t>(steps))
        .add(smallest)
        .add(importance)
        .value();
  }
  static constexpr min_max base() noexcept { return {}; }

  // Errors: invalid_argument, shape_mismatch, not_finite.
  status check(index_t cols) const noexcept {
    if (steps < 1) return error{errc::invalid_argument, "steps of mse_scale", text(steps), "at least 1"};
    if (!(smallest >= 0 && smallest <= 1))
      return error{errc::invalid_argument, "smallest ratio of mse_scale", text(smallest), "above 0, at most 1"};
    return detail::check_importance(importance, cols);
  }

  template <grid G, store_of<typename G::parameters> T>
  typename G::parameters fit(const G& g, const T& t, const typename T::header& h, group_weights w) const noexcept {
    using P = typename G::parameters;
    const P whole = g.fit(w.values, w.importance);
    P best = t.nearest(whole, h);
    double least = detail::squared_error(g, w, best);
    const auto consider = [&](const P& raw) {
      const P p = t.nearest(raw, h);
      const double e = detail::squared_error(g, w, p);
      if (e < least) {
        least = e;
        best = p;
      }
    };
    const extent of = detail::extent_of(w.values);
    const double end = smallest > 0 ? smallest : default_smallest(g.code_bits());
    const auto ratio = [&](int i) { return 1.0 - div_rn(mul_rn(1.0 - end, i), steps); };
    for (int i = 1; i <= steps && least > 0; ++i) {
      if constexpr (extent_grid<G>) consider(g.fit(of, ratio(i)));
      else consider(g.scaled(whole, ratio(i)));
      if constexpr (!scalar_grid<G> || listing_store<T>) consider(g.scaled(whole, 2.0 - ratio(i)));
    }
    if constexpr (detail::both_signs<G, T>()) {
      if (g.level_sets() == 1) {
        const double other = detail::holding_scale(g, of, whole.scale > 0);
        for (int i = 0; i <= steps && least > 0 && other != 0; ++i)
          consider(detail::existing(g, t, h, g.at_scale(mul_rn(other, ratio(i)), 0)));
      }
    }
    return best;
  }

 private:
  double default_smallest(int bits) const noexcept {
    const double step = div_rn(1.0, static_cast<double>(std::uint64_t{6} << (bits < 16 ? bits : 3)));
    return detail::larger(0.2, 1.0 - mul_rn(step, steps));
  }
};

}  // namespace RESECT_NAMESPACE::quant
