// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>

#include <resect/core/array.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE {

// A library of dense linear algebra in one memory space. A backend is the first argument of every algorithm; its type
// decides memory space and code at compile time. An engine's own backend is a class with these members:
//   space                       memory that its operands live in
//   bulk(n, f)                  runs tasks (see `executor`)
//   try_gemm(α, A, B, β, C)     C ← α·A·B + β·C;  A (m, k), B (k, n), C (m, n), any strides
//                               (a transpose is a view); β = 0 ignores what C held, NaN included
template <class B, class T>
concept dense_backend =
    executor<B> && requires(B& b, matrix_view<const T, typename B::space> a, matrix_view<T, typename B::space> c, T s) {
      typename B::space;
      { b.try_gemm(s, a, a, s, c) } -> std::same_as<status>;
    };

// A dense backend in host memory that hands out a product tile by tile, for callers that use a tile and forget it: C is
// never stored. Member:
//   try_gemm_tiles(A, B, take)  A (m, k), B (k, n), any strides: take(r, c, tile) for tiles that cover A·B, each once, on any
//                               worker; element (i, j) of the tile is that of (r + i, c + j). `take` may write to the tile,
//                               which is gone when it returns. Tiles that share a row come one after the other, ascending
//                               by c. → status, the same errors as of try_gemm
template <class B, class T>
concept tiling_backend =
    dense_backend<B, T> && std::same_as<typename B::space, host_space> &&
    requires(B& b, matrix_view<const T> a, function_ref<void(index_t, index_t, matrix_view<T>)> take) {
      { b.try_gemm_tiles(a, a, take) } -> std::same_as<status>;
    };

// The outcome of a Cholesky factorization. A failure depends on the data and is no error.
struct cholesky_outcome {
  // The first column whose pivot was not above zero (or NaN); −1 where the matrix is positive definite.
  index_t failed_column = -1;

  bool positive_definite() const noexcept { return failed_column < 0; }
};

// The outcome of an eigendecomposition. Missing convergence depends on the data and is no error.
struct eigen_outcome {
  bool converged = false;
};

// What moves between host memory and a backend's space. A backend in host memory needs none of it: core/memory.hpp does
// that. Members:
//   try_allocate<T>(n)          n elements in the space, unspecified → result<array<T, space>>
//   try_copy(from, to)          to ← from, of equal extents, any strides: into the space, out of it, and within it
//   try_wait()                  returns when what was started before is done → status
template <class B, class T>
concept memory_backend = std::same_as<typename B::space, host_space> ||
                         requires(B& b, index_t n, matrix_view<const T> host, matrix_view<T> to_host,
                                  matrix_view<const T, typename B::space> from, matrix_view<T, typename B::space> to) {
                           { b.template try_allocate<T>(n) } -> std::same_as<result<array<T, typename B::space>>>;
                           { b.try_copy(host, to) } -> std::same_as<status>;
                           { b.try_copy(from, to_host) } -> std::same_as<status>;
                           { b.try_copy(from, to) } -> std::same_as<status>;
                           { b.try_wait() } -> std::same_as<status>;
                         };

// A dense backend that factors small cores (up to a few hundred rows) in host memory. Cores are double for every T: next
// to the products with a large matrix they cost little, and a squared condition number costs a float matrix nothing.
// Views have any strides that a check_view of an output lets through; an error is a broken precondition alone.
//   try_cholesky(A)             A (n, n) double. Reads the lower triangle and overwrites it with L, A = L·Lᵀ, diagonal
//                               above zero. Leaves the strict upper triangle as it was. On failed_column = j, the
//                               lower triangle is unspecified from column j on. → result<cholesky_outcome>
//   try_solve_right(L, X)       X ← X·L⁻ᵀ of doubles; see factoring_backend
//   try_symmetric_eigen(A, w)   A (n, n) double. Reads the lower triangle: A = V·diag(w)·Vᵀ. Overwrites all of A with
//                               V, one orthonormal eigenvector a column, and w (n) with the eigenvalues in ascending
//                               order. Both are unspecified unless converged. → result<eigen_outcome>
template <class B>
concept core_backend =
    dense_backend<B, double> && std::same_as<typename B::space, host_space> &&
    requires(B& b, matrix_view<const double> l, matrix_view<double> core, vector_view<double> values) {
      { b.try_cholesky(core) } -> std::same_as<result<cholesky_outcome>>;
      { b.try_solve_right(l, core) } -> std::same_as<status>;
      { b.try_symmetric_eigen(core, values) } -> std::same_as<result<eigen_outcome>>;
    };

// The backend that factors the cores of B: B itself in host memory, else what its member `core()` refers to.
template <class B>
constexpr auto& core_of(B& exec) noexcept {
  if constexpr (std::same_as<typename B::space, host_space>) return exec;
  else return exec.core();
}

// A backend for factorizations: panels (tall, of T) live in its space, cores (k ≤ a few hundred, double) on the host.
//   try_solve_right(L, X)       X ← X·L⁻ᵀ;  L (n, n) lower, of which the strict upper triangle is never read and the
//                               diagonal is not zero;  X (m, n), overwritten. Both in the space. → status
//   core()                      the core_backend; not needed in host memory
template <class B, class T>
concept factoring_backend =
    dense_backend<B, T> && memory_backend<B, T> &&
    requires(B& b, matrix_view<const T, typename B::space> l, matrix_view<T, typename B::space> x) {
      { b.try_solve_right(l, x) } -> std::same_as<status>;
      requires core_backend<std::remove_reference_t<decltype(core_of(b))>>;
    };

}  // namespace RESECT_NAMESPACE
