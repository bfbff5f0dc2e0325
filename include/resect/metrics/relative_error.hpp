// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <limits>
#include <span>

#include <resect/core/math.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/clustered_mean.hpp>
#include <resect/metrics/joint.hpp>

// Measures of two rows (or of all rows together) that need ⟨a, b⟩, |a|², |b|² and |a − b|² alone; a is the altered row,
// b the reference. Each takes those sums, so one pass over the rows serves them all.
namespace RESECT_NAMESPACE::metrics {

// What holds the four sums of two rows.
template <class S>
concept four_sums = requires(const S& s) {
  { s.dot } -> std::convertible_to<double>;
  { s.aa } -> std::convertible_to<double>;
  { s.bb } -> std::convertible_to<double>;
  { s.dd } -> std::convertible_to<double>;
};

// The four sums of a − mean and b − mean.
struct centred_sums {
  double dot = 0;
  double aa = 0;
  double bb = 0;
  double dd = 0;
};

// ⟨a−m, b−m⟩, |a−m|², |b−m|², |a−b|² for a fixed row m. A few coordinates of enormous size, the same in every row,
// dominate the plain cosine of residual-stream rows (it is near 1 whatever the rest does); without the mean row they do
// not. m is the mean of intact rows of calibration text. Differences and sums in double, eight lanes combined in a
// fixed order (products may be fused, 1 ulp each); error of the squares ≤ (n/8 + 6)·2⁻⁵³ relative. All NaN for
// different lengths.
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
  const auto all = [](const double(&l)[8]) {
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
  };
  return {all(lane[0]), all(lane[1]), all(lane[2]), all(lane[3])};
}

// ‖a − b‖/‖b‖ of one row. 0 for two zero rows, ∞ for b = 0 alone.
template <four_sums S>
double relative_error(const S& s) noexcept {
  if (s.dd == 0 && s.bb == 0) return 0;
  return math::sqrt(s.dd / s.bb);
}

namespace detail {
struct relative_error_of_rows {
  static double value(double error) noexcept { return error; }
  template <four_sums S>
  static double value(const S& s) noexcept {
    return relative_error(s);
  }
};
// cos of rows less their mean; the convention for zero rows is that of `cosine`.
struct centred_cosine_of_rows {
  static double value(const centred_sums& s) noexcept {
    if (s.aa == 0 || s.bb == 0) return s.aa == s.bb ? 1.0 : s.aa != s.aa || s.bb != s.bb ? nan : 0.0;
    const double c = s.dot / math::sqrt(s.aa * s.bb);
    return c > 1 ? 1.0 : c < -1 ? -1.0 : c;
  }
};
}  // namespace detail

// Mean over rows of ‖a − b‖/‖b‖; add(cluster, sums) or add(cluster, ratio).
using mean_relative_error = clustered_mean<detail::relative_error_of_rows>;

// Mean over rows of the cosine between a − m and b − m; add(cluster, centred_products(a, b, m)). Not comparable with
// mean_cosine: the type keeps them apart.
using mean_centred_cosine = clustered_mean<detail::centred_cosine_of_rows>;

// Frobenius relative error √(Σ‖a − b‖²/Σ‖b‖²): rows count by their norm, so a few long rows may decide it (the mean
// over rows is another number). Clustered interval by the delta method. 0/0 = 0; ∞ for Σ‖b‖² = 0 alone. Where a is an
// orthogonal projection of b, its square and that of the pooled cosine add up to 1: they are one measurement.
class frobenius_error {
 public:
  frobenius_error() noexcept = default;
  explicit frobenius_error(index_t clusters) : sums_(clusters) {}

  // One row's sums. No allocation.
  template <four_sums S>
  void add(index_t cluster, const S& s) noexcept {
    sums_.add(cluster, s.dd, s.bb);
  }
  status merge(const frobenius_error& other) noexcept { return sums_.merge(other.sums_); }

  metrics::estimate estimate(double level = 0.95) const noexcept {
    return sums_.estimate(
        [](const double(&t)[2], double(&gradient)[2]) {
          if (t[0] == 0) return 0.0;
          const double value = math::sqrt(t[0] / t[1]);
          gradient[0] = value / (2 * t[0]);
          gradient[1] = -value / (2 * t[1]);
          return value;
        },
        level);
  }
  // Σ‖a − b‖² and Σ‖b‖² a cluster.
  const joint_sums<2>& sums() const noexcept { return sums_; }

 private:
  joint_sums<2> sums_;
};

// Pooled cosine Σ⟨a, b⟩/√(Σ‖a‖²·Σ‖b‖²): the cosine of all rows taken as one vector (mean_cosine is another number).
// Clustered interval by the delta method; it may end beyond ±1. NaN where either sum of squares is 0.
class pooled_cosine {
 public:
  pooled_cosine() noexcept = default;
  explicit pooled_cosine(index_t clusters) : sums_(clusters) {}

  // One row's sums. No allocation.
  template <four_sums S>
  void add(index_t cluster, const S& s) noexcept {
    sums_.add(cluster, s.dot, s.aa, s.bb);
  }
  status merge(const pooled_cosine& other) noexcept { return sums_.merge(other.sums_); }

  metrics::estimate estimate(double level = 0.95) const noexcept {
    return sums_.estimate(
        [](const double(&t)[3], double(&gradient)[3]) {
          const double size = math::sqrt(t[1]) * math::sqrt(t[2]);
          if (size == 0) return nan;
          const double value = t[0] / size;
          gradient[0] = 1 / size;
          gradient[1] = -value / (2 * t[1]);
          gradient[2] = -value / (2 * t[2]);
          return value > 1 ? 1.0 : value < -1 ? -1.0 : value;
        },
        level);
  }
  // Σ⟨a, b⟩, Σ‖a‖² and Σ‖b‖² a cluster.
  const joint_sums<3>& sums() const noexcept { return sums_; }

 private:
  joint_sums<3> sums_;
};

// Calls take(cluster, row of a, row of b) for every row whose cluster is not −1: how rows that do not count (BOS,
// padding) are left out. a, b (rows, cols) fp32 with contiguous rows; `cluster` has one entry a row. Errors: shape
// mismatch, bad stride, null; then nothing is called.
template <class F>
status for_counted_rows(matrix_view<const float> a, matrix_view<const float> b, std::span<const index_t> cluster,
                        F take) noexcept(noexcept(take(index_t{}, std::span<const float>{}, std::span<const float>{}))) {
  if (status s = check_view(a, static_cast<index_t>(cluster.size()), a.cols, "a"); !s) return s;
  if (status s = check_view(b, a.rows, a.cols, "b"); !s) return s;
  if (!a.rows_contiguous() || !b.rows_contiguous())
    return error{errc::bad_stride, a.rows_contiguous() ? "b" : "a",
                 text("column stride ", a.rows_contiguous() ? b.col_stride : a.col_stride), "contiguous rows"};
  const std::size_t n = static_cast<std::size_t>(a.cols);
  for (index_t r = 0; r < a.rows; ++r) {
    const index_t c = cluster[static_cast<std::size_t>(r)];
    if (c == -1) continue;
    take(c, std::span<const float>{a.data + r * a.row_stride, n}, std::span<const float>{b.data + r * b.row_stride, n});
  }
  return {};
}

}  // namespace RESECT_NAMESPACE::metrics
