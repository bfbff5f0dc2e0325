// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/error.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::quant {

// Which weights of an (out, in) matrix share parameters: blocks of block_rows × block_cols, aligned to the matrix's
// first row and column; 0 means all of them. {1, 64}: groups of 64 neighbouring columns of a row; {1, 0}: rows; {0, 0}:
// the whole matrix; {16, 16}: square blocks. The last block of a row or column is smaller where the extent is no
// multiple. Any shape works; nothing is padded. Blocks are numbered row by row.
struct block_layout {
  index_t rows = 0;
  index_t cols = 0;
  index_t block_rows = 1;
  index_t block_cols = 0;

  constexpr index_t width() const noexcept { return block_cols == 0 || block_cols > cols ? cols : block_cols; }
  constexpr index_t height() const noexcept { return block_rows == 0 || block_rows > rows ? rows : block_rows; }
  // Blocks beside and below each other.
  constexpr index_t per_row() const noexcept { return cols == 0 ? 0 : (cols - 1) / width() + 1; }
  constexpr index_t down() const noexcept { return rows == 0 ? 0 : (rows - 1) / height() + 1; }
  constexpr index_t count() const noexcept { return down() * per_row(); }
  // Columns [first(g), first(g) + size(g)) are those of the g-th block of a row of blocks, rows [first_row(i),
  // first_row(i) + row_count(i)) those of the i-th row of blocks.
  constexpr index_t first(index_t g) const noexcept { return g * width(); }
  constexpr index_t size(index_t g) const noexcept { return width() <= cols - first(g) ? width() : cols - first(g); }
  constexpr index_t first_row(index_t i) const noexcept { return i * height(); }
  constexpr index_t row_count(index_t i) const noexcept {
    return height() <= rows - first_row(i) ? height() : rows - first_row(i);
  }
  // The block of a weight.
  constexpr index_t block_of(index_t row, index_t col) const noexcept {
    return row / height() * per_row() + col / width();
  }

  // Errors: shape_mismatch (extents below 0, or of 2⁶³ bytes and more in floats), invalid_argument (block).
  status check() const noexcept {
    if (rows < 0 || cols < 0)
      return error{errc::shape_mismatch, "layout", text(rows, " x ", cols), "extents that are not negative"};
    if (!resect::detail::product_fits(rows, cols, static_cast<index_t>(sizeof(float))))
      return error{errc::shape_mismatch, "layout", text(rows, " x ", cols), "fewer than 2^61 elements"};
    if (block_cols < 0)
      return error{errc::invalid_argument, "group", text(block_cols), "0 (one group a row) or a number of columns"};
    if (block_rows < 0)
      return error{errc::invalid_argument, "rows of a group", text(block_rows), "0 (all) or a number of rows"};
    return {};
  }
  friend constexpr bool operator==(const block_layout&, const block_layout&) noexcept = default;
};

}  // namespace RESECT_NAMESPACE::quant
