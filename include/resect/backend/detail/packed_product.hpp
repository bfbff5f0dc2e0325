// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>

#include <resect/backend/detail/product_kernels.hpp>
#include <resect/backend/detail/tiles.hpp>

// Products by the kernels of an instruction set.
namespace RESECT_NAMESPACE::detail {

// Memory at the start of a cache line, not set to anything.
template <class T>
class packing_memory {
 public:
  explicit packing_memory(index_t n)
      : data_(static_cast<T*>(::operator new(static_cast<std::size_t>(n) * sizeof(T), line))) {}
  packing_memory(const packing_memory&) = delete;
  packing_memory& operator=(const packing_memory&) = delete;
  ~packing_memory() { ::operator delete(data_, line); }

  T* data() const noexcept { return data_; }

 private:
  static constexpr std::align_val_t line{64};
  T* data_;
};

// Sizes of the blocks of a product: panels of k; chunks of B's columns, whose packed panel all workers share; blocks
// of A's rows, which each task packs and keeps in its second-level cache while it visits strips of B; columns of a
// task: enough that packing its block is a few percent of the work, and few enough that every worker gets tasks.
struct packed_tiling {
  index_t panel, chunk, block_rows, task_cols;

  template <class T>
  static packed_tiling of(const product_kernels<T>& kernels, index_t m, index_t n, index_t k) noexcept {
    constexpr index_t enough_tasks = 8;
    const index_t chunk = even_part(n, 2048, kernels.tile_cols);
    const index_t rows = even_part(m, 132, kernels.tile_rows);
    const index_t blocks = (m + rows - 1) / rows;
    const index_t across = std::max<index_t>(1, enough_tasks / blocks);
    return {even_part(k, kernels.deepest, 8), chunk, rows,
            even_part(std::min(chunk, n), std::clamp<index_t>(chunk / across, 256, 1024), kernels.tile_cols)};
  }
};
// Products with fewer rows or columns leave most of a register tile empty, and packing would cost as much as the rest.
inline constexpr index_t thinnest_for_kernels = 8;

// The most strips of a direct product: beyond, packing A costs less than visiting more of B for six rows than for twelve.
inline constexpr index_t most_direct_strips = 4;

// Whether A is read as it lies: C is narrow and whole registers wide, and A has a stride of 1.
template <class T>
bool is_direct(const product_kernels<T>& kernels, const matrix_view<const T>& a, const matrix_view<T>& c) noexcept {
  return c.cols <= most_direct_strips * kernels.tile_cols && c.cols % kernels.col_step == 0 &&
         c.rows >= kernels.direct_rows && (is_row_major(a) || is_col_major(a));
}

// C ← α·A·B + β·C; A (m, k), B (k, n), any strides; C (m, n) row-major. Each element of C takes k in order, panel by
// panel: its bits depend on the extents and the kernels alone.
template <class T>
void packed_product(executor_ref exec, const product_kernels<T>& kernels, T alpha, matrix_view<const T> a,
                    matrix_view<const T> b, T beta, matrix_view<T> c) {
  const auto up = [](index_t n, index_t step) { return (n + step - 1) / step * step; };
  const auto tiling = packed_tiling::of(kernels, c.rows, c.cols, a.cols);
  const index_t depth = std::min(tiling.panel, a.cols);
  const bool replace = beta == T{0} && depth > 0;
  if (!replace && beta != T{1})
    for_each_tile(exec, c.rows, c.cols, 64, 1024,
                  [&](index_t r, index_t s, index_t m, index_t n) { scale(beta, c.block(r, s, m, n)); });

  const bool direct = is_direct(kernels, a, c);
  const index_t block_rows =
      direct ? even_part(c.rows, std::clamp<index_t>(c.rows / 16, 2 * kernels.tile_rows, 132), kernels.tile_rows)
             : tiling.block_rows;
  packing_memory<T> packed_b(up(std::min(tiling.chunk, c.cols), kernels.col_step) * depth);
  for (index_t s = 0; s < c.cols; s += tiling.chunk)
    for (index_t p = 0; p < a.cols; p += tiling.panel) {
      const index_t k = std::min(tiling.panel, a.cols - p);
      const auto out = c.block(0, s, c.rows, std::min(tiling.chunk, c.cols - s));
      for_each_tile(exec, 1, out.cols, 1, 8 * kernels.tile_cols, [&](index_t, index_t q, index_t, index_t n) {
        kernels.pack(&b(p, s + q), b.col_stride, b.row_stride, n, kernels.tile_cols, kernels.col_step, k,
                     packed_b.data() + q * k);
      });
      const into how = replace && p == 0 ? into::replace : into::add;
      for_each_tile(
          exec, out.rows, out.cols, block_rows, tiling.task_cols, [&](index_t r, index_t q, index_t m, index_t n) {
            if (direct) {
              const index_t whole = m / kernels.direct_rows * kernels.direct_rows;
              kernels.multiply_direct(whole, n, k, alpha, &a(r, p), a.row_stride, a.col_stride, packed_b.data() + q * k,
                                      how, &out(r, q), out.row_stride);
              r += whole, m -= whole;
              if (m == 0) return;
            }
            packing_memory<T> packed_a(up(m, kernels.row_step) * k);
            kernels.pack(&a(r, p), a.row_stride, a.col_stride, m, kernels.tile_rows, kernels.row_step, k,
                         packed_a.data());
            kernels.multiply(m, n, k, alpha, packed_a.data(), packed_b.data() + q * k, how, &out(r, q), out.row_stride);
          });
    }
}

// Sizes of the blocks of a product that is handed out in tiles: chunks of B's columns whose packed form, all of k, is at
// most 8 MiB or 256 columns; blocks of A's rows, a task each, so many that 16 workers have one; tiles of 256 columns.
struct tile_tiling {
  index_t panel, chunk, block_rows, tile_cols;

