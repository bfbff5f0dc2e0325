// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <bit>
#include <cmath>
#include <limits>

#include <support/catch.hpp>

#include <resect/core/ieee.hpp>

using namespace resect;

namespace {
volatile double opaque_double = 0.0;  // keeps the compiler from working results out beforehand
double hidden(double x) {
  opaque_double = x;
  return opaque_double;
}
}  // namespace

TEST_CASE("a fused multiply-add rounds once") {
  const double a = hidden(1.0 + 0x1p-30), b = hidden(1.0 - 0x1p-30), c = hidden(-1.0);
  CHECK(fma_rn(a, b, c) == -0x1p-60);
  const auto x = static_cast<float>(hidden(1.0 + 0x1p-12)), y = static_cast<float>(hidden(1.0 - 0x1p-12));
  CHECK(fma_rn(x, y, -1.0f) == -0x1p-24f);
}

TEST_CASE("a product by itself is rounded, also when something is added to it") {
  const double a = hidden(1.0 + 0x1p-30), b = hidden(1.0 - 0x1p-30);
  CHECK(mul_rn(a, b) + hidden(-1.0) == 0.0);
  CHECK(std::signbit(mul_rn(hidden(-1.0), hidden(0.0))));
  CHECK_FALSE(std::signbit(mul_rn(hidden(1.0), hidden(0.0))));
}

TEST_CASE("square root and quotient are correctly rounded") {
  CHECK(sqrt_rn(hidden(2.0)) == 0x1.6a09e667f3bcdp+0);
  CHECK(sqrt_rn(hidden(9.0)) == 3.0);
  CHECK(div_rn(hidden(1.0), hidden(3.0)) == 0x1.5555555555555p-2);
}

TEST_CASE("bits and doubles are two ways to write one thing") {
  for (const double x : {0.0, -0.0, 1.0, -1.5, 5e-324, std::numeric_limits<double>::infinity()}) {
    CHECK(bits_of(x) == std::bit_cast<std::uint64_t>(x));
    CHECK(std::bit_cast<std::uint64_t>(double_of(bits_of(x))) == bits_of(x));
  }
}
