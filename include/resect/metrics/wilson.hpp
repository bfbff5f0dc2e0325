// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/metrics/estimate.hpp>
#include <resect/metrics/student_t.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG::metrics {

// Wilson's score interval of a rate over n INDEPENDENT items (every item is a cluster of its own; rates over
// tokens are clustered instead). centre (k + z²/2)/(n + z²), half-width z/(n + z²)·√(k(n − k)/n + z²/4).
// se = √(p(1 − p)/n). No value for n = 0; NaN for k outside 0 … n. Source: Wilson, JASA 22 (1927).
inline estimate wilson(index successes, index n, double level = 0.95) noexcept {
  estimate e;
  e.n = e.n_clusters = n;
  if (n <= 0 || successes < 0 || successes > n) return e;
  const double k = static_cast<double>(successes), m = static_cast<double>(n);
  const double z = normal_quantile(0.5 + level / 2);
  const double centre = (k + z * z / 2) / (m + z * z);
  const double half = z / (m + z * z) * std::sqrt(k * (m - k) / m + z * z / 4);
  e.value = k / m;
  e.se = std::sqrt(e.value * (1 - e.value) / m);
  e.lo = successes == 0 ? 0.0 : centre - half;
  e.hi = successes == n ? 1.0 : centre + half;
  return e;
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::metrics
