// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <resect/core/memory.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/random/test_matrix.hpp>

// Block Krylov spaces of a symmetric map M, grown block by block with full reorthogonalization.
namespace RESECT_NAMESPACE::factor::detail {

// An orthonormal basis that grows: the first `count` columns of `panel` are in use.
template <class T, class Space>
struct growing_basis {
  matrix<T, Space> panel;  // (m, room)
  index_t count = 0;

  index_t rows() const noexcept { return panel.rows; }
  index_t room() const noexcept { return panel.cols; }
  matrix_view<const T, Space> view() const noexcept { return panel.view().block(0, 0, panel.rows, count); }
  // The last `width` columns in use.
  matrix_view<const T, Space> last(index_t width) const noexcept {
    return panel.view().block(0, count - width, panel.rows, width);
  }
};

// A panel (m, count) in a new one (m, room).
template <class T, panel_backend<T> B>
status widen_panel(B& exec, matrix_of<T, B>& panel, index_t count, index_t room) {
  auto wider = try_make_matrix<T>(exec, panel.rows, room);
  if (!wider) return wider.error();
  const auto from = std::as_const(panel).view().block(0, 0, panel.rows, count);
  if (auto s = try_transfer(exec, from, wider->view().block(0, 0, panel.rows, count)); !s) return s;
  panel = *std::move(wider);
  return {};
}

// Y ← Y − Q·(QᵀY), and QᵀY.
template <class T, panel_backend<T> B>
result<matrix_of<T, B>> project_block(B& exec, view_of<const T, B> q, view_of<T, B> y) {
  auto c = try_make_matrix<T>(exec, q.cols, y.cols);
  if (!c) return c;
  if (auto s = exec.try_gemm(T{1}, q.transposed(), y, T{0}, c->view()); !s) return s.error();
  if (auto s = exec.try_gemm(T{-1}, q, c->view(), T{1}, y); !s) return s.error();
  return c;
}

// How orthonormal one pass made a block.
struct pass_outcome {
  bool done = false;   // else columns nearly depend on each other, and Y was projected alone
  bool sharp = false;  // the columns were so nearly orthonormal before that they now are to the last digits of T
};

// Y ← Y − Q·(QᵀY), then one pass of CholeskyQR.
template <class T, panel_backend<T> B>
result<pass_outcome> project_and_divide(B& exec, view_of<const T, B> q, view_of<T, B> y) {
  const index_t b = y.cols;
  if (q.cols > 0) {
    if (const auto c = project_block<T>(exec, q, y); !c) return c.error();
  }
  matrix<double> l(b, b);
  if (auto s = try_gram(exec, view_of<const T, B>(y), l.view()); !s) return s.error();
  double distance = 0;
  array<double> squares(b);
  for (index_t i = 0; i < b; ++i) {
    squares[i] = l(i, i);
    for (index_t j = 0; j < b; ++j) distance += (l(i, j) - (i == j)) * (l(i, j) - (i == j));
    for (index_t j = i + 1; j < b; ++j) l(i, j) = 0;
  }
  const auto cholesky = core_of(exec).try_cholesky(l.view());
  if (!cholesky) return cholesky.error();
  if (!cholesky->positive_definite()) return pass_outcome{};
  for (index_t i = 0; i < b; ++i)
    if (!(l(i, i) * l(i, i) > 0x1p-20 * squares[i])) return pass_outcome{};
  const auto factor = try_place<T>(exec, l.view());
  if (!factor) return factor.error();
  if (auto s = exec.try_solve_right(factor->view(), y); !s) return s.error();
  return pass_outcome{true, distance <= 1.0 / 64};
}

// Orthonormalizes Y (m, b) against the basis and among its own columns, and appends it; there is room. A round projects
// once and orthonormalizes once; it is the last where it made no column much shorter, so that rounding was not
// magnified: the second as a rule, and then both are one pass of CholeskyQR. Columns that lie in the span of others, zero columns too, are replaced by Gaussian
// ones: a space that is exhausted (an eigenvalue of multiplicity above b) grows on by new directions. Y is overwritten.
template <class T, panel_backend<T> B>
status append_block(B& exec, growing_basis<T, typename B::space>& basis, view_of<T, B> y, std::uint64_t seed) {
  constexpr int most_rounds = 8;
  bool done = false;
  for (int pass = 0; pass < 3 && !done; ++pass) {
    const auto outcome = project_and_divide<T>(exec, basis.view(), y);
    if (!outcome) return outcome.error();
    if (!outcome->done) break;
    done = pass > 0 && outcome->sharp;
  }
  for (int round = 0; round < most_rounds && !done; ++round) {
    const auto before = try_column_norms(exec, view_of<const T, B>(y));
    if (!before) return before.error();
    if (basis.count > 0) {
      if (const auto c = project_block<T>(exec, basis.view(), y); !c) return c.error();
    }
    const auto block = linalg::try_orthonormalize(exec, view_of<const T, B>(y));
    if (!block) return block.error();
    double kept = 1;  // the least share of a column's norm that is left
    for (index_t i = 0; i < y.cols; ++i) kept = std::min(kept, std::ldexp(block->r(i, i), -(*before)[i].exponent));
    if (auto s = try_transfer(exec, block->q.view(), y); !s) return s;
    if (block->rank < y.cols) {
      const random::gaussian_matrix drawn{seed, static_cast<std::uint64_t>(basis.count + 2)};
      const auto dependent = y.block(0, block->rank, y.rows, y.cols - block->rank);
      const random::block_origin fresh{0, static_cast<index_t>(round) * y.cols};
      if (auto s = try_fill(exec, drawn, dependent, fresh); !s) return s;
    } else if (basis.count == 0 || (round > 0 && kept > 0.5)) {
      break;
    }
  }
  if (auto s = try_transfer(exec, view_of<const T, B>(y), basis.panel.view().block(0, basis.count, y.rows, y.cols)); !s)
    return s;
  basis.count += y.cols;
  return {};
}

// The projection QᵀMQ, and Q.
template <class T, class Space>
struct krylov_space {
  growing_basis<T, Space> basis;
  matrix<double> projected;  // (k, k)
};

// Grows the space from Y (m, b), b ≤ k ≤ m, to k columns. apply(X, Z) is Z ← M·X, X and Z (m, ≤ b). Y is overwritten.
//   k products with M; 8mk² flop for the basis. Source: Golub & Underwood, "The block Lanczos method for computing
//   eigenvalues", Mathematical Software III (1977), with full reorthogonalization.
template <class T, panel_backend<T> B, class Apply>
result<krylov_space<T, typename B::space>> block_krylov(B& exec, view_of<T, B> y, index_t k, std::uint64_t seed,
                                                        Apply apply) {
  const index_t m = y.rows;
  auto panel = try_make_matrix<T>(exec, m, k);
  if (!panel) return panel.error();
  krylov_space<T, typename B::space> space{{*std::move(panel), 0}, matrix<double>(k, k)};
  auto& basis = space.basis;
  index_t width = y.cols;  // of the last block
  if (auto s = append_block<T>(exec, basis, y, seed); !s) return s.error();
  for (;;) {
    const auto image = y.block(0, 0, m, width);
    if (auto s = apply(basis.last(width), image); !s) return s.error();
    const index_t first = basis.count - width;
    auto c = project_block<T>(exec, basis.view(), image);
    if (!c) return c.error();
    const auto coefficients = try_fetch(exec, c->view());
    if (!coefficients) return coefficients.error();
    for (index_t i = 0; i < basis.count; ++i)
      for (index_t j = 0; j < width; ++j)
        space.projected(i, first + j) = space.projected(first + j, i) = (*coefficients)(i, j);
    if (basis.count == k) break;
    width = std::min(width, k - basis.count);
    if (auto s = append_block<T>(exec, basis, image.block(0, 0, m, width), seed); !s) return s.error();
  }
  return space;
}

}  // namespace RESECT_NAMESPACE::factor::detail
