// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>
#include <resect/linalg/triangular.hpp>

// L·D·Lᵀ of a positive semi-definite matrix, without exchanges of rows: the order of the columns is the caller's. Rounding
// with feedback needs it, for a singular matrix too, where Cholesky ends.
namespace RESECT_NAMESPACE::linalg {

// The pivots that were taken for zero. Not an error: data decide it.
struct ldl_outcome {
  array<index_t> vanished;  // columns, ascending
};

// A(order, order) = L·D·Lᵀ.
struct ldl_factors {
  matrix<double> l;  // (n, n) unit lower triangular
  array<double> d;   // (n) ≥ 0
  ldl_outcome outcome;
};

// The share of its diagonal element that a pivot has to exceed by default, n·2⁻⁴⁴: rounding in sums of n terms, which the
// elimination of a nearly singular part enlarges, stays below it.
constexpr double least_pivot(index_t n) noexcept { return 0x1p-44 * static_cast<double>(n < 64 ? 64 : n); }

// Whether `order` holds each of 0 … n−1 once. Error: shape_mismatch, invalid_argument; the first place that breaks it.
inline status check_permutation(std::span<const index_t> order, index_t n, std::string_view operand) {
  if (static_cast<index_t>(order.size()) != n) return error{errc::shape_mismatch, operand, text(order.size()), text(n)};
  array<bool> seen(n, false);
  for (std::size_t k = 0; k < order.size(); ++k) {
    const index_t c = order[k];
    if (c < 0 || c >= n || seen[c])
      return error{errc::invalid_argument, text(operand, ", place ", k), text(c),
                   text("each of 0 to ", n - 1, " once")};
    seen[c] = true;
  }
  return {};
}

namespace detail {

// Columns [lo, hi), at most 64, of which the contributions of earlier columns are subtracted. `least` (n) is what each
// pivot has to exceed.
template <executor E>
void ldl_of_block(E& exec, matrix_view<double> a, double* d, const double* least, index_t lo, index_t hi,
                  array<index_t>& vanished) {
  const index_t b = hi - lo;
  double storage[triangular_block * triangular_block], scaled[triangular_block];
  const matrix_view<double> l{storage, b, b};
  for (index_t i = 0; i < b; ++i)
    for (index_t j = 0; j < b; ++j) l(i, j) = j < i ? a(lo + i, lo + j) : i == j ? 1.0 : 0.0;
  for (index_t j = 0; j < b; ++j) {
    double pivot = a(lo + j, lo + j);
    for (index_t p = 0; p < j; ++p) {
      scaled[p] = l(j, p) * d[lo + p];
      pivot -= scaled[p] * l(j, p);
    }
    const bool kept = pivot > least[lo + j];
    d[lo + j] = kept ? pivot : 0.0;
    if (!kept) vanished.push_back(lo + j);
    for (index_t i = j + 1; i < b; ++i) {
      double s = l(i, j);
      for (index_t p = 0; p < j; ++p) s -= l(i, p) * scaled[p];
      l(i, j) = kept ? s / pivot : 0.0;
    }
  }
  for (index_t i = 0; i < b; ++i)
    for (index_t j = 0; j < i; ++j) a(lo + i, lo + j) = l(i, j);
  const auto below = a.block(hi, lo, a.rows - hi, b);
  solve_block<double>(exec, l, below);  // L·D
  constexpr index_t rows_at_once = 64;
  exec.bulk((below.rows + rows_at_once - 1) / rows_at_once, [&](index_t task) {
    const index_t end = std::min(below.rows, (task + 1) * rows_at_once);
    for (index_t r = task * rows_at_once; r < end; ++r)
      for (index_t j = 0; j < b; ++j) below(r, j) = d[lo + j] > 0 ? below(r, j) / d[lo + j] : 0.0;
  });
}

// Columns [lo, hi): the first half, its contributions to the second, the second half.
template <dense_backend<double> B>
status ldl_of_columns(B& exec, matrix_view<double> a, double* d, const double* least, index_t lo, index_t hi,
                      array<double>& scaled, array<index_t>& vanished) {
  if (hi - lo <= triangular_block) {
    ldl_of_block(exec, a, d, least, lo, hi, vanished);
    return {};
  }
  constexpr index_t strip = 256, rows_at_once = 16;
  const index_t blocks = (hi - lo + triangular_block - 1) / triangular_block;
  const index_t mid = lo + blocks / 2 * triangular_block, k = mid - lo;
  if (auto s = ldl_of_columns(exec, a, d, least, lo, mid, scaled, vanished); !s) return s;
  for (index_t c = mid; c < hi; c += strip) {
    const index_t w = std::min(strip, hi - c);
    scaled.resize(std::max(scaled.size(), w * k));
    const matrix_view<double> ld{scaled.data(), w, k};
    exec.bulk((w + rows_at_once - 1) / rows_at_once, [&](index_t task) {
      for (index_t r = task * rows_at_once; r < std::min(w, (task + 1) * rows_at_once); ++r)
        for (index_t j = 0; j < k; ++j) ld(r, j) = a(c + r, lo + j) * d[lo + j];
    });
    const matrix_view<const double> left = a.block(c, lo, a.rows - c, k), factor = ld;
    if (auto s = exec.try_gemm(-1.0, left, factor.transposed(), 1.0, a.block(c, c, a.rows - c, w)); !s) return s;
  }
  return ldl_of_columns(exec, a, d, least, mid, hi, scaled, vanished);
}

}  // namespace detail

// A = L·D·Lᵀ in place, L unit lower triangular, D diagonal.
//   A (n, n) double, positive semi-definite up to rounding, rows contiguous. Of A the lower triangle is read; its strict
//   part becomes that of L; the diagonal and the upper triangle are unspecified then. d (n) becomes D.
//   A pivot d_k ≤ tolerance·a_kk vanishes: d_k = 0, column k of L is zero, and `vanished` lists k. A semi-definite A
//   allows that: column k of what remains has |s_tk| ≤ √(tolerance·a_kk·a_tt), and this is how far L·D·Lᵀ is from A
//   there; elsewhere |error| ≤ (n + 2)·2⁻⁵³·|L|·D·|Lᵀ|. Also |l_tk| ≤ √(a_tt / (tolerance·a_kk)). The factorization never
//   fails: a negative pivot (A is not semi-definite) and NaN vanish as well.
//   Cost n³/3 flop, nearly all in products of the backend; memory at most 128·n doubles. Same bits for any number of
//   workers, if the backend's products have that.
//   Errors: shape_mismatch, null_pointer, bad_stride, invalid_argument (tolerance); those of the backend.
//   Source: Golub & Van Loan, "Matrix Computations", 4th ed., §4.1 and §4.2.8 (semi-definite matrices).
template <dense_backend<double> B>
  requires std::same_as<typename B::space, host_space>
result<ldl_outcome> try_ldl_in_place(B& exec, matrix_view<double> a, std::span<double> d, double tolerance) {
  const index_t n = a.rows;
  if (auto s = check_view(a, n, n, "A"); !s) return s.error();
  if (n > 1 && a.col_stride != 1)
    return error{errc::bad_stride, "A", text("column stride ", a.col_stride), "rows whose elements lie side by side"};
  if (static_cast<index_t>(d.size()) != n) return error{errc::shape_mismatch, "d", text(d.size()), text(n)};
  if (!(tolerance >= 0 && tolerance < 1))
    return error{errc::invalid_argument, "tolerance of pivots", text(tolerance), "at least 0, less than 1"};
  ldl_outcome outcome;
  if (n == 0) return outcome;
  array<double> least(n), scaled;
  for (index_t i = 0; i < n; ++i) least[i] = std::max(0.0, tolerance * a(i, i));
  if (auto s = detail::ldl_of_columns(exec, a, d.data(), least.data(), 0, n, scaled, outcome.vanished); !s)
    return s.error();
  return outcome;
}

// A(order, order) = L·D·Lᵀ of the rows and columns in an order, with try_ldl_in_place: column k of L stands for column
// order[k] of A.
//   A (n, n) float or double, any strides, the lower triangle is read; `order` is empty (as they stand) or a permutation
//   of 0 … n−1. Memory n² doubles beside those of the factors.
//   Errors: those of try_ldl_in_place, invalid_argument (no permutation), not_finite.
template <dense_backend<double> B, class T>
  requires std::same_as<typename B::space, host_space>
result<ldl_factors> try_ldl(B& exec, matrix_view<T> a, std::span<const index_t> order, double tolerance) {
  const index_t n = a.rows;
  const matrix_view<const std::remove_const_t<T>> from = a;
  if (auto s = check_view(from, n, n, "A"); !s) return s.error();
  if (!order.empty()) {
    if (auto s = check_permutation(order, n, "order"); !s) return s.error();
  }
  const auto at = [&](index_t k) { return order.empty() ? k : order[static_cast<std::size_t>(k)]; };
  ldl_factors f;
  f.l.resize(n, n);
  f.d.resize(n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j <= i; ++j) {
      const index_t r = std::max(at(i), at(j)), c = std::min(at(i), at(j));
      const double x = static_cast<double>(from(r, c));
      if (!(std::fabs(x) <= std::numeric_limits<double>::max()))
        return error{errc::not_finite, text("A, row ", r, ", column ", c), text(x), "a finite number"};
      f.l(i, j) = x;
    }
  auto outcome = try_ldl_in_place(exec, f.l.view(), f.d.span(), tolerance);
  if (!outcome) return outcome.error();
  for (index_t i = 0; i < n; ++i)
    for (index_t j = i; j < n; ++j) f.l(i, j) = i == j ? 1.0 : 0.0;
  f.outcome = std::move(*outcome);
  return f;
}

// The same of any operand of float or double.
template <dense_backend<double> B, floating_operand A>
  requires std::same_as<typename B::space, host_space>
result<ldl_factors> try_ldl(B& exec, const A& a, std::span<const index_t> order, double tolerance) {
  return on_view(a, "A", [&](auto view) { return try_ldl(exec, view, order, tolerance); });
}

#if RESECT_EXCEPTIONS
template <dense_backend<double> B>
  requires std::same_as<typename B::space, host_space>
ldl_outcome ldl_in_place(B& exec, matrix_view<double> a, std::span<double> d, double tolerance) {
  return value_or_throw(try_ldl_in_place(exec, a, d, tolerance));
}
template <dense_backend<double> B, class A>
  requires std::same_as<typename B::space, host_space>
ldl_factors ldl(B& exec, const A& a, std::span<const index_t> order, double tolerance) {
  return value_or_throw(try_ldl(exec, a, order, tolerance));
}
#endif

}  // namespace RESECT_NAMESPACE::linalg
