// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered.hpp>

namespace RESECT_NAMESPACE::metrics {

// The clustered mean of a named quantity, as a type of its own so that two quantities cannot be merged with each
// other. `Measure::value(args…)` computes the averaged number from the observation of one token. `Measure::range`, if
// present, is the range of the mean and decides its interval (set_interval); else mean_range::any.
template <class Measure>
class clustered_mean {
 public:
  clustered_mean() noexcept = default;
  explicit clustered_mean(index_t clusters) : sums_(clusters) {}
  explicit clustered_mean(clustered_sums sums) noexcept : sums_(static_cast<clustered_sums&&>(sums)) {}

  // One token of a cluster. No allocation.
  template <class... Args>
    requires requires(const Args&... args) { Measure::value(args...); }
  void add(index_t cluster, const Args&... args) noexcept {
    sums_.add(cluster, Measure::value(args...));
  }
  status merge(const clustered_mean& other) noexcept { return sums_.merge(other.sums_); }

  metrics::estimate estimate(double level = 0.95) const noexcept { return sums_.estimate(level, range()); }
  static constexpr mean_range range() noexcept {
    if constexpr (requires { Measure::range; }) return Measure::range;
    else return mean_range::any;
  }
  const clustered_sums& sums() const noexcept { return sums_; }

 private:
  clustered_sums sums_;
};

}  // namespace RESECT_NAMESPACE::metrics
