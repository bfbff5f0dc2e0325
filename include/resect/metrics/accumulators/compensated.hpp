// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/ieee.hpp>

namespace RESECT_NAMESPACE::metrics {

// A compensated running sum: a second double sums the rounding errors (Knuth's two-sum), so that any order and any
// partition give the same total: error ≤ ulp(Σ)/2 + (n·2⁻⁵³)²·Σ|x|. Six additions a value. Once a term is not finite
// the total is what plain addition gives. -ffast-math undoes this and is not supported.
struct compensated {
  double hi = 0;
  double lo = 0;

  constexpr void add(double x) noexcept {
    const double s = hi + x;
    const double b = s - hi;
    lo += (hi - (s - b)) + (x - b);
    hi = s;
  }
  // Adds a·b exactly: the rounded product and its rounding error, which fma gives.
  void add_product(double a, double b) noexcept {
    const double p = mul_rn(a, b);
    add(p);
    lo += fma_rn(a, b, -p);
  }
  constexpr void add(const compensated& other) noexcept {
    add(other.hi);
    lo += other.lo;
  }
  constexpr double value() const noexcept { return hi - hi == 0 ? hi + lo : hi; }

  // Σ − a·b with one rounding at the end: the sum of b values less the reference a each.
  double minus_product(double a, double b) const noexcept {
    const double p = mul_rn(a, b);
    return (hi - p) + (lo - fma_rn(a, b, -p));
  }
};

}  // namespace RESECT_NAMESPACE::metrics
