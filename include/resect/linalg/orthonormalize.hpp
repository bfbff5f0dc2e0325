// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <resect/core/operand.hpp>
#include <resect/linalg/detail/cholesky_qr.hpp>
#include <resect/linalg/detail/gram_schmidt.hpp>

namespace RESECT_NAMESPACE::linalg {

// How a basis was made: the cheapest way that the columns allow.
enum class orthonormalization : std::uint8_t {
  cholesky_qr,          // CholeskyQR, repeated once (CholeskyQR2) or until the Gram matrix is near the identity
  shifted_cholesky_qr,  // the same after one or more passes with a shift
  gram_schmidt,         // column by column, each projected at least twice: columns depend on each other
};

// Y = Q·R with orthonormal columns in Q, whatever Y is.
template <class T, class Space = host_space>
struct orthonormal_basis {
  matrix<T, Space> q;  // (m, n); the first `rank` columns span the columns of Y, the rest complete them
  matrix<double> r;    // (n, n) in row-echelon form, upper triangular; rows from `rank` on are zero
  index_t rank = 0;    // columns of Y that are further than 16·√n·u·‖y_j‖ from the span of those before them
  orthonormalization method = orthonormalization::cholesky_qr;
};

// An orthonormal basis of the columns of Y.
//   Y (m, n), m ≥ n, any strides; float or double, u = 2⁻²⁴ or 2⁻⁵³. Gram matrices and their factors are double, so
//   CholeskyQR serves float columns up to condition numbers of about 1/u.
//   Columns are scaled by powers of two first: the bits of Q do not depend on the range of any column.
//   A column that is a combination of those before it (zero and repeated ones, too) adds no direction, which is not an
//   error: it has its coefficients in R, and Q is completed at its end by Philox draws at fixed positions.
//   ‖QᵀQ − I‖_F ≤ orthonormality_bound<T>(m, n);  ‖y_j − Q·r_j‖₂ ≤ (4n + 16)·√n·u·‖y_j‖₂ for every column.
//   Cost: 4mn² flop in double and 2mn² in T (CholeskyQR2); where columns depend on each other, 4mn² more in T, one column
//   after the other. Memory: Q, once more as much in that case, 1024 rows in double, 5n² doubles.
//   Same bits for any number of workers, if the backend's products have that.
//   Errors: shape_mismatch (m < n), null_pointer, bad_stride, not_finite; those of the backend.
//   Source: Yamamoto, Nakatsukasa, Yanagisawa & Fukaya, "Roundoff error analysis of the CholeskyQR2 algorithm", ETNA 44
//   (2015); Fukaya et al., "Shifted Cholesky QR for computing the QR factorization of ill-conditioned matrices", SIAM J.
//   Sci. Comput. 42 (2020); Yamazaki, Tomov & Dongarra, "Mixed-precision Cholesky QR factorization", SIAM J. Sci.
//   Comput. 37 (2015); Giraud et al., "Rounding error analysis of the classical Gram–Schmidt orthogonalization process",
//   Numer. Math. 101 (2005).
template <class B, class T>
  requires panel_backend<B, std::remove_const_t<T>>
result<orthonormal_basis<std::remove_const_t<T>, typename B::space>> try_orthonormalize(
    B& exec, matrix_view<T, typename B::space> y) {
  using element = std::remove_const_t<T>;
  const view_of<const element, B> from = y;
  if (auto s = check_view(from, "Y"); !s) return s.error();
  if (from.rows < from.cols)
    return error{errc::shape_mismatch, "Y", text(from.rows, " x ", from.cols), "at least as many rows as columns"};

  const auto columns = try_column_norms(exec, from);
  if (!columns) return columns.error();
  array<column_scale> by(from.cols);
  bool zeros = false;
  for (index_t c = 0; c < from.cols; ++c) {
    const column_measure& m = (*columns)[c];
    if (!m.finite()) return error{errc::not_finite, "Y", text("NaN or infinity in column ", c), "finite elements"};
    by[c].exponent = -m.exponent;
    zeros |= m.mantissa == 0;
  }
  auto q = try_make_matrix<element>(exec, from.rows, from.cols);
  if (!q) return q.error();
  orthonormal_basis<element, typename B::space> basis;
  basis.q = *std::move(q);
  if (auto s = try_scale_columns(exec, from, by.span(), basis.q.view()); !s) return s.error();
  const double tolerance = detail::dependence_tolerance<element>(from.cols);
  auto qr = zeros ? result<detail::cholesky_qr_outcome>{detail::cholesky_qr_outcome{}}
                  : detail::cholesky_qr<element>(exec, basis.q.view(), basis.r, tolerance);
  if (!qr) return qr.error();
  if (qr->done) {
    basis.rank = from.cols;
    basis.method = qr->shifts > 0 ? orthonormalization::shifted_cholesky_qr : orthonormalization::cholesky_qr;
  } else {
    auto copy_of_y = try_make_matrix<element>(exec, from.rows, from.cols);
    if (!copy_of_y) return copy_of_y.error();
    if (auto s = try_scale_columns(exec, from, by.span(), copy_of_y->view()); !s) return s.error();
    const auto rank = detail::gram_schmidt<element>(exec, copy_of_y->view(), basis.q.view(), basis.r, tolerance);
    if (!rank) return rank.error();
    basis.rank = *rank;
    basis.method = orthonormalization::gram_schmidt;
  }
  for (index_t c = 0; c < from.cols; ++c)
    for (index_t i = 0; i < from.cols; ++i) basis.r(i, c) = std::ldexp(basis.r(i, c), (*columns)[c].exponent);
  return basis;
}

// The same of any operand of float or double.
template <class B, floating_operand Y>
  requires panel_backend<B, matrix_element<const Y&>>
result<orthonormal_basis<matrix_element<const Y&>>> try_orthonormalize(B& exec, const Y& y) {
  return on_view(y, "Y", [&](auto view) { return try_orthonormalize(exec, view); });
}

// What try_orthonormalize promises of ‖QᵀQ − I‖_F for Q (m, n): rounding the elements of Q, and of the last Gram matrix
// in double, whose sums of m terms are taken in panels.
template <class T>
double orthonormality_bound(index_t m, index_t n) noexcept {
  const double columns = static_cast<double>(n), u = std::numeric_limits<T>::epsilon() / 2.0;
  return 8 * columns * u + columns * (16 + std::sqrt(static_cast<double>(m))) * 0x1p-53;
}

#if RESECT_EXCEPTIONS
template <class B, class T>
  requires panel_backend<B, std::remove_const_t<T>>
orthonormal_basis<std::remove_const_t<T>, typename B::space> orthonormalize(B& exec,
                                                                            matrix_view<T, typename B::space> y) {
  return value_or_throw(try_orthonormalize(exec, y));
}
template <class B, floating_operand Y>
  requires panel_backend<B, matrix_element<const Y&>>
orthonormal_basis<matrix_element<const Y&>> orthonormalize(B& exec, const Y& y) {
  return value_or_throw(try_orthonormalize(exec, y));
}
#endif

}  // namespace RESECT_NAMESPACE::linalg
