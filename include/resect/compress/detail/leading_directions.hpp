// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <resect/compress/factor_rounder.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/random/distributions.hpp>

namespace RESECT_NAMESPACE::compress::detail {

// The leading eigenvectors of A·H·Aᵀ, in double, and what is left.
struct leading_directions {
  matrix<double> u;      // (m, k) orthonormal, the first `rank` are asked for
  array<double> lambda;  // (k), descending
};

// From A (m, n) and A·H, by subspace iteration from `start` (m, k' ≤ k columns; none: random), k = rank + oversampling.
template <class B>
result<leading_directions> try_leading_directions(B& exec, matrix_view<const double> a, matrix_view<const double> ah,
                                                  index_t k, int iterations, const matrix<double>& start,
                                                  std::uint64_t seed) {
  matrix<double> y(a.rows, k), down(a.cols, k);
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < k; ++c)
      y(r, c) = c < start.cols ? start(r, c)
                               : random::gaussian(seed, static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(c));
  leading_directions out;
  for (int i = 0; i <= iterations; ++i) {
    auto q = linalg::try_orthonormalize(exec, y.view());
    if (!q) return q.error();
    out.u = std::move(q->q);
    if (i == iterations) break;
    if (auto s = exec.try_gemm(1.0, a.transposed(), out.u.view(), 0.0, down.view()); !s) return s.error();
    if (auto s = exec.try_gemm(1.0, ah, down.view(), 0.0, y.view()); !s) return s.error();
  }
  matrix<double> b(k, a.cols), bh(k, a.cols), core(k, k), turned(a.rows, k), basis(k, k);
  if (auto s = exec.try_gemm(1.0, out.u.view().transposed(), a, 0.0, b.view()); !s) return s.error();
  if (auto s = exec.try_gemm(1.0, out.u.view().transposed(), ah, 0.0, bh.view()); !s) return s.error();
  if (auto s = exec.try_gemm(1.0, bh.view(), b.view().transposed(), 0.0, core.view()); !s) return s.error();
  for (index_t i = 0; i < k; ++i)
    for (index_t j = 0; j < i; ++j) core(i, j) = core(j, i) = 0.5 * (core(i, j) + core(j, i));
  array<double> w(k);
  const auto eigen = exec.try_symmetric_eigen(core.view(), vector_view<double>{w.data(), k});
  if (!eigen) return eigen.error();
  out.lambda.resize(k);
  for (index_t c = 0; c < k; ++c) {
    out.lambda[c] = std::max(0.0, w[k - 1 - c]);
    for (index_t r = 0; r < k; ++r) basis(r, c) = core(r, k - 1 - c);
  }
  if (auto s = exec.try_gemm(1.0, out.u.view(), basis.view(), 0.0, turned.view()); !s) return s.error();
  out.u = std::move(turned);
  return out;
}

}  // namespace RESECT_NAMESPACE::compress::detail
