// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <concepts>

#include <resect/core/memory.hpp>
#include <resect/core/result.hpp>
#include <resect/core/text.hpp>

// What a factorization needs of a matrix: products with it. A sum or a product of maps is a map that is never formed.
namespace RESECT_NAMESPACE::factor {

// A linear map A (m, n) whose products with panels of T in the space of B can be had:
//   rows(), cols()                          m, n
//   try_multiply(exec, α, X, β, Y)          Y (m, k) ← α·A·X + β·Y, X (n, k); β = 0 ignores what Y held
//   try_multiply_transposed(exec, α, X, β, Y)   Y (n, k) ← α·Aᵀ·X + β·Y, X (m, k)
template <class M, class B, class T>
concept linear_map = requires(const M& a, B& exec, T s, view_of<const T, B> x, view_of<T, B> y) {
  { a.rows() } -> std::convertible_to<index_t>;
  { a.cols() } -> std::convertible_to<index_t>;
  { a.try_multiply(exec, s, x, s, y) } -> std::same_as<status>;
  { a.try_multiply_transposed(exec, s, x, s, y) } -> std::same_as<status>;
};

namespace detail {
// Whether the terms of a map fit each other; of maps without check_terms() nothing is known. Asked once, before any product.
template <class A>
status check_map(const A& a) {
  if constexpr (requires {
                  { a.check_terms() } -> std::same_as<status>;
                })
    return a.check_terms();
  else return {};
}
}  // namespace detail

// A matrix as a map. Refers to it.
template <class T, class Space = host_space>
struct dense_map {
  matrix_view<const T, Space> view;

  index_t rows() const noexcept { return view.rows; }
  index_t cols() const noexcept { return view.cols; }
  template <dense_backend<T> B>
  status try_multiply(B& exec, T alpha, matrix_view<const T, Space> x, T beta, matrix_view<T, Space> y) const {
    return exec.try_gemm(alpha, view, x, beta, y);
  }
  template <dense_backend<T> B>
  status try_multiply_transposed(B& exec, T alpha, matrix_view<const T, Space> x, T beta,
                                 matrix_view<T, Space> y) const {
    return exec.try_gemm(alpha, view.transposed(), x, beta, y);
  }
};

// Aᵀ of a map A.
template <class A>
struct transposed_map {
  A map;

  index_t rows() const noexcept { return map.cols(); }
  index_t cols() const noexcept { return map.rows(); }
  // What the map's terms find.
  status check_terms() const { return detail::check_map(map); }
  template <class B, class T, class X>
  status try_multiply(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    return map.try_multiply_transposed(exec, alpha, x, beta, y);
  }
  template <class B, class T, class X>
  status try_multiply_transposed(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    return map.try_multiply(exec, alpha, x, beta, y);
  }
};

// a·A + b·C of two maps of equal extents: a residual is {W, L·R, 1, −1}.
template <class A, class C>
struct sum_map {
  A first;
  C second;
  double first_factor = 1, second_factor = 1;

  index_t rows() const noexcept { return first.rows(); }
  index_t cols() const noexcept { return first.cols(); }
  // Error: shape_mismatch.
  status check_terms() const {
    if (auto s = detail::check_map(first); !s) return s;
    if (auto s = detail::check_map(second); !s) return s;
    if (second.rows() == rows() && second.cols() == cols()) return {};
    return error{errc::shape_mismatch, "second term of a sum", text(second.rows(), " x ", second.cols()),
                 text(rows(), " x ", cols(), ", as the first")};
  }
  template <class B, class T, class X>
  status try_multiply(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    if (auto s = first.try_multiply(exec, static_cast<T>(first_factor) * alpha, x, beta, y); !s) return s;
    return second.try_multiply(exec, static_cast<T>(second_factor) * alpha, x, T{1}, y);
  }
  template <class B, class T, class X>
  status try_multiply_transposed(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    if (auto s = first.try_multiply_transposed(exec, static_cast<T>(first_factor) * alpha, x, beta, y); !s) return s;
    return second.try_multiply_transposed(exec, static_cast<T>(second_factor) * alpha, x, T{1}, y);
  }
};

// A·C of two maps, A (m, k), C (k, n). A panel (k, ·) is made for every product.
template <class A, class C>
struct product_map {
  A left;
  C right;

  index_t rows() const noexcept { return left.rows(); }
  index_t cols() const noexcept { return right.cols(); }
  // Error: shape_mismatch.
  status check_terms() const {
    if (auto s = detail::check_map(left); !s) return s;
    if (auto s = detail::check_map(right); !s) return s;
    if (right.rows() == left.cols()) return {};
    return error{errc::shape_mismatch, "second factor of a product", text(right.rows(), " x ", right.cols()),
                 text(left.cols(), " rows, as the first has columns")};
  }
  template <class B, class T, class X>
  status try_multiply(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    auto between = try_make_matrix<T>(exec, right.rows(), x.cols);
    if (!between) return between.error();
    if (auto s = right.try_multiply(exec, T{1}, x, T{0}, between->view()); !s) return s;
    return left.try_multiply(exec, alpha, view_of<const T, B>(between->view()), beta, y);
  }
  template <class B, class T, class X>
  status try_multiply_transposed(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    auto between = try_make_matrix<T>(exec, left.cols(), x.cols);
    if (!between) return between.error();
    if (auto s = left.try_multiply_transposed(exec, T{1}, x, T{0}, between->view()); !s) return s;
    return right.try_multiply_transposed(exec, alpha, view_of<const T, B>(between->view()), beta, y);
  }
};

namespace detail {
// 2^−exponent·A: powers of A·Aᵀ neither overflow nor vanish.
template <class A>
struct scaled_map {
  A map;
  int exponent = 0;

  index_t rows() const noexcept { return map.rows(); }
  index_t cols() const noexcept { return map.cols(); }
  template <class B, class T, class X>
  status try_multiply(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    return map.try_multiply(exec, std::ldexp(alpha, -exponent), x, beta, y);
  }
  template <class B, class T, class X>
  status try_multiply_transposed(B& exec, T alpha, X x, T beta, matrix_view<T, typename B::space> y) const {
    return map.try_multiply_transposed(exec, std::ldexp(alpha, -exponent), x, beta, y);
  }
};

template <class M>
inline constexpr bool is_dense_map = false;
template <class T, class Space>
inline constexpr bool is_dense_map<dense_map<T, Space>> = true;
template <class A>
inline constexpr bool is_dense_map<scaled_map<A>> = is_dense_map<A>;
}  // namespace detail

}  // namespace RESECT_NAMESPACE::factor
