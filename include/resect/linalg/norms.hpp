// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <resect/core/finite.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::linalg {

// Where a matrix holds a NaN or an infinity, and its size.
struct matrix_range {
  double largest = 0;    // max |w|
  double frobenius = 0;  // √Σw²
  index_t bad_row = -1;  // first element in row order that is not finite; −1 if all are
  index_t bad_col = -1;

  bool finite() const noexcept { return bad_row < 0; }
};

namespace detail {

template <class T>
matrix_range range_of_rows(matrix_view<const T> w, index_t first, index_t last) {
  matrix_range range;
  for (index_t r = first; r < last; ++r)
    for (index_t c = 0; c < w.cols; ++c) {
      const double x = std::fabs(static_cast<double>(w(r, c)));
      if (!is_finite(x)) {
        range.bad_row = r, range.bad_col = c;
        return range;
      }
      range.largest = std::max(range.largest, x);
    }
  return range;
}

// Σ(w·2^−exponent)² in eight lanes.
template <class T>
double squares_of_rows(matrix_view<const T> w, index_t first, index_t last, double scale) {
  double lane[8] = {};
  for (index_t r = first; r < last; ++r) {
    const index_t whole = w.cols & ~index_t{7};
    const auto add = [&](index_t c, index_t j) {
      const double x = static_cast<double>(w(r, c)) * scale;
      lane[j] += x * x;
    };
    for (index_t c = 0; c < whole; c += 8)
      for (index_t j = 0; j < 8; ++j) add(c + j, j);
    for (index_t c = whole; c < w.cols; ++c) add(c, c - whole);
  }
  return lane_sum(lane);
}

}  // namespace detail

// max |w|, ‖W‖_F and whether all elements are finite. W (m, n), any strides; sums in double over blocks of rows, scaled
// so that nothing overflows: relative error ≤ (mn/8 + 8)·2⁻⁵³ at worst. Two passes over W. Same bits for any workers.
template <class T, executor E>
matrix_range range_of(E& exec, matrix_view<const T> w) {
  if (w.cols == 0 || w.rows == 0) return {};
  const index_t block = std::max<index_t>(1, 65536 / w.cols);
  matrix_range range = parallel_reduce(
      exec, w.rows, block, matrix_range{},
      [&](index_t first, index_t last) { return detail::range_of_rows(w, first, last); },
      [](matrix_range a, const matrix_range& b) {
        a.largest = std::max(a.largest, b.largest);
        if (a.finite()) a.bad_row = b.bad_row, a.bad_col = b.bad_col;
        return a;
      });
  if (!range.finite() || range.largest == 0) return range;
  int exponent = 0;
  std::frexp(range.largest, &exponent);
  exponent = std::clamp(exponent, -1000, 1000);
  const double scale = std::ldexp(1.0, -exponent);
  const double squares = parallel_reduce(
      exec, w.rows, block, 0.0,
      [&](index_t first, index_t last) { return detail::squares_of_rows(w, first, last, scale); },
      [](double a, double b) { return a + b; });
  range.frobenius = std::ldexp(std::sqrt(squares), exponent);
  return range;
}

// Refuses what factorizations cannot scale: an element that is not finite, a norm above 2⁻⁶ of the largest T. Errors:
// not_finite, invalid_argument; both name the operand.
template <class T>
status check_range(const matrix_range& range, std::string_view operand) noexcept {
  constexpr double most = 0x1p-6 * static_cast<double>(std::numeric_limits<T>::max());
  if (!range.finite())
    return error{errc::not_finite, operand, text("NaN or infinity at (", range.bad_row, ", ", range.bad_col, ")"),
                 "finite elements"};
  if (!(range.frobenius <= most))
    return error{errc::invalid_argument, operand, text("a Frobenius norm of ", range.frobenius),
                 text("at most ", most)};
  return {};
}

// The same of a view that is checked first. Errors: what check_view finds.
template <executor E, class T>
result<matrix_range> try_range_of(E& exec, const matrix_view<T>& w) {
  if (status s = check_view(w, "W"); !s) return s.error();
  return range_of<std::remove_const_t<T>>(exec, w);
}
// The same of any operand of float or double.
template <executor E, floating_operand W>
result<matrix_range> try_range_of(E& exec, const W& w) {
  using T = matrix_element<const W&>;
  return on_view(w, "W", [&](matrix_view<const T> view) -> result<matrix_range> { return range_of<T>(exec, view); });
}

}  // namespace RESECT_NAMESPACE::linalg
