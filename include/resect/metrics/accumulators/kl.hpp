// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered_mean.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {
struct kl_value {
  static constexpr mean_range range = mean_range::nonnegative;
  static double value(double kl) noexcept { return kl; }
};
}  // namespace detail

// The mean KL(intact ‖ altered) over positions, in nats; add(cluster, kl).
using kl_divergence = clustered_mean<detail::kl_value>;

}  // namespace RESECT_NAMESPACE::metrics
