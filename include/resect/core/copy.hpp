// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/core/view.hpp>

// Copies of views in host memory.
namespace RESECT_NAMESPACE {

// Copies a view: to(r, c) ← from(r, c), converted to the element type of `to`. The caller has checked that the
// extents are equal; any strides; the views must not overlap unless they are the same elements.
template <class T, class U>
  requires(!std::is_const_v<U>)
void copy(const matrix_view<T>& from, const matrix_view<U>& to) noexcept {
  const bool side_by_side = from.rows_contiguous() && to.rows_contiguous();
  for (index_t r = 0; r < to.rows; ++r) {
    if (!side_by_side) {
      for (index_t c = 0; c < to.cols; ++c) to(r, c) = static_cast<U>(from(r, c));
      continue;
    }
    if constexpr (small_float<std::remove_const_t<T>> && std::same_as<U, float>) {
      convert(from.row_span(r), to.row_span(r));
    } else {
      const T* const in = from.data + r * from.row_stride;
      U* const out = to.data + r * to.row_stride;
      for (index_t c = 0; c < to.cols; ++c) out[c] = static_cast<U>(in[c]);
    }
  }
}
// Copies a view, with its rows distributed over the workers.
template <executor E, class T, class U>
  requires(!std::is_const_v<U>)
void copy(E& exec, const matrix_view<T>& from, const matrix_view<U>& to) {
  constexpr index_t rows_a_task = 16;
  exec.bulk((to.rows + rows_a_task - 1) / rows_a_task, [&](index_t task) {
    const index_t first = task * rows_a_task, rows = algo::min(rows_a_task, to.rows - first);
    copy(from.middle_rows(first, rows), to.middle_rows(first, rows));
  });
}

// Copies the elements to `memory` (an array, a std::vector), row-major without gaps, and returns a view of the copy.
// The view is valid until `memory` changes its size.
template <class T, class Memory>
matrix_view<std::remove_const_t<T>> materialized(const matrix_view<T>& a, Memory& memory) {
  memory.resize(static_cast<decltype(memory.size())>(a.rows * a.cols));
  const matrix_view<std::remove_const_t<T>> out{memory.data(), a.rows, a.cols};
  copy(a, out);
  return out;
}

}  // namespace RESECT_NAMESPACE
