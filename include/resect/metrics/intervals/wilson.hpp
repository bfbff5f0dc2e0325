// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/student_t.hpp>

namespace RESECT_NAMESPACE::metrics {

// Wilson's score interval of a rate over n INDEPENDENT items (every item is a cluster of its own; rates over tokens
// need clustered intervals). Centre (k + z²/2)/(n + z²), half-width z/(n + z²)·√(k(n − k)/n + z²/4). se = √(p(1 −
// p)/n). No value for n = 0; NaN for k outside 0 … n. Source: Wilson, JASA 22 (1927).
inline estimate wilson(index_t successes, index_t n, double level = 0.95) noexcept {
  estimate e;
  e.n = e.n_clusters = n;
  if (n <= 0 || successes < 0 || successes > n) return e;
  const double k = static_cast<double>(successes), m = static_cast<double>(n);
  const double z = normal_quantile(0.5 + level / 2);
  const double centre = (k + z * z / 2) / (m + z * z);
  const double half = z / (m + z * z) * math::sqrt(k * (m - k) / m + z * z / 4);
  e.value = k / m;
  e.se = math::sqrt(e.value * (1 - e.value) / m);
  e.lo = successes == 0 ? 0.0 : centre - half;
  e.hi = successes == n ? 1.0 : centre + half;
  return e;
}

// The interval of a rate of CLUSTERED observations: the interval of `e`, except for a rate of exactly 0 or 1, whose
// observations have no spread and would give [0, 0] or [1, 1]. Such a rate gets Wilson's interval with one
// observation for each of the `clusters` that hold observations: 20 clusters without a failure give [0.84, 1]. If `e`
// has no interval, there is none. se is unchanged.
inline estimate rate_interval(estimate e, index_t clusters, double level = 0.95) noexcept {
  if (!e.has_interval() || (e.value != 0 && e.value != 1)) return e;
  const estimate w = wilson(e.value == 0 ? 0 : clusters, clusters, level);
  e.lo = w.lo;
  e.hi = w.hi;
  return e;
}
inline estimate rate_interval(const estimate& e, double level = 0.95) noexcept {
  return rate_interval(e, e.n_clusters, level);
}

}  // namespace RESECT_NAMESPACE::metrics
