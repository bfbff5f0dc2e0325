// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/finite.hpp>
#include <resect/metrics/intervals/special_functions.hpp>
#include <resect/metrics/verdicts/multiple.hpp>
#include <resect/study/halves.hpp>
#include <resect/study/protect/layer_set.hpp>

namespace RESECT_NAMESPACE::study {

// What a confirmation asks: f(P) estimates the loss E(intact) − E(P) over the items of the confirmation half, paired by item
// and clustered by template (metrics::goodhart_arms). An estimate of the search half is another type and does not meet the
// concept.
template <class F>
concept confirmation_objective = requires(F& f, const layer_set& protected_layers) {
  { f(protected_layers) } -> std::convertible_to<result<half_estimate<confirmation_half>>>;
};

// What confirmation items say of a protected set.
enum class confirmation_verdict : std::uint8_t {
  undecidable,  // fewer items than 80 % power for the margin needs: neither protected nor not
  not_shown,    // enough items, and the bound is above the margin: no evidence that the set loses more, either
  protects,     // the loss is below the margin, after Holm over the sets
  loses,        // the loss is above the margin, after Holm over the sets
};

// The words for a verdict in tables.
constexpr std::string_view name(confirmation_verdict v) noexcept {
  switch (v) {
    case confirmation_verdict::undecidable: return "undecidable at this N";
    case confirmation_verdict::not_shown: return "not shown";
    case confirmation_verdict::protects: return "protects";
    case confirmation_verdict::loses: return "loses more than the margin";
  }
  return "";
}

// Options of a confirmation: margin, error, power.
struct confirmation_options {
  double margin = 0.03;  // loss of execution that counts as none
  double alpha = 0.05;   // one-sided, over all sets (Holm)
  double power = 0.8;
};

// One confirmed (or not) set.
struct confirmed_set {
  layer_set layers;
  metrics::estimate loss;            // E(intact) − E(P), 95 %
  double p_protects = metrics::nan;  // one-sided p-values of loss ≥ margin and of loss ≤ margin, Holm-adjusted
  double p_loses = metrics::nan;
  index_t items_needed = 0;  // for the power, if the loss is 0 and its spread as measured
  confirmation_verdict verdict = confirmation_verdict::undecidable;
};

// Judges few sets on the confirmation half: non-inferiority by Student's t over clusters, Holm over the sets. Items needed:
// ⌈n·((z_{1−α/m} + z_power)·se/margin)²⌉ with m sets; where the estimate has fewer the verdict is undecidable, which is not
// "not protected". A loss without an interval (fewer than 6 clusters) is undecidable.
// Errors: invalid_argument (no set, margin ≤ 0, alpha or power outside (0, 1)), not_finite for a loss that is no number with
// its set named, the objective's.
template <confirmation_objective F>
result<std::vector<confirmed_set>> try_confirm(F&& f, std::span<const layer_set> sets,
                                               const confirmation_options& options = {}) {
  if (sets.empty()) return error{errc::invalid_argument, "sets to confirm", "none", "1 or more"};
  if (!(options.margin > 0 && is_finite(options.margin)))
    return error{errc::invalid_argument, "margin", text(options.margin), "a finite number above 0"};
  for (const auto& [share, what] : {std::pair{options.alpha, "alpha"}, std::pair{options.power, "power"}})
    if (!(share > 0 && share < 1)) return error{errc::invalid_argument, what, text(share), "between 0 and 1"};
  std::vector<confirmed_set> out;
  std::vector<double> protects, loses;
  for (const layer_set& set : sets) {
    const result<half_estimate<confirmation_half>> measured = f(set);
    if (!measured) return measured.error();
    confirmed_set one;
    one.layers = set;
    one.loss = measured->value();
    if (!is_finite(one.loss.value))
      return error{errc::not_finite, text("loss with ", set.words(), " protected"), text(one.loss.value),
                   "a finite number"};
    protects.push_back(metrics::p_below(one.loss, options.margin));
    loses.push_back(metrics::p_above(one.loss, options.margin));
    out.push_back(one);
  }
  metrics::detail::adjust_by_holm(protects);
  metrics::detail::adjust_by_holm(loses);
  const double z = metrics::normal_quantile(1 - options.alpha / static_cast<double>(sets.size())) +
                   metrics::normal_quantile(options.power);
  for (std::size_t i = 0; i < out.size(); ++i) {
    confirmed_set& one = out[i];
    one.p_protects = protects[i];
    one.p_loses = loses[i];
    if (!one.loss.has_interval() || !is_finite(one.loss.se)) continue;
    const double ratio = z * one.loss.se / options.margin;
    one.items_needed = static_cast<index_t>(std::ceil(static_cast<double>(one.loss.n) * ratio * ratio));
    // where no item changed the spread is unknown, and what the interval leaves open decides
    const bool enough = one.loss.se > 0 ? one.items_needed <= one.loss.n : one.loss.hi <= options.margin;
    if (!enough) continue;
    one.verdict = protects[i] <= options.alpha ? confirmation_verdict::protects
                  : loses[i] <= options.alpha  ? confirmation_verdict::loses
                                               : confirmation_verdict::not_shown;
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
