// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include <resect/core/operand.hpp>
#include <resect/factor/approximation_error.hpp>
#include <resect/factor/bounds.hpp>
#include <resect/factor/detail/svd_results.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/linalg/norms.hpp>
#include <resect/quant/moment_view.hpp>

// The best pair L·R for what a matrix reads: least tr((A − L·R)·H·(A − L·R)ᵀ).
namespace RESECT_NAMESPACE::factor {

// Whether tr(A·H·Aᵀ) and the loss are computed, which takes 2mn² flop.
enum class loss_report : std::uint8_t { measured, left_out };

// How large the Krylov space is.
struct weighted_low_rank_options {
  index_t rank = 0;   // 1 … min(m, n)
  index_t block = 0;  // columns a step; 0: half of the rank, at least 8
  index_t depth = 0;  // blocks in the space; 0: as many as make 2·rank + 16 columns
  std::uint64_t seed = 1;
  loss_report loss = loss_report::measured;
};

// What was left of A in the norm of H. NaN where loss_report::left_out leaves it out.
struct weighted_quality {
  double total = 0;        // tr(A·H·Aᵀ)
  double loss = 0;         // tr((A − L·R)·H·(A − L·R)ᵀ)
  double captured = 0;     // tr(L·R·H·(L·R)ᵀ): what L·R has of the total; total = captured + loss up to rounding
  bool converged = false;  // the eigendecomposition of the core
  double relative() const noexcept { return loss == 0 ? 0.0 : loss / total; }
};

// A ≈ L·R in the norm of H.
template <class T, class Space = host_space>
struct weighted_decomposition {
  low_rank<T, Space> factors;  // L (m, r), orthonormal columns; R (r, n) = Lᵀ·A
  array<double> spectrum;      // the k Ritz values of A·H·Aᵀ, descending: lower bounds of its k largest eigenvalues
  weighted_quality quality;
};

namespace detail {

// A·H·Aᵀ·2^−exponent without forming it, H in T. Both operands are scaled by powers of two, so that products neither
// overflow nor vanish.
template <class T, class Space>
struct weighted_map {
  matrix_view<const T, Space> a;
  matrix_view<const T, Space> h;  // (n, n)·2^−h_exponent
  int a_exponent = 0, h_exponent = 0;

  double scale() const noexcept { return std::ldexp(1.0, h_exponent + 2 * a_exponent); }
  T shrink() const noexcept { return std::ldexp(T{1}, -a_exponent); }

