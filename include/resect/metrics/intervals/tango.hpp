// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/special_functions.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {

// Tango's score statistic of H: p₁ − p₂ = Δ from b items that only the first arm passes, c that only the second does, n in
// all. q is the likelihood's best P(only second) under H. Falls from +∞ to −∞ as Δ goes from −1 to 1.
inline double tango_score(double b, double c, double n, double difference) noexcept {
  const double linear = (2 * n - b + c) * difference - b - c;
  const double square = linear * linear + 8 * n * c * difference * (1 - difference);
  const double q = (math::sqrt(square > 0 ? square : 0.0) - linear) / (4 * n);
  const double variance = n * (2 * q + difference * (1 - difference));
  const double gap = b - c - n * difference;
  if (gap == 0) return 0;
  return gap / math::sqrt(variance > 1e-300 ? variance : 1e-300);
}

}  // namespace detail

// Tango's score interval of a paired difference of rates, p₁ − p₂ = (b − c)/n over n INDEPENDENT items: all Δ whose score
// statistic (b − c − nΔ)/√(n(2q(Δ) + Δ(1 − Δ))) lies within ± z. Beside Newcombe's (paired_items::difference) it inverts a
// test: H: Δ ≤ −δ is rejected exactly where lo > −δ, so it is the interval for non-inferiority. se = √(b + c − (b − c)²/n)/n.
// Ends by bisection to 1e-15. No value for n ≤ 0, negative counts or b + c > n.
// Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
// Stat. Med. 17 (1998) 891–908, eq. 3.
inline estimate tango(index_t only_first, index_t only_second, index_t n, double level = 0.95) noexcept {
  estimate e;
  e.n = e.n_clusters = n;
  if (n <= 0 || only_first < 0 || only_second < 0 || only_first > n - only_second) return e;
  const double b = static_cast<double>(only_first), c = static_cast<double>(only_second), m = static_cast<double>(n);
  const double z = normal_quantile(0.5 + level / 2), spread = b + c - (b - c) * (b - c) / m;
  e.value = (b - c) / m;
  e.se = math::sqrt(spread > 0 ? spread : 0.0) / m;
  const auto root = [&](double low, double high, double wanted) {
    for (int i = 0; i < 60; ++i) {
      const double middle = 0.5 * (low + high);
      (detail::tango_score(b, c, m, middle) > wanted ? low : high) = middle;
    }
    return 0.5 * (low + high);
  };
  e.lo = only_second == n ? -1.0 : root(-1, e.value, z);
  e.hi = only_first == n ? 1.0 : root(e.value, 1, -z);
  return e;
}

}  // namespace RESECT_NAMESPACE::metrics
