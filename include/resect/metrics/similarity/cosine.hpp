// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <resect/metrics/rows/row_products.hpp>

namespace RESECT_NAMESPACE::metrics {

// The cosine between two rows, ⟨a, b⟩/√(|a|²·|b|²), within [−1, 1]; exactly 1 for equal rows. Two zero rows: 1 (they
// are equal); one zero row: 0.
inline double cosine(const row_sums& s) noexcept {
  if (s.aa == 0 || s.bb == 0) return s.aa == s.bb ? 1.0 : s.aa != s.aa || s.bb != s.bb ? nan : 0.0;
  const double c = s.dot / math::sqrt(s.aa * s.bb);
  return algo::clamp(c, -1.0, 1.0);
}
inline double cosine(instruction_set set, std::span<const float> a, std::span<const float> b) noexcept {
  return cosine(row_products(set, a, b));
}
inline double cosine(std::span<const float> a, std::span<const float> b) noexcept { return cosine(row_products(a, b)); }

namespace detail {
struct cosine_of_rows {
  static constexpr mean_range range = mean_range::at_most_one;
  static double value(double c) noexcept { return c; }
  static double value(std::span<const float> a, std::span<const float> b) noexcept { return cosine(a, b); }
};
}  // namespace detail

// The mean over rows of the cosine between two runs; add(cluster, row, row) or add(cluster, cosine). The pooled
// cosine Σ⟨a,b⟩/√(Σ|a|²·Σ|b|²) is another number.
using mean_cosine = clustered_mean<detail::cosine_of_rows>;

}  // namespace RESECT_NAMESPACE::metrics
