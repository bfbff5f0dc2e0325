// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>
#include <utility>

#include <resect/core/memory.hpp>
#include <resect/core/panels.hpp>

namespace RESECT_NAMESPACE::linalg::detail {

// Columns nearer than this to the span of those before them, relative to their norm, are taken to lie in it: what is
// left of them after two projections is rounding.
template <class T>
double dependence_tolerance(index_t n) noexcept {
  return 8 * std::sqrt(static_cast<double>(std::max<index_t>(n, 1))) * std::numeric_limits<T>::epsilon();
}

struct cholesky_qr_outcome {
  bool done = false;  // else the columns depend on each other, and Q and R hold nothing
  int passes = 0;
  int shifts = 0;
};

// Q·R ← Q, columns of norms in [½, 1). A pass is G = QᵀQ = L·Lᵀ, Q ← Q·L⁻ᵀ, R ← Lᵀ·R; G of one pass shows what the pass
// before it achieved: with ‖G − I‖_F ≤ ⅛ this pass is the last. Where G has no factor it gets a shift on its diagonal.
template <class T, panel_backend<T> B>
result<cholesky_qr_outcome> cholesky_qr(B& exec, view_of<T, B> q, matrix<double>& r, double tolerance) {
  const index_t n = q.cols;
  cholesky_qr_outcome outcome;
  auto& core = core_of(exec);
  matrix<double> g(n, n), l(n, n), product(n, n);
  r = matrix<double>(n, n);
  for (index_t i = 0; i < n; ++i) r(i, i) = 1;
  array<double> norm(n);
  while (!outcome.done && outcome.passes < 8) {
    if (auto s = try_gram(exec, view_of<const T, B>(q), g.view()); !s) return s.error();
    double distance = 0, trace = 0;
    for (index_t i = 0; i < n; ++i) {
      trace += g(i, i);
      for (index_t j = 0; j < n; ++j) distance += (g(i, j) - (i == j)) * (g(i, j) - (i == j));
    }
    if (!is_finite(distance)) return cholesky_qr_outcome{};
    if (outcome.passes == 0)
      for (index_t i = 0; i < n; ++i) norm[i] = std::sqrt(g(i, i));
    const bool last = outcome.passes > 0 && distance <= 1.0 / 64;
    double shift = 0;
    for (int attempt = 0;; ++attempt) {
      for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) l(i, j) = j > i ? 0.0 : g(i, j) + (i == j ? shift : 0.0);
      const auto cholesky = core.try_cholesky(l.view());
      if (!cholesky) return cholesky.error();
      if (cholesky->positive_definite()) break;
      if (attempt == 4) return cholesky_qr_outcome{};
      outcome.shifts += attempt == 0;
      shift = shift > 0 ? 100 * shift
                        : 8 * (static_cast<double>(n) + std::sqrt(static_cast<double>(q.rows))) * 0x1p-53 * trace;
    }
    for (index_t i = 0; i < n; ++i)  // R is made of the same numbers as Q
      for (index_t j = 0; j <= i; ++j) l(i, j) = static_cast<double>(static_cast<T>(l(i, j)));
    for (index_t i = 0; i < n; ++i)
      if (!(l(i, i) * r(i, i) > tolerance * norm[i])) return cholesky_qr_outcome{};
    const auto factor = try_place<T>(exec, l.view());
    if (!factor) return factor.error();
    if (auto s = exec.try_solve_right(factor->view(), q); !s) return s.error();
    if (auto s = core.try_gemm(1.0, l.view().transposed(), r.view(), 0.0, product.view()); !s) return s.error();
    std::swap(r, product);
    ++outcome.passes;
    outcome.done = last;
  }
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < i; ++j) r(i, j) = 0;  // which the products leave as they are, or as -0
  return outcome;
}

}  // namespace RESECT_NAMESPACE::linalg::detail
