// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>

#include <resect/core/math.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::metrics {

// What is not known: no interval, no value.
inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// What every accumulator ends in: a value, its standard error, the interval [lo, hi], how many observations went
// in and how many independent clusters they came from. lo and hi are NaN where no interval may be given, se where
// not even a standard error exists (fewer than two clusters). A value that is not finite has neither.
struct estimate {
  double value = nan;
  double se = nan;
  double lo = nan;
  double hi = nan;
  index_t n = 0;
  index_t n_clusters = 0;

  constexpr bool has_interval() const noexcept { return lo <= hi; }
};

// How far an interval over G clusters is to be trusted: none below 6 (none is given: "too few clusters"), marked
// below 16 (printed with a mark), else full.
enum class reliability : std::uint8_t { none, marked, full };

// Clusters that an interval needs; fewer give none.
inline constexpr index_t min_clusters = 6;
inline constexpr index_t min_full_clusters = 16;

// How far the interval of so many clusters is to be trusted.
constexpr reliability reliability_of(index_t clusters) noexcept {
  return clusters < min_clusters        ? reliability::none
         : clusters < min_full_clusters ? reliability::marked
                                        : reliability::full;
}
constexpr reliability reliability_of(const estimate& e) noexcept {
  return e.has_interval() ? reliability_of(e.n_clusters) : reliability::none;
}

// The estimate of exp θ from that of θ (perplexity from nll, a ratio from Δln PPL): the ends of the interval are
// mapped, the standard error is exp(θ)·se (delta method).
inline estimate map_exp(const estimate& e) noexcept {
  const double value = math::exp(e.value);
  return {value, value * e.se, math::exp(e.lo), math::exp(e.hi), e.n, e.n_clusters};
}

}  // namespace RESECT_NAMESPACE::metrics
