// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/metrics/rows/four_sums.hpp>

// Measures of two rows (or of all rows together) that need ⟨a, b⟩, |a|², |b|² and |a − b|² alone; a is the altered row,
// b the reference. Each takes those sums, so one pass over the rows serves them all.
namespace RESECT_NAMESPACE::metrics {

// The relative error of one row, ‖a − b‖/‖b‖. 0 for two zero rows, ∞ for b = 0 alone.
template <four_sums S>
double relative_error(const S& s) noexcept {
  if (s.dd == 0 && s.bb == 0) return 0;
  return math::sqrt(s.dd / s.bb);
}

namespace detail {
struct relative_error_of_rows {
  static constexpr mean_range range = mean_range::nonnegative;
  static double value(double error) noexcept { return error; }
  template <four_sums S>
  static double value(const S& s) noexcept {
    return relative_error(s);
  }
};
}  // namespace detail

// The mean over rows of the relative error ‖a − b‖/‖b‖; add(cluster, sums) or add(cluster, ratio).
using mean_relative_error = clustered_mean<detail::relative_error_of_rows>;

// The Frobenius relative error √(Σ‖a − b‖²/Σ‖b‖²). Rows count by their norm, so a few long rows may dominate it
// (mean_relative_error is another number). Clustered interval by the delta method. 0/0 = 0; ∞ for Σ‖b‖² = 0 alone.
// Where a is an orthogonal projection of b, its square and that of the pooled cosine add up to 1: they are one
// measurement.
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
        level, mean_range::nonnegative);
  }
  // Σ‖a − b‖² and Σ‖b‖² a cluster.
  const joint_sums<2>& sums() const noexcept { return sums_; }

 private:
  joint_sums<2> sums_;
};

}  // namespace RESECT_NAMESPACE::metrics
