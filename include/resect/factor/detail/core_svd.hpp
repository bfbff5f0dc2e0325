// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <numeric>

#include <resect/linalg/jacobi.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/linalg/symmetric_eigen.hpp>

namespace RESECT_NAMESPACE::factor::detail {

struct core_svd {
  matrix<double> u, v;  // (k, k), orthonormal columns
  array<double> s;      // descending
  bool converged = false;
};

// Whether |x_i·x_j| ≤ tolerance·‖x_i‖·‖x_j‖ for all rows above `negligible`: one product, where a sweep of Jacobi takes
// as many operations at a tenth of the speed.
template <core_backend B>
result<bool> rows_are_orthogonal(B& exec, matrix_view<const double> x, double tolerance, double negligible) {
  if (tolerance < 0 || x.rows <= linalg::jacobi_most) return false;
  matrix<double> g(x.rows, x.rows);
  if (auto s = exec.try_gemm(1.0, x, x.transposed(), 0.0, g.view()); !s) return s.error();
  const double least = negligible * negligible;
  for (index_t i = 0; i < x.rows; ++i)
    for (index_t j = 0; j < i; ++j)
      if (g(i, i) > least && g(j, j) > least && std::fabs(g(i, j)) > tolerance * std::sqrt(g(i, i) * g(j, j)))
        return false;
  return true;
}

// C = U·diag(s)·Vᵀ of a small square matrix. The eigenvectors of CᵀC bring C near orthogonal columns, cheaply and to
// about half of the digits; one-sided Jacobi does the rest where there is one to do, so that small singular values are
// not lost to the square.
//   |s_i − σ_i| ≤ 8·k·2⁻⁵³·σ_1 for every i. Columns whose norm is rounding of the largest get a direction that completes
//   U. The backend's eigenvectors are a start only: without them (not converged) Jacobi does everything.
template <core_backend B>
result<core_svd> svd_of_core(B& exec, const matrix<double>& c) {
  const index_t k = c.rows;
  core_svd out{matrix<double>(k, k), matrix<double>(k, k), array<double>(k), true};
  double largest = 0;
  for (const double x : c.data) largest = std::max(largest, std::fabs(x));
  int exponent = 0;
  std::frexp(largest, &exponent);
  matrix<double> scaled_core(k, k), g(k, k), x(k, k);
  for (index_t i = 0; i < c.data.size(); ++i) scaled_core.data[i] = std::ldexp(c.data[i], -exponent);

  if (auto s = exec.try_gemm(1.0, scaled_core.view().transposed(), scaled_core.view(), 0.0, g.view()); !s)
    return s.error();
  array<double> values(k);
  const auto eigen = exec.try_symmetric_eigen(g.view(), vector_view<double>{values.data(), k});
  if (!eigen) return eigen.error();
  matrix<double> directions(k, k);  // a right singular vector a row, the largest first
  for (index_t i = 0; i < k; ++i)
    for (index_t j = 0; j < k; ++j) directions(i, j) = eigen->converged ? g(j, k - 1 - i) : (i == j ? 1.0 : 0.0);
  if (auto s = exec.try_gemm(1.0, directions.view(), scaled_core.view().transposed(), 0.0, x.view()); !s)
    return s.error();

  const double size = static_cast<double>(std::max<index_t>(k, 1)), noise = size * 0x1p-53;
  double norm = 0;
  for (const double e : scaled_core.data) norm += e * e;
  norm = std::sqrt(norm);
  const double tolerance = 2 * std::max(4.0, std::sqrt(size)) * 0x1p-52;
  const auto orthogonal = rows_are_orthogonal(exec, x.view(), eigen->converged ? tolerance : -1, noise * norm);
  if (!orthogonal) return orthogonal.error();
  out.converged =
      *orthogonal || linalg::one_sided_jacobi(exec, x.view(), directions.view(), tolerance, noise * norm).converged;

  array<double> norms(k);
  for (index_t i = 0; i < k; ++i) {
    double squares = 0;
    for (index_t j = 0; j < k; ++j) squares += x(i, j) * x(i, j);
    norms[i] = std::sqrt(squares);
  }
  array<index_t> order(k);
  std::iota(order.begin(), order.end(), index_t{0});
  std::stable_sort(order.begin(), order.end(), [&](index_t i, index_t j) { return norms[i] > norms[j]; });
  bool rounding = false;
  for (index_t c2 = 0; c2 < k; ++c2) {
    const index_t from = order[c2];
    const double value = norms[from];
    const bool kept = value > 2 * noise * norm;
    rounding |= !kept;
    out.s[c2] = std::ldexp(value, exponent);
    for (index_t r = 0; r < k; ++r) {
      out.u(r, c2) = kept ? x(from, r) / value : 0.0;
      out.v(r, c2) = directions(from, r);
    }
  }
  if (rounding) {
    auto basis = linalg::try_orthonormalize(exec, out.u.view());
    if (!basis) return basis.error();
    out.u = std::move(basis->q);
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::factor::detail
