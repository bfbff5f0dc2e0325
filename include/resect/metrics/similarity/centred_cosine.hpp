// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>

namespace RESECT_NAMESPACE::metrics {

// The four sums of two rows less a fixed row m.
struct centred_sums {
  double dot = 0;
  double aa = 0;
  double bb = 0;
  double dd = 0;
};

// Computes the four sums of two rows less a fixed row m: ⟨a−m, b−m⟩, |a−m|², |b−m|², |a−b|². A few coordinates of
// enormous size, the same in every row, dominate the plain cosine of residual-stream rows (it is near 1 whatever the
// rest does); without the mean row they do not. m is the mean of intact rows of calibration text. Differences and
// sums in double, eight lanes combined in a fixed order (products may be fused, 1 ulp each); error of the squares ≤
// (n/8 + 6)·2⁻⁵³ relative. All NaN for different lengths.
inline centred_sums centred_products(std::span<const float> a, std::span<const float> b,
                                     std::span<const double> mean) noexcept {
  if (a.size() != b.size() || a.size() != mean.size()) return {nan, nan, nan, nan};
  double lane[4][8] = {};
  const auto take = [&](std::size_t i, std::size_t j) {
    const double x = static_cast<double>(a[i]) - mean[i], y = static_cast<double>(b[i]) - mean[i];
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    lane[0][j] += x * y;
    lane[1][j] += x * x;
    lane[2][j] += y * y;
    lane[3][j] += d * d;
  };
  const std::size_t whole = a.size() & ~std::size_t{7};
  for (std::size_t i = 0; i < whole; i += 8)
    for (std::size_t j = 0; j < 8; ++j) take(i + j, j);
  for (std::size_t i = whole; i < a.size(); ++i) take(i, i - whole);
  return {lane_sum(lane[0]), lane_sum(lane[1]), lane_sum(lane[2]), lane_sum(lane[3])};
}

namespace detail {
// cos of rows less their mean; the convention for zero rows is that of `cosine`.
struct centred_cosine_of_rows {
  static constexpr mean_range range = mean_range::at_most_one;
  static double value(const centred_sums& s) noexcept {
    if (s.aa == 0 || s.bb == 0) return s.aa == s.bb ? 1.0 : s.aa != s.aa || s.bb != s.bb ? nan : 0.0;
    const double c = s.dot / math::sqrt(s.aa * s.bb);
    return algo::clamp(c, -1.0, 1.0);
  }
};
}  // namespace detail

// The mean over rows of the cosine between a − m and b − m; add(cluster, centred_products(a, b, m)). Not comparable
// with mean_cosine: the type keeps them apart.
using mean_centred_cosine = clustered_mean<detail::centred_cosine_of_rows>;

}  // namespace RESECT_NAMESPACE::metrics
