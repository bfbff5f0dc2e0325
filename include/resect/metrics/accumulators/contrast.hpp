// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/metrics/accumulators/clustered.hpp>

// Several quantities of the same tokens against each other: differences of means, ratios of means.
namespace RESECT_NAMESPACE::metrics {

namespace detail {

// The interval of Σ k_i·θ_i from clusters' influence values z_c = Σ_i w_i·S_ic: of mean 0 where w_i·N_c is taken off.
//   θ_i = μ_i: w_i = k_i;  θ_i = ln μ_i: w_i = k_i/μ_i
inline result<estimate> try_contrast_of(std::span<const clustered_sums> sums, std::span<const double> weights,
                                        double value, double level) {
  clustered_sums influence(sums.front().clusters());
  for (index_t c = 0; c < influence.clusters(); ++c) {
    double z = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) z += weights[i] * sums[i].sum(c);
    influence.add_sum(c, z, sums.front().count(c));
  }
  estimate e = influence.estimate(level);
  e.value = value;
  set_interval(e, mean_range::any, 0, 0, level);
  return e;
}

inline status check_contrast(std::span<const clustered_sums> sums, std::span<const double> k) {
  if (sums.empty()) return error{errc::shape_mismatch, "contrast", "no sums", "one or more"};
  if (sums.size() != k.size())
    return error{errc::shape_mismatch, "coefficients of a contrast", text(k.size()), text(sums.size())};
  for (const clustered_sums& s : sums)
    if (auto same = sums.front().check_same_tokens(s); !same) return same;
  return {};
}

}  // namespace detail

// Σ k_i·μ_i, μ_i the means of quantities of the same tokens: {1, −1} is a paired difference.
//   var = that of the mean of Σ k_i·d_i with tokens clustered; interval ± t(G−1)·se. O(G·sums).
// Errors: shape_mismatch (no sums, other clusters or counts, not a coefficient for each); invalid_argument (tokens outside
// the clusters).
inline result<estimate> try_contrast(std::span<const clustered_sums> sums, std::span<const double> k,
                                     double level = 0.95) {
  if (auto s = detail::check_contrast(sums, k); !s) return s.error();
  double value = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) value += k[i] * sums[i].estimate().value;
  return detail::try_contrast_of(sums, k, value, level);
}

// Σ k_i·ln μ_i: {1, −1} is the logarithm of a ratio of means, map_exp of which is the ratio with its paired interval.
//   By the delta method: var that of the mean of Σ k_i·d_i/μ_i, tokens clustered; interval ± t(G−1)·se. O(G·sums).
// No value where a mean is not above 0. Errors: as try_contrast.
inline result<estimate> try_log_contrast(std::span<const clustered_sums> sums, std::span<const double> k,
                                         double level = 0.95) {
  if (auto s = detail::check_contrast(sums, k); !s) return s.error();
  array<double> weights;
  double value = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double mean = sums[i].estimate().value;
    if (!(mean > 0)) return estimate{nan, nan, nan, nan, sums[i].total_count(), sums[i].used_clusters()};
    weights.push_back(k[i] / mean);
    value += k[i] * math::log(mean);
  }
  return detail::try_contrast_of(sums, weights.span(), value, level);
}

}  // namespace RESECT_NAMESPACE::metrics
