// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/factor/orthonormalize.hpp>
#include <resect/random/distributions.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG::factor {

// Ω (n, k), standard normal. Element (i, j) is draw i of stream j of the seed: more columns leave the first as they
// are. Cost about 60 ns an element, shared out by columns.
template <class T, executor E>
matrix<T> gaussian_test_matrix(E& exec, index n, index k, std::uint64_t seed) {
  matrix<T> omega(n, k);
  exec.bulk(k, [&](index j) {
    const random::philox_stream stream{seed, static_cast<std::uint64_t>(j)};
    for (index i = 0; i < n; ++i) omega(i, j) = static_cast<T>(random::gaussian(stream, static_cast<std::uint64_t>(i)));
  });
  return omega;
}

// A basis Q (m, k) whose columns nearly hold the range of W (m, n): those of (W·Wᵀ)^q·W·Ω, orthonormalized after every
// product with W or Wᵀ. k ≤ min(m, n), W finite: the caller checks. (2q + 1)·2mnk flop and as many passes over W.
// E‖W − Q·Qᵀ·W‖ ≤ (1 + √(r/(p−1)) + (e·√(r+p)/p)·√(min(m, n) − r))^(1/(2q+1))·σ_{r+1} for k = r + p, p ≥ 2.
// Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 53 (2011), Algorithm 4.4 and
// Corollary 10.10.
template <class T, host_factoring_backend<T> B>
result<matrix<T>> try_find_range(B& exec, matrix_view<const T> w, index k, int power_iterations, std::uint64_t seed) {
  matrix<T> tall(w.rows, k);
  {
    const matrix<T> omega = gaussian_test_matrix<T>(exec, w.cols, k, seed);
    if (auto s = exec.try_gemm(T{1}, w, omega.view(), T{0}, tall.view()); !s) return s.error();
  }
  auto q = try_orthonormalize(exec, tall.view());
  if (!q) return q.error();
  matrix<T> wide(power_iterations > 0 ? w.cols : 0, k);
  for (int i = 0; i < power_iterations; ++i) {
    if (auto s = exec.try_gemm(T{1}, w.transposed(), q->q.view(), T{0}, wide.view()); !s) return s.error();
    const auto p = try_orthonormalize(exec, wide.view());
    if (!p) return p.error();
    if (auto s = exec.try_gemm(T{1}, w, p->q.view(), T{0}, tall.view()); !s) return s.error();
    q = try_orthonormalize(exec, tall.view());
    if (!q) return q.error();
  }
  return std::move(q->q);
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::factor
