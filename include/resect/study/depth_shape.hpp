// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/metrics/accumulators/contrast.hpp>
#include <resect/metrics/verdicts/multiple.hpp>

// The shape of a measure over the depth of a model, in words that paired contrasts support.
namespace RESECT_NAMESPACE::study {

// What the contrasts of the first and the last fifth of the layers with the middle fifth show.
enum class depth_form : std::uint8_t {
  none_shown,  // no two differences survive Holm in a direction that has a name
  u_shaped,    // both ends are above the middle
  inverted_u,  // both ends are below the middle
  falling,     // the first fifth is above the middle, the last one below
  rising,      // the first fifth is below the middle, the last one above
};

// The words for a form.
constexpr std::string_view name(depth_form f) noexcept {
  switch (f) {
    case depth_form::none_shown: return "no shape shown";
    case depth_form::u_shaped: return "U-shaped";
    case depth_form::inverted_u: return "highest in the middle";
    case depth_form::falling: return "falling with depth";
    case depth_form::rising: return "rising with depth";
  }
  return "";
}

// A measure of layers over depth.
struct depth_shape {
  metrics::estimate first_less_middle, last_less_middle;  // paired, clustered
  double p_first = metrics::nan, p_last = metrics::nan;   // two-sided, Holm over both
  depth_form form = depth_form::none_shown;
};

// Contrasts the mean of the first and of the last ⌈L/5⌉ layers with that of the middle ⌈L/5⌉, cluster by cluster on the same
// tokens. A form needs both differences at p ≤ alpha, two-sided, after Holm: a measure that only falls is not U-shaped,
// whatever its plot looks like. Errors: invalid_argument for fewer than 5 layers, those of metrics::try_contrast.
inline result<depth_shape> try_depth_shape(std::span<const metrics::clustered_sums> layers, double alpha = 0.05) {
  const auto n = static_cast<index_t>(layers.size()), fifth = (n + 4) / 5;
  if (n < 5) return error{errc::invalid_argument, "layers", text(n), "5 or more"};
  const auto contrast = [&](index_t from) {
    std::vector<double> k(layers.size());
    const index_t middle = (n - fifth) / 2;
    for (index_t l = 0; l < fifth; ++l) {
      k[static_cast<std::size_t>(from + l)] += 1 / static_cast<double>(fifth);
      k[static_cast<std::size_t>(middle + l)] -= 1 / static_cast<double>(fifth);
    }
    return metrics::try_contrast(layers, k);
  };
  const auto first = contrast(0), last = contrast(n - fifth);
  if (!first) return first.error();
  if (!last) return last.error();
  depth_shape out{*first, *last};
  const auto two_sided = [](const metrics::estimate& e) {
    return algo::min(1.0, 2 * algo::min(metrics::p_above(e, 0), metrics::p_below(e, 0)));
  };
  double p[] = {two_sided(*first), two_sided(*last)};
  metrics::detail::adjust_by_holm(p);
  out.p_first = p[0];
  out.p_last = p[1];
  if (!(p[0] <= alpha && p[1] <= alpha)) return out;
  const bool first_above = first->value > 0, last_above = last->value > 0;
  out.form = first_above ? (last_above ? depth_form::u_shaped : depth_form::falling)
                         : (last_above ? depth_form::rising : depth_form::inverted_u);
  return out;
}

}  // namespace RESECT_NAMESPACE::study
