// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/copy.hpp>
#include <resect/linalg/detail/cholesky_qr.hpp>
#include <resect/random/distributions.hpp>

namespace RESECT_NAMESPACE::linalg::detail {

// The norm of a column, summed in a fixed order and scaled so that no square overflows or vanishes.
template <class T>
double column_norm(matrix_view<const T> v) noexcept {
  double largest = 0;
  for (index_t r = 0; r < v.rows; ++r) largest = std::max(largest, std::fabs(static_cast<double>(v(r, 0))));
  int exponent = 0;
  std::frexp(largest, &exponent);
  exponent = std::clamp(exponent, -1000, 1000);
  const double scale = std::ldexp(1.0, -exponent);
  double lane[8] = {};
  for (index_t r = 0; r < v.rows; ++r) {
    const double x = static_cast<double>(v(r, 0)) * scale;
    lane[r % 8] += x * x;
  }
  return std::ldexp(std::sqrt(lane_sum(lane)), exponent);
}

// v ← v − B·(Bᵀv), twice or until it keeps half of its norm, for B the first `count` columns of Q; their coefficients
// are added to `coefficient`. Returns the norm that is left; stops where that is not above `floor`.
template <class T, host_factoring_backend<T> B>
result<double> project_out(B& exec, matrix_view<const T> q, index_t count, matrix_view<T> v, double floor,
                           matrix<double>& coefficient) {
  const auto basis = q.block(0, 0, q.rows, count);
  matrix<T> c(count, 1);
  double norm = column_norm<T>(v);
  for (int round = 0; round < 5 && norm > floor && count > 0; ++round) {
    const double before = norm;
    if (auto s = exec.try_gemm(T{1}, basis.transposed(), v, T{0}, c.view()); !s) return s.error();
    if (auto s = exec.try_gemm(T{-1}, basis, c.view(), T{1}, v); !s) return s.error();
    for (index_t i = 0; i < count; ++i) coefficient(i, 0) += static_cast<double>(c(i, 0));
    norm = column_norm<T>(v);
    if (round > 0 && norm >= before / 2) break;
  }
  return norm;
}

// Y = Q·R, Y (m, n) with columns of norms in [½, 1) or zero. Columns that depend on those before them get coefficients
// and no column; random ones complete Q. Returns the number of independent columns. Y is overwritten.
template <class T, host_factoring_backend<T> B>
result<index_t> gram_schmidt(B& exec, matrix_view<T> y, matrix<T>& q, matrix<double>& r, double tolerance) {
  const index_t m = y.rows, n = y.cols;
  q = matrix<T>(m, n);
  r = matrix<double>(n, n);
  index_t rank = 0;
  matrix<T> v(m, 1);
  matrix<double> coefficient(n, 1);
  const auto keep = [&](double norm) {
    for (index_t i = 0; i < m; ++i) q(i, rank) = static_cast<T>(static_cast<double>(v(i, 0)) / norm);
  };
  for (index_t j = 0; j < n; ++j) {
    copy(y.block(0, j, m, 1), v.view());
    std::fill(coefficient.data.begin(), coefficient.data.end(), 0.0);
    const double floor = tolerance * column_norm<T>(v.view());
    const auto norm = project_out<T>(exec, q.view(), rank, v.view(), floor, coefficient);
    if (!norm) return norm.error();
    copy(coefficient.view().middle_rows(0, rank), r.view().block(0, j, rank, 1));
    if (rank == m || !(*norm > floor)) continue;
    r(rank, j) = *norm;
    keep(*norm);
    ++rank;
  }
  const index_t found = rank;
  for (std::uint64_t drawn = 0; rank < n; ++drawn) {
    const random::philox_stream stream{0x6f7274686f6e6f72, drawn};
    for (index_t i = 0; i < m; ++i) v(i, 0) = static_cast<T>(random::gaussian(stream, static_cast<std::uint64_t>(i)));
    const double before = column_norm<T>(v.view());
    const auto norm = project_out<T>(exec, q.view(), rank, v.view(), 0, coefficient);
    if (!norm) return norm.error();
    if (!(*norm > 0x1p-10 * before / std::sqrt(static_cast<double>(m)))) continue;
    keep(*norm);
    ++rank;
  }
  return found;
}

}  // namespace RESECT_NAMESPACE::linalg::detail
