// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/metrics/accumulators/clustered.hpp>

namespace RESECT_NAMESPACE::metrics {

// The effect of altering one layer, alone and among altered layers: S, R and I from KL to the intact model, nats a
// token, on the same positions.
//   alone        S = KL(p₀ ‖ p_l), only layer l altered
//   restored     R = KL(p₀ ‖ p_all) − KL(p₀ ‖ p_all∖l): what restoring l gives back where all are altered
//   interaction  I = R − S: above 0 where the layer matters more among altered layers than alone
// Where all alterations together have destroyed the output, R measures nothing: `saturated`, and R and I are NaN.
struct causal_effect {
  estimate alone;
  estimate restored;
  estimate interaction;
  bool saturated = false;
};

// Computes S, R and I of one layer with intervals from differences within each cluster: the runs are paired by token,
// so the standard errors of R and I are those of Σ over a cluster of the differences, not of the parts. `one`, `all`
// and `all_but_one` are the sums of KL to the intact model of three runs; `unigram` those of KL(p₀ ‖ q), q the
// unigram distribution of the calibration text (compare_logits with unigram_logits). Saturated: mean KL(p₀ ‖ p_all) >
// ½ mean KL(p₀ ‖ q). Shape mismatch where clusters or counts differ. Cost O(G).
inline result<causal_effect> try_causal_effect(const clustered_sums& one, const clustered_sums& all,
                                               const clustered_sums& all_but_one, const clustered_sums& unigram,
                                               double level = 0.95) {
  for (const clustered_sums* s : {&one, &all_but_one, &unigram})
    if (status ok = all.check_same_tokens(*s); !ok) return ok.error();
  causal_effect out;
  out.alone = one.estimate(level, mean_range::nonnegative);
  out.saturated = all.estimate().value > 0.5 * unigram.estimate().value;
  if (out.saturated) {
    for (estimate* e : {&out.restored, &out.interaction}) {
      e->n = out.alone.n;
      e->n_clusters = out.alone.n_clusters;
    }
    return out;
  }
  const auto restored = clustered_sums::difference(all, all_but_one);
  if (!restored) return restored.error();
  const auto interaction = clustered_sums::difference(*restored, one);
  if (!interaction) return interaction.error();
  out.restored = restored->estimate(level);
  out.interaction = interaction->estimate(level);
  return out;
}

#if RESECT_EXCEPTIONS
// S, R and I of one layer; throws the error of try_causal_effect.
inline causal_effect causal_effect_of(const clustered_sums& one, const clustered_sums& all,
                                      const clustered_sums& all_but_one, const clustered_sums& unigram,
                                      double level = 0.95) {
  return value_or_throw(try_causal_effect(one, all, all_but_one, unigram, level));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
