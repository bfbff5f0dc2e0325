// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>

#include <resect/quant/quantized.hpp>
#include <resect/quant/scale_search.hpp>

// A rounding rule chooses the codes of a whole matrix. It asks the scale search for a group's parameters when it gets
// there, because rules that pass a column's error on to the next ones change weights before their group is fitted.
namespace RESECT_NAMESPACE::quant {

// rule.template round<Grid>(exec, w, search, out) → status: w is finite with contiguous rows; out has its format,
// extents and room for all of its parts. Nothing may be reported wrong once something is written.
template <class R>
concept rounding_rule = requires(const R& rule, inline_executor& exec, matrix_view<const float> w,
                                 const min_max& search, quantized& out) {
  { rule.template round<integer_grid<4, zero_point::integer>>(exec, w, search, out) } -> std::same_as<status>;
};

// Every weight to its nearest level, ties to an even number of steps from zero. Least Σ(w − ŵ)² for given parameters.
struct nearest {
  template <grid G, executor E, scale_search S>
  static status round(E& exec, matrix_view<const float> w, const S& search, quantized& out) {
    const group_layout layout = out.layout();
    exec.bulk(w.rows, [&](index_t r) {
      for (index_t g = 0; g < layout.per_row(); ++g) {
        const std::span<const float> group{w.row(r).data + layout.first(g), static_cast<std::size_t>(layout.size(g))};
        const group_parameters p = search.template fit<G>(group, layout.first(g));
        const index_t i = r * layout.per_row() + g;
        out.scales[i] = p.scale;
        if (!out.zeros.empty()) out.zeros[i] = p.zero;
        std::uint8_t* codes = out.codes.data() + r * out.cols + layout.first(g);
        for (std::size_t j = 0; j < group.size(); ++j) codes[j] = G::encode(group[j], p);
      }
    });
    return {};
  }
};

}  // namespace RESECT_NAMESPACE::quant
