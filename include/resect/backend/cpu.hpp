// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include <resect/backend/detail/eigen_product.hpp>
#include <resect/backend/detail/packed_product.hpp>
#include <resect/backend/detail/views.hpp>
#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/threads.hpp>
#include <resect/linalg/symmetric_eigen.hpp>
#include <resect/linalg/triangular.hpp>

namespace RESECT_NAMESPACE {

// The host backend on kernels of resect's own and on Eigen (tested with 3.4). `Executor` runs its tasks: nothing (the
// default) computes on the caller's thread, threads{n} owns a pool, anything with bulk(n, f) is an engine's own pool.
//   cpu exec;                    one thread
//   cpu exec{threads{2}};        two
//   cpu exec{threads{2}, instruction_set::avx2};
// The instruction set is that of resect's own kernels: the machine's largest, detected when the object is made, unless
// one is forced (one that the machine lacks becomes the largest that it has below it). Eigen's follow the compiler's
// flags.
template <class Executor = inline_executor>
class cpu {
 public:
  using space = host_space;

  cpu() = default;
  explicit cpu(Executor e, instruction_set set = best_instruction_set())
      : executor_(std::move(e)), instructions_(runnable(set)) {}

  instruction_set instructions() const noexcept { return instructions_; }

  void bulk(index_t n, function_ref<void(index_t)> f) { executor_.bulk(n, f); }

  // C ← α·A·B + β·C.
  //   A (m, k), B (k, n), C (m, n); float or double; accumulator of the same type, k summed in order in equal panels,
  //   each added to C. By kernels of the instruction set, in panels of at most 1024 (avx512) or 320 (avx2); by Eigen, in
  //   panels of at most 256, for `portable` and where C has fewer than 8 rows or columns; never more than ⌈k/128⌉
  //   panels. u = 2⁻²⁴ or 2⁻⁵³:
  //   |error| ≤ (k + 2)·u·|α|·(|A|·|B|) + (⌈k/128⌉ + 1)·u·|β·C|
  //   Cost 2mnk flop. Memory for the time of the call: kernels pack at most 2080 columns of a panel of B, which all
  //   workers share, and 144 rows of A a worker (avx512: 8.5 and 0.6 MB in float, twice that in double), or none where C
  //   is at most four register tiles wide and A has a stride of 1; Eigen packs
  //   below 2.5 MB a worker, and an operand without a stride of 1 is copied for it. What cannot be had is
  //   std::bad_alloc; in a task (a worker's share) that leaves through `bulk`, and ends the program where tasks run on
  //   `threads`.
  //   Same bits for any number of workers on one instruction set; a row's bits may depend on m.
  //   Errors: shape_mismatch, null_pointer, bad_stride. C must not overlap A or B.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  status try_gemm(T alpha, std::type_identity_t<matrix_view<const T>> a, std::type_identity_t<matrix_view<const T>> b,
                  T beta, matrix_view<T> c) {
    if (auto s = check_view(a, "A"); !s) return s;
    if (auto s = check_view(b, a.cols, b.cols, "B"); !s) return s;
    if (auto s = check_view(c, a.rows, b.cols, "C"); !s) return s;
    if (c.empty()) return {};

    if (!detail::is_row_major(c)) {
      if (detail::is_col_major(c)) return try_gemm(alpha, b.transposed(), a.transposed(), beta, c.transposed());
      return error{errc::bad_stride, "C", text("strides ", c.row_stride, ", ", c.col_stride), "one stride of 1"};
    }
    const auto kernels = detail::product_kernels_of<T>(instructions_);
    if (kernels && std::min(c.rows, c.cols) >= detail::thinnest_for_kernels)
      detail::packed_product(executor_, kernels, alpha, a, b, beta, c);
    else detail::eigen_product(executor_, alpha, a, b, beta, c);
    return {};
  }

