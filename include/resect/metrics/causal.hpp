// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/math.hpp>
#include <resect/metrics/clustered.hpp>

namespace RESECT_NAMESPACE::metrics {

// What the alteration of one layer does, from KL to the intact model in nats a token, on the same positions.
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

// S, R and I of one layer with intervals from differences within each cluster: the runs are paired by token, so the
// standard errors of R and I are those of Σ over a cluster of the differences, not of the parts. `one`, `all` and
// `all_but_one` are the sums of KL to the intact model of three runs; `unigram` those of KL(p₀ ‖ q), q the unigram
// distribution of the calibration text (compare_logits with unigram_logits). Saturated: mean KL(p₀ ‖ p_all) > ½ mean
// KL(p₀ ‖ q). Shape mismatch where clusters or counts differ. Cost O(G).
inline result<causal_effect> try_causal_effect(const clustered_sums& one, const clustered_sums& all,
                                               const clustered_sums& all_but_one, const clustered_sums& unigram,
                                               double level = 0.95) {
  for (const clustered_sums* s : {&one, &all_but_one, &unigram})
    if (status ok = all.check_same_tokens(*s); !ok) return ok.error();
  causal_effect out;
  out.alone = one.estimate(level);
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
// The same; throws what try_causal_effect reports.
inline causal_effect causal_effect_of(const clustered_sums& one, const clustered_sums& all,
                                      const clustered_sums& all_but_one, const clustered_sums& unigram,
                                      double level = 0.95) {
  return value_or_throw(try_causal_effect(one, all, all_but_one, unigram, level));
}
#endif

// How often an id of the vocabulary occurs.
struct id_count {
  std::int32_t id = 0;
  index_t count = 0;

  friend bool operator==(const id_count&, const id_count&) = default;
};

namespace detail {
// ln(1 + Σ of the counts of i) into out[i]; id_of and count_of read an item.
template <class Item, class Id, class Count>
status unigram_logits(std::span<const Item> items, Id id_of, Count count_of, std::span<float> out) noexcept {
  const index_t n = static_cast<index_t>(out.size());
  if (items.empty()) return error{errc::invalid_argument, "text of the unigrams", "no id", "1 or more"};
  for (const Item& x : items) {
    if (id_of(x) < 0 || id_of(x) >= n) return error{errc::invalid_argument, "id", text(id_of(x)), text("0 to ", n - 1)};
    if (count_of(x) < 0)
      return error{errc::invalid_argument, text("count of id ", id_of(x)), text(count_of(x)), "0 or more"};
  }
  for (float& x : out) x = 0;
  for (const Item& x : items) out[static_cast<std::size_t>(id_of(x))] += static_cast<float>(count_of(x));
  for (float& x : out) x = static_cast<float>(math::log(1 + static_cast<double>(x)));
  return {};
}
}  // namespace detail

// out[i] = ln(1 + how often id i is in the text), fp32: logits of the unigram distribution with one count added to
// every id (a distribution with zeros would be infinitely far from any model). Counting id by id stops at 2²⁴ of the
// same id. Errors: no id at all, an id outside 0 … out.size()−1; then nothing is written.
inline status try_unigram_logits(std::span<const std::int32_t> ids, std::span<float> out) noexcept {
  return detail::unigram_logits(
      ids, [](std::int32_t id) { return id; }, [](std::int32_t) { return index_t{1}; }, out);
}

// The same of counts; those of the same id add up. Errors: also a negative count.
inline status try_unigram_logits(std::span<const id_count> counts, std::span<float> out) noexcept {
  return detail::unigram_logits(
      counts, [](const id_count& c) { return c.id; }, [](const id_count& c) { return c.count; }, out);
}

}  // namespace RESECT_NAMESPACE::metrics
