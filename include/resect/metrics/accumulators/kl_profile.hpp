// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/quantiles.hpp>

namespace RESECT_NAMESPACE::metrics {

// KL(intact ‖ altered) over positions, in nats: the mean with its clustered interval, quantiles and maximum. One
// position in a hundred often dominates the mean of KL; the quantiles show that. Quantiles are those of
// log_histogram: the ⌈p·n⌉-th smallest value to within 1/64 of itself, the maximum exactly; they merge exactly in any
// order. A KL that is
// NaN makes everything NaN; +∞ makes the mean infinite and counts as the largest value. Values below 2⁻¹²⁶ count as 0.
class kl_profile {
 public:
  // Tag of a profile against intact logits that were stored in few bits (16 in llama.cpp's base files): a token's KL may
  // lie below 0 by the error of that form, and enters mean, quantiles and maximum as it is.
  struct rounded_reference {};

  kl_profile() = default;
  explicit kl_profile(index_t clusters) : mean_(clusters) {}
  kl_profile(index_t clusters, rounded_reference)
      : mean_(clusters), spread_(log_histogram::signed_values{}), range_(mean_range::skewed) {}

  // One position. No allocation.
  void add(index_t cluster, double kl) noexcept {
    mean_.add(cluster, kl);
    spread_.add(kl);
  }
  status merge(const kl_profile& other) noexcept {
    if (status s = mean_.merge(other.mean_); !s) return s;
    spread_.merge(other.spread_);
    return {};
  }

  metrics::estimate estimate(double level = 0.95) const noexcept { return sums().estimate(level, range_); }
  double quantile(double p) const noexcept { return spread_.quantile(p); }
  double median() const noexcept { return quantile(0.5); }
  double p90() const noexcept { return quantile(0.90); }
  double p95() const noexcept { return quantile(0.95); }
  double p99() const noexcept { return quantile(0.99); }
  double p999() const noexcept { return quantile(0.999); }
  double max() const noexcept { return spread_.max(); }

  const kl_divergence& mean() const noexcept { return mean_; }
  const log_histogram& spread() const noexcept { return spread_; }
  const clustered_sums& sums() const noexcept { return mean_.sums(); }

 private:
  kl_divergence mean_;
  log_histogram spread_;
  mean_range range_ = mean_range::nonnegative;
};

}  // namespace RESECT_NAMESPACE::metrics
