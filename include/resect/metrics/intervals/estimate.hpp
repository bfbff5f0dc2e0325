// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>

#include <resect/core/math.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::metrics {

// The value of a figure that does not exist: no interval, no estimate.
inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// The result of every accumulator: a value, its standard error, the interval [lo, hi], the number of observations and
// of independent clusters. lo and hi are NaN where there is no interval, se where there is no standard error (fewer
// than two clusters). A value that is not finite has neither.
struct estimate {
  double value = nan;
  double se = nan;
  double lo = nan;
  double hi = nan;
  index_t n = 0;
  index_t n_clusters = 0;

  constexpr bool has_interval() const noexcept { return lo <= hi; }
};

// The reliability of an interval over G clusters: none below 6 (there is no interval: "too few clusters"), marked
// below 16 (printed with a mark), else full.
enum class reliability : std::uint8_t { none, marked, full };

// The smallest number of clusters for an interval.
inline constexpr index_t min_clusters = 6;
// The smallest number of clusters for an interval without a mark.
inline constexpr index_t min_full_clusters = 16;

// The reliability of the interval over so many clusters.
constexpr reliability reliability_of(index_t clusters) noexcept {
  return clusters < min_clusters        ? reliability::none
         : clusters < min_full_clusters ? reliability::marked
                                        : reliability::full;
}
constexpr reliability reliability_of(const estimate& e) noexcept {
  return e.has_interval() ? reliability_of(e.n_clusters) : reliability::none;
}

// The estimate of exp θ from the estimate of θ (perplexity from nll, a ratio from Δln PPL). exp maps the ends of the
// interval; the standard error is exp(θ)·se (delta method).
inline estimate map_exp(const estimate& e) noexcept {
  const double value = math::exp(e.value);
  return {value, value * e.se, math::exp(e.lo), math::exp(e.hi), e.n, e.n_clusters};
}

}  // namespace RESECT_NAMESPACE::metrics
