// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>

namespace RESECT_NAMESPACE::study {

// The intact model in numbers: how well it predicts, and what its stream does at every layer.
struct baseline {
  metrics::perplexity ppl;
  std::vector<metrics::norm_profile> layers;  // what layer l reads, its delta, and how much it turns the row
  metrics::norm_profile output;               // what the final norm reads; no layer follows, so its deltas are 0
};

}  // namespace RESECT_NAMESPACE::study