  // to (m, b) ← A·H·Aᵀ·from (m, b); between (n, 2b) is working memory.
  template <class B>
  status apply(B& exec, view_of<const T, B> from, view_of<T, B> to, view_of<T, B> between) const {
    const auto x = between.block(0, 0, a.cols, from.cols), image = between.block(0, from.cols, a.cols, from.cols);
    if (auto s = exec.try_gemm(shrink(), a.transposed(), from, T{0}, x); !s) return s;
    if (auto s = exec.try_gemm(T{1}, h, x, T{0}, image); !s) return s;
    return exec.try_gemm(shrink(), a, image, T{0}, to);
  }
};

// H in T and in the backend's space, times 2^−exponent, which brings its largest element into [½, 1).
template <class T, panel_backend<T> B>
result<matrix_of<T, B>> place_moment(B& exec, const quant::moment_view& h, int& exponent) {
  const index_t n = h.size(), height = std::min<index_t>(n, 256);
  double largest = 0;  // of a semi-definite matrix, an element of the diagonal is the largest
  for (index_t i = 0; i < n; ++i) largest = std::max(largest, h(i, i));
  std::frexp(largest, &exponent);
  exponent = std::clamp(exponent, -1000, 1000);
  const double scale = std::ldexp(1.0, -exponent);
  auto out = try_make_matrix<T>(exec, n, n);
  if (!out) return out;
  matrix<T> rows(height, n);
  for (index_t first = 0; first < n; first += height) {
    const index_t count = std::min(height, n - first);
    exec.bulk(count, [&](index_t i) {
      for (index_t j = 0; j < n; ++j) rows(i, j) = static_cast<T>(h(first + i, j) * scale);
    });
    const auto from = matrix_view<const T>(rows.view()).middle_rows(0, count);
    if (auto s = try_transfer(exec, from, out->view().middle_rows(first, count)); !s) return s.error();
  }
  return out;
}

// tr(X·H·Xᵀ)·2^−exponent of X = A − L·R, or of A where L is empty, in slices of rows: products in T, the sum of their
// diagonals in double.
template <class T, panel_backend<T> B>
result<double> trace_of_rest(B& exec, const weighted_map<T, typename B::space>& map, view_of<const T, B> l,
                             view_of<const T, B> r) {
  const index_t m = map.a.rows, n = map.a.cols, slice = std::min<index_t>(m, 64);
  auto x = try_make_matrix<T>(exec, slice, n), image = try_make_matrix<T>(exec, slice, n),
       products = try_make_matrix<T>(exec, slice, slice);
  if (!x) return x.error();
  if (!image) return image.error();
  if (!products) return products.error();
  const array<column_scale> by(n, column_scale{1, -map.a_exponent});
  double trace = 0;
  for (index_t first = 0; first < m; first += slice) {
    const index_t rows = std::min(slice, m - first);
    const auto here = x->view().middle_rows(0, rows), there = image->view().middle_rows(0, rows);
    if (auto s = try_scale_columns(exec, map.a.middle_rows(first, rows), by.span(), here); !s) return s.error();
    if (!l.empty())
      if (auto s = exec.try_gemm(-map.shrink(), l.middle_rows(first, rows), r, T{1}, here); !s) return s.error();
    if (auto s = exec.try_gemm(T{1}, here, map.h, T{0}, there); !s) return s.error();
    const auto square = products->view().block(0, 0, rows, rows);
    if (auto s = exec.try_gemm(T{1}, there, here.transposed(), T{0}, square); !s) return s.error();
    const view_of<const T, B> diagonal{square.data, rows, 1, square.row_stride + square.col_stride, 1};
    const auto sums = try_fetch(exec, diagonal);
    if (!sums) return sums.error();
    for (const double d : sums->data) trace += d;
  }
  return std::max(trace, 0.0);
}

template <class T, panel_backend<T> B>
result<weighted_quality> weighted_loss(B& exec, const weighted_map<T, typename B::space>& map,
                                       const low_rank<T, typename B::space>& pair, loss_report report) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  weighted_quality q{none, none, 0, true};
  auto of_pair = map;
  of_pair.a = pair.r.view();
  const auto captured = trace_of_rest<T>(exec, of_pair, {}, {});
  if (!captured) return captured.error();
  q.captured = *captured * map.scale();
  if (report == loss_report::left_out) return q;
  const auto total = trace_of_rest<T>(exec, map, {}, {});
  if (!total) return total.error();
  double rest = *total - *captured;
  if (rest < 0x1p13 * std::numeric_limits<T>::epsilon() * *total) {  // a small difference is rounding: measured instead
    const auto measured = trace_of_rest<T>(exec, map, pair.l.view(), pair.r.view());
    if (!measured) return measured.error();
    rest = *measured;
  }
  q.total = *total * map.scale();
  q.loss = rest * map.scale();
  return q;
}

// The r leading eigenvectors of A·H·Aᵀ as L, R = LᵀA, and the spectrum.
template <class T, panel_backend<T> B>
result<weighted_decomposition<T, typename B::space>> weighted_pair(B& exec,
                                                                   const weighted_map<T, typename B::space>& map,
                                                                   index_t r, index_t block, index_t k,
                                                                   std::uint64_t seed) {
  const index_t m = map.a.rows, n = map.a.cols;
  auto y = try_make_matrix<T>(exec, m, block), between = try_make_matrix<T>(exec, n, 2 * block);
  if (!y) return y.error();
  if (!between) return between.error();
  const auto omega = between->view().block(0, 0, n, block), image = between->view().block(0, block, n, block);
  if (auto s = try_fill(exec, random::gaussian_matrix{seed}, omega, random::block_origin{}); !s) return s.error();
  if (auto s = exec.try_gemm(T{1}, map.h, omega, T{0}, image); !s) return s.error();
  if (auto s = exec.try_gemm(map.shrink(), map.a, image, T{0}, y->view()); !s) return s.error();
  auto space = block_krylov<T>(exec, y->view(), k, seed, [&](view_of<const T, B> from, view_of<T, B> to) {
    return map.apply(exec, from, to, between->view());
  });
  if (!space) return space.error();
  array<double> values(k);
  const auto eigen = core_of(exec).try_symmetric_eigen(space->projected.view(), vector_view<double>{values.data(), k});
  if (!eigen) return eigen.error();
  matrix<double> leading(k, r);
  for (index_t i = 0; i < k; ++i)
    for (index_t j = 0; j < r; ++j) leading(i, j) = space->projected(i, k - 1 - j);
  auto u = leading_columns<T>(exec, space->basis.panel, leading, r);
  if (!u) return u.error();
  auto rows = try_make_matrix<T>(exec, r, n);
  if (!rows) return rows.error();
  if (auto s = exec.try_gemm(T{1}, std::as_const(*u).view().transposed(), map.a, T{0}, rows->view()); !s)
    return s.error();
  weighted_decomposition<T, typename B::space> out;
  out.factors = {*std::move(u), *std::move(rows)};
  out.spectrum.resize(k);
  for (index_t i = 0; i < k; ++i) out.spectrum[i] = std::max(values[k - 1 - i], 0.0) * map.scale();
  out.quality.converged = eigen->converged;
  return out;
}

}  // namespace detail

