// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/clustered.hpp>

namespace RESECT_NAMESPACE::metrics {

// The mean effect of an operator with a random seed, over R seeds and all tokens.
struct seeded_estimate {
  estimate mean;         // n: tokens × seeds; n_clusters: clusters of tokens
  double seed_sd = nan;  // sd over seeds of the per-seed mean; NaN for R < 2
  index_t seeds = 0;
  double degrees = nan;  // of freedom of the interval, min(G, R) − 1

  double se_cluster = nan;  // one-way, tokens clustered by sequence
  double se_seed = nan;     // one-way, clustered by seed
};

// The mean over seeds with a variance clustered both ways: var = V_cluster + V_seed − V_cell, at least the larger
// one-way variance. Each V is the clustered variance of clustered_sums with its own G/(G − 1): by sequence (over all
// seeds), by seed, and by cell (sequence, seed). Interval by the range of the mean (set_interval, with the skewness
// over sequences; any: μ ± t·se), t with min(G, R) − 1 degrees of freedom, a conservative choice; none for G < 6 or R
// < 2. `seeds[r]` are the sums of seed r over the same clusters and tokens; shape mismatch otherwise. Cost O(G·R).
// Source: Cameron, Gelbach & Miller, "Robust inference with multiway clustering", JBES 29 (2011).
inline result<seeded_estimate> try_two_way(std::span<const clustered_sums> seeds, double level = 0.95,
                                           mean_range range = mean_range::any) noexcept {
  seeded_estimate out;
  out.seeds = static_cast<index_t>(seeds.size());
  if (seeds.empty()) return out;
  for (const clustered_sums& s : seeds)
    if (status ok = seeds[0].check_same_tokens(s); !ok) return ok.error();

  const index_t clusters = seeds[0].clusters();
  const index_t tokens = seeds[0].total_count();
  const double r_count = static_cast<double>(out.seeds), n = static_cast<double>(tokens);
  out.mean.n = tokens * out.seeds;
  out.mean.n_clusters = seeds[0].used_clusters();
  if (tokens == 0) return out;

  compensated total;
  for (const clustered_sums& s : seeds) total.add(s.total());
  const double reference = total.value() / (n * r_count);
  out.mean.value = reference;
  if (!is_finite(reference)) return out;
  double offset = 0;
  for (const clustered_sums& s : seeds)
    for (index_t c = 0; c < clusters; ++c) offset += s.sum_about(c, reference);
  offset /= n * r_count;
  out.mean.value = reference + offset;
  if (out.seeds < 2) return out;

  double by_cluster = 0, cubes = 0, by_seed = 0, by_cell = 0;
  for (index_t c = 0; c < clusters; ++c) {
    double residual = 0;
    for (const clustered_sums& s : seeds) {
      const double cell = s.sum_about(c, reference) - offset * static_cast<double>(s.count(c));
      residual += cell;
      by_cell += cell * cell;
    }
    by_cluster += residual * residual;
    cubes += residual * residual * residual;
  }
  for (const clustered_sums& s : seeds) {
    double residual = 0;
    for (index_t c = 0; c < clusters; ++c)
      residual += s.sum_about(c, reference) - offset * static_cast<double>(s.count(c));
    by_seed += residual * residual;
  }
  out.seed_sd = math::sqrt(by_seed / (r_count - 1)) / n;
  const double g = static_cast<double>(out.mean.n_clusters);
  if (out.mean.n_clusters < 2) return out;

  const double scale = 1 / (n * r_count * n * r_count);
  const double v_cluster = g / (g - 1) * by_cluster * scale;
  const double v_seed = r_count / (r_count - 1) * by_seed * scale;
  const double v_cell = g * r_count / (g * r_count - 1) * by_cell * scale;
  out.se_cluster = math::sqrt(v_cluster);
  out.se_seed = math::sqrt(v_seed);
  out.mean.se = math::sqrt(algo::max(algo::max(v_seed, v_cluster), v_cluster + v_seed - v_cell));
  out.degrees = algo::min(r_count, g) - 1;
  set_interval(out.mean, range, detail::skewness_of(by_cluster, cubes, g), out.degrees, level);
  return out;
}

#if RESECT_EXCEPTIONS
inline seeded_estimate two_way(std::span<const clustered_sums> seeds, double level = 0.95,
                               mean_range range = mean_range::any) {
  return value_or_throw(try_two_way(seeds, level, range));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
