// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <resect/core/executor.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/matrix.hpp>

// Columns of a tall matrix: their range, and copies that are scaled exactly.
namespace RESECT_NAMESPACE::linalg::detail {

struct column_scaling {
  array<int> exponent;  // 2^−exponent brings a column's norm into [½, 1); 0 for a zero column
  index_t zeros = 0;
  index_t not_finite = -1;  // the first column with a NaN or an infinity
};

// x·2^e without an overflow on the way.
template <class T>
T scaled(T x, int e) noexcept {
  const int half = e / 2;
  return x * std::ldexp(T{1}, half) * std::ldexp(T{1}, e - half);
}

inline constexpr index_t columns_a_task = 16;
inline constexpr index_t rows_a_task = 64;

template <class T, executor E>
column_scaling column_scales(E& exec, matrix_view<const T> a) {
  column_scaling found{array<int>(a.cols), 0, -1};
  array<char> bad(a.cols), zero(bad);
  exec.bulk((a.cols + columns_a_task - 1) / columns_a_task, [&](index_t task) {
    const index_t first = task * columns_a_task, count = std::min(columns_a_task, a.cols - first);
    double largest[columns_a_task] = {}, squares[columns_a_task] = {}, scale[columns_a_task] = {};
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t c = 0; c < count; ++c) {
        const double x = std::fabs(static_cast<double>(a(r, first + c)));
        if (!(x <= largest[c])) largest[c] = x;  // a NaN goes in; what follows it does not matter
        if (!is_finite(x)) bad[first + c] = 1;
      }
    int exponent[columns_a_task] = {};
    for (index_t c = 0; c < count; ++c) {
      std::frexp(largest[c], &exponent[c]);
      zero[first + c] = largest[c] == 0;
    }
    for (index_t c = 0; c < count; ++c) scale[c] = std::ldexp(1.0, std::min(-exponent[c], 1000));
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t c = 0; c < count; ++c) {
        const double x = static_cast<double>(a(r, first + c)) * scale[c];
        squares[c] += x * x;
      }
    for (index_t c = 0; c < count; ++c) {
      int more = 0;
      const double norm = std::sqrt(squares[c]);
      if (is_finite(norm)) std::frexp(norm, &more);
      if (largest[c] > 0) found.exponent[first + c] = more - std::min(-exponent[c], 1000);
    }
  });
  for (index_t c = a.cols; c-- > 0;) {
    found.zeros += zero[c];
    if (bad[c] != 0) found.not_finite = c;
  }
  return found;
}

// to(r, c) = from(r, c)·2^−exponent[c]
template <class T, executor E>
void copy_scaled(E& exec, matrix_view<const T> from, const array<int>& exponent, matrix_view<T> to) {
  exec.bulk((from.rows + rows_a_task - 1) / rows_a_task, [&](index_t task) {
    const index_t end = std::min(from.rows, (task + 1) * rows_a_task);
    for (index_t c = 0; c < from.cols; ++c) {
      const int e = -exponent[c], half = e / 2;
      const T one = std::ldexp(T{1}, half), two = std::ldexp(T{1}, e - half);
      for (index_t r = task * rows_a_task; r < end; ++r) to(r, c) = from(r, c) * one * two;
    }
  });
}

}  // namespace RESECT_NAMESPACE::linalg::detail
