// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <resect/core/copy.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/random/test_matrix.hpp>

// A block Krylov space of a symmetric map M, with an orthonormal basis Q and the projection QᵀMQ.
namespace RESECT_NAMESPACE::factor::detail {

template <class T>
struct krylov_space {
  matrix<T> basis;           // (m, k), orthonormal columns
  matrix<double> projected;  // (k, k), QᵀMQ
};

// Y ← Y − Q·(QᵀY) for the first `count` columns of Q; c (count, b) ← QᵀY.
template <class T, host_factoring_backend<T> B>
status project_block(B& exec, matrix_view<const T> q, index_t count, matrix_view<T> y, matrix<T>& c) {
  const auto known = q.block(0, 0, q.rows, count);
  c.resize(count, y.cols);
  if (auto s = exec.try_gemm(T{1}, known.transposed(), y, T{0}, c.view()); !s) return s;
  return exec.try_gemm(T{-1}, known, c.view(), T{1}, y);
}

// Orthonormalizes Y (m, b) against the first `count` columns of Q (m, k), count + b ≤ k, and among its own columns, and
// appends it to them. Columns that lie in the span of others, zero columns too, are replaced by Gaussian ones: a space
// that is exhausted (an eigenvalue of multiplicity above b) grows on by new directions. Y is overwritten.
template <class T, host_factoring_backend<T> B>
status append_block(B& exec, matrix_view<T> q, index_t count, matrix_view<T> y, std::uint64_t seed) {
  matrix<T> c;
  constexpr int most_rounds = 6;
  for (int round = 0; round < most_rounds; ++round) {
    bool again = false;
    if (count > 0) {
      const auto before = linalg::detail::column_scales<T>(exec, y);
      for (int pass = 0; pass < 2; ++pass)
        if (auto s = project_block<T>(exec, q, count, y, c); !s) return s;
      const auto after = linalg::detail::column_scales<T>(exec, y);
      for (index_t i = 0; i < y.cols; ++i) again |= before.exponent[i] - after.exponent[i] > 4;
    }
    const auto basis = linalg::try_orthonormalize(exec, matrix_view<const T>(y));
    if (!basis) return basis.error();
    copy(exec, basis->q.view(), y);
    if (basis->rank < y.cols) {
      again = true;
      const random::gaussian_matrix drawn{seed, static_cast<std::uint64_t>(count + 2)};
      if (auto s = random::try_fill(exec, drawn, y.block(0, basis->rank, y.rows, y.cols - basis->rank),
                                    {0, static_cast<index_t>(round) * y.cols});
          !s)
        return s;
    }
    if (!again) break;
  }
  copy(exec, matrix_view<const T>(y), q.block(0, count, y.rows, y.cols));
  return {};
}

// Grows the space from Y (m, b), b ≤ k ≤ m, to k columns. apply(X, Z) is Z ← M·X, X and Z (m, ≤ b). Y is overwritten.
//   k products with M; 4mk² flop for the basis. Source: Golub & Underwood, "The block Lanczos method for computing
//   eigenvalues", Mathematical Software III (1977), with full reorthogonalization.
template <class T, host_factoring_backend<T> B, class Apply>
result<krylov_space<T>> block_krylov(B& exec, matrix_view<T> y, index_t k, std::uint64_t seed, Apply apply) {
  const index_t m = y.rows, b = y.cols;
  krylov_space<T> space{matrix<T>(m, k), matrix<double>(k, k)};
  const auto q = space.basis.view();
  matrix<T> c;
  index_t count = 0, width = b;  // the last block has `width` columns
  if (auto s = append_block<T>(exec, q, 0, y, seed); !s) return s.error();
  for (count = b;; count += width) {
    const auto image = y.block(0, 0, m, width);
    if (auto s = apply(q.block(0, count - width, m, width), image); !s) return s.error();
    c.resize(count, width);
    const auto known = matrix_view<const T>(q).block(0, 0, m, count);
    if (auto s = exec.try_gemm(T{1}, known.transposed(), image, T{0}, c.view()); !s) return s.error();
    for (index_t i = 0; i < count; ++i)
      for (index_t j = 0; j < width; ++j)
        space.projected(i, count - width + j) = space.projected(count - width + j, i) = static_cast<double>(c(i, j));
    if (count == k) break;
    width = std::min(width, k - count);
    if (auto s = append_block<T>(exec, q, count, image.block(0, 0, m, width), seed); !s) return s.error();
  }
  return space;
}

}  // namespace RESECT_NAMESPACE::factor::detail
