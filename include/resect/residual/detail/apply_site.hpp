// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/residual/detail/apply_step.hpp>

namespace RESECT_NAMESPACE::residual::detail {

// The steps on rows at one site, in the plan's order. Where there are several, a few rows at a time go through all of
// them while they lie in the first cache: one pass over the rows. A step is a function of single rows, so the bits are
// those of one step after another.
template <class = void>
status apply_site(std::span<const step* const> steps, const tap& at, matrix_view<float> h) {
  constexpr index_t floats_at_a_time = 4096;  // 16 KiB, half of a first cache
  const index_t rows = static_cast<index_t>(at.rows.size());
  const index_t at_a_time = steps.size() < 2 || h.cols == 0 ? rows : algo::max(index_t{1}, floats_at_a_time / h.cols);
  if (at_a_time >= rows) {
    for (const step* s : steps)
      if (auto st = apply_step(*s, at, {}, h); !st) return st;
    return {};
  }
  for (index_t first = 0; first < rows; first += at_a_time) {
    const index_t n = algo::min(at_a_time, rows - first);
    const tap some{at.where, at.layer, at.rows.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)),
                   at.memory};
    for (const step* s : steps)
      if (auto st = apply_step(*s, some, {}, h.middle_rows(first, n)); !st) return st;
  }
  return {};
}

}  // namespace RESECT_NAMESPACE::residual::detail
