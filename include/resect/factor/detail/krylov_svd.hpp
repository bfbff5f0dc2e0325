// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/factor/detail/block_krylov.hpp>
#include <resect/factor/detail/core_svd.hpp>
#include <resect/factor/linear_map.hpp>

// Leading singular values of a map A (m, n) from the block Krylov space of A·Aᵀ.
namespace RESECT_NAMESPACE::factor::detail {

// A ≈ left·core_left·diag(s)·core_rightᵀ·rightᵀ with orthonormal columns in left·core_left and right·core_right. Empty
// bases are the identity. Where core_right is empty, it is core_left·diag(1/s) and right is Aᵀ·left.
template <class T, class Space>
struct bilateral_bases {
  matrix<T, Space> left, right;
  core_svd core;
};

// An orthonormal basis Q (m, k) and AᵀQ (n, k), which grow together.
template <class T, class Space>
struct bilateral_space {
  growing_basis<T, Space> basis;
  matrix<T, Space> images;  // (n, room)

  matrix_view<const T, Space> image_view() const noexcept {
    return images.view().block(0, 0, images.rows, basis.count);
  }
};

// Y (m, b) ← (A·Aᵀ)^powers·A·Ω, up to a basis of its columns: they are orthonormalized after every power.
template <class T, panel_backend<T> B, class A>
status start_block(B& exec, const A& a, int powers, std::uint64_t seed, view_of<T, B> y) {
  auto wide = try_make_matrix<T>(exec, a.cols(), y.cols);
  if (!wide) return wide.error();
  if (auto s = try_fill(exec, random::gaussian_matrix{seed}, wide->view(), random::block_origin{}); !s) return s;
  if (auto s = a.try_multiply(exec, T{1}, view_of<const T, B>(wide->view()), T{0}, y); !s) return s;
  if (powers == 0) return {};
  auto panel = try_make_matrix<T>(exec, y.rows, y.cols);
  if (!panel) return panel.error();
  growing_basis<T, typename B::space> basis{*std::move(panel)};
  for (int i = 0; i < powers; ++i) {
    basis.count = 0;
    if (auto s = append_block<T>(exec, basis, y, seed); !s) return s;
    if (auto s = a.try_multiply_transposed(exec, T{1}, basis.view(), T{0}, wide->view()); !s) return s;
    if (auto s = a.try_multiply(exec, T{1}, view_of<const T, B>(wide->view()), T{0}, y); !s) return s;
  }
  return {};
}

// Grows the space to k columns by blocks of b; the first block is (A·Aᵀ)^powers·A·Ω. 2·2mn(k + b·powers) flop, 8mk² for
// the basis.
template <class T, panel_backend<T> B, linear_map<B, T> A>
status grow(B& exec, const A& a, bilateral_space<T, typename B::space>& space, index_t k, index_t b, int powers,
            std::uint64_t seed) {
  auto& basis = space.basis;
  const index_t m = a.rows(), n = a.cols();
  if (basis.room() < k) {
    if (basis.count == 0) {
      auto q = try_make_matrix<T>(exec, m, k), images = try_make_matrix<T>(exec, n, k);
      if (!q) return q.error();
      if (!images) return images.error();
      basis.panel = *std::move(q), space.images = *std::move(images);
    } else {
      if (auto s = widen_panel<T>(exec, space.images, basis.count, k); !s) return s;
      if (auto s = widen_panel<T>(exec, basis.panel, basis.count, k); !s) return s;
    }
  }
  auto y = try_make_matrix<T>(exec, m, b);
  if (!y) return y.error();
  index_t before = std::min(b, basis.count);
  while (basis.count < k) {
    const index_t width = std::min(basis.count == 0 ? b : before, k - basis.count);
    const auto next = y->view().block(0, 0, m, width);
    if (basis.count == 0) {
      if (auto s = start_block<T>(exec, a, powers, seed, next); !s) return s;
    } else {
      const auto last = space.image_view().block(0, basis.count - before, n, width);
      if (auto s = a.try_multiply(exec, T{1}, last, T{0}, next); !s) return s;
    }
    if (auto s = append_block<T>(exec, basis, next, seed); !s) return s;
    const auto image = space.images.view().block(0, basis.count - width, n, width);
    if (auto s = a.try_multiply_transposed(exec, T{1}, basis.last(width), T{0}, image); !s) return s;
    before = width;
  }
  return {};
}

// Singular values from the eigenvalues of (AᵀQ)ᵀ(AᵀQ), descending, with the eigenvectors as columns.
template <class T, panel_backend<T> B>
result<core_svd> gram_svd(B& exec, view_of<const T, B> images) {
  const index_t k = images.cols;
  core_svd core{matrix<double>(k, k), {}, array<double>(k), true};
  matrix<double> g(k, k);
  array<double> values(k);
  if (auto s = try_gram(exec, images, g.view()); !s) return s.error();
  const auto eigen = core_of(exec).try_symmetric_eigen(g.view(), vector_view<double>{values.data(), k});
  if (!eigen) return eigen.error();
  core.converged = eigen->converged;
  for (index_t j = 0; j < k; ++j) {
    core.s[j] = std::sqrt(std::max(values[k - 1 - j], 0.0));
    for (index_t i = 0; i < k; ++i) core.u(i, j) = g(i, k - 1 - j);
  }
  return core;
}

// Whether a Gram matrix in double resolves the first r values, in that V = AᵀQ·U·diag(1/s) is as orthonormal as a basis
// in T has to be: s_1/s_r ≤ 1/√(ε of T), and ≤ 4 for double.
template <class T>
bool gram_resolves(const core_svd& core, index_t r) noexcept {
  const double least = std::same_as<T, double> ? 0.25 : 0x1p-11;
  return core.converged && core.s[r - 1] > least * core.s[0];
}

// The leading singular triplets, r of which are wanted, of the map whose space this is.
template <class T, panel_backend<T> B>
result<bilateral_bases<T, typename B::space>> bases_of(B& exec, bilateral_space<T, typename B::space>&& space,
                                                       core_svd&& core, index_t r) {
  bilateral_bases<T, typename B::space> out;
  if (gram_resolves<T>(core, r)) {
    out.right = std::move(space.images);
    out.core = std::move(core);
  } else {
    auto right = linalg::try_orthonormalize(exec, space.image_view());
    if (!right) return right.error();
    auto exact = svd_of_core(core_of(exec), right->r);
    if (!exact) return exact.error();
    std::swap(exact->u, exact->v);  // of Rᵀ
    out.right = std::move(right->q);
    out.core = *std::move(exact);
  }
  out.left = std::move(space.basis.panel);
  return out;
}

}  // namespace RESECT_NAMESPACE::factor::detail
