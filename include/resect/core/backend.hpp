// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

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

// A dense backend that also factors small cores (up to a few hundred rows). Cores are double for every T: next to the
// products with a large matrix they cost little, and a squared condition number costs a float matrix nothing.
// Views have any strides that a check_view of an output lets through; an error is a broken precondition alone.
//   try_cholesky(A)             A (n, n) double. Reads the lower triangle and overwrites it with L, A = L·Lᵀ, diagonal
//                               above zero. Leaves the strict upper triangle as it was. On failed_column = j, the
//                               lower triangle is unspecified from column j on. → result<cholesky_outcome>
//   try_solve_right(L, X)       X ← X·L⁻ᵀ;  L (n, n) lower, of which the strict upper triangle is never read and the
//                               diagonal is not zero;  X (m, n), overwritten. Both of T, and both of double. → status
//   try_symmetric_eigen(A, w)   A (n, n) double. Reads the lower triangle: A = V·diag(w)·Vᵀ. Overwrites all of A with
//                               V, one orthonormal eigenvector a column, and w (n) with the eigenvalues in ascending
//                               order. Both are unspecified unless converged. → result<eigen_outcome>
template <class B, class T>
concept factoring_backend =
    dense_backend<B, T> && dense_backend<B, double> &&
    requires(B& b, matrix_view<double, typename B::space> core, vector_view<double, typename B::space> values,
             matrix_view<const double, typename B::space> factor, matrix_view<const T, typename B::space> l,
             matrix_view<T, typename B::space> x) {
      { b.try_cholesky(core) } -> std::same_as<result<cholesky_outcome>>;
      { b.try_solve_right(l, x) } -> std::same_as<status>;
      { b.try_solve_right(factor, core) } -> std::same_as<status>;
      { b.try_symmetric_eigen(core, values) } -> std::same_as<result<eigen_outcome>>;
    };

// A backend whose operands lie in host memory, where algorithms may also touch elements themselves.
template <class B, class T>
concept host_factoring_backend = factoring_backend<B, T> && std::same_as<typename B::space, host_space>;

}  // namespace RESECT_NAMESPACE
