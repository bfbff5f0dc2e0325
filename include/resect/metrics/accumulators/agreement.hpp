// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <resect/metrics/intervals/wilson.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {
struct top1_match {
  static constexpr mean_range range = mean_range::rate;
  static double value(index_t intact, index_t edited) noexcept {
    return intact < 0 || edited < 0 ? nan : intact == edited ? 1.0 : 0.0;
  }
};
}  // namespace detail

// Top-1 agreement: the share of positions whose most likely token is the same in the intact and the altered model.
// Ties go to the lowest id and are counted. (Agreement with the intact model is not accuracy.) A position without a
// most likely token (−1: NaN) makes the estimate NaN.
class top1_agreement {
 public:
  top1_agreement() noexcept = default;
  explicit top1_agreement(index_t clusters) : matches_(clusters) {}

  void add(index_t cluster, index_t top1_intact, index_t top1_edited, bool tied = false) noexcept {
    matches_.add(cluster, top1_intact, top1_edited);
    ties_ += tied ? 1 : 0;
  }
  status merge(const top1_agreement& other) noexcept {
    if (status s = matches_.merge(other.matches_); !s) return s;
    ties_ += other.ties_;
    return {};
  }

  // Clustered, by the logit; Wilson's with one observation a cluster for a rate of 0 or 1 (set_interval).
  metrics::estimate estimate(double level = 0.95) const noexcept { return matches_.estimate(level); }
  // The same share p with the standard error that llama-perplexity prints, √(p(1 − p)/(n − 1)) (Wald's, tokens taken for
  // independent; for comparison only). n_clusters = n. The interval p ± z·se is not theirs; none for one token.
  metrics::estimate estimate_tokens(double level = 0.95) const noexcept {
    metrics::estimate e;
    e.n = e.n_clusters = sums().total_count();
    if (e.n == 0 || sums().rejected() > 0) return e;
    const double n = static_cast<double>(e.n);
    e.value = sums().total().value() / n;
    if (e.n == 1) return e;
    e.se = math::sqrt(e.value * (1 - e.value) / (n - 1));
    const double half = normal_quantile(0.5 + level / 2) * e.se;
    e.lo = e.value - half;
    e.hi = e.value + half;
    return e;
  }
  static constexpr mean_range range() noexcept { return mean_range::rate; }
  // Positions where either model had more than one most likely token.
  index_t ties() const noexcept { return ties_; }
  const clustered_sums& sums() const noexcept { return matches_.sums(); }

 private:
  clustered_mean<detail::top1_match> matches_;
  index_t ties_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
