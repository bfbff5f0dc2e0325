// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include <Eigen/Core>
#include <resect/backend/concept.hpp>
#include <resect/backend/detail/symmetric_eigen.hpp>
#include <resect/backend/detail/triangular.hpp>
#include <resect/backend/detail/views.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/threads.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG {

namespace detail {

// The tiling of a product follows from its extents alone. Tiles are large enough that Eigen's packing
// is a few percent of the work, and there are enough of them to share out. k is cut into equal panels
// that Eigen does not cut again (its own cut depends on cache sizes, hence on the machine): max_panel is
// Eigen's limit for the smallest first cache in use, 32 KiB, which leaves the instruction set alone.
template <class T>
struct gemm_tiling {
  index tile_rows, tile_cols, panel;

  using kernel = Eigen::internal::gebp_traits<T, T>;
  static constexpr index element = sizeof(T);
  static constexpr index max_panel = std::min<index>(
      256, (32768 - kernel::mr * kernel::nr * element) / ((kernel::mr + kernel::nr) * element) & ~index{7});
  static_assert(max_panel >= 128, "the error bound of try_gemm counts on panels of 128 or more");

  static constexpr gemm_tiling of(index m, index n, index k) noexcept {
    const index panels = std::max<index>(1, (k + max_panel - 1) / max_panel);
    const index panel = ((k + panels - 1) / panels + 7) & ~index{7};
    if (m >= n) return {even(m, 384, 24), even(n, 768, 16), panel};
    return {even(m, 768, 16), even(n, 384, 24), panel};
  }

 private:
  // extent cut into equal parts of at most `target`, rounded up to the kernel's step
  static constexpr index even(index extent, index target, index step) noexcept {
    const index parts = std::max<index>(1, (extent + target - 1) / target);
    return std::max(step, ((extent + parts - 1) / parts + step - 1) / step * step);
  }
};

template <class T, bool RowMajor>
using eigen_matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, RowMajor ? Eigen::RowMajor : Eigen::ColMajor>;

template <class T, bool RowMajor>
using eigen_map = Eigen::Map<std::conditional_t<std::is_const_v<T>, const eigen_matrix<std::remove_const_t<T>, RowMajor>,
                                                eigen_matrix<std::remove_const_t<T>, RowMajor>>,
                             Eigen::Unaligned, Eigen::OuterStride<>>;

template <bool RowMajor, class T>
eigen_map<T, RowMajor> as_eigen(matrix_view<T> a) {
  return {a.data, a.rows, a.cols, Eigen::OuterStride<>(RowMajor ? a.row_stride : a.col_stride)};
}

template <class T>
constexpr bool is_row_major(const matrix_view<T>& a) noexcept {
  return a.col_stride == 1 || a.cols <= 1;
}
template <class T>
constexpr bool is_col_major(const matrix_view<T>& a) noexcept {
  return a.row_stride == 1 || a.rows <= 1;
}

// C += α·A·B on one thread; A and B row- or column-major, C row-major.
template <class T>
void gemm_panel(T alpha, matrix_view<const T> a, matrix_view<const T> b, matrix_view<T> c) {
  auto out = as_eigen<true>(c);
  if (is_row_major(a)) {
    if (is_row_major(b)) out.noalias() += alpha * (as_eigen<true>(a) * as_eigen<true>(b));
    else out.noalias() += alpha * (as_eigen<true>(a) * as_eigen<false>(b));
  } else {
    if (is_row_major(b)) out.noalias() += alpha * (as_eigen<false>(a) * as_eigen<true>(b));
    else out.noalias() += alpha * (as_eigen<false>(a) * as_eigen<false>(b));
  }
}

template <class T>
matrix_view<const T> copy_row_major(matrix_view<const T> a, std::vector<T>& storage) {
  storage.resize(static_cast<std::size_t>(a.rows * a.cols));
  for (index r = 0; r < a.rows; ++r)
    for (index c = 0; c < a.cols; ++c) storage[static_cast<std::size_t>(r * a.cols + c)] = a(r, c);
  return {storage.data(), a.rows, a.cols};
}

template <class T>
void scale(T beta, matrix_view<T> c) {
  for (index r = 0; r < c.rows; ++r)
    for (index j = 0; j < c.cols; ++j) c(r, j) = beta == T{0} ? T{0} : beta * c(r, j);
}

}  // namespace detail

