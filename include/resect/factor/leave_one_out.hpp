// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/factor/range_finder.hpp>

namespace RESECT_NAMESPACE::factor {

namespace detail {

// Columns t_j = x_j/‖x_j‖ with (R_last·…·R_first)ᵀ·x_j = e_j: Q·t_j is the direction that only column j of the sample
// has. Solved factor by factor, each column brought back to norm 1 in between: their product may not be representable.
inline matrix<double> directions_left_out(const array<matrix<double>>& triangles) {
  const index_t k = triangles.front().rows;
  matrix<double> x(k, k);  // row j is x_j
  for (index_t j = 0; j < k; ++j) x(j, j) = 1;
  for (const matrix<double>& r : triangles)
    for (index_t j = 0; j < k; ++j) {
      double largest = 0;
      for (index_t i = 0; i < k; ++i) {  // Rᵀ is lower triangular
        double* const row = &x(j, 0);
        row[i] /= r(i, i);
        const double known = row[i];
        if (known != 0)
          for (index_t t = i + 1; t < k; ++t) row[t] -= known * r(i, t);
        largest = std::max(largest, std::fabs(known));
      }
      double squares = 0;
      for (index_t i = 0; i < k; ++i) x(j, i) /= largest, squares += x(j, i) * x(j, i);
      for (index_t i = 0; i < k; ++i) x(j, i) /= std::sqrt(squares);
    }
  return x;
}

}  // namespace detail

// An estimate of ‖A − Q·Qᵀ·A‖_F from the search alone: the root mean square over j of ‖(I − Q_(j)·Q_(j)ᵀ)·A·ω_j‖, Q_(j)
// the basis without column j of the sample, which ω_j did not help to make. No further product with A.
//   With t_j ∝ (R_last·…·R_first)⁻ᵀ·e_j from the product of all R factors, (I − Q_(j)·Q_(j)ᵀ)·y is (y − Q·c) and the
//   component (t_j·c) along Q·t_j, c = Qᵀy. From the last R factor alone it is wrong by orders of magnitude.
//   An estimate, no bound: it is unbiased for ‖A − Q_(j)·Q_(j)ᵀ·A‖²_F of k − 1 columns, so a little above; for spectra
//   that are flat or fall like 1/√i or 1/i it is within a factor of 1.5 in 95 % of draws. It says nothing where the rank
//   of A is at most k: then it is 0 where the search noticed (`exhausted`), or where k = m; else rounding.
//   Cost 4mk² flop and (2q + 1)k³ on the host. Errors: those of the backend.
//   Source: Epperly & Tropp, "Efficient error and variance estimation for randomized matrix computations", SIAM J. Sci.
//   Comput. 46 (2024), §2 (leave-one-out for the randomized SVD; with subspace iteration, §2.3).
template <class T, panel_backend<T> B>
result<double> try_leave_one_out(B& exec, const range_search<T, typename B::space>& found) {
  if (found.exhausted || found.q.cols == found.q.rows) return 0.0;
  const index_t k = found.q.cols;
  const matrix<double> t = detail::directions_left_out(found.triangles);
  matrix<double> c;
  double squares = 0;
  if (found.image.empty()) {
    c = found.triangles.front();
  } else {
    auto inside = try_make_matrix<T>(exec, k, k);
    if (!inside) return inside.error();
    auto rest = try_make_matrix<T>(exec, found.image.rows, k);
    if (!rest) return rest.error();
    if (auto s = exec.try_gemm(T{1}, found.q.view().transposed(), found.image.view(), T{0}, inside->view()); !s)
      return s.error();
    if (auto s = try_transfer(exec, found.image.view(), rest->view()); !s) return s.error();
    if (auto s = exec.try_gemm(T{-1}, found.q.view(), inside->view(), T{1}, rest->view()); !s) return s.error();
    const auto norms = try_column_norms(exec, view_of<const T, B>(rest->view()));
    if (!norms) return norms.error();
    for (const column_measure& m : *norms) squares += m.norm() * m.norm();
    auto fetched = try_fetch(exec, inside->view());
    if (!fetched) return fetched.error();
    c = *std::move(fetched);
  }
  for (index_t j = 0; j < k; ++j) {
    double along = 0;
    for (index_t i = 0; i < k; ++i) along += t(j, i) * c(i, j);
    squares += along * along;
  }
  return std::sqrt(squares / static_cast<double>(k));
}

}  // namespace RESECT_NAMESPACE::factor
