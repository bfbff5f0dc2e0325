// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <type_traits>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/math.hpp>
#include <resect/core/operand.hpp>
#include <resect/metrics/accumulators/joint.hpp>

// Linear centred kernel alignment of two representations of the same rows: 1 where one is a rotation and scaling of the
// other, 0 where they have nothing in common. Kornblith, Norouzi, Lee & Hinton, "Similarity of neural network
// representations revisited", ICML (2019).
namespace RESECT_NAMESPACE::metrics {

// Tag of the plain estimate of CKA: ‖XᵀY‖_F²/(‖XᵀX‖_F·‖YᵀY‖_F) of centred rows, which is far from 0 for
// unrelated representations unless rows ≫ columns.
struct biased {};
// Tag of the estimate of CKA that replaces each norm by its unbiased HSIC.
struct debiased {};

namespace detail {

// Rows less their column means, in double.
inline array<double> centred(matrix_view<const float> x) {
  array<double> out(x.rows * x.cols), mean(x.cols);
  for (index_t r = 0; r < x.rows; ++r)
    for (index_t c = 0; c < x.cols; ++c) mean[c] += static_cast<double>(x(r, c));
  for (index_t r = 0; r < x.rows; ++r)
    for (index_t c = 0; c < x.cols; ++c)
      out[r * x.cols + c] = static_cast<double>(x(r, c)) - mean[c] / static_cast<double>(x.rows);
  return out;
}
inline array<double> squared_norms(matrix_view<const double> x) {
  array<double> out(x.rows);
  for (index_t r = 0; r < x.rows; ++r)
    for (index_t c = 0; c < x.cols; ++c) out[r] += x(r, c) * x(r, c);
  return out;
}
inline double product_sum(std::span<const double> a, std::span<const double> b) noexcept {
  double s = 0;
  for (std::size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}
inline double plain_sum(std::span<const double> a) noexcept {
  double s = 0;
  for (const double v : a) s += v;
  return s;
}
// Removes the bias of ‖XᵀY‖² of centred rows. r are the squared norms of the rows.
inline double unbiased(double cross, std::span<const double> rx, std::span<const double> ry) noexcept {
  const double n = static_cast<double>(rx.size());
  return cross - n / (n - 2) * product_sum(rx, ry) + plain_sum(rx) * plain_sum(ry) / ((n - 1) * (n - 2));
}

inline status check_rows(matrix_view<const float> x, matrix_view<const float> y) noexcept {
  if (status s = check_view(x, "x"); !s) return s;
  if (status s = check_view(y, x.rows, y.cols, "y"); !s) return s;
  if (x.rows < 4 || x.cols < 1 || y.cols < 1)
    return error{errc::shape_mismatch, "x, y", text(x.rows, " rows, ", x.cols, " and ", y.cols, " columns"),
                 "at least 4 rows and a column"};
  return {};
}

}  // namespace detail

// Linear CKA of two representations X (n, d1) and Y (n, d2) of the same tokens in the same order; fp32, any strides.
// Feature form: with X, Y centred, xy = ‖XᵀY‖_F², CKA = xy/√(xx·yy); debiased: every norm minus n/(n−2)·⟨r_x, r_y⟩
// plus
// Σr_x·Σr_y/((n−1)(n−2)), r the squared norms of rows, which is n(n−3) times the unbiased HSIC of Song et al. (JMLR 13,
// 2012). The products are the backend's, in double: XᵀY, XᵀX and YᵀY, or the Gram matrices X·Xᵀ and Y·Yᵀ where rows are
// fewer than columns (the same numbers). NaN where a debiased xx or yy is not above 0 (no variance, or too few rows to
// tell). Cost 2n(d1·d2 + d1² + d2²) or 2n²(d1 + d2) flop. One number without an interval (tokens are dependent);
// streaming_cka gives one. Errors: shape mismatch (also below 4 rows), null, stride, out of what the backend gives.
template <dense_backend<double> Backend, class Kind>
  requires(std::is_same_v<Kind, biased> || std::is_same_v<Kind, debiased>)
result<double> try_linear_cka(Backend& exec, Kind, matrix_view<const float> x, matrix_view<const float> y) {
  if (status s = detail::check_rows(x, y); !s) return s.error();
  const array<double> xs = detail::centred(x), ys = detail::centred(y);
  const matrix_view<const double> cx{xs.data(), x.rows, x.cols, x.cols, 1}, cy{ys.data(), y.rows, y.cols, y.cols, 1};
  double xy = 0, xx = 0, yy = 0;
  if (x.rows < x.cols && x.rows < y.cols) {
    array<double> k(x.rows * x.rows), l(k.size());
    const matrix_view<double> vk{k.data(), x.rows, x.rows, x.rows, 1}, vl{l.data(), x.rows, x.rows, x.rows, 1};
    if (status s = exec.try_gemm(1.0, cx, cx.transposed(), 0.0, vk); !s) return s.error();
    if (status s = exec.try_gemm(1.0, cy, cy.transposed(), 0.0, vl); !s) return s.error();
    xy = detail::product_sum(k.span(), l.span());
    xx = detail::product_sum(k.span(), k.span());
    yy = detail::product_sum(l.span(), l.span());
  } else {
    array<double> product;
    const auto square = [&](matrix_view<const double> a, matrix_view<const double> b, double& out) -> status {
      product.resize(a.cols * b.cols);
      const matrix_view<double> p{product.data(), a.cols, b.cols, b.cols, 1};
      if (status s = exec.try_gemm(1.0, a.transposed(), b, 0.0, p); !s) return s;
      out = detail::product_sum(product.span(), product.span());
      return {};
    };
    if (status s = square(cx, cy, xy); !s) return s.error();
    if (status s = square(cx, cx, xx); !s) return s.error();
    if (status s = square(cy, cy, yy); !s) return s.error();
  }
  if constexpr (std::is_same_v<Kind, debiased>) {
    const array<double> rx = detail::squared_norms(cx), ry = detail::squared_norms(cy);
    xy = detail::unbiased(xy, rx.span(), ry.span());
    xx = detail::unbiased(xx, rx.span(), rx.span());
    yy = detail::unbiased(yy, ry.span(), ry.span());
  }
  return xx > 0 && yy > 0 ? xy / (math::sqrt(xx) * math::sqrt(yy)) : nan;
}

// linear_cka of any operands of floats.
template <dense_backend<double> Backend, class Kind, operand_of<float> X, operand_of<float> Y>
  requires(std::is_same_v<Kind, biased> || std::is_same_v<Kind, debiased>)
result<double> try_linear_cka(Backend& exec, Kind kind, const X& x, const Y& y) {
  return on_view(x, "x", [&](matrix_view<const float> vx) {
    return on_view(y, "y", [&](matrix_view<const float> vy) { return try_linear_cka(exec, kind, vx, vy); });
  });
}

#if RESECT_EXCEPTIONS
template <dense_backend<double> Backend, class Kind, operand_of<float> X, operand_of<float> Y>
double linear_cka(Backend& exec, Kind kind, const X& x, const Y& y) {
  return value_or_throw(try_linear_cka(exec, kind, x, y));
}
template <dense_backend<double> Backend, class Kind>
double linear_cka(Backend& exec, Kind kind, matrix_view<const float> x, matrix_view<const float> y) {
  return value_or_throw(try_linear_cka(exec, kind, x, y));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
