// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered_mean.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {
struct one_minus_cosine {
  static constexpr mean_range range = mean_range::nonnegative;
  static double value(double cosine) noexcept { return 1 - cosine; }
};
}  // namespace detail

// Block influence, BI_l = 1 − mean cos(h_l, h_{l+1}) (ShortGPT, Men et al. 2024); add(cluster, cosine). Zero rows as
// in `cosine`.
using block_influence = clustered_mean<detail::one_minus_cosine>;

}  // namespace RESECT_NAMESPACE::metrics
