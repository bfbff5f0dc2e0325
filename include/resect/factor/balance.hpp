// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/factor/detail/core_svd.hpp>
#include <resect/factor/low_rank.hpp>

namespace RESECT_NAMESPACE::factor {

// The balanced pair of the same product, and its spectrum.
template <class T>
struct balanced_pair {
  low_rank<T> factors;
  array<double> spectrum;  // the r singular values of L·R, descending
};

// L ← U·√s, R ← √s·Vᵀ of the product L·R = U·diag(s)·Vᵀ, whatever pair it was made of: columns of L and rows of R have
// equal norms and are orthogonal, so that neither factor's rounding weighs more than the other's.
//   L (m, r), R (r, n), r ≤ min(m, n). |error of the product| ≤ (16r + 32)·√r·u·‖L‖_F·‖R‖_F. Cost (4 + 2 + 2)(m + n)r²
//   flop and a core of r columns; the product is not formed. Same bits for any number of workers, if the backend's
//   products have that.
//   Errors: shape_mismatch (no pair; r above m or n), null_pointer, not_finite; those of the backend.
template <class T, host_factoring_backend<T> B>
result<balanced_pair<T>> try_balance(B& exec, const low_rank<T>& pair) {
  if (auto s = pair.check(); !s) return s.error();
  const index_t rank = pair.rank();
  const auto left = linalg::try_orthonormalize(exec, pair.l.view());
  if (!left) return left.error();
  const auto right = linalg::try_orthonormalize(exec, pair.r.view().transposed());
  if (!right) return right.error();
  matrix<double> core(rank, rank);
  if (auto s = exec.try_gemm(1.0, left->r.view(), right->r.view().transposed(), 0.0, core.view()); !s) return s.error();
  auto svd = detail::svd_of_core(exec, core);
  if (!svd) return svd.error();
  matrix<T> u(rank, rank), v(rank, rank);
  for (index_t i = 0; i < rank; ++i)
    for (index_t j = 0; j < rank; ++j) {
      u(i, j) = static_cast<T>(svd->u(i, j) * std::sqrt(svd->s[j]));
      v(i, j) = static_cast<T>(svd->v(i, j) * std::sqrt(svd->s[j]));
    }
  balanced_pair<T> out{{matrix<T>(pair.rows(), rank), matrix<T>(rank, pair.cols())}, std::move(svd->s)};
  if (auto s = exec.try_gemm(T{1}, left->q.view(), u.view(), T{0}, out.factors.l.view()); !s) return s.error();
  if (auto s = exec.try_gemm(T{1}, v.view().transposed(), right->q.view().transposed(), T{0}, out.factors.r.view()); !s)
    return s.error();
  return out;
}

#if RESECT_EXCEPTIONS
template <class T, host_factoring_backend<T> B>
balanced_pair<T> balance(B& exec, const low_rank<T>& pair) {
  return value_or_throw(try_balance(exec, pair));
}
#endif

}  // namespace RESECT_NAMESPACE::factor
