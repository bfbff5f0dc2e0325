// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <limits>

#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>

// Whether numbers are finite, and where the first one is that is not.
namespace RESECT_NAMESPACE {

// Whether x is neither NaN nor an infinity: of float, double, and the small types.
template <class T>
constexpr bool is_finite(T x) noexcept {
  if constexpr (requires { x.is_finite(); }) return x.is_finite();
  else return math::isfinite(x);
}

// A place in a matrix, or none.
struct element_place {
  index_t row = -1;
  index_t col = -1;

  constexpr explicit operator bool() const noexcept { return row >= 0; }
};

// The first element, in the order of rows, for which is(x) is true. One pass at most.
template <class T, class F>
constexpr element_place first_element(const matrix_view<T>& a, F is) {
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c)
      if (is(a(r, c))) return {r, c};
  return {};
}
// The same with rows shared out, for any number of workers the same.
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

// The first element that is NaN or an infinity.
template <class T>
constexpr element_place first_not_finite(const matrix_view<T>& a) noexcept {
  return first_element(a, [](const T& x) { return !is_finite(x); });
}
template <executor E, class T>
element_place first_not_finite(E& exec, const matrix_view<T>& a) {
  return first_element(exec, a, [](const T& x) { return !is_finite(x); });
}

// not_finite with the row, the column and the value of the first element that is not, named after the operand.
template <class T>
status check_finite(const matrix_view<T>& a, std::string_view operand) noexcept {
  const element_place at = first_not_finite(a);
  if (!at) return {};
  return error{errc::not_finite, text(operand, ", row ", at.row, ", column ", at.col),
               text(static_cast<double>(a(at.row, at.col))), "a finite number"};
}

}  // namespace RESECT_NAMESPACE
