// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <type_traits>
#include <vector>

#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/similarity/cosine.hpp>

// Measures of the difference between the outputs of an altered and the intact model on the same tokens.
namespace RESECT_NAMESPACE::study {

// The outputs of the intact model, kept for the comparison with altered models.
struct intact_outputs {
  index_t width = 0;
  index_t vocabulary = 0;
  std::vector<float> head_norm;  // (rows, d_model)
  std::vector<float> logits;     // (rows, n_vocab)

  std::span<const float> logits_of(index_t row) const noexcept {
    return {logits.data() + row * vocabulary, static_cast<std::size_t>(vocabulary)};
  }
  std::span<const float> head_norm_of(index_t row) const noexcept {
    return {head_norm.data() + row * width, static_cast<std::size_t>(width)};
  }
};

// Working memory for the rows of logits that are held at a time; the first use allocates it, later uses keep it.
struct head_workspace {
  index_t rows = 512;
  std::vector<float> norm = {}, logits = {};
};

// Estimates of the four measures of an arm.
//   kl          mean KL(intact ‖ altered) of the next-token distributions, nats, all counted rows
//   top1        share of rows whose most likely token is the intact model's
//   dlnppl      mean nll(altered) − nll(intact) of the same token, rows with a next token in their window
//   cosine      mean cosine between the rows that the output matrix reads
struct effect {
  metrics::estimate kl, top1, dlnppl, cosine;
  double kl_seed_sd = metrics::nan;  // between seeds; NaN for a single run
  double dlnppl_seed_sd = metrics::nan;
  double degrees = 0;  // degrees of freedom of the intervals; 0 stands for n_clusters − 1
};

// The four measures of an arm as sums of each cluster, from which intervals, ranks, paired comparisons and reports
// are computed.
struct effect_sums {
  metrics::kl_divergence kl;
  metrics::top1_agreement top1;
  metrics::paired_delta dlnppl;
  metrics::mean_cosine cosine;

  explicit effect_sums(index_t clusters) : kl(clusters), top1(clusters), dlnppl(clusters), cosine(clusters) {}

  effect estimate() const noexcept { return {kl.estimate(), top1.estimate(), dlnppl.estimate(), cosine.estimate()}; }
};

// The effect of an arm over its runs (one for each seed): the mean over seeds with a variance clustered by seed and
// by cluster (two_way.hpp). A single run gives its own estimates.
template <class = void>
result<effect> try_mean_effect(std::span<const effect_sums> runs) {
  if (runs.size() == 1) return runs.front().estimate();
  effect out;
  const auto over_seeds = [&](auto member, metrics::estimate& mean, double* seed_sd) -> status {
    std::vector<metrics::clustered_sums> sums;
    for (const effect_sums& run : runs) sums.push_back((run.*member).sums());
    auto both = metrics::try_two_way(sums, 0.95, std::decay_t<decltype(runs.front().*member)>::range());
    if (!both) return both.error();
    mean = both->mean;
    out.degrees = both->degrees;
    if (seed_sd) *seed_sd = both->seed_sd;
    return {};
  };
  if (auto s = over_seeds(&effect_sums::kl, out.kl, &out.kl_seed_sd); !s) return s.error();
  if (auto s = over_seeds(&effect_sums::dlnppl, out.dlnppl, &out.dlnppl_seed_sd); !s) return s.error();
  if (auto s = over_seeds(&effect_sums::top1, out.top1, nullptr); !s) return s.error();
  if (auto s = over_seeds(&effect_sums::cosine, out.cosine, nullptr); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
