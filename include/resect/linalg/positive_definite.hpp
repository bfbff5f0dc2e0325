// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>

// Systems with a symmetric positive definite matrix.
namespace RESECT_NAMESPACE::linalg {

// Solves X·A = B for a symmetric positive definite A: X = B·A⁻¹ by A = L·Lᵀ and two triangular solves.
//   A (n, n) double: the lower triangle is read and overwritten with L. B (m, n) double is overwritten with X; it stays
//   as it was where A is not positive definite (the outcome's failed_column says where).
//   Error: |X·A − B| ≤ 3(n + 2)·2⁻⁵³·|X|·|L|·|Lᵀ|. Cost n³/3 + 2mn² flop, n² + mn doubles of memory. The bits do not
//   depend on the number of workers where those of the backend's products do not. Errors: shape_mismatch,
//   null_pointer, bad_stride.
template <core_backend B>
result<cholesky_outcome> try_solve_positive_definite(B& exec, matrix_view<double> a, matrix_view<double> b) {
  const index_t n = a.rows;
  if (auto s = check_view(a, n, n, "A"); !s) return s.error();
  if (auto s = check_view(b, b.rows, n, "B"); !s) return s.error();
  auto outcome = exec.try_cholesky(a);
  if (!outcome || !outcome->positive_definite() || b.empty()) return outcome;
  const matrix_view<const double> l = a;
  if (auto s = exec.try_solve_right(l, b); !s) return s.error();
  // Y·L⁻¹ = (Y·J)·M⁻ᵀ·J, where J reverses the order and M = J·Lᵀ·J is lower triangular again.
  matrix<double> m(n, n), y(b.rows, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j <= i; ++j) m(i, j) = l(n - 1 - j, n - 1 - i);
  for (index_t r = 0; r < b.rows; ++r)
    for (index_t c = 0; c < n; ++c) y(r, c) = b(r, n - 1 - c);
  const matrix_view<const double> reversed = m.view();
  if (auto s = exec.try_solve_right(reversed, y.view()); !s) return s.error();
  for (index_t r = 0; r < b.rows; ++r)
    for (index_t c = 0; c < n; ++c) b(r, c) = y(r, n - 1 - c);
  return outcome;
}

}  // namespace RESECT_NAMESPACE::linalg
