// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/reduce.hpp>
#include <resect/quant/quantized.hpp>

// Groups whose scales a narrow store does not hold.
namespace RESECT_NAMESPACE::quant::detail {

struct lost_scales {
  index_t saturated = 0, vanished = 0;
};

// Whether the weights of block g of row i of blocks, whose scale is 0, need one: weights other than 0, or, about a minimum,
// weights that differ or a minimum that became 0.
template <static_format F>
bool needs_scale(matrix_view<const float> w, const block_layout& layout, const parameters_of<F>& p, index_t i,
                 index_t g) {
  const index_t r0 = layout.first_row(i), c0 = layout.first(g);
  extent of{w(r0, c0), w(r0, c0)};
  for (index_t r = r0; r < r0 + layout.row_count(i); ++r)
    for (index_t c = c0; c < c0 + layout.size(g); ++c) {
      of.lo = w(r, c) < of.lo ? w(r, c) : of.lo;
      of.hi = w(r, c) > of.hi ? w(r, c) : of.hi;
    }
  if constexpr (has_minimum<parameters_of<F>>) return of.lo != of.hi || (p.minimum == 0 && of.hi != 0);
  else return of.lo != 0 || of.hi != 0;
}

// Both counts over all groups. Reads the parameters, and the weights of groups whose scale is 0.
template <executor E, static_format F>
lost_scales count_lost_scales(E& exec, matrix_view<const float> w, const quantized<F>& q) {
  using P = parameters_of<F>;
  const auto& store = q.format.store;
  constexpr bool can_saturate = requires(const P& p, const header_of<F>& h) {
    { store.saturated(p, h) } -> std::same_as<bool>;
  };
  if constexpr (!can_saturate && !plain_parameters<P>) return {};
  const block_layout layout = q.layout();
  const index_t per_row = layout.per_row();
  return parallel_reduce(
      exec, layout.down(), 16, lost_scales{},
      [&](index_t first, index_t last) {
        lost_scales sum;
        for (index_t i = first; i < last; ++i)
          for (index_t g = 0; g < per_row; ++g) {
            const P& p = q.parameters[i * per_row + g];
            if constexpr (can_saturate) sum.saturated += store.saturated(p, q.header_at(i, g));
            if constexpr (plain_parameters<P>) sum.vanished += p.scale == 0 && needs_scale<F>(w, layout, p, i, g);
          }
        return sum;
      },
      [](const lost_scales& a, const lost_scales& b) {
        return lost_scales{a.saturated + b.saturated, a.vanished + b.vanished};
      });
}

// Writes both into the outcome.
template <executor E, static_format F>
void note_lost_scales(E& exec, matrix_view<const float> w, quantized<F>& q) {
  const lost_scales lost = count_lost_scales(exec, w, q);
  q.outcome.saturated_scales = lost.saturated;
  q.outcome.vanished_scales = lost.vanished;
}

}  // namespace RESECT_NAMESPACE::quant::detail
