// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <resect/core/executor.hpp>
#include <resect/core/view.hpp>

// How products are cut into tasks. Cuts follow from the extents and the instruction set alone, never from the workers.
namespace resect::inline RESECT_NAMESPACE_TAG::detail {

// extent cut into equal parts of at most `target` or little more: their size, a multiple of `step`
constexpr index even_part(index extent, index target, index step) noexcept {
  const index parts = std::max<index>(1, (extent + target - 1) / target);
  return std::max(step, ((extent + parts - 1) / parts + step - 1) / step * step);
}

// f(first row, first column, rows, columns) for every tile of an m × n matrix, as tasks.
template <executor E, class F>
void for_each_tile(E& exec, index m, index n, index tile_rows, index tile_cols, F f) {
  const index across = (n + tile_cols - 1) / tile_cols;
  const index down = (m + tile_rows - 1) / tile_rows;
  exec.bulk(across * down, [&](index t) {
    const index r = t / across * tile_rows;
    const index s = t % across * tile_cols;
    f(r, s, std::min(tile_rows, m - r), std::min(tile_cols, n - s));
  });
}

template <class T>
constexpr bool is_row_major(const matrix_view<T>& a) noexcept {
  return a.col_stride == 1 || a.cols <= 1;
}
template <class T>
constexpr bool is_col_major(const matrix_view<T>& a) noexcept {
  return a.row_stride == 1 || a.rows <= 1;
}

// C ← β·C; zero for β = 0, whatever C held.
template <class T>
void scale(T beta, matrix_view<T> c) {
  for (index r = 0; r < c.rows; ++r)
    for (index j = 0; j < c.cols; ++j) c(r, j) = beta == T{0} ? T{0} : beta * c(r, j);
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::detail
