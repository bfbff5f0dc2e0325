// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/factor/detail/core_svd.hpp>
#include <resect/factor/low_rank.hpp>

namespace RESECT_NAMESPACE::factor {

// The balanced pair of the same product, and its spectrum.
template <class T, class Space = host_space>
struct balanced_pair {
  low_rank<T, Space> factors;
  array<double> spectrum;  // the r singular values of L·R, descending
};

// L ← U·√s, R ← √s·Vᵀ of the product L·R = U·diag(s)·Vᵀ, whatever pair it was made of: columns of L and rows of R have
// equal norms and are orthogonal, so that neither factor's rounding weighs more than the other's.
//   L (m, r), R (r, n), r ≤ min(m, n). |error of the product| ≤ (16r + 32)·√r·u·‖L‖_F·‖R‖_F. Cost (4 + 2 + 2)(m + n)r²
//   flop and a core of r columns; the product is not formed. Same bits for any number of workers, if the backend's
//   products have that.
//   Errors: shape_mismatch (no pair; r above m or n), null_pointer, not_finite; those of the backend.
template <class T, panel_backend<T> B>
result<balanced_pair<T, typename B::space>> try_balance(B& exec, const low_rank<T, typename B::space>& pair) {
  if (auto s = pair.check(); !s) return s.error();
  const index_t rank = pair.rank();
  const auto left = linalg::try_orthonormalize(exec, pair.l.view());
  if (!left) return left.error();
  const auto right = linalg::try_orthonormalize(exec, pair.r.view().transposed());
  if (!right) return right.error();
  matrix<double> product(rank, rank);
  auto& core = core_of(exec);
  if (auto s = core.try_gemm(1.0, left->r.view(), right->r.view().transposed(), 0.0, product.view()); !s)
    return s.error();
  auto svd = detail::svd_of_core(core, product);
  if (!svd) return svd.error();
  for (index_t i = 0; i < rank; ++i)
    for (index_t j = 0; j < rank; ++j) {
      svd->u(i, j) *= std::sqrt(svd->s[j]);
      svd->v(i, j) *= std::sqrt(svd->s[j]);
    }
  const auto u = try_place<T>(exec, svd->u.view()), v = try_place<T>(exec, svd->v.view());
  if (!u) return u.error();
  if (!v) return v.error();
  auto l = try_make_matrix<T>(exec, pair.rows(), rank), r = try_make_matrix<T>(exec, rank, pair.cols());
  if (!l) return l.error();
  if (!r) return r.error();
  if (auto s = exec.try_gemm(T{1}, left->q.view(), u->view(), T{0}, l->view()); !s) return s.error();
  if (auto s = exec.try_gemm(T{1}, v->view().transposed(), right->q.view().transposed(), T{0}, r->view()); !s)
    return s.error();
  return balanced_pair<T, typename B::space>{{*std::move(l), *std::move(r)}, std::move(svd->s)};
}

#if RESECT_EXCEPTIONS
template <class T, panel_backend<T> B>
balanced_pair<T, typename B::space> balance(B& exec, const low_rank<T, typename B::space>& pair) {
  return value_or_throw(try_balance(exec, pair));
}
#endif

}  // namespace RESECT_NAMESPACE::factor
