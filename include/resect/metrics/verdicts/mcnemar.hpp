// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/types.hpp>
#include <resect/metrics/intervals/special_functions.hpp>

namespace RESECT_NAMESPACE::metrics {

// The p-value of McNemar's exact test of b items that only the first arm passes against c that only the second does,
// two-sided: p = min(1, 2·P(X ≤ min(b, c))), X binomial(b + c, ½), through the incomplete beta function (relative
// error 1e-12). 1 for b + c = 0, NaN for a negative count. Source: McNemar, Psychometrika 12 (1947).
inline double mcnemar_p(index_t only_first, index_t only_second) noexcept {
  if (only_first < 0 || only_second < 0) return nan;
  const index_t n = only_first + only_second, k = algo::min(only_first, only_second);
  if (2 * k >= n - 1) return 1;
  const double p = 2 * regularized_beta(static_cast<double>(n - k), static_cast<double>(k + 1), 0.5, 0.5);
  return algo::min(1.0, p);
}

// The mid-p form: only half of the probability of what was observed counts, p − P(X = min(b, c)), and 1 − ½·P(X = b) where
// b = c. Its error of the first kind is near α and may pass it a little, where the exact test's stays well below. ½ for b + c
// = 0, NaN for a negative count. Source: Fagerland, Lydersen & Laake, BMC Med. Res. Methodol. 13 (2013) 91.
inline double mcnemar_mid_p(index_t only_first, index_t only_second) noexcept {
  const double p = mcnemar_p(only_first, only_second);
  if (p != p) return nan;
  const double b = static_cast<double>(only_first), c = static_cast<double>(only_second);
  const double choose = log_gamma(b + c + 1) - log_gamma(b + 1) - log_gamma(c + 1);
  const double observed = math::exp(choose - (b + c) * 0.69314718055994530942);
  return only_first == only_second ? 1 - 0.5 * observed : p - observed;
}

}  // namespace RESECT_NAMESPACE::metrics
