// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/hash.hpp>
#include <resect/quant/incoherence.hpp>
#include <resect/student/span_moments.hpp>

namespace RESECT_NAMESPACE::student {

// One factor a coordinate of the Hadamard-type basis H (quant::rotation without signs): y = Hᵀ·diag(d)·H·x.
struct linear_patch_map {
  static constexpr std::string_view id = "resect.map.linear_patch/1";
  quant::rotation basis;
  array<float> factors;
  index_t dead = 0;  // coordinates without a value, which keep the factor 1

  index_t width() const noexcept { return factors.size(); }
  // Floating-point operations a row, the transform counted as n·log₂ n additions twice.
  double flop() const noexcept {
    double log2 = 0;
    for (index_t n = width(); n > 1; n /= 2) ++log2;
    return static_cast<double>(width()) * (1 + 2 * log2);
  }
  std::uint64_t hash() const noexcept { return fingerprint{}.add(id).add(factors.span()).value(); }

  // Y ← X·Hᵀ·diag(d)·H; X, Y (k, width) fp32. Error of an element as that of two transforms (quant::rotation).
  // Takes memory for the transform. Errors: shape_mismatch, null_pointer, bad_stride.
  template <executor E>
  status try_apply(E& exec, matrix_view<const float> x, matrix_view<float> y) const {
    if (auto s = check_view(x, x.rows, width(), "x"); !s) return s;
    if (auto s = check_view(y, x.rows, width(), "y"); !s) return s;
    copy(x, y);
    if (auto s = basis.try_rotate_rows(exec, y); !s) return s;
    for (index_t r = 0; r < y.rows; ++r)
      for (index_t c = 0; c < y.cols; ++c) y(r, c) *= factors[c];
    return basis.try_restore_rows(exec, y);
  }
};

// d_c = Σ|ŷ_c|/Σ|x̂_c| over the rows of the moments, x̂ = H·x. A coordinate with Σ|x̂_c| = 0 keeps the factor 1 and is
// counted in `dead`. Errors: invalid_argument (no row). Source: LinearPatch, arXiv 2505.24680.
template <class = void>
result<linear_patch_map> try_fit_linear_patch(const span_moments& m) {
  if (m.rows() < 1) return error{errc::invalid_argument, "rows of the span moments", "0", "1 or more"};
  linear_patch_map out;
  out.basis = m.basis();
  for (std::size_t c = 0; c < m.absolutes_x().size(); ++c) {
    const bool dead = !(m.absolutes_x()[c] > 0);
    out.dead += dead;
    out.factors.push_back(dead ? 1.0f : static_cast<float>(m.absolutes_y()[c] / m.absolutes_x()[c]));
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::student
