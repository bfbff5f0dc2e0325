// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <span>

#include <resect/metrics/clustered_mean.hpp>
#include <resect/metrics/pack.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG::metrics {

// ⟨a, b⟩, |a|², |b|² and |a − b|² of two rows.
struct row_sums {
  double dot = 0;
  double aa = 0;
  double bb = 0;
  double dd = 0;
};

// All four in one pass. Floats are widened first, so products are exact; eight lanes of double, combined in a fixed
// order: the same bits on every machine as long as products are exact (a·b is; (a − b)² may be fused, 1 ulp). Relative
// error of the squares ≤ (n/8 + 4)·2⁻⁵³. All NaN for rows of different lengths.
inline row_sums row_products(std::span<const float> a, std::span<const float> b) noexcept {
  if (a.size() != b.size()) return {nan, nan, nan, nan};
  const index n = static_cast<index>(a.size());
  detail::pack dot, aa, bb, dd;
  const auto take = [&](const float* p, const float* q) {
    for (int k = 0; k < detail::pack_parts; ++k) {
      const detail::part_f64 x = detail::load_part(p, k), y = detail::load_part(q, k), d = x - y;
      dot.part[k] += x * y;
      aa.part[k] += x * x;
      bb.part[k] += y * y;
      dd.part[k] += d * d;
    }
  };
  index i = 0;
  for (; i + detail::pack_lanes <= n; i += detail::pack_lanes) take(a.data() + i, b.data() + i);
  if (i < n) {
    float p[detail::pack_lanes], q[detail::pack_lanes];
    detail::load_rest(a.data() + i, n - i, 0.0f, p);
    detail::load_rest(b.data() + i, n - i, 0.0f, q);
    take(p, q);
  }
  return {dot.sum(), aa.sum(), bb.sum(), dd.sum()};
}

// ⟨a, b⟩/√(|a|²·|b|²), within [−1, 1]; exactly 1 for equal rows. Two zero rows: 1 (they are equal); one zero row: 0.
inline double cosine(const row_sums& s) noexcept {
  if (s.aa == 0 || s.bb == 0) return s.aa == s.bb ? 1.0 : s.aa != s.aa || s.bb != s.bb ? nan : 0.0;
  const double c = s.dot / std::sqrt(s.aa * s.bb);
  return c > 1 ? 1.0 : c < -1 ? -1.0 : c;
}
inline double cosine(std::span<const float> a, std::span<const float> b) noexcept { return cosine(row_products(a, b)); }

namespace detail {
struct cosine_of_rows {
  static double value(double c) noexcept { return c; }
  static double value(std::span<const float> a, std::span<const float> b) noexcept { return cosine(a, b); }
};
}  // namespace detail

// Mean over rows of the cosine between two runs (not the pooled one, Σ⟨a,b⟩/√(Σ|a|²·Σ|b|²), which is another number);
// add(cluster, row, row) or add(cluster, cosine).
using mean_cosine = clustered_mean<detail::cosine_of_rows>;

}  // namespace resect::inline RESECT_NAMESPACE_TAG::metrics
