// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/float8.hpp>

#include "storage_float.hpp"

using namespace tests;
using resect::fp8_e4m3;
using resect::fp8_e5m2;

// In constant expressions too. The largest and smallest numbers are those of the OCP specification, table 1.
static_assert(static_cast<float>(fp8_e4m3::max()) == 448.0f && fp8_e4m3::max().bits == 0x7e);
static_assert(static_cast<float>(fp8_e5m2::max()) == 57344.0f && fp8_e5m2::max().bits == 0x7b);
static_assert(static_cast<float>(fp8_e4m3::denorm_min()) == 0x1p-9f &&
              static_cast<float>(fp8_e5m2::denorm_min()) == 0x1p-16f);
static_assert(fp8_e4m3{464.0f, resect::overflow::non_finite}.bits == 0x7e);  // a tie, to even
static_assert(fp8_e4m3{-465.0f, resect::overflow::non_finite}.bits == 0xff && fp8_e4m3{-465.0f}.bits == 0xfe);
static_assert(fp8_e5m2{61440.0, resect::overflow::non_finite}.bits == 0x7c && fp8_e5m2{61440.0}.bits == 0x7b);

namespace {
constexpr format fp8_e4m3_format = {4, 3, 7, false};
constexpr format fp8_e5m2_format = {5, 2, 15, true};
}  // namespace

TEST_CASE("every code of fp8_e4m3 and fp8_e5m2 is the number that sign, exponent and mantissa say") {
  every_code_is_the_number_it_stands_for<fp8_e4m3>(fp8_e4m3_format);
  every_code_is_the_number_it_stands_for<fp8_e5m2>(fp8_e5m2_format);
}

TEST_CASE(
    "every fp8_e4m3 and fp8_e5m2 number survives the way through float and double, and every NaN becomes the one") {
  every_code_survives_the_way_through_float_and_double<fp8_e4m3>(fp8_e4m3_format);
  every_code_survives_the_way_through_float_and_double<fp8_e5m2>(fp8_e5m2_format);
}

TEST_CASE("each step of rounding float and double to fp8_e4m3 and fp8_e5m2 is at the middle, which goes to even") {
  each_step_of_rounding_is_where_it_should_be<fp8_e4m3, float>(fp8_e4m3_format);
  each_step_of_rounding_is_where_it_should_be<fp8_e5m2, float>(fp8_e5m2_format);
  each_step_of_rounding_is_where_it_should_be<fp8_e4m3, double>(fp8_e4m3_format);
  each_step_of_rounding_is_where_it_should_be<fp8_e5m2, double>(fp8_e5m2_format);
}

TEST_CASE("zeros, NaN, infinities and numbers beyond the range become what the policy says in fp8_e4m3 and fp8_e5m2") {
  what_is_not_a_step<fp8_e4m3, float>(fp8_e4m3_format);
  what_is_not_a_step<fp8_e5m2, float>(fp8_e5m2_format);
  what_is_not_a_step<fp8_e4m3, double>(fp8_e4m3_format);
  what_is_not_a_step<fp8_e5m2, double>(fp8_e5m2_format);
}

TEST_CASE("the constants of fp8_e4m3 and fp8_e5m2 are those of their formats") {
  constants<fp8_e4m3>(fp8_e4m3_format);
  constants<fp8_e5m2>(fp8_e5m2_format);
}

TEST_CASE("blocks of fp8_e4m3 and fp8_e5m2 convert as single numbers do, at every length") {
  blocks_convert_as_single_numbers_do<fp8_e4m3>(fp8_e4m3_format);
  blocks_convert_as_single_numbers_do<fp8_e5m2>(fp8_e5m2_format);
}

TEST_CASE("the rounding mode of the machine changes no conversion of fp8_e4m3 and fp8_e5m2") {
  the_rounding_mode_changes_nothing<fp8_e4m3>(fp8_e4m3_format);
  the_rounding_mode_changes_nothing<fp8_e5m2>(fp8_e5m2_format);
}

TEST_CASE("views and sums take fp8_e4m3 and fp8_e5m2; arithmetic and comparison do not exist") {
  views_hold_them<fp8_e4m3, 1>();
  views_hold_them<fp8_e5m2, 1>();
}
