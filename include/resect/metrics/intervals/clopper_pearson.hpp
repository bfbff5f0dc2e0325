// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/special_functions.hpp>

namespace RESECT_NAMESPACE::metrics {

// The quantile of the beta distribution: the x with I_x(a, b) = p, a, b > 0. 0 at p = 0, 1 at p = 1, NaN for p outside [0, 1]
// or a, b ≤ 0. Bisection, on the exponent first, so that a small x keeps its digits: relative error below 1e-12 of x, for
// x above ½ absolute. Cost about 70 incomplete beta functions.
inline double beta_quantile(double p, double a, double b) noexcept {
  if (!(p >= 0 && p <= 1 && a > 0 && b > 0)) return nan;
  if (p == 0 || p == 1) return p;
  double low = 1e-300, high = 1;
  for (int i = 0; i < 200 && high - low > 1e-16 * high; ++i) {
    const double middle = high > 4 * low ? math::sqrt(low) * math::sqrt(high) : 0.5 * (low + high);
    if (!(middle > low && middle < high)) break;
    (regularized_beta(a, b, middle, 1 - middle) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

// Clopper and Pearson's exact interval of a rate over n INDEPENDENT items: it holds the true rate in at least `level` of all
// samples for every rate and n, and is longer than Wilson's for that.
//   lo: P(X ≥ k | lo) = (1 − level)/2, the beta quantile with (k, n − k + 1), 0 for k = 0
//   hi: P(X ≤ k | hi) = (1 − level)/2, the beta quantile with (k + 1, n − k), 1 for k = n
// se = √(p(1 − p)/n). No value for n ≤ 0 or k outside 0 … n. Source: Clopper & Pearson, Biometrika 26 (1934).
inline estimate clopper_pearson(index_t successes, index_t n, double level = 0.95) noexcept {
  estimate e;
  e.n = e.n_clusters = n;
  if (n <= 0 || successes < 0 || successes > n) return e;
  const double k = static_cast<double>(successes), m = static_cast<double>(n), tail = 0.5 - level / 2;
  e.value = k / m;
  e.se = math::sqrt(e.value * (1 - e.value) / m);
  e.lo = successes == 0 ? 0.0 : beta_quantile(tail, k, m - k + 1);
  e.hi = successes == n ? 1.0 : 1 - beta_quantile(tail, m - k, k + 1);
  return e;
}

}  // namespace RESECT_NAMESPACE::metrics
