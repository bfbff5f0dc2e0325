// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <resect/core/executor.hpp>
#include <resect/core/view.hpp>

// How products are cut into tasks. Cuts follow from the extents and the instruction set alone, never from the workers.
namespace RESECT_NAMESPACE::detail {

// extent cut into equal parts of at most `target` or little more: their size, a multiple of `step`
constexpr index_t even_part(index_t extent, index_t target, index_t step) noexcept {
  const index_t parts = std::max<index_t>(1, (extent + target - 1) / target);
  return std::max(step, ((extent + parts - 1) / parts + step - 1) / step * step);
}

// f(first row, first column, rows, columns) for every tile of an m × n matrix, as tasks.
template <class F>
void for_each_tile(executor_ref exec, index_t m, index_t n, index_t tile_rows, index_t tile_cols, F f) {
  const index_t across = (n + tile_cols - 1) / tile_cols;
  const index_t down = (m + tile_rows - 1) / tile_rows;
  exec.bulk(across * down, [&](index_t t) {
    const index_t r = t / across * tile_rows;
    const index_t s = t % across * tile_cols;
    f(r, s, std::min(tile_rows, m - r), std::min(tile_cols, n - s));
  });
}

// Takes a tile of a product, and the row and column of its first element.
template <class T>
using take_tile = function_ref<void(index_t, index_t, matrix_view<T>)>;

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
  for (index_t r = 0; r < c.rows; ++r)
    for (index_t j = 0; j < c.cols; ++j) c(r, j) = beta == T{0} ? T{0} : beta * c(r, j);
}

}  // namespace RESECT_NAMESPACE::detail
