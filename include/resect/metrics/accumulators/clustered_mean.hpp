// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered.hpp>

namespace RESECT_NAMESPACE::metrics {

// A clustered mean of one named quantity. `Measure::value(args…)` turns what is observed at one token into the
// number that is averaged; the type keeps two quantities from being merged with each other. `Measure::range`, where it is
// given, says which values the mean can take, and so which interval it has (set_interval); else mean_range::any.
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
