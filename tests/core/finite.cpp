// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/finite.hpp>

#include <limits>

#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/threads.hpp>
#include <support/catch.hpp>

using namespace resect;

TEMPLATE_TEST_CASE("numbers of every type are finite or not", "", float, double, f16, bf16, fp8_e4m3, fp8_e5m2) {
  using T = TestType;
  CHECK(is_finite(T(0.0f)));
  CHECK(is_finite(T(-0.0f)));
  CHECK_FALSE(is_finite(T(std::numeric_limits<float>::quiet_NaN())));
  if constexpr (requires { T::max(); }) {
    CHECK(is_finite(T::max()));
    CHECK(is_finite(T::denorm_min()));
    if constexpr (T::has_infinity) CHECK_FALSE(is_finite(T::infinity()));
  } else {
    CHECK(is_finite(std::numeric_limits<T>::max()));
    CHECK(is_finite(std::numeric_limits<T>::denorm_min()));
    CHECK_FALSE(is_finite(-std::numeric_limits<T>::infinity()));
  }
}

TEST_CASE("the first element that is not finite is found in the order of rows, by any number of workers") {
  matrix<float> a(100, 7);
  inline_executor one;
  threads three{3};
  const auto found = [&](matrix_view<const float> view, index_t row, index_t col) {
    for (const auto at : {first_not_finite(view), first_not_finite(one, view), first_not_finite(three, view)}) {
      CHECK(at.row == row);
      CHECK(at.col == col);
      CHECK(static_cast<bool>(at) == (row >= 0));
    }
  };
  found(a.view(), -1, -1);
  a(99, 6) = std::numeric_limits<float>::infinity();
  found(a.view(), 99, 6);
  a(17, 3) = std::numeric_limits<float>::quiet_NaN();
  a(17, 5) = a(40, 0) = -std::numeric_limits<float>::infinity();
  found(a.view(), 17, 3);
  found(a.view().middle_rows(18, 82), 22, 0);
  found(a.view().transposed(), 0, 40);
  found(matrix_view<const float>{}, -1, -1);

  const auto above = [](float x) { return x > 2; };
  a(5, 5) = 3;
  CHECK(first_element(a.view(), above).row == 5);
  CHECK(first_element(three, a.view(), above).col == 5);
}

TEST_CASE("an operand that is not finite is named with row, column and value") {
  matrix<double> a(2, 3);
  CHECK(check_finite(a.view(), "W"));
  a(1, 2) = std::numeric_limits<double>::infinity();
  const status s = check_finite(a.view(), "W");
  REQUIRE_FALSE(s);
  CHECK(s.error().code == errc::not_finite);
  CHECK(s.error().message() == "not finite: W, row 1, column 2: got inf, wanted a finite number");
}
