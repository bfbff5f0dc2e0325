// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <type_traits>

#include <Eigen/Core>
#include <resect/backend/detail/tiles.hpp>
#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/executor.hpp>

// Products by Eigen, on one thread for each tile.
namespace RESECT_NAMESPACE::detail {

// Tiles are large enough that Eigen's packing is a few percent of the work, and there are enough of them to share out. k
// is cut into equal panels that Eigen does not cut again (its own cut depends on cache sizes, hence on the machine):
// max_panel is Eigen's limit for the smallest first cache that it finds: 32 KiB on x86, where it asks the machine, and the
// 16 KiB that it takes for granted elsewhere. That leaves the instruction set alone.
template <class T>
struct eigen_tiling {
  index_t tile_rows, tile_cols, panel;

  using kernel = Eigen::internal::gebp_traits<T, T>;
  static constexpr index_t element = sizeof(T);
  static constexpr index_t first_cache = EIGEN_ARCH_i386_OR_x86_64 ? 32768 : 16384;
  static constexpr index_t max_panel = std::min<index_t>(
      256, (first_cache - kernel::mr * kernel::nr * element) / ((kernel::mr + kernel::nr) * element) & ~index_t{7});
  static_assert(max_panel >= 128, "the error bound of try_gemm counts on panels of 128 or more");

  static constexpr eigen_tiling of(index_t m, index_t n, index_t k) noexcept {
    const index_t panel = even_part(k, max_panel, 8);
    if (m >= n) return {even_part(m, 384, 24), even_part(n, 768, 16), panel};
    return {even_part(m, 768, 16), even_part(n, 384, 24), panel};
  }
};

template <class T, bool RowMajor>
using eigen_matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, RowMajor ? Eigen::RowMajor : Eigen::ColMajor>;

template <class T, bool RowMajor>
using eigen_map =
    Eigen::Map<std::conditional_t<std::is_const_v<T>, const eigen_matrix<std::remove_const_t<T>, RowMajor>,
                                  eigen_matrix<std::remove_const_t<T>, RowMajor>>,
               Eigen::Unaligned, Eigen::OuterStride<>>;

template <bool RowMajor, class T>
eigen_map<T, RowMajor> as_eigen(matrix_view<T> a) {
  return {a.data, a.rows, a.cols, Eigen::OuterStride<>(RowMajor ? a.row_stride : a.col_stride)};
}

// C += α·A·B on one thread; A and B row- or column-major but not both column-major (each kind of product costs a second
// to compile), C row-major.
template <class T>
void gemm_panel(T alpha, matrix_view<const T> a, matrix_view<const T> b, matrix_view<T> c) {
  auto out = as_eigen<true>(c);
  if (is_row_major(a)) {
    if (is_row_major(b)) out.noalias() += alpha * (as_eigen<true>(a) * as_eigen<true>(b));
    else out.noalias() += alpha * (as_eigen<true>(a) * as_eigen<false>(b));
  } else {
    out.noalias() += alpha * (as_eigen<false>(a) * as_eigen<true>(b));
  }
}

// Operands of gemm_panel: those that are asked for, or copies where their strides are none that it takes.
template <class T>
struct eigen_operands {
  matrix_view<const T> a, b;
  array<T> a_copy, b_copy;

  eigen_operands(matrix_view<const T> left, matrix_view<const T> right) : a(left), b(right) {
    if (!is_row_major(a) && !is_col_major(a)) a = materialized(a, a_copy);
    if (!is_row_major(b) && !is_col_major(b)) b = materialized(b, b_copy);
    if (is_row_major(a) || is_row_major(b)) return;
    if (a.rows < b.cols) a = materialized(a, a_copy);
    else b = materialized(b, b_copy);
  }
  // tile += α·A·B from row r and column s on, on one thread.
  void add_tile(T alpha, index_t r, index_t s, index_t panel, matrix_view<T> tile) const {
    for (index_t p = 0; p < a.cols; p += panel) {
      const index_t k = std::min(panel, a.cols - p);
      gemm_panel(alpha, a.block(r, p, tile.rows, k), b.block(p, s, k, tile.cols), tile);
    }
  }
};

// C ← α·A·B + β·C; A (m, k), B (k, n), any strides; C (m, n) row-major.
template <class T>
void eigen_product(executor_ref exec, T alpha, matrix_view<const T> a, matrix_view<const T> b, T beta,
                   matrix_view<T> c) {
  const eigen_operands<T> operands(a, b);
  const auto tiling = eigen_tiling<T>::of(c.rows, c.cols, a.cols);
  for_each_tile(exec, c.rows, c.cols, tiling.tile_rows, tiling.tile_cols,
                [&](index_t r, index_t s, index_t m, index_t n) {
                  const auto tile = c.block(r, s, m, n);
                  if (beta != T{1}) scale(beta, tile);
                  operands.add_tile(alpha, r, s, tiling.panel, tile);
                });
}

// take(r, c, tile) for every tile of A·B; A (m, k), B (k, n), any strides. A task has a block of rows and visits columns in
// ascending order.
template <class T>
void eigen_tiles(executor_ref exec, matrix_view<const T> a, matrix_view<const T> b, take_tile<T> take) {
  const eigen_operands<T> operands(a, b);
  const index_t panel = eigen_tiling<T>::of(a.rows, b.cols, a.cols).panel;
  const index_t rows = std::min<index_t>(a.rows, 96), columns = std::min<index_t>(b.cols, 384);
  for_each_tile(exec, a.rows, 1, rows, 1, [&](index_t r, index_t, index_t m, index_t) {
    array<T> memory(m * columns);
    for (index_t s = 0; s < b.cols; s += columns) {
      const matrix_view<T> tile{memory.data(), m, std::min(columns, b.cols - s), columns, 1};
      scale(T{0}, tile);
      operands.add_tile(T{1}, r, s, panel, tile);
      take(r, s, tile);
    }
  });
}

}  // namespace RESECT_NAMESPACE::detail
