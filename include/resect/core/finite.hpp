// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <limits>

#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>

// Tests for NaN and infinity, and the place of the first value that is not finite.
namespace RESECT_NAMESPACE {

// Whether x is neither NaN nor infinite; x is a float, a double or of a small type.
template <class T>
constexpr bool is_finite(T x) noexcept {
  if constexpr (requires { x.is_finite(); }) return x.is_finite();
  else return math::isfinite(x);
}

// Row and column of an element of a matrix, or no place.
struct element_place {
  index_t row = -1;
  index_t col = -1;

  constexpr explicit operator bool() const noexcept { return row >= 0; }
};

// The place of the first element, in the order of rows, for which is(x) is true. One pass at most.
template <class T, class F>
constexpr element_place first_element(const matrix_view<T>& a, F is) {
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c)
      if (is(a(r, c))) return {r, c};
  return {};
}
// The same place for any number of workers, with rows distributed over them.
template <executor E, class T, class F>
element_place first_element(E& exec, const matrix_view<T>& a, F is) {
  return parallel_reduce(
      exec, a.rows, 16, element_place{},
      [&](index_t first, index_t last) {
        const element_place found = first_element(a.middle_rows(first, last - first), is);
        return found ? element_place{first + found.row, found.col} : found;
      },
      [](element_place earlier, element_place later) { return earlier ? earlier : later; });
}

// The place of the first element that is NaN or infinite.
template <class T>
constexpr element_place first_not_finite(const matrix_view<T>& a) noexcept {
  return first_element(a, [](const T& x) { return !is_finite(x); });
}
template <executor E, class T>
element_place first_not_finite(E& exec, const matrix_view<T>& a) {
  return first_element(exec, a, [](const T& x) { return !is_finite(x); });
}

// Refuses a matrix with NaN or infinity: the error not_finite names the operand, and the row, column and value of the
// first such element.
template <class T>
status check_finite(const matrix_view<T>& a, std::string_view operand) noexcept {
  const element_place at = first_not_finite(a);
  if (!at) return {};
  return error{errc::not_finite, text(operand, ", row ", at.row, ", column ", at.col),
               text(static_cast<double>(a(at.row, at.col))), "a finite number"};
}

}  // namespace RESECT_NAMESPACE
