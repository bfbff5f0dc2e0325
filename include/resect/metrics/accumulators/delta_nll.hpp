// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered_mean.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {
struct nll_difference {
  static double value(double nll_intact, double nll_edited) noexcept { return nll_edited - nll_intact; }
};
}  // namespace detail

// Δln PPL: the mean of nll(altered) − nll(intact) of the same token; add(cluster, nll_intact, nll_altered).
using paired_delta = clustered_mean<detail::nll_difference>;

}  // namespace RESECT_NAMESPACE::metrics
