// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/matrix.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/student/closed_form/affine.hpp>

namespace RESECT_NAMESPACE::student {

// An affine map of the delta whose matrix has a rank k: y = x + L·(R·x) + b.
struct reduced_rank_map {
  static constexpr std::string_view id = "resect.map.reduced_rank/1";
  factor::low_rank<float> factors;  // L (width, k), R (k, width)
  array<float> bias;                // b (width)

  index_t width() const noexcept { return bias.size(); }
  index_t rank() const noexcept { return factors.rank(); }
  // Floating-point operations a row.
  double flop() const noexcept { return static_cast<double>(4 * width() * rank() + 2 * width()); }
  std::uint64_t hash() const noexcept {
    return fingerprint{}.add(id).add(factors.l.data.span()).add(factors.r.data.span()).add(bias.span()).value();
  }

  // Y ← X + (X·Rᵀ)·Lᵀ + b; X, Y (k, width) fp32 that do not overlap. Error as factor::low_rank, and two roundings.
  // Takes k·rank floats. Errors: shape_mismatch, null_pointer, bad_stride.
  template <dense_backend<float> B>
  status try_apply(B& exec, matrix_view<const float> x, matrix_view<float> y) const {
    if (auto s = check_view(y, x.rows, width(), "y"); !s) return s;
    array<float> work(static_cast<index_t>(factors.workspace_size(x.rows)));
    if (auto s = factors.try_apply(exec, x, y, work.span()); !s) return s;
    for (index_t r = 0; r < x.rows; ++r)
      for (index_t c = 0; c < x.cols; ++c) y(r, c) += x(r, c) + bias[c];
    return {};
  }
};

// A reduced-rank map, and the share of the energy of the fitted deltas that its rank keeps.
struct reduced_rank_fit {
  reduced_rank_map map;
  double kept_energy = 0;  // tr(W_k·C·W_kᵀ)/tr(W·C·Wᵀ)
};

// The best approximation of rank k of a ridge fit W in the norm of its moments C = C_xx + λ·v·I: W_k = V·Vᵀ·W with V
// the k leading eigenvectors of W·C·Wᵀ. It minimizes tr((W − W_k)·C·(W − W_k)ᵀ).
//   `moments` are those that `affine` was fitted on, all folds together (try_merged). V comes from a randomized SVD of
//   W·C·Wᵀ = C_zx·Wᵀ (factor::try_truncated_svd, seeded). The constant is that of means: b = z̄ − W_k·x̄.
//   Cost 2d³ + O(d²·rank) flop in double.
// Errors: invalid_argument (rank below 1 or above the width); shape_mismatch (a fit of another width).
// Source: Izenman, "Reduced-rank regression for the multivariate linear model", J. Multivar. Anal. 5 (1975).
template <core_backend B>
result<reduced_rank_fit> try_fit_reduced_rank(B& exec, const span_moments& moments, const affine_fit& affine,
                                              index_t rank) {
  const index_t d = moments.width();
  if (auto s = check_view(affine.ridge.weights.view(), d, d, "weights of the affine fit"); !s) return s.error();
  if (rank < 1 || rank > d) return error{errc::invalid_argument, "rank of a span map", text(rank), text("1 to ", d)};
  const auto centred = detail::centre(moments.delta());

  matrix<double> energy(d, d);  // W·C·Wᵀ
  const matrix_view<const double> w = affine.ridge.weights.view(), zx = centred.zx.view();
  if (auto s = exec.try_gemm(1.0, zx, w.transposed(), 0.0, energy.view()); !s) return s.error();
  for (index_t i = 0; i < d; ++i)
    for (index_t j = 0; j < i; ++j) energy(i, j) = energy(j, i) = 0.5 * (energy(i, j) + energy(j, i));
  double whole = 0, kept = 0;
  for (index_t i = 0; i < d; ++i) whole += energy(i, i);
  auto svd =
      factor::try_truncated_svd(exec, matrix_view<const double>(energy.view()), {.rank = rank, .error_probes = 0});
  if (!svd) return svd.error();
  for (const double s : svd->s) kept += s;

  matrix<double> right(rank, d);
  if (auto s = exec.try_gemm(1.0, matrix_view<const double>(svd->u.view()).transposed(), w, 0.0, right.view()); !s)
    return s.error();
  reduced_rank_fit out;
  out.map.factors = {matrix<float>(d, rank), matrix<float>(rank, d)};
  copy(svd->u.view(), out.map.factors.l.view());
  copy(right.view(), out.map.factors.r.view());
  array<double> at_mean(rank);  // R·x̄
  for (index_t k = 0; k < rank; ++k)
    for (index_t i = 0; i < d; ++i) at_mean[k] += right(k, i) * centred.mean_x[i];
  for (index_t c = 0; c < d; ++c) {
    double b = centred.mean_z[c];
    for (index_t k = 0; k < rank; ++k) b -= svd->u(c, k) * at_mean[k];
    out.map.bias.push_back(static_cast<float>(b));
  }
  out.kept_energy = whole > 0 ? kept / whole : 1.0;
  return out;
}

}  // namespace RESECT_NAMESPACE::student