  template <class T>
  static tile_tiling of(const product_kernels<T>& kernels, index_t m, index_t n, index_t k) noexcept {
    constexpr index_t most = index_t{8} << 20, workers = 16;
    const index_t columns = std::max<index_t>(256, most / (std::max<index_t>(k, 1) * static_cast<index_t>(sizeof(T))));
    const index_t rows = std::clamp<index_t>(m / workers, kernels.tile_rows, 132);
    return {even_part(k, kernels.deepest, 8), even_part(n, columns, kernels.tile_cols),
            even_part(m, rows, kernels.tile_rows), even_part(256, 256, kernels.tile_cols)};
  }
};

// take(r, c, tile) for every tile of A·B; A (m, k), B (k, n), any strides. A task has a block of rows and visits columns
// in ascending order; an element takes k as in packed_product, so its bits are the same.
template <class T>
void packed_tiles(executor_ref exec, const product_kernels<T>& kernels, matrix_view<const T> a, matrix_view<const T> b,
                  take_tile<T> take) {
  const auto up = [](index_t n, index_t step) { return (n + step - 1) / step * step; };
  const auto tiling = tile_tiling::of(kernels, a.rows, b.cols, a.cols);
  packing_memory<T> packed_b(up(std::min(tiling.chunk, b.cols), kernels.col_step) * a.cols);
  for (index_t s = 0; s < b.cols; s += tiling.chunk) {
    const index_t columns = std::min(tiling.chunk, b.cols - s), stored = up(columns, kernels.col_step);
    for_each_tile(exec, a.cols, columns, tiling.panel, 8 * kernels.tile_cols,
                  [&](index_t p, index_t q, index_t k, index_t n) {
                    kernels.pack(&b(p, s + q), b.col_stride, b.row_stride, n, kernels.tile_cols, kernels.col_step, k,
                                 packed_b.data() + p * stored + q * k);
                  });
    for_each_tile(exec, a.rows, 1, tiling.block_rows, 1, [&](index_t r, index_t, index_t m, index_t) {
      const index_t high = up(m, kernels.row_step);
      packing_memory<T> packed_a(high * a.cols), tile(m * tiling.tile_cols);
      for (index_t p = 0; p < a.cols; p += tiling.panel)
        kernels.pack(&a(r, p), a.row_stride, a.col_stride, m, kernels.tile_rows, kernels.row_step,
                     std::min(tiling.panel, a.cols - p), packed_a.data() + p * high);
      for (index_t q = 0; q < columns; q += tiling.tile_cols) {
        const index_t n = std::min(tiling.tile_cols, columns - q);
        for (index_t p = 0; p < a.cols; p += tiling.panel) {
          const index_t k = std::min(tiling.panel, a.cols - p);
          kernels.multiply(m, n, k, T{1}, packed_a.data() + p * high, packed_b.data() + p * stored + q * k,
                           p == 0 ? into::replace : into::add, tile.data(), tiling.tile_cols);
        }
        take(r, s + q, matrix_view<T>(tile.data(), m, n, tiling.tile_cols, 1));
      }
    });
  }
}

}  // namespace RESECT_NAMESPACE::detail
