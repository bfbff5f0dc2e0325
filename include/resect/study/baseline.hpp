// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <vector>

#include <resect/metrics/accumulators/norm_profile.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>

namespace RESECT_NAMESPACE::study {

// Measures of the intact model: its perplexity, and a profile of the stream at every layer.
struct baseline {
  metrics::perplexity ppl;
  std::vector<metrics::norm_profile> layers;  // of layer l: its input, its delta, its block influence
  metrics::norm_profile output;               // the input of the final norm; no layer follows, so its deltas are 0
};

}  // namespace RESECT_NAMESPACE::study
