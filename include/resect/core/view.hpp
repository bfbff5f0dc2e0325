// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>
#include <type_traits>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE {

// A vector of elements at a fixed stride, in memory that the view does not own.
template <class T, class Space = host_space>
struct vector_view {
  using value_type = std::remove_const_t<T>;
  using space = Space;

  T* data = nullptr;
  index_t size = 0;
  index_t stride = 1;

  constexpr vector_view() noexcept = default;
  constexpr vector_view(T* d, index_t n, index_t step = 1) noexcept : data(d), size(n), stride(step) {}

  constexpr T& operator[](index_t i) const noexcept
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

// A matrix in memory that the view does not own: element (r, c) is data[r * row_stride + c * col_stride].
// Row-major is the default; transposing swaps strides and moves nothing. 40 bytes, trivially copyable;
// no alignment is promised or needed. Strides are counted in elements and must not be negative.
template <class T, class Space = host_space>
struct matrix_view {
  using value_type = std::remove_const_t<T>;
  using space = Space;

  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t row_stride = 0;
  index_t col_stride = 1;

  constexpr matrix_view() noexcept = default;
  constexpr matrix_view(T* d, index_t m, index_t n) noexcept : matrix_view(d, m, n, n, 1) {}
  constexpr matrix_view(T* d, index_t m, index_t n, index_t rs, index_t cs = 1) noexcept
      : data(d), rows(m), cols(n), row_stride(rs), col_stride(cs) {}

  constexpr T& operator()(index_t r, index_t c) const noexcept
    requires std::same_as<Space, host_space>
  {
    return data[r * row_stride + c * col_stride];
  }

  constexpr vector_view<T, Space> row(index_t r) const noexcept { return {data + r * row_stride, cols, col_stride}; }
  // A row of contiguous elements (see rows_contiguous).
  constexpr std::span<T> row_span(index_t r) const noexcept
    requires std::same_as<Space, host_space>
  {
    return {data + r * row_stride, static_cast<std::size_t>(cols)};
  }
  constexpr matrix_view transposed() const noexcept { return {data, cols, rows, col_stride, row_stride}; }
  constexpr matrix_view block(index_t r, index_t c, index_t m, index_t n) const noexcept {
    return {data + r * row_stride + c * col_stride, m, n, row_stride, col_stride};
  }
  constexpr matrix_view middle_rows(index_t r, index_t m) const noexcept { return block(r, 0, m, cols); }

  constexpr bool empty() const noexcept { return rows == 0 || cols == 0; }
  constexpr bool rows_contiguous() const noexcept { return col_stride == 1 || cols <= 1; }

  constexpr operator matrix_view<const T, Space>() const noexcept
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, row_stride, col_stride};
  }
};

namespace detail {

enum class view_access : unsigned char { read, write };

// True if first · second · third fits in an index. Arguments must not be negative.
constexpr bool product_fits(index_t first, index_t second, index_t third = 1) noexcept {
  index_t product = 0;
  return !__builtin_mul_overflow(first, second, &product) && !__builtin_mul_overflow(product, third, &product);
}

// check_view without the types: one function for all of them.
inline status check_strided(const void* data, index_t rows, index_t cols, index_t row_stride, index_t col_stride,
                            index_t element, view_access access, std::string_view operand) noexcept {
  if (rows < 0 || cols < 0)
    return error{errc::shape_mismatch, operand, text(rows, " x ", cols), "extents that are not negative"};
  if (rows == 0 || cols == 0) return {};
  if (data == nullptr)
    return error{errc::null_pointer, operand, "null", text("data for ", rows, " x ", cols, " elements")};
  if (!product_fits(rows, cols, element))
    return error{errc::shape_mismatch, operand, text(rows, " x ", cols), "fewer than 2^63 bytes"};
  const auto bad_strides = [&](const auto& wanted) {
    return error{errc::bad_stride, operand, text("strides ", row_stride, ", ", col_stride), wanted};
  };
  const index_t least = access == view_access::write ? 1 : 0;
  if ((rows > 1 && row_stride < least) || (cols > 1 && col_stride < least))
    return bad_strides(least == 0 ? std::string_view("strides >= 0") : std::string_view("strides >= 1"));
  index_t down = 0, across = 0, last = 0;
  if ((rows > 1 && __builtin_mul_overflow(rows - 1, row_stride, &down)) ||
      (cols > 1 && __builtin_mul_overflow(cols - 1, col_stride, &across)) ||
      __builtin_add_overflow(down, across, &last) || __builtin_add_overflow(last, index_t{1}, &last) ||
      !product_fits(last, element))
    return bad_strides(text("a last element below 2^63 bytes for ", rows, " x ", cols));
  if (access == view_access::write && rows > 1 && cols > 1 &&
      (row_stride >= col_stride ? row_stride <= across : col_stride <= down))
    return bad_strides(text("rows that do not overlap for ", rows, " x ", cols));
  return {};
}

}  // namespace detail

// The O(1) checks of every public entry point: extents, null data, strides. Elements and the bytes from the first to
// the last are fewer than 2⁶³, so that no product of extents and strides overflows. An output must also not overlap
// itself, so its smaller stride has to span less than its larger one.
template <class T, class Space>
status check_view(const matrix_view<T, Space>& a, std::string_view operand) noexcept {
  return detail::check_strided(a.data, a.rows, a.cols, a.row_stride, a.col_stride, static_cast<index_t>(sizeof(T)),
                               std::is_const_v<T> ? detail::view_access::read : detail::view_access::write, operand);
}

// Same, plus the shape that the caller needs.
template <class T, class Space>
status check_view(const matrix_view<T, Space>& a, index_t rows, index_t cols, std::string_view operand) noexcept {
  if (a.rows != rows || a.cols != cols)
    return error{errc::shape_mismatch, operand, text(a.rows, " x ", a.cols), text(rows, " x ", cols)};
  return check_view(a, operand);
}

}  // namespace RESECT_NAMESPACE
