// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/math.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <support/catch.hpp>

namespace {

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

}  // namespace

TEST_CASE("the functions by the compiler's names are those of <cmath>, for every kind of number") {
  namespace m = resect::math;
  using limits = std::numeric_limits<double>;
  const double inf = limits::infinity();
  for (const double x : {0.0, -0.0, 1.0, -1.0, 0.3, -2.7, 1e-300, 5e-324, 700.5, -700.5, 1e300, limits::max(), inf,
                         -inf, limits::quiet_NaN()}) {
    CAPTURE(x);
    CHECK(same(m::sqrt(x), std::sqrt(x)));
    CHECK(same(m::exp(x), std::exp(x)));
    CHECK(same(m::expm1(x), std::expm1(x)));
    CHECK(same(m::log(x), std::log(x)));
    CHECK(same(m::log1p(x), std::log1p(x)));
    CHECK(same(m::erfc(x), std::erfc(x)));
    CHECK(same(m::floor(x), std::floor(x)));
    CHECK(same(m::ceil(x), std::ceil(x)));
    CHECK(same(m::fabs(x), std::fabs(x)));
    CHECK(m::isfinite(x) == std::isfinite(x));
    CHECK(m::isnan(x) == std::isnan(x));
    for (const int power : {0, 3, -5, 2000, -2000}) CHECK(same(m::ldexp(x, power), std::ldexp(x, power)));
    for (const double y : {0.0, -0.0, 2.5, -inf, limits::quiet_NaN()}) {
      CHECK(same(m::hypot(x, y), std::hypot(x, y)));
      CHECK(same(m::atan2(x, y), std::atan2(x, y)));
    }
    const float f = static_cast<float>(x);
    CHECK(same(m::fabs(f), std::fabs(f)));
    CHECK(m::isfinite(f) == std::isfinite(f));
    CHECK(m::isnan(f) == std::isnan(f));
    CHECK(same(m::ldexp(f, 3), std::ldexp(f, 3)));
  }
}
