// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/search/level_sweep.hpp>
#include <resect/quant/search/minimum_sweep.hpp>
#include <resect/quant/search/mse.hpp>

namespace RESECT_NAMESPACE::quant {

namespace detail {
// f(s) for each scale to try on an offset grid: those that exist in a store that lists them, else steps of the extent.
template <offset_grid G, class T, class F>
void for_each_scale(const G& g, const T& t, const typename T::header& h, extent of, int scales, F f) {
  const int last = g.level_count() - 1;
  // beyond the extent by a level, down to where a group of normal weights clips a tenth of them
  const double whole = div_rn(double{of.hi} - double{of.lo}, last);
  const double most = mul_rn(whole, 1.0 + div_rn(1.0, last)),
               least = mul_rn(whole, larger(0.35, 1.0 - div_rn(7.0, last)));
  if constexpr (listing_store<T>) {
    for (int i = 0; i < T::scale_count; ++i) {
      const double s = t.scale_at(i, h);
      if (s > 0 && s <= most && s >= least) f(s);
    }
  } else {
    for (int i = 0; i < scales; ++i) {
      const double s = most - mul_rn(most - least, div_rn(i, scales));
      const auto p = t.nearest(g.at(s, of.lo), h);
      if (p.scale > 0) f(double{p.scale});
    }
  }
}
}  // namespace detail

// The parameters of the least Σ a_j·(w_j − ŵ_j)² among those that exist in the store:
//   level grids (integer, NF4, FP4, E2M1, codebooks): exactly, over all scales of both signs and all sets of levels (all
//     integer zeros), by one sorted sweep for each sign and set (search/level_sweep.hpp has the argument);
//   offset grids (float minimum): for each scale of a list exactly over all minimums by a sweep; the list is all scales that
//     exist within a factor of the extent's where the store lists them (6 bits), else `scales` of them; then least
//     squares over both for the codes found.
// So exact ≤ mse_scale ≤ min_max for every format, in that sum, up to its rounding (2⁻⁴⁰ of Σ a·w², and levels that are
// rounded to float): of level grids because no scale that exists has less, of offset grids because mse_scale's parameters are
// tried first; where groups share a header, because those of mse_scale and min_max are tried, too. (Of mse_scale with its own
// default steps.) In f32 integer grids have scales of 16 significant bits here, so that values on a grid are found again
// exactly: there a scale of mse_scale that lies between two of them may have 2⁻³⁰ of Σ a·w² less.
// Cost: level grids O(n·levels·log levels) a sign and set; offset grids a sweep a scale, and mse_scale; up to four times that
// where groups share a header. Grids of more than `most_bits` are refused: at 8 bits the sweep of integer zeros would be 2⁸
// sweeps of 2⁸ crossings a weight, for less than a hundredth of mse_scale's error.
struct exact {
  static constexpr int most_bits = 5;   // of a code
  int scales = 24;                      // of offset grids
  std::span<const float> importance{};  // a_j ≥ 0 of each column, or empty: 1

  // As names of methods show it, and the identity of everything that changes what it does.
  static constexpr std::string_view name() noexcept { return "exact"; }
  std::uint64_t hash() const noexcept {
    return fingerprint{}.add("resect.exact/2").add(static_cast<std::uint64_t>(scales)).add(importance).value();
  }

  constexpr mse_scale base() const noexcept { return {.importance = importance}; }

  // Errors: invalid_argument (a grid of more than most_bits), shape_mismatch, not_finite.
  template <grid G>
  status check(const G& g, index_t cols) const noexcept {
    if (g.code_bits() > most_bits)
      return error{errc::invalid_argument, text("grid ", std::string_view{G::name}, " for an exact search"),
                   text(g.code_bits(), " bits"), text("at most ", most_bits, ": mse_scale is for wider ones")};
    return check(cols);
  }
  status check(index_t cols) const noexcept {
    if (scales < 1) return error{errc::invalid_argument, "scales of exact", text(scales), "at least 1"};
    return detail::check_importance(importance, cols);
  }

  template <class G, store_of<typename G::parameters> T>
    requires(level_grid<G> || offset_grid<G>)
  typename G::parameters fit(const G& g, const T& t, const typename T::header& h, group_weights w) const {
    using P = typename G::parameters;
    P best = level_grid<G> ? t.nearest(g.fit(w.values, w.importance), h) : mse_scale{}.fit(g, t, h, w);
    double least = detail::squared_error(g, w, best);
    if (!(least > 0)) return best;  // also where it is NaN
    if constexpr (level_grid<G>) {
      P found = best;
      double e = least;
      detail::level_sweep<G, T> sweep(g, t, h, w);
      for (int set = 0; set < g.level_sets(); ++set) {
        sweep.run(1, set, found, e);
        if constexpr (detail::both_signs<G, T>()) sweep.run(-1, set, found, e);
      }
      return detail::squared_error(g, w, found) < least ? found : best;
    } else {
      detail::minimum_sweep<G, T> sweep(g, t, h, w);
      detail::for_each_scale(g, t, h, detail::extent_of(w.values), scales, [&](double s) {
        P found = best;
        double e = least;
        sweep.run(s, found, e);
        e = detail::squared_error(g, w, found);
        if (!(e < least)) return;
        best = found;
        least = e;
        detail::refit(g, t, h, w, best, least, 4);
      });
      return best;
    }
  }
};

}  // namespace RESECT_NAMESPACE::quant
