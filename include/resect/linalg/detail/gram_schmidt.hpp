// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <resect/linalg/detail/cholesky_qr.hpp>
#include <resect/random/test_matrix.hpp>

namespace RESECT_NAMESPACE::linalg::detail {

// v ← v − B·(Bᵀv), twice or until it keeps half of its norm, for B the first `count` columns of Q; their coefficients
// are added to `coefficient`. Returns the norm that is left; stops where that is not above `floor`.
template <class T, panel_backend<T> B>
result<double> project_out(B& exec, view_of<const T, B> q, index_t count, view_of<T, B> v, double floor,
                           matrix<double>& coefficient) {
  const auto basis = q.block(0, 0, q.rows, count);
  auto c = try_make_matrix<T>(exec, count, 1);
  if (!c) return c.error();
  column_measure size;
  if (auto s = try_column_norms(exec, view_of<const T, B>(v), {&size, 1}); !s) return s.error();
  for (int round = 0; round < 5 && size.norm() > floor && count > 0; ++round) {
    const double before = size.norm();
    if (auto s = exec.try_gemm(T{1}, basis.transposed(), v, T{0}, c->view()); !s) return s.error();
    if (auto s = exec.try_gemm(T{-1}, basis, c->view(), T{1}, v); !s) return s.error();
    const auto added = try_fetch(exec, c->view());
    if (!added) return added.error();
    for (index_t i = 0; i < count; ++i) coefficient(i, 0) += (*added)(i, 0);
    if (auto s = try_column_norms(exec, view_of<const T, B>(v), {&size, 1}); !s) return s.error();
    if (round > 0 && size.norm() >= before / 2) break;
  }
  return size.norm();
}

// Y = Q·R, Y (m, n) with columns of norms in [½, 1) or zero. Columns that depend on those before them get coefficients
// and no column; random ones complete Q. Returns the number of independent columns. Y is overwritten; Q (m, n) is.
template <class T, panel_backend<T> B>
result<index_t> gram_schmidt(B& exec, view_of<T, B> y, view_of<T, B> q, matrix<double>& r, double tolerance) {
  const index_t m = y.rows, n = y.cols;
  r = matrix<double>(n, n);
  index_t rank = 0;
  matrix<double> coefficient(n, 1);
  const auto keep = [&](view_of<const T, B> v, double norm) {
    int exponent = 0;
    const column_scale by{1 / std::frexp(norm, &exponent), -exponent};
    return try_scale_columns(exec, v, {&by, 1}, q.block(0, rank++, m, 1));
  };
  for (index_t j = 0; j < n; ++j) {
    const auto v = y.block(0, j, m, 1);
    std::fill(coefficient.data.begin(), coefficient.data.end(), 0.0);
    column_measure size;
    if (auto s = try_column_norms(exec, view_of<const T, B>(v), {&size, 1}); !s) return s.error();
    const double floor = tolerance * size.norm();
    const auto norm = project_out<T>(exec, q, rank, v, floor, coefficient);
    if (!norm) return norm.error();
    copy(coefficient.view().middle_rows(0, rank), r.view().block(0, j, rank, 1));
    if (rank == m || !(*norm > floor)) continue;
    r(rank, j) = *norm;
    if (auto s = keep(v, *norm); !s) return s.error();
  }
  const index_t found = rank;
  const auto v = n > 0 ? y.block(0, 0, m, 1) : y;
  for (std::uint64_t drawn = 0; rank < n; ++drawn) {
    if (auto s = try_fill(exec, random::gaussian_matrix{0x6f7274686f6e6f72, drawn}, v, random::block_origin{}); !s)
      return s.error();
    const auto norm = project_out<T>(exec, q, rank, v, 0, coefficient);
    if (!norm) return norm.error();
    if (!(*norm > 0x1p-10)) continue;
    if (auto s = keep(v, *norm); !s) return s.error();
  }
  return found;
}

}  // namespace RESECT_NAMESPACE::linalg::detail
