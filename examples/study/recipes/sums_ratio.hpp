// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <study/report/record.hpp>

namespace studies {

// Σ of one over Σ of the other, over the same tokens, with the interval of the delta method.
inline estimate ratio_of(const resect::metrics::clustered_sums& a, const resect::metrics::clustered_sums& b) {
  resect::metrics::joint_sums<2> both(a.clusters());
  for (resect::index_t c = 0; c < a.clusters(); ++c)
    if (a.count(c) > 0) both.add_sums(c, {a.sum(c), b.sum(c)}, a.count(c));
  return both.estimate(resect::metrics::ratio_of_totals{});
}

}  // namespace studies