// The host backend on Eigen (tested with 3.4). `Executor` runs its tasks: nothing (the default) computes
// on the caller's thread, threads{n} owns a pool, anything with bulk(n, f) is an engine's own pool.
//   cpu exec;                    one thread
//   cpu exec{threads{2}};        two
//   cpu exec{threads{2}, instruction_set::avx2};
// The instruction set is that of resect's own kernels: the machine's largest, detected when the object is made, unless one
// is forced (one that the machine lacks becomes the largest that it has below it). Eigen's follow the compiler's flags.
template <class Executor = inline_executor>
class cpu {
 public:
  using space = host_space;

  cpu() = default;
  explicit cpu(Executor e, instruction_set set = best_instruction_set())
      : executor_(std::move(e)), instructions_(runnable(set)) {}

  instruction_set instructions() const noexcept { return instructions_; }

  void bulk(index n, function_ref<void(index)> f) { executor_.bulk(n, f); }

  // C ← α·A·B + β·C.
  //   A (m, k), B (k, n), C (m, n); float or double; accumulator of the same type, k summed in panels of
  //   128 to 256 in order, each added to C. u = 2⁻²⁴ or 2⁻⁵³:
  //   |error| ≤ (k + 2)·u·|α|·(|A|·|B|) + (⌈k/128⌉ + 1)·u·|β·C|
  //   Cost 2mnk flop; each tile is packed by Eigen (temporary memory below 2 MB a worker).
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
    std::vector<T> a_copy, b_copy;
    if (!detail::is_row_major(a) && !detail::is_col_major(a)) a = detail::copy_row_major(a, a_copy);
    if (!detail::is_row_major(b) && !detail::is_col_major(b)) b = detail::copy_row_major(b, b_copy);

    const auto tiling = detail::gemm_tiling<T>::of(c.rows, c.cols, a.cols);
    const index across = (c.cols + tiling.tile_cols - 1) / tiling.tile_cols;
    const index down = (c.rows + tiling.tile_rows - 1) / tiling.tile_rows;
    executor_.bulk(across * down, [&](index t) {
      const index r = t / across * tiling.tile_rows;
      const index s = t % across * tiling.tile_cols;
      const index m = std::min(tiling.tile_rows, c.rows - r);
      const index n = std::min(tiling.tile_cols, c.cols - s);
      const auto tile = c.block(r, s, m, n);
      if (beta != T{1}) detail::scale(beta, tile);
      for (index p = 0; p < a.cols; p += tiling.panel) {
        const index k = std::min(tiling.panel, a.cols - p);
        detail::gemm_panel(alpha, a.block(r, p, m, k), b.block(p, s, k, n), tile);
      }
    });
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
    auto outcome = detail::blocked_cholesky<T>(*this, work.view());
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
    auto outcome = detail::blocked_solve_right<T>(*this, l, work.view());
    if (outcome) work.write_back();
    return outcome;
  }

  // A ← eigenvectors as columns, w ← eigenvalues in ascending order (see factoring_backend). float or double; float is
  // computed in double and rounded.
  //   A (n, n), any strides of an output; w (n). u = 2⁻⁵³ for double: ‖A·v − λ·v‖ ≤ 16·n·u·‖A‖₂ and
  //   ‖VᵀV − I‖_F ≤ 16·n·u; cost about 30 n³ flop (one-sided Jacobi), so for cores: 20 ms at n = 138.
  //   Not converged: a NaN or an infinity in A. Same bits for any number of workers.
  //   Errors: shape_mismatch, null_pointer, bad_stride.
  template <class T>
    requires(std::same_as<T, float> || std::same_as<T, double>)
  result<eigen_outcome> try_symmetric_eigen(matrix_view<T> a, std::type_identity_t<vector_view<T>> w) {
    if (auto s = check_view(a, a.rows, a.rows, "A"); !s) return s.error();
    if (auto s = check_view(matrix_view<T>{w.data, w.size, 1, w.stride, 1}, a.rows, 1, "w"); !s) return s.error();
    if constexpr (std::same_as<T, double>) {
      return detail::jacobi_symmetric_eigen(*this, a, w);
    } else {
      matrix<double> wide(a.rows, a.rows);
      std::vector<double> values(static_cast<std::size_t>(a.rows));
      for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j <= i; ++j) wide(i, j) = static_cast<double>(a(i, j));
      const auto outcome = detail::jacobi_symmetric_eigen(*this, wide.view(), {values.data(), a.rows});
      if (!outcome || !outcome->converged) return outcome;
      for (index i = 0; i < a.rows; ++i) {
        w[i] = static_cast<T>(values[static_cast<std::size_t>(i)]);
        for (index j = 0; j < a.rows; ++j) a(i, j) = static_cast<T>(wide(i, j));
      }
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

}  // namespace resect::inline RESECT_NAMESPACE_TAG
