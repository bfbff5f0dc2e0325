// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/linalg/detail/scaled_symmetric.hpp>
#include <resect/linalg/jacobi.hpp>
#include <resect/linalg/tridiagonal_eigen.hpp>

namespace RESECT_NAMESPACE::linalg {

// A (n, n), its lower triangle read ← orthonormal eigenvectors as columns; w ← eigenvalues, ascending.
// One-sided Jacobi of A + c·I with c = 2·(a bound of ‖A‖₂): positive definite with a condition number of at most 3, so
// its right singular vectors are its eigenvectors, all to full precision. The eigenvalues are their Rayleigh quotients
// with A, which frees them of the shift. A is scaled by a power of two first: its range does not matter.
template <dense_backend<double> B>
result<eigen_outcome> jacobi_symmetric_eigen(B& backend, matrix_view<double> a, vector_view<double> w) {
  const index_t n = a.rows;
  const detail::scaled_symmetric scaled(a);
  if (!scaled.finite) return eigen_outcome{false};
  const int exponent = scaled.exponent;
  const matrix<double>& whole = scaled.whole;

  double by_rows = 0, squares = 0;
  for (index_t i = 0; i < n; ++i) {
    double row = 0;
    for (index_t j = 0; j < n; ++j) row += std::fabs(whole(i, j)), squares += whole(i, j) * whole(i, j);
    by_rows = std::max(by_rows, row);
  }
  const double norm = std::min(by_rows, std::sqrt(squares));
  matrix<double> rows = whole;
  for (index_t i = 0; i < n; ++i) rows(i, i) += norm > 0 ? 2 * norm : 1;
  const double tolerance = std::max(4.0, std::sqrt(static_cast<double>(n))) * std::numeric_limits<double>::epsilon();
  const auto jacobi = one_sided_jacobi(backend, rows.view(), {}, tolerance);
  for (index_t i = 0; i < n; ++i) {
    double square = 0;
    for (index_t j = 0; j < n; ++j) square += rows(i, j) * rows(i, j);
    for (index_t j = 0; j < n; ++j) rows(i, j) /= std::sqrt(square);
  }

  matrix<double> images(n, n);  // row i is A·v_i
  if (auto s = backend.try_gemm(1.0, rows.view(), whole.view(), 0.0, images.view()); !s) return s.error();
  array<double> values(n);
  for (index_t i = 0; i < n; ++i) {
    double value = 0;
    for (index_t j = 0; j < n; ++j) value += rows(i, j) * images(i, j);
    values[i] = value;
  }
  array<index_t> order(n);
  std::iota(order.begin(), order.end(), index_t{0});
  std::stable_sort(order.begin(), order.end(), [&](index_t i, index_t j) { return values[i] < values[j]; });
  for (index_t c = 0; c < n; ++c) {
    const index_t from = order[c];
    w[c] = std::ldexp(values[from], exponent);
    for (index_t r = 0; r < n; ++r) a(r, c) = rows(from, r);
  }
  return eigen_outcome{jacobi.converged};
}

// The largest core that jacobi_symmetric_eigen is fast enough for.
inline constexpr index_t jacobi_most = 128;

// A (n, n), its lower triangle read ← orthonormal eigenvectors as columns; w ← eigenvalues, ascending: by Jacobi up to
// n = jacobi_most, by the tridiagonal form above.
template <dense_backend<double> B>
result<eigen_outcome> symmetric_eigen(B& backend, matrix_view<double> a, vector_view<double> w) {
  return a.rows <= jacobi_most ? jacobi_symmetric_eigen(backend, a, w)
                               : tridiagonal_symmetric_eigen(backend, instructions_of(backend), a, w);
}

}  // namespace RESECT_NAMESPACE::linalg
