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
#include <resect/student/ridge.hpp>
#include <resect/student/span_moments.hpp>

namespace RESECT_NAMESPACE::student {

// An affine map of the delta: y = x + W·x + b.
struct affine_map {
  static constexpr std::string_view id = "resect.map.affine/1";
  matrix<float> weights;  // W (width, width)
  array<float> bias;      // b (width)

  index_t width() const noexcept { return bias.size(); }
  // Floating-point operations a row.
  double flop() const noexcept { return static_cast<double>(2 * width() * (width() + 1)); }
  std::uint64_t hash() const noexcept {
    return fingerprint{}.add(id).add(weights.data.span()).add(bias.span()).value();
  }

  // Y ← X + X·Wᵀ + b; X, Y (k, width) fp32 that do not overlap. |error| ≤ (width + 3)·2⁻²⁴·(|X|·(I + |W|ᵀ) + |b|).
  // Allocates nothing beyond what try_gemm does. Errors: shape_mismatch, null_pointer, bad_stride.
  template <dense_backend<float> B>
  status try_apply(B& exec, matrix_view<const float> x, matrix_view<float> y) const {
    if (auto s = check_view(weights.view(), width(), width(), "weights of the affine map"); !s) return s;
    if (auto s = check_view(x, x.rows, width(), "x"); !s) return s;
    if (auto s = check_view(y, x.rows, width(), "y"); !s) return s;
    for (index_t r = 0; r < x.rows; ++r)
      for (index_t c = 0; c < x.cols; ++c) y(r, c) = x(r, c) + bias[c];
    return exec.try_gemm(1.0f, x, weights.view().transposed(), 1.0f, y);
  }
};

// An affine map, and the ridge fit in double that it is rounded from.
struct affine_fit {
  affine_map map;
  ridge_fit ridge;

  const ridge_choice& choice() const noexcept { return ridge.choice; }
};

namespace detail {

// The moments of the deltas of several folds. Errors: what try_ridge says of folds; conflict (rules of rows apart).
template <class = void>
result<array<pair_moments>> try_deltas(std::span<const span_moments> folds) {
  array<pair_moments> out;
  for (const span_moments& fold : folds) {
    if (!(fold.rule() == folds.front().rule()))
      return error{errc::conflict, "folds", text("rows apart above ", fold.rule().limit_x),
                   text("above ", folds.front().rule().limit_x, ", as in the first fold")};
    out.push_back(fold.delta());
  }
  return result<array<pair_moments>>(std::move(out));
}

template <class = void>
affine_map rounded(const ridge_fit& fit) {
  affine_map out{matrix<float>(fit.weights.rows, fit.weights.cols), {}};
  copy(fit.weights.view(), out.weights.view());
  for (const double b : fit.bias) out.bias.push_back(static_cast<float>(b));
  return out;
}

}  // namespace detail

// The ridge fit of the delta y − x by x, its penalty by cross-validation over the folds (try_ridge says how, and what it
// costs). Errors: as try_ridge; conflict (folds of different rules).
// Source: ReplaceMe, arXiv 2505.02819 (least squares at a cut); here with a penalty and a constant.
template <core_backend B>
result<affine_fit> try_fit_affine(B& exec, std::span<const span_moments> folds, const ridge_options& options = {}) {
  auto deltas = detail::try_deltas(folds);
  if (!deltas) return deltas.error();
  auto fit = try_ridge(exec, std::span<const pair_moments>(deltas->span()), options);
  if (!fit) return fit.error();
  affine_map map = detail::rounded(*fit);
  return affine_fit{std::move(map), std::move(*fit)};
}

}  // namespace RESECT_NAMESPACE::student
