// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/metrics/accumulators/quantiles.hpp>
#include <resect/metrics/similarity/cosine.hpp>

namespace RESECT_NAMESPACE::metrics {

// The cosines of rows between two runs: the mean with its clustered interval, and quantiles. A mean of 0.99 may come
// from all rows at 0.99 or from one row in fifty at ½; the low quantiles show that. A sketch of 1 − cos
// (log_histogram) resolves cosines near 1 as finely as others: the quantile q of the cosine is that of the order
// statistic to within (1 − q)/64 + 2⁻⁵². Merging is exact in any order. A cosine that is NaN makes everything NaN.
class cosine_profile {
 public:
  cosine_profile() = default;
  explicit cosine_profile(index_t clusters) : mean_(clusters) {}

  // One row: its cosine, or both rows. No allocation.
  void add(index_t cluster, double cosine) noexcept {
    mean_.add(cluster, cosine);
    apart_.add(1 - cosine);
  }
  void add(index_t cluster, std::span<const float> a, std::span<const float> b) noexcept { add(cluster, cosine(a, b)); }
  status merge(const cosine_profile& other) noexcept {
    if (status s = mean_.merge(other.mean_); !s) return s;
    apart_.merge(other.apart_);
    return {};
  }

  metrics::estimate estimate(double level = 0.95) const noexcept { return mean_.estimate(level); }
  // The ⌈p·n⌉-th smallest cosine (the first for p = 0); NaN when empty, with NaN in it, or for p outside [0, 1].
  double quantile(double p) const noexcept {
    const index_t n = apart_.count();
    return p >= 0 && p <= 1 ? 1 - apart_.ranked(n + 1 - quantile_rank(p, n)) : nan;
  }
  double min() const noexcept { return 1 - apart_.max(); }
  double p01() const noexcept { return quantile(0.01); }
  double p05() const noexcept { return quantile(0.05); }
  double median() const noexcept { return quantile(0.5); }
  double max() const noexcept { return 1 - apart_.min(); }

  const mean_cosine& mean() const noexcept { return mean_; }
  const clustered_sums& sums() const noexcept { return mean_.sums(); }
  // Of 1 − cos.
  const log_histogram& apart() const noexcept { return apart_; }

 private:
  mean_cosine mean_;
  log_histogram apart_;
};

}  // namespace RESECT_NAMESPACE::metrics
