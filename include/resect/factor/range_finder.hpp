// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <resect/core/operand.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/random/test_matrix.hpp>

namespace RESECT_NAMESPACE::factor {

// A basis Q (m, k) whose columns nearly hold the range of W (m, n): those of (W·Wᵀ)^q·W·Ω, orthonormalized after every
// product with W or Wᵀ; Ω is random::gaussian_matrix{seed}. W has any strides; products are in T.
// E‖W − Q·Qᵀ·W‖ ≤ (1 + √(r/(p−1)) + (e·√(r+p)/p)·√(min(m, n) − r))^(1/(2q+1))·σ_{r+1} for k = r + p, p ≥ 2.
//   (2q + 1)·2mnk flop and as many passes over W; memory (m + n)·k. Same bits for any number of workers, if the
//   backend's products have that.
//   Errors: invalid_argument (k not in 1 … min(m, n), q < 0), shape_mismatch, null_pointer, bad_stride; not_finite for
//   a product Y of W that is not; those of the backend.
//   Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 53 (2011), Algorithm 4.4 and
//   Corollary 10.10.
template <class T, host_factoring_backend<T> B>
result<matrix<T>> try_find_range(B& exec, matrix_view<const T> w, index_t k, int power_iterations, std::uint64_t seed) {
  if (auto s = check_view(w, "W"); !s) return s.error();
  if (const index_t most = std::min(w.rows, w.cols); k < 1 || k > most)
    return error{errc::invalid_argument, "k", text(k), text("1 to ", most)};
  if (power_iterations < 0)
    return error{errc::invalid_argument, "power_iterations", text(power_iterations), "at least 0"};
  matrix<T> tall(w.rows, k);
  {
    matrix<T> omega(w.cols, k);
    if (auto s = random::try_fill(exec, random::gaussian_matrix{seed}, omega.view()); !s) return s.error();
    if (auto s = exec.try_gemm(T{1}, w, omega.view(), T{0}, tall.view()); !s) return s.error();
  }
  auto q = linalg::try_orthonormalize(exec, tall.view());
  if (!q) return q.error();
  matrix<T> wide(power_iterations > 0 ? w.cols : 0, k);
  for (int i = 0; i < power_iterations; ++i) {
    if (auto s = exec.try_gemm(T{1}, w.transposed(), q->q.view(), T{0}, wide.view()); !s) return s.error();
    const auto p = linalg::try_orthonormalize(exec, wide.view());
    if (!p) return p.error();
    if (auto s = exec.try_gemm(T{1}, w, p->q.view(), T{0}, tall.view()); !s) return s.error();
    q = linalg::try_orthonormalize(exec, tall.view());
    if (!q) return q.error();
  }
  return std::move(q->q);
}

// The same of any operand of float or double.
template <floating_operand W, host_factoring_backend<matrix_element<const W&>> B>
result<matrix<matrix_element<const W&>>> try_find_range(B& exec, const W& w, index_t k, int power_iterations, std::uint64_t seed) {
  return on_view(w, "W", [&](auto view) { return try_find_range(exec, view, k, power_iterations, seed); });
}

}  // namespace RESECT_NAMESPACE::factor
