// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::metrics {

// Calls take(cluster, row of a, row of b) for every row whose cluster is not −1. Rows that do not count (BOS,
// padding) have cluster −1. a, b (rows, cols) fp32 with contiguous rows; `cluster` has one entry a row. Errors: shape
// mismatch, bad stride, null; then nothing is called.
template <class F>
status for_counted_rows(matrix_view<const float> a, matrix_view<const float> b, std::span<const index_t> cluster,
                        F take) noexcept(noexcept(take(index_t{}, std::span<const float>{},
                                                       std::span<const float>{}))) {
  if (status s = check_view(a, static_cast<index_t>(cluster.size()), a.cols, "a"); !s) return s;
  if (status s = check_view(b, a.rows, a.cols, "b"); !s) return s;
  if (!a.rows_contiguous() || !b.rows_contiguous())
    return error{errc::bad_stride, a.rows_contiguous() ? "b" : "a",
                 text("column stride ", a.rows_contiguous() ? b.col_stride : a.col_stride), "contiguous rows"};
  for (index_t r = 0; r < a.rows; ++r) {
    const index_t c = cluster[static_cast<std::size_t>(r)];
    if (c == -1) continue;
    take(c, a.row_span(r), b.row_span(r));
  }
  return {};
}

// for_counted_rows of any operands of floats.
template <operand_of<float> A, operand_of<float> B, class F>
status for_counted_rows(const A& a, const B& b, std::span<const index_t> cluster, F take) {
  return on_view(a, "a", [&](matrix_view<const float> va) {
    return on_view(b, "b", [&](matrix_view<const float> vb) { return for_counted_rows(va, vb, cluster, take); });
  });
}

}  // namespace RESECT_NAMESPACE::metrics
