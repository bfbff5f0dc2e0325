// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/moments.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/student_t.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {

// llama.cpp's standard error of a mean over n tokens: 0 for n ≤ 10 (and no interval).
inline estimate token_estimate(double value, double se, index_t n, double level) noexcept {
  estimate e;
  e.n = e.n_clusters = n;
  if (n == 0) return e;
  e.value = value;
  e.se = n > 10 ? se : 0.0;
  if (n > 10 && is_finite(se)) {
    const double half = normal_quantile(0.5 + level / 2) * se;
    e.lo = value - half;
    e.hi = value + half;
  }
  return e;
}
inline estimate mean_of_tokens(const moments& m, double level) noexcept {
  const double n = static_cast<double>(m.count());
  return token_estimate(m.mean(), math::sqrt(m.squared_deviations() / n / (n - 1)), m.count(), level);
}

}  // namespace detail

}  // namespace RESECT_NAMESPACE::metrics
