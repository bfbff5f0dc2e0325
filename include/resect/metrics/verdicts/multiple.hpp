// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/student_t.hpp>

namespace RESECT_NAMESPACE::metrics {

// The one-sided p-value of H0: μ ≤ bound against μ > bound, from an estimate: P(T ≥ (value − bound)/se), T with
// `degrees` (G − 1 when 0) degrees of freedom. se = 0: 0 or 1. NaN where the estimate has no interval.
inline double p_above(const estimate& e, double bound, double degrees = 0) noexcept {
  if (!e.has_interval()) return nan;
  const double gap = e.value - bound;
  if (e.se == 0) return gap > 0 ? 0.0 : 1.0;
  return student_t_cdf(-gap / e.se, degrees > 0 ? degrees : static_cast<double>(e.n_clusters - 1));
}

// The one-sided p-value of H0: μ ≥ bound against μ < bound.
inline double p_below(const estimate& e, double bound, double degrees = 0) noexcept {
  if (!e.has_interval()) return nan;
  const double gap = e.value - bound;
  if (e.se == 0) return gap < 0 ? 0.0 : 1.0;
  return student_t_cdf(gap / e.se, degrees > 0 ? degrees : static_cast<double>(e.n_clusters - 1));
}

// The p-value of H0: |μ| ≥ bound against |μ| < bound: the larger of the two one-sided p-values (TOST, Schuirmann
// 1987).
inline double p_within(const estimate& e, double bound, double degrees = 0) noexcept {
  const double low = p_above(e, -bound, degrees), high = p_below(e, bound, degrees);
  return algo::max(high, low);
}

namespace detail {

// The places of the p-values that are not NaN, smallest first; those of one value as they stand.
inline array<index_t> ascending_places(std::span<const double> p) {
  array<index_t> order;
  for (index_t i = 0; i < static_cast<index_t>(p.size()); ++i)
    if (p.data()[i] == p.data()[i]) order.push_back(i);
  const double* const value = p.data();
  algo::stable_sort(order.begin(), order.end(), [value](index_t a, index_t b) { return value[a] < value[b]; });
  return order;
}

// holm(p) in the place of p.
inline void adjust_by_holm(std::span<double> p) {
  const auto order = ascending_places(p);
  double running = 0;
  for (index_t j = 0; j < order.size(); ++j) {
    running = algo::max(running, algo::min(1.0, static_cast<double>(order.size() - j) * p.data()[order[j]]));
    p.data()[order[j]] = running;
  }
}

}  // namespace detail

// Holm's step-down: adjusted p-values such that rejecting those ≤ α has a family-wise error of at most α under any
// dependence. p̃_(i) = max_{j ≤ i} min(1, (m − j + 1)·p_(j)), m the hypotheses that have a p-value; NaN stays NaN and
// is not counted. For claims. Source: Holm, Scand. J. Statist. 6 (1979).
inline array<double> holm(std::span<const double> p) {
  array<double> adjusted(p);
  detail::adjust_by_holm(adjusted.span());
  return adjusted;
}

// Benjamini and Hochberg's step-up: adjusted p-values such that among those ≤ q at most a share q is expected to be
// false, where the hypotheses are independent or depend on each other positively. p̃_(i) = min_{j ≥ i} min(1, m/j·p_(j));
// NaN as in holm. For screening: test the findings again on fresh data with Holm. Source: Benjamini & Hochberg, J. R.
// Stat. Soc. B 57 (1995).
inline array<double> benjamini_hochberg(std::span<const double> p) {
  array<double> adjusted(p);
  const auto order = detail::ascending_places(p);
  double running = 1;
  for (index_t j = order.size(); j > 0; --j) {
    const double scaled = static_cast<double>(order.size()) / static_cast<double>(j) * p.data()[order[j - 1]];
    running = algo::min(running, scaled);
    adjusted[order[j - 1]] = running;
  }
  return adjusted;
}

}  // namespace RESECT_NAMESPACE::metrics
