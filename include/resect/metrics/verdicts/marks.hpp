// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/metrics/verdicts/multiple.hpp>

namespace RESECT_NAMESPACE::metrics {

// The claim that the Δln PPL of a layer supports.
enum class mark : std::uint8_t {
  none,                // no claim survives the correction, or there is no interval
  critical,            // Δln PPL > 0.1
  negligible,          // |Δln PPL| < 0.01
  better_than_intact,  // Δln PPL < 0
};

// The word for a mark in tables; empty for none.
constexpr std::string_view name(mark m) noexcept {
  switch (m) {
    case mark::none: return "";
    case mark::critical: return "critical";
    case mark::negligible: return "negligible";
    case mark::better_than_intact: return "better than intact";
  }
  return "";
}

// The mark of one layer and the Holm-adjusted one-sided p-values behind it (NaN without an interval).
struct marked_layer {
  mark verdict = mark::none;
  double p_critical = nan;
  double p_negligible = nan;
  double p_better = nan;
};

// Options of marks: bounds of Δln PPL and family-wise error.
struct mark_options {
  double critical_above = 0.1;  // Δln PPL, nats a token
  double negligible_within = 0.01;
  double alpha = 0.025;  // one-sided, family-wise over the layers of the table, for each kind of mark
  double degrees = 0;    // of freedom, where they are not n_clusters − 1 (operators with seeds); 0: they are
};

// Assigns marks to all layers of one table. Each kind of mark is a family of one hypothesis a layer, corrected by
// Holm: critical rejects μ ≤ 0.1, negligible rejects |μ| ≥ 0.01 (TOST), better rejects μ ≥ 0. With one layer this is
// what the bounds of its 95 % interval say. A layer that is both negligible and better is negligible.
inline array<marked_layer> assign_marks(std::span<const estimate> table, const mark_options& options = {}) {
  array<double> critical, negligible, better;
  for (const estimate& e : table) {
    critical.push_back(p_above(e, options.critical_above, options.degrees));
    negligible.push_back(p_within(e, options.negligible_within, options.degrees));
    better.push_back(p_below(e, 0, options.degrees));
  }
  detail::adjust_by_holm(critical.span());
  detail::adjust_by_holm(negligible.span());
  detail::adjust_by_holm(better.span());
  array<marked_layer> out;
  for (index_t i = 0; i < critical.size(); ++i)
    out.push_back({critical[i] <= options.alpha     ? mark::critical
                   : negligible[i] <= options.alpha ? mark::negligible
                   : better[i] <= options.alpha     ? mark::better_than_intact
                                                    : mark::none,
                   critical[i], negligible[i], better[i]});
  return out;
}

}  // namespace RESECT_NAMESPACE::metrics
