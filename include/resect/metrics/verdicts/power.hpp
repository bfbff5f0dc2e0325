// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/special_functions.hpp>
#include <resect/metrics/verdicts/mcnemar.hpp>

// What a study can find, asked before it runs: `paired_items_needed` (paired_items.hpp) is the normal approximation, the
// functions here are exact, or about other questions.
namespace RESECT_NAMESPACE::metrics {

// The two p-values of McNemar's test from discordant items alone.
enum class mcnemar_rule : std::uint8_t { exact, mid_p };

namespace detail {

inline bool paired_shares(double difference, double discordance) noexcept {
  return discordance > 0 && discordance <= 1 && math::fabs(difference) <= discordance;
}

// ln C(n, k)·p^k·(1 − p)^(n − k), exponentiated; the ends 0 and 1 of p included.
inline double binomial_mass(index_t k, index_t n, double p) noexcept {
  if (p <= 0) return k == 0 ? 1.0 : 0.0;
  if (p >= 1) return k == n ? 1.0 : 0.0;
  const double a = static_cast<double>(k), b = static_cast<double>(n - k);
  const double choose = log_gamma(a + b + 1) - log_gamma(a + 1) - log_gamma(b + 1);
  return math::exp(choose + a * math::log(p) + b * math::log1p(-p));
}

// ⌈x⌉ as a count; 0 where there is none.
inline index_t count_of(double x) noexcept {
  if (!(x > 0 && x < 9e15)) return 0;
  const double up = math::ceil(x * (1 - 1e-12));
  return up < 1 ? 1 : static_cast<index_t>(up);
}

}  // namespace detail

// The probability that McNemar's test on n items says p ≤ alpha, two-sided, where the arms' true rates differ by `difference`
// and a share `discordance` of the items is graded differently: Σ over the number of discordant items m, binomial(n,
// discordance), and over those for the first arm, binomial(m, ½ + difference/(2·discordance)). With difference 0 it is the
// test's error of the first kind. NaN for shares outside their range, n < 0, alpha outside (0, 1).
// Relative error 1e-10. Cost O(n·√n) incomplete beta functions: only m with a mass above 1e-14 count, and of each the
// smallest number that rejects is found once.
inline double mcnemar_power(double difference, double discordance, index_t n, double alpha = 0.05,
                            mcnemar_rule rule = mcnemar_rule::exact) noexcept {
  if (!detail::paired_shares(difference, discordance) || n < 0 || !(alpha > 0 && alpha < 1)) return nan;
  const double share = 0.5 + difference / (2 * discordance);
  double power = 0;
  index_t most = -1;  // discordant items on the rarer side with which the test still rejects, of m; grows with m
  for (index_t m = 0; m <= n; ++m) {
    const auto p = [&](index_t k) {
      return rule == mcnemar_rule::exact ? mcnemar_p(m - k, k) : mcnemar_mid_p(m - k, k);
    };
    while (2 * (most + 1) < m && p(most + 1) <= alpha) ++most;
    const double weight = detail::binomial_mass(m, n, discordance);
    if (weight < 1e-14) continue;
    double rejects = 0;
    for (index_t k = 0; k <= most; ++k)
      rejects += detail::binomial_mass(k, m, share) + detail::binomial_mass(m - k, m, share);
    power += weight * rejects;
  }
  return power;
}

// The smallest number of items with which the exact (or mid-p) test has at least `power`, and keeps it with up to a quarter
// more: the power of a discrete test is a saw, and its first tooth above the line promises nothing. 0 where nothing is
// needed or can be (as paired_items_needed), or beyond `largest` items.
inline index_t mcnemar_items_needed(double difference, double discordance, double alpha = 0.05, double power = 0.8,
                                    mcnemar_rule rule = mcnemar_rule::exact, index_t largest = 4000) noexcept {
  if (!detail::paired_shares(difference, discordance) || difference == 0 || !(power > 0 && power < 1)) return 0;
  const auto enough = [&](index_t n) { return mcnemar_power(difference, discordance, n, alpha, rule) >= power; };
  index_t low = 1, high = 8;
  while (high <= largest && !enough(high)) {
    low = high;
    high *= 2;
  }
  if (high > largest) return 0;
  while (low < high) {  // some n of the saw's climb; then past its last tooth below the line
    const index_t middle = low + (high - low) / 2;
    if (enough(middle)) high = middle;
    else low = middle + 1;
  }
  for (index_t n = low, stop = low + low / 4 + 8; n <= stop; ++n)
    if (!enough(n)) low = n + 1;
  return low;
}

// The number of paired items with which a one-sided test at alpha shows that an arm is at most `margin` worse, with
// probability `power`, where both are equally good and a share `discordance` of the items is graded differently:
// ⌈(z_{1−α} + z_power)²·discordance/margin²⌉, a normal approximation. A margin of 0.03 at 10 % discordance: 687. 0 for a
// margin or discordance outside (0, 1], alpha or power outside (0, 1).
// Source: Liu, Hsueh, Hsieh & Chen, Stat. Med. 21 (2002) 231–245, the difference 0.
inline index_t noninferiority_items_needed(double margin, double discordance, double alpha = 0.05,
                                           double power = 0.8) noexcept {
  if (!(margin > 0 && margin <= 1 && discordance > 0 && discordance <= 1)) return 0;
  if (!(alpha > 0 && alpha < 1 && power > 0 && power < 1)) return 0;
  const double z = normal_quantile(1 - alpha) + normal_quantile(power);
  return detail::count_of(z > 0 ? z * z * discordance / (margin * margin) : 0.0);
}

// The number of independent items whose rate near `rate` has an interval of ± half_width: ⌈z²·p(1 − p)/half_width²⌉. 0 for
// a rate outside (0, 1), a half width ≤ 0, a level outside (0, 1).
inline index_t rate_items_needed(double rate, double half_width, double level = 0.95) noexcept {
  if (!(rate > 0 && rate < 1 && half_width > 0 && level > 0 && level < 1)) return 0;
  const double z = normal_quantile(0.5 + level / 2) / half_width;
  return detail::count_of(z * z * rate * (1 - rate));
}

}  // namespace RESECT_NAMESPACE::metrics
