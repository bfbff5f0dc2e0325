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
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j <= i; ++j) whole(i, j) = whole(j, i) = std::ldexp(a(i, j), -exponent);
  }
};

}  // namespace RESECT_NAMESPACE::linalg::detail