  // take(r, c, tile) for tiles that cover A·B, see tiling_backend; float or double.
  //   A (m, k), B (k, n), any strides. Bound, cost and errors as of try_gemm with α = 1, β = 0; by kernels the bits, too. A
  //   task has at most 132 rows and all columns. Memory for the time of the call: at most 8 MiB (or 256 columns) of
  //   packed B, and a worker's rows of A with one tile of 256 columns.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  status try_gemm_tiles(std::type_identity_t<matrix_view<const T>> a, std::type_identity_t<matrix_view<const T>> b,
                        function_ref<void(index_t, index_t, matrix_view<T>)> take) {
    if (auto s = check_view(a, "A"); !s) return s;
    if (auto s = check_view(b, a.cols, b.cols, "B"); !s) return s;
    if (a.rows == 0 || b.cols == 0) return {};
    const auto kernels = detail::product_kernels_of<T>(instructions_);
    if (kernels && a.cols > 0 && std::min(a.rows, b.cols) >= detail::thinnest_for_kernels)
      detail::packed_tiles<T>(executor_, kernels, a, b, take);
    else detail::eigen_tiles<T>(executor_, a, b, take);
    return {};
  }

  // A ← L in the lower triangle, A = L·Lᵀ (see factoring_backend for what is read and kept). float or double.
  //   A (n, n), any strides of an output. |L·Lᵀ − A| ≤ (n + 2)·u·|L|·|Lᵀ|, products included; cost n³/3 flop in blocks
  //   of 64. Same bits for any number of workers. Errors: shape_mismatch, null_pointer, bad_stride.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  result<cholesky_outcome> try_cholesky(matrix_view<T> a) {
    if (auto s = check_view(a, a.rows, a.rows, "A"); !s) return s.error();
    detail::unit_stride_copy<T> work(a);
    auto outcome = linalg::blocked_cholesky<T>(*this, work.view());
    if (outcome) work.write_back();
    return outcome;
  }

  // X ← X·L⁻ᵀ (see factoring_backend). float or double.
  //   L (n, n), X (m, n), any strides of an output. |X·Lᵀ − X_before| ≤ (n + 2)·u·|X|·|Lᵀ|; cost mn² flop in blocks of
  //   64 columns. Same bits for any number of workers. Errors: shape_mismatch, null_pointer, bad_stride.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  status try_solve_right(std::type_identity_t<matrix_view<const T>> l, matrix_view<T> x) {
    if (auto s = check_view(l, l.rows, l.rows, "L"); !s) return s;
    if (auto s = check_view(x, x.rows, l.rows, "X"); !s) return s;
    if (x.empty()) return {};
    detail::unit_stride_copy<T> work(x);
    auto outcome = linalg::blocked_solve_right<T>(*this, l, work.view());
    if (outcome) work.write_back();
    return outcome;
  }

  // A ← eigenvectors as columns, w ← eigenvalues in ascending order (see factoring_backend). float or double; float is
  // computed in double and rounded.
  //   A (n, n), any strides of an output; w (n). u = 2⁻⁵³ for double: ‖A·v − λ·v‖ ≤ 16·n·u·‖A‖₂ and
  //   ‖VᵀV − I‖_F ≤ 16·n·u; cost about 30 n³ flop up to n = 128 (one-sided Jacobi), 10 n³ above (tridiagonal form),
  //   so for cores.
  //   Not converged: a NaN or an infinity in A. Same bits for any number of workers.
  //   Errors: shape_mismatch, null_pointer, bad_stride.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  result<eigen_outcome> try_symmetric_eigen(matrix_view<T> a, std::type_identity_t<vector_view<T>> w) {
    if (auto s = check_view(a, a.rows, a.rows, "A"); !s) return s.error();
    if (auto s = check_view(matrix_view<T>{w.data, w.size, 1, w.stride, 1}, a.rows, 1, "w"); !s) return s.error();
    if constexpr (std::same_as<T, double>) {
      return linalg::symmetric_eigen(*this, a, w);
    } else {
      matrix<double> wide(a.rows, a.rows);
      array<double> values(a.rows);
      for (index_t i = 0; i < a.rows; ++i)
        for (index_t j = 0; j <= i; ++j) wide(i, j) = static_cast<double>(a(i, j));
      const auto outcome = linalg::symmetric_eigen(*this, wide.view(), {values.data(), a.rows});
      if (!outcome || !outcome->converged) return outcome;
      for (index_t i = 0; i < a.rows; ++i) w[i] = static_cast<T>(values[i]);
      copy(wide.view(), a);
      return outcome;
    }
  }

#if RESECT_EXCEPTIONS
  template <class T>
  void gemm(T alpha, std::type_identity_t<matrix_view<const T>> a, std::type_identity_t<matrix_view<const T>> b, T beta,
            matrix_view<T> c) {
    value_or_throw(try_gemm(alpha, a, b, beta, c));
  }
#endif

 private:
  [[no_unique_address]] Executor executor_{};
  instruction_set instructions_ = best_instruction_set();
};

}  // namespace RESECT_NAMESPACE
