// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <type_traits>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG {

// A row of elements at a fixed distance; does not own them.
template <class T, class Space = host_space>
struct vector_view {
  using value_type = std::remove_const_t<T>;
  using space = Space;

  T* data = nullptr;
  index size = 0;
  index stride = 1;

  constexpr vector_view() noexcept = default;
  constexpr vector_view(T* d, index n, index step = 1) noexcept : data(d), size(n), stride(step) {}

  constexpr T& operator[](index i) const noexcept
    requires std::same_as<Space, host_space>
  {
    return data[i * stride];
  }
  constexpr bool contiguous() const noexcept { return stride == 1 || size <= 1; }
  constexpr operator vector_view<const T, Space>() const noexcept
    requires(!std::is_const_v<T>)
  {
    return {data, size, stride};
  }
};

// A matrix that somebody else owns: element (r, c) is data[r * row_stride + c * col_stride].
// Row-major is the default; transposing swaps strides and moves nothing. 40 bytes, trivially copyable;
// no alignment is promised or needed. Strides are counted in elements and must not be negative.
template <class T, class Space = host_space>
struct matrix_view {
  using value_type = std::remove_const_t<T>;
  using space = Space;

  T* data = nullptr;
  index rows = 0;
  index cols = 0;
  index row_stride = 0;
  index col_stride = 1;

  constexpr matrix_view() noexcept = default;
  constexpr matrix_view(T* d, index m, index n) noexcept : matrix_view(d, m, n, n, 1) {}
  constexpr matrix_view(T* d, index m, index n, index rs, index cs = 1) noexcept
      : data(d), rows(m), cols(n), row_stride(rs), col_stride(cs) {}

  constexpr T& operator()(index r, index c) const noexcept
    requires std::same_as<Space, host_space>
  {
    return data[r * row_stride + c * col_stride];
  }

  constexpr vector_view<T, Space> row(index r) const noexcept { return {data + r * row_stride, cols, col_stride}; }
  constexpr matrix_view transposed() const noexcept { return {data, cols, rows, col_stride, row_stride}; }
  constexpr matrix_view block(index r, index c, index m, index n) const noexcept {
    return {data + r * row_stride + c * col_stride, m, n, row_stride, col_stride};
  }
  constexpr matrix_view middle_rows(index r, index m) const noexcept { return block(r, 0, m, cols); }

  constexpr bool empty() const noexcept { return rows == 0 || cols == 0; }
  constexpr bool rows_contiguous() const noexcept { return col_stride == 1 || cols <= 1; }

  constexpr operator matrix_view<const T, Space>() const noexcept
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, row_stride, col_stride};
  }
};

// The O(1) checks of every public entry point: extents, null data, strides. An output must also not
// overlap itself, so its smaller stride has to span less than its larger one.
template <class T, class Space>
status check_view(const matrix_view<T, Space>& a, std::string_view operand) noexcept {
  if (a.rows < 0 || a.cols < 0)
    return error{errc::shape_mismatch, operand, text(a.rows, " x ", a.cols), "extents that are not negative"};
  if (a.empty()) return {};
  if (a.data == nullptr)
    return error{errc::null_pointer, operand, "null", text("data for ", a.rows, " x ", a.cols, " elements")};
  const bool bad_row = a.rows > 1 && a.row_stride < (std::is_const_v<T> ? 0 : 1);
  const bool bad_col = a.cols > 1 && a.col_stride < (std::is_const_v<T> ? 0 : 1);
  if (bad_row || bad_col)
    return error{errc::bad_stride, operand, text("strides ", a.row_stride, ", ", a.col_stride),
                 std::is_const_v<T> ? "strides >= 0" : "strides >= 1"};
  if constexpr (!std::is_const_v<T>) {
    const bool row_major = a.row_stride >= a.col_stride;
    const index inner = row_major ? (a.cols - 1) * a.col_stride : (a.rows - 1) * a.row_stride;
    const index outer = row_major ? a.row_stride : a.col_stride;
    if (a.rows > 1 && a.cols > 1 && outer <= inner)
      return error{errc::bad_stride, operand, text("strides ", a.row_stride, ", ", a.col_stride),
                   text("rows that do not overlap for ", a.rows, " x ", a.cols)};
  }
  return {};
}

// Same, plus the shape that the caller needs.
template <class T, class Space>
status check_view(const matrix_view<T, Space>& a, index rows, index cols, std::string_view operand) noexcept {
  if (a.rows != rows || a.cols != cols)
    return error{errc::shape_mismatch, operand, text(a.rows, " x ", a.cols), text(rows, " x ", cols)};
  return check_view(a, operand);
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG
