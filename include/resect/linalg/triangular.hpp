// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <resect/core/backend.hpp>

// Cholesky and the triangular solve as drivers over try_gemm: products do all work but that of blocks on the diagonal.
// Blocks follow from the extents alone, so the bits do not depend on the number of workers if those of try_gemm do not.
namespace RESECT_NAMESPACE::linalg {

// Rows and columns of a diagonal block: what one task factors by itself.
inline constexpr index_t triangular_block = 64;

// The lower triangle of A (n, n), n ≤ 64, becomes L. Returns the first column whose pivot is not above zero, or −1.
template <class T>
index_t cholesky_of_block(matrix_view<T> a) {
  for (index_t j = 0; j < a.rows; ++j) {
    T pivot = a(j, j);
    for (index_t p = 0; p < j; ++p) pivot -= a(j, p) * a(j, p);
    if (!(pivot > T{0}) || !(pivot <= std::numeric_limits<T>::max())) return j;
    const T root = std::sqrt(pivot);
    a(j, j) = root;
    for (index_t i = j + 1; i < a.rows; ++i) {
      T s = a(i, j);
      for (index_t p = 0; p < j; ++p) s -= a(i, p) * a(j, p);
      a(i, j) = s / root;
    }
  }
  return -1;
}

// X ← X·L⁻ᵀ for L (n, n) with n ≤ 64. Rows are independent; sixteen at a time side by side.
template <class T, executor E>
void solve_block(E& exec, matrix_view<const T> l, matrix_view<T> x) {
  constexpr index_t lanes = 16, rows_a_task = 64;
  using vector [[gnu::vector_size(lanes * sizeof(T))]] = T;
  exec.bulk((x.rows + rows_a_task - 1) / rows_a_task, [&](index_t task) {
    const index_t end = std::min(x.rows, (task + 1) * rows_a_task);
    for (index_t first = task * rows_a_task; first < end; first += lanes) {
      const index_t count = std::min(lanes, end - first);
      vector side[triangular_block] = {};
      for (index_t r = 0; r < count; ++r)
        for (index_t j = 0; j < x.cols; ++j) side[j][r] = x(first + r, j);
      for (index_t j = 0; j < x.cols; ++j) {
        vector sum = side[j];
        for (index_t p = 0; p < j; ++p) sum -= l(j, p) * side[p];
        side[j] = sum / l(j, j);
      }
      for (index_t r = 0; r < count; ++r)
        for (index_t j = 0; j < x.cols; ++j) x(first + r, j) = side[j][r];
    }
  });
}

// A (n, n) ← its Cholesky factor in the lower triangle; the strict upper triangle stays. Views that try_gemm writes to.
template <class T, dense_backend<T> B>
result<cholesky_outcome> blocked_cholesky(B& backend, matrix_view<T> a) {
  const index_t n = a.rows;
  T storage[triangular_block * triangular_block];
  for (index_t k = 0; k < n; k += triangular_block) {
    const index_t b = std::min(triangular_block, n - k);
    const index_t below = n - k - b;
    matrix_view<T> diagonal{storage, b, b};
    for (index_t i = 0; i < b; ++i)
      for (index_t j = 0; j < b; ++j) diagonal(i, j) = j <= i ? a(k + i, k + j) : T{0};
    const auto left = a.block(k, 0, b, k);
    if (auto s = backend.try_gemm(T{-1}, left, left.transposed(), T{1}, diagonal); !s) return s.error();
    if (const index_t failed = cholesky_of_block(diagonal); failed >= 0) return cholesky_outcome{k + failed};
    for (index_t i = 0; i < b; ++i)
      for (index_t j = 0; j <= i; ++j) a(k + i, k + j) = diagonal(i, j);
    if (below == 0) break;
    const auto panel = a.block(k + b, k, below, b);
    if (auto s = backend.try_gemm(T{-1}, a.block(k + b, 0, below, k), left.transposed(), T{1}, panel); !s)
      return s.error();
    solve_block<T>(backend, diagonal, panel);
  }
  return cholesky_outcome{};
}

// X ← X·L⁻ᵀ, L (n, n) lower. Views that try_gemm reads and writes.
template <class T, dense_backend<T> B>
status blocked_solve_right(B& backend, matrix_view<const T> l, matrix_view<T> x) {
  for (index_t k = 0; k < l.rows; k += triangular_block) {
    const index_t b = std::min(triangular_block, l.rows - k);
    const auto here = x.block(0, k, x.rows, b);
    const auto solved = x.block(0, 0, x.rows, k);
    if (auto s = backend.try_gemm(T{-1}, solved, l.block(k, 0, b, k).transposed(), T{1}, here); !s) return s;
    solve_block<T>(backend, l.block(k, k, b, b), here);
  }
  return {};
}

}  // namespace RESECT_NAMESPACE::linalg
