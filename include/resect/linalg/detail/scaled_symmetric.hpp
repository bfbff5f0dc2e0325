// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>

#include <resect/core/finite.hpp>
#include <resect/core/matrix.hpp>

namespace RESECT_NAMESPACE::linalg::detail {

// The whole of a symmetric matrix of which the lower triangle is read, times 2^−exponent: elements of at most 1, so that
// eigensolvers square them without overflow.
struct scaled_symmetric {
  bool finite = true;  // else the rest is not filled
  int exponent = 0;
  matrix<double> whole;

  explicit scaled_symmetric(matrix_view<const double> a) {
    const index_t n = a.rows;
    double largest = 0;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j <= i; ++j) {
        finite = finite && is_finite(a(i, j));
        largest = std::max(largest, std::fabs(a(i, j)));
      }
    if (!finite) return;
    std::frexp(largest, &exponent);
    whole.resize(n, n);
    const int half = -exponent / 2;  // by two factors, which neither overflow nor vanish
    const double one = std::ldexp(1.0, half), two = std::ldexp(1.0, -exponent - half);
    constexpr index_t columns = 8;  // mirrored at a time: whole lines are written
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j <= i; ++j) whole(i, j) = a(i, j) * one * two;
    for (index_t first = 0; first < n; first += columns)
      for (index_t i = 0; i < n; ++i)
        for (index_t j = std::max(first, i + 1); j < std::min(n, first + columns); ++j) whole(i, j) = whole(j, i);
  }
};

}  // namespace RESECT_NAMESPACE::linalg::detail
