// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/array.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/intervals/resample.hpp>

namespace RESECT_NAMESPACE::metrics {

// The rank of a layer with its bootstrap interval over clusters. 1 = largest; equal values share the lowest number; 0
// = the layer has no finite value. lo = hi = 0: too few clusters for an interval.
struct rank_interval {
  index_t rank = 0;
  index_t lo = 0;
  index_t hi = 0;
};

// Options of rank intervals: seed, replicates, level.
struct rank_options {
  std::uint64_t seed = 0;
  index_t resamples = 1000;
  double level = 0.95;
};

namespace detail {

inline constexpr std::uint64_t rank_stream = 0x72616e6b;  // "rank"

// 1 + how many values are larger; NaN is larger than nothing and has rank 0.
template <class = void>
void ranks_of(std::span<const double> value, std::span<index_t> rank) noexcept {
  for (std::size_t i = 0; i < value.size(); ++i) {
    rank[i] = value[i] == value[i] ? 1 : 0;
    for (std::size_t k = 0; rank[i] > 0 && k < value.size(); ++k) rank[i] += value[k] > value[i];
  }
}

}  // namespace detail

// Ranks the layers by their means (largest first) and computes percentile intervals of the ranks: every replicate
// draws G of the G clusters with replacement, the same ones for all layers, and ranks the layers anew. Draw g of
// replicate b is integer_below at position b·G + g of one Philox stream: a pure function of the seed. Fewer than 6
// clusters: ranks without intervals. Cost resamples·layers·(G + layers). Errors: layers whose clusters or counts
// differ (shape mismatch), resamples < 1 or level outside (0, 1) (invalid argument).
template <class = void>
result<array<rank_interval>> try_rank_intervals(std::span<const clustered_sums> layers,
                                                const rank_options& options = {}) {
  if (status s = detail::check_resampling(options.resamples, options.level); !s) return s.error();
  array<rank_interval> out(static_cast<index_t>(layers.size()));
  if (layers.empty()) return out;
  for (std::size_t l = 0; l < layers.size(); ++l)
    if (status s = layers[0].check_same_tokens(layers[l]); !s) return s.error();

  array<double> value;
  for (const clustered_sums& layer : layers) value.push_back(layer.estimate().value);
  const index_t n = value.size();
  array<index_t> rank(n), used;
  detail::ranks_of(value.span(), rank.span());
  for (index_t l = 0; l < n; ++l) out[l].rank = rank[l];
  for (index_t c = 0; c < layers[0].clusters(); ++c)
    if (layers[0].count(c) > 0) used.push_back(c);
  const index_t g = used.size();
  if (g < min_clusters) return out;

  array<double> sums;
  for (const clustered_sums& layer : layers)
    for (const index_t c : used) sums.push_back(layer.sum(c));
  const random::philox_stream stream{options.seed, detail::rank_stream};
  array<index_t> times(g);
  array<index_t> seen(n * (n + 1));
  for (index_t b = 0; b < options.resamples; ++b) {
    detail::resample_counts(stream, b, times.span());
    for (index_t l = 0; l < n; ++l) {
      double sum = 0;
      for (index_t c = 0; c < g; ++c)
        if (times[c] > 0) sum += static_cast<double>(times[c]) * sums[l * g + c];
      value[l] = sum;  // all layers have the same tokens, so sums rank like means
    }
    detail::ranks_of(value.span(), rank.span());
    for (index_t l = 0; l < n; ++l) ++seen[l * (n + 1) + rank[l]];
  }
  // The k-th smallest rank of the replicates.
  const index_t k_lo = detail::replicate_at(0.5 - options.level / 2, options.resamples);
  const index_t k_hi = detail::replicate_at(0.5 + options.level / 2, options.resamples);
  for (index_t l = 0; l < n; ++l) {
    rank_interval& layer = out[l];
    if (layer.rank == 0) continue;
    index_t below = 0;
    for (index_t r = 0; r <= n && below < k_hi; ++r) {
      const index_t before = below;
      below += seen[l * (n + 1) + r];
      if (before < k_lo && below >= k_lo) layer.lo = r;
      if (below >= k_hi) layer.hi = r;
    }
  }
  return out;
}

#if RESECT_EXCEPTIONS
template <class = void>
array<rank_interval> rank_intervals(std::span<const clustered_sums> layers, const rank_options& options = {}) {
  return value_or_throw(try_rank_intervals(layers, options));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
