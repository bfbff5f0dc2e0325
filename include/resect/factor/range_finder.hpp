// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <resect/core/operand.hpp>
#include <resect/factor/linear_map.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/random/test_matrix.hpp>

namespace RESECT_NAMESPACE::factor {

// A basis of the leading directions of a map A, and what a leave-one-out error needs of how it was found.
template <class T, class Space = host_space>
struct range_search {
  matrix<T, Space> q;               // (m, k), orthonormal columns
  matrix<T, Space> image;           // (m, k) A·Ω; empty without power iterations, where it is Q·triangles[0]
  array<matrix<double>> triangles;  // R factors in the order that they were made: Q·(… R_2·R_1) = (A·Aᵀ)^q·A·Ω
  bool exhausted = false;           // columns depended on each other: the range of A has at most k − 1 dimensions
};

namespace detail {

// What a search is asked for can be done. Errors: invalid_argument.
inline status check_search(index_t m, index_t n, index_t k, int power_iterations) noexcept {
  if (m < 1 || n < 1) return error{errc::invalid_argument, "W", text(m, " x ", n), "at least one row and one column"};
  if (const index_t most = std::min(m, n); k < 1 || k > most)
    return error{errc::invalid_argument, "k", text(k), text("1 to ", most)};
  if (power_iterations < 0)
    return error{errc::invalid_argument, "power_iterations", text(power_iterations), "at least 0"};
  return {};
}

}  // namespace detail

// The basis Q (m, k) of (A·Aᵀ)^q·A·Ω for a linear map A (m, n), orthonormalized after every product with A or Aᵀ; Ω is
// random::gaussian_matrix{seed}. Cost, bound and errors as of the function below; beside the basis it keeps A·Ω and the
// R factors: (m + k(2q + 1))·k elements.
template <class T, panel_backend<T> B, linear_map<B, T> A>
result<range_search<T, typename B::space>> try_search_range(B& exec, const A& a, index_t k, int power_iterations,
                                                            std::uint64_t seed) {
  if (auto s = detail::check_search(a.rows(), a.cols(), k, power_iterations); !s) return s.error();
  using const_view = view_of<const T, B>;
  range_search<T, typename B::space> found;
  const auto keep = [&](linalg::orthonormal_basis<T, typename B::space>& basis) {
    found.exhausted |= basis.rank < k;
    found.triangles.push_back(std::move(basis.r));
  };
  auto tall = try_make_matrix<T>(exec, a.rows(), k);
  if (!tall) return tall.error();
  auto wide = try_make_matrix<T>(exec, a.cols(), k);
  if (!wide) return wide.error();
  if (auto s = try_fill(exec, random::gaussian_matrix{seed}, wide->view(), random::block_origin{}); !s)
    return s.error();
  if (auto s = a.try_multiply(exec, T{1}, const_view(wide->view()), T{0}, tall->view()); !s) return s.error();
  auto q = linalg::try_orthonormalize(exec, const_view(tall->view()));
  if (!q) return q.error();
  keep(*q);
  for (int i = 0; i < power_iterations; ++i) {
    if (i == 0) {
      found.image = *std::move(tall);
      tall = try_make_matrix<T>(exec, a.rows(), k);
      if (!tall) return tall.error();
    }
    if (auto s = a.try_multiply_transposed(exec, T{1}, const_view(q->q.view()), T{0}, wide->view()); !s)
      return s.error();
    auto p = linalg::try_orthonormalize(exec, const_view(wide->view()));
    if (!p) return p.error();
    keep(*p);
    if (auto s = a.try_multiply(exec, T{1}, const_view(p->q.view()), T{0}, tall->view()); !s) return s.error();
    q = linalg::try_orthonormalize(exec, const_view(tall->view()));
    if (!q) return q.error();
    keep(*q);
  }
  found.q = std::move(q->q);
  return found;
}

// A basis Q (m, k) whose columns nearly hold the range of W (m, n): those of (W·Wᵀ)^q·W·Ω, orthonormalized after every
// product with W or Wᵀ; Ω is random::gaussian_matrix{seed}. W has any strides; products are in T.
// E‖W − Q·Qᵀ·W‖ ≤ (1 + √(r/(p−1)) + (e·√(r+p)/p)·√(min(m, n) − r))^(1/(2q+1))·σ_{r+1} for k = r + p, p ≥ 2.
//   (2q + 1)·2mnk flop and as many passes over W; memory (2m + n)·k. Same bits for any number of workers, if the
//   backend's products have that.
//   Errors: invalid_argument (k not in 1 … min(m, n), q < 0), shape_mismatch, null_pointer, bad_stride; not_finite for
//   a product Y of W that is not; those of the backend.
//   Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 53 (2011), Algorithm 4.4 and
//   Corollary 10.10.
template <class T, panel_backend<T> B>
result<matrix_of<T, B>> try_find_range(B& exec, view_of<const T, B> w, index_t k, int power_iterations,
                                       std::uint64_t seed) {
  if (auto s = check_view(w, "W"); !s) return s.error();
  auto found = try_search_range<T>(exec, dense_map<T, typename B::space>{w}, k, power_iterations, seed);
  if (!found) return found.error();
  return std::move(found->q);
}

// The same of any operand of float or double.
template <floating_operand W, panel_backend<matrix_element<const W&>> B>
result<matrix<matrix_element<const W&>>> try_find_range(B& exec, const W& w, index_t k, int power_iterations,
                                                        std::uint64_t seed) {
  using T = matrix_element<const W&>;
  return on_view(w, "W", [&](auto view) { return try_find_range<T>(exec, view, k, power_iterations, seed); });
}

}  // namespace RESECT_NAMESPACE::factor
