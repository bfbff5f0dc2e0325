// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/error.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::quant {

// Which weights of an (out, in) matrix share parameters: `group` neighbouring columns of one row, aligned to the
// row's start. The last group of a row is shorter where cols is not a multiple; a group of 0, or of cols and more,
// means one group a row. Any shape works; nothing is padded.
struct group_layout {
  index_t rows = 0;
  index_t cols = 0;
  index_t group = 0;

  constexpr index_t width() const noexcept { return group == 0 || group > cols ? cols : group; }
  constexpr index_t per_row() const noexcept { return cols == 0 ? 0 : (cols - 1) / width() + 1; }
  constexpr index_t count() const noexcept { return rows * per_row(); }
  // Columns [first(g), first(g) + size(g)) are group g of a row.
  constexpr index_t first(index_t g) const noexcept { return g * width(); }
  constexpr index_t size(index_t g) const noexcept { return width() <= cols - first(g) ? width() : cols - first(g); }

  // Errors: shape_mismatch (extents below 0, or of 2⁶³ bytes and more in floats), invalid_argument (group).
  status check() const noexcept {
    if (rows < 0 || cols < 0)
      return error{errc::shape_mismatch, "layout", text(rows, " x ", cols), "extents that are not negative"};
    if (!resect::detail::product_fits(rows, cols, static_cast<index_t>(sizeof(float))))
      return error{errc::shape_mismatch, "layout", text(rows, " x ", cols), "fewer than 2^61 elements"};
    if (group < 0)
      return error{errc::invalid_argument, "group", text(group), "0 (one group a row) or a number of columns"};
    return {};
  }
  friend constexpr bool operator==(const group_layout&, const group_layout&) noexcept = default;
};

}  // namespace RESECT_NAMESPACE::quant
