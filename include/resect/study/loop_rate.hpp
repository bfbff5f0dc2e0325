// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/study/generate.hpp>

// How much free continuations repeat themselves.
namespace RESECT_NAMESPACE::study {

// Rates over outputs, a cluster each.
//   repeated   share of 4-grams that the same output holds before
//   cycles     share of outputs whose last 32 ids are a block of at most 16 ids over and over
//   stopped    share of outputs that a stop id ended
struct loop_sums {
  metrics::clustered_sums repeated, cycles, stopped;

  explicit loop_sums(index_t outputs) : repeated(outputs), cycles(outputs), stopped(outputs) {}

  metrics::estimate repeated_share() const noexcept { return repeated.estimate(0.95, metrics::mean_range::rate); }
  metrics::estimate cycle_share() const noexcept { return cycles.estimate(0.95, metrics::mean_range::rate); }
  metrics::estimate stopped_share() const noexcept { return stopped.estimate(0.95, metrics::mean_range::rate); }
};

namespace detail {

inline constexpr std::size_t loop_gram = 4, loop_tail = 32, loop_block = 16;

// Whether the last 32 ids are periodic with a period of at most 16. Shorter outputs are not.
inline bool ends_in_cycle(std::span<const std::int32_t> ids) noexcept {
  if (ids.size() < loop_tail) return false;
  const auto tail = ids.last(loop_tail);
  for (std::size_t period = 1; period <= loop_block; ++period) {
    bool same = true;
    for (std::size_t i = period; i < loop_tail && same; ++i) same = tail[i] == tail[i - period];
    if (same) return true;
  }
  return false;
}

}  // namespace detail

// The rates of continuations, of which output i is cluster i. Outputs of fewer than four ids have no 4-gram. Cost: the
// square of an output's length.
template <class = void>
loop_sums loops_of(std::span<const generation> outputs) {
  loop_sums out(static_cast<index_t>(outputs.size()));
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const std::span<const std::int32_t> ids = outputs[k].ids;
    index_t repeated = 0, grams = 0;
    for (std::size_t i = 0; i + detail::loop_gram <= ids.size(); ++i) {
      ++grams;
      bool seen = false;
      for (std::size_t j = 0; j < i && !seen; ++j) {
        seen = true;
        for (std::size_t g = 0; g < detail::loop_gram && seen; ++g) seen = ids[j + g] == ids[i + g];
      }
      repeated += seen;
    }
    const auto cluster = static_cast<index_t>(k);
    if (grams > 0) out.repeated.add_sum(cluster, static_cast<double>(repeated), grams);
    out.cycles.add(cluster, detail::ends_in_cycle(ids) ? 1 : 0);
    out.stopped.add(cluster, outputs[k].stopped ? 1 : 0);
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
