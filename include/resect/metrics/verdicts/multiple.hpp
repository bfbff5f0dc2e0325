// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <vector>

#include <resect/core/array.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/student_t.hpp>

namespace RESECT_NAMESPACE::metrics {

// One-sided p-value of H0: μ ≤ bound against μ > bound from an estimate: P(T ≥ (value − bound)/se), T with
// `degrees` (G − 1 when 0) degrees of freedom. se = 0: 0 or 1. NaN where the estimate has no interval.
inline double p_above(const estimate& e, double bound, double degrees = 0) noexcept {
  if (!e.has_interval()) return nan;
  const double gap = e.value - bound;
  if (e.se == 0) return gap > 0 ? 0.0 : 1.0;
  return student_t_cdf(-gap / e.se, degrees > 0 ? degrees : static_cast<double>(e.n_clusters - 1));
}

// The same of H0: μ ≥ bound against μ < bound.
inline double p_below(const estimate& e, double bound, double degrees = 0) noexcept {
  if (!e.has_interval()) return nan;
  const double gap = e.value - bound;
  if (e.se == 0) return gap < 0 ? 0.0 : 1.0;
  return student_t_cdf(gap / e.se, degrees > 0 ? degrees : static_cast<double>(e.n_clusters - 1));
}

// Of H0: |μ| ≥ bound against |μ| < bound: the larger of the two one-sided ones (TOST, Schuirmann 1987).
inline double p_within(const estimate& e, double bound, double degrees = 0) noexcept {
  const double low = p_above(e, -bound, degrees), high = p_below(e, bound, degrees);
  return low > high ? low : high;
}

namespace detail {

// The places of the p-values that are not NaN, smallest first; those of one value as they stand.
inline array<std::size_t> ascending_places(std::span<const double> p) {
  array<std::size_t> order;  // by insertion: tables have tens of layers
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] != p[i]) continue;
    order.push_back(i);
    for (index_t j = order.size() - 1; j > 0 && p[order[j]] < p[order[j - 1]]; --j) {
      const std::size_t larger = order[j - 1];
      order[j - 1] = order[j];
      order[j] = larger;
    }
  }
  return order;
}

// holm(p) in the place of p.
inline void adjust_by_holm(std::span<double> p) {
  const auto order = ascending_places(p);
  double running = 0;
  for (index_t j = 0; j < order.size(); ++j) {
    const double scaled = static_cast<double>(order.size() - j) * p[order[j]];
    const double capped = scaled < 1 ? scaled : 1.0;
    running = running > capped ? running : capped;
    p[order[j]] = running;
  }
}

}  // namespace detail

// Holm's step-down: adjusted p-values such that rejecting those ≤ α has a family-wise error of at most α under any
// dependence. p̃_(i) = max_{j ≤ i} min(1, (m − j + 1)·p_(j)), m the hypotheses that have a p-value; NaN stays NaN and
// is not counted. For claims. Source: Holm, Scand. J. Statist. 6 (1979).
inline std::vector<double> holm(std::span<const double> p) {
  std::vector<double> adjusted(p.data(), p.data() + p.size());
  detail::adjust_by_holm({adjusted.data(), adjusted.size()});
  return adjusted;
}

// Benjamini and Hochberg's step-up: adjusted p-values such that among those ≤ q at most a share q is expected to be
// false, where the hypotheses are independent or depend on each other positively. p̃_(i) = min_{j ≥ i} min(1, m/j·p_(j));
// NaN as in holm. For screening: what is found goes to fresh data, where Holm decides. Source: Benjamini & Hochberg,
// J. R. Stat. Soc. B 57 (1995).
inline std::vector<double> benjamini_hochberg(std::span<const double> p) {
  std::vector<double> adjusted(p.data(), p.data() + p.size());
  const auto order = detail::ascending_places(p);
  double running = 1;
  for (index_t j = order.size(); j > 0; --j) {
    const double scaled = static_cast<double>(order.size()) / static_cast<double>(j) * p[order[j - 1]];
    running = running < scaled ? running : scaled;
    adjusted[order[j - 1]] = running;
  }
  return adjusted;
}

}  // namespace RESECT_NAMESPACE::metrics