// The pair L·R of rank r that minimises tr((A − L·R)·H·(A − L·R)ᵀ): with U the r leading eigenvectors of A·H·Aᵀ,
// L·R = U·Uᵀ·A. H is never factorized, inverted or damped, so a singular H is as good as any.
//   A (m, n), any strides; float or double. H (n, n) symmetric, semi-definite: a quant::hessian (its mean), or a matrix
//   of float or double. U is sought in a block Krylov space of k = depth·block columns (k ≤ m) of Y ↦ A·(H·(Aᵀ·Y)),
//   which begins at A·H·Ω, Ω Gaussian; products are in T, cores in double.
//   Where k reaches m, nothing is random. Loss ≤ best loss·(1 + what the space lacks) + weighted_loss_bound<T>() ·
//   tr(A·H·Aᵀ); the best loss is Σ_{i>r} λ_i(A·H·Aᵀ), so the spectrum gives the loss of every smaller rank, too.
//   Cost: (4mn + 2n²)·k flop for the space, 8mk² for its basis, the core of k columns, and for the loss 2mn² + 2n²r.
//   Memory: n² elements for H in T, (m + 2n)·block, (m + k)·k. Same bits for any number of workers, if the backend's
//   products have that.
//   Errors: invalid_argument (rank < 1 or > min(m, n), a negative option, ‖A‖_F above 2⁻⁶ of the largest T, a negative
//   element on H's diagonal), shape_mismatch (H of another width), not_finite, null_pointer, bad_stride; those of the
//   backend.
//   Source: A·S = U·Σ·Vᵀ with S·Sᵀ = H and Eckart & Young, Psychometrika 1 (1936): the best L·R is U_r·U_rᵀ·A; block
//   Krylov: Musco & Musco, "Randomized block Krylov methods for stronger and faster approximate singular value
//   decomposition", NIPS 28 (2015).
template <class B, class T>
  requires panel_backend<B, std::remove_const_t<T>>
result<weighted_decomposition<std::remove_const_t<T>, typename B::space>> try_weighted_low_rank(
    B& exec, matrix_view<T, typename B::space> matrix_a, const quant::moment_view& h,
    const weighted_low_rank_options& options) {
  using element = std::remove_const_t<T>;
  const view_of<const element, B> a = matrix_a;
  if (auto s = check_view(a, "A"); !s) return s.error();
  const index_t m = a.rows, r = options.rank;
  if (const index_t most = std::min(a.rows, a.cols); r < 1 || r > most)
    return error{errc::invalid_argument, "rank", text(r), text("1 to ", most)};
  if (options.block < 0 || options.depth < 0)
    return error{errc::invalid_argument, "options", text("block ", options.block, ", depth ", options.depth),
                 "none below 0"};
  if (auto s = h.check(exec, a.cols); !s) return s.error();
  const auto range = detail::range_in_space<element>(exec, a);
  if (!range) return range.error();
  if (auto s = linalg::check_range<element>(*range, "A"); !s) return s.error();

  const index_t block = std::min(m, options.block > 0 ? options.block : std::max<index_t>(8, (r + 1) / 2));
  const index_t depth = options.depth > 0 ? options.depth : (2 * r + 16 + block - 1) / block;
  const index_t k = std::max(r, depth < m / block + 1 ? std::min(m, depth * block) : m);

  detail::weighted_map<element, typename B::space> map{a, {}, 0, 0};
  std::frexp(range->frobenius, &map.a_exponent);
  const auto placed = detail::place_moment<element>(exec, h, map.h_exponent);
  if (!placed) return placed.error();
  map.h = placed->view();
  auto out = detail::weighted_pair<element>(exec, map, r, block, k, options.seed);
  if (!out) return out;
  const bool converged = out->quality.converged;
  const auto quality = detail::weighted_loss<element>(exec, map, out->factors, options.loss);
  if (!quality) return quality.error();
  out->quality = *quality;
  out->quality.converged = converged;
  return out;
}

// The same of any operand of float or double.
template <class B, floating_operand A>
  requires panel_backend<B, matrix_element<const A&>>
result<weighted_decomposition<matrix_element<const A&>>> try_weighted_low_rank(
    B& exec, const A& a, const quant::moment_view& h, const weighted_low_rank_options& options) {
  return on_view(a, "A", [&](auto view) { return try_weighted_low_rank(exec, view, h, options); });
}

#if RESECT_EXCEPTIONS
template <class B, class T>
  requires panel_backend<B, std::remove_const_t<T>>
weighted_decomposition<std::remove_const_t<T>, typename B::space> weighted_low_rank(
    B& exec, matrix_view<T, typename B::space> a, const quant::moment_view& h,
    const weighted_low_rank_options& options) {
  return value_or_throw(try_weighted_low_rank(exec, a, h, options));
}
template <class B, floating_operand A>
  requires panel_backend<B, matrix_element<const A&>>
weighted_decomposition<matrix_element<const A&>> weighted_low_rank(B& exec, const A& a, const quant::moment_view& h,
                                                                   const weighted_low_rank_options& options) {
  return value_or_throw(try_weighted_low_rank(exec, a, h, options));
}
#endif

}  // namespace RESECT_NAMESPACE::factor
