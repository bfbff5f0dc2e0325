// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/metrics/rows/four_sums.hpp>

namespace RESECT_NAMESPACE::metrics {

// The pooled cosine Σ⟨a, b⟩/√(Σ‖a‖²·Σ‖b‖²): the cosine of all rows as one vector (mean_cosine is another number).
// Clustered interval by the delta method for the range of a cosine (set_interval): its upper end is at most 1. NaN
// where either sum of squares is 0.
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
          return algo::clamp(value, -1.0, 1.0);
        },
        level, mean_range::at_most_one);
  }
  // Σ⟨a, b⟩, Σ‖a‖² and Σ‖b‖² a cluster.
  const joint_sums<3>& sums() const noexcept { return sums_; }

 private:
  joint_sums<3> sums_;
};

}  // namespace RESECT_NAMESPACE::metrics
