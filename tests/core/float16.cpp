// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/float16.hpp>

#include "storage_float.hpp"

using namespace tests;
using resect::bf16;
using resect::f16;

// In constant expressions too.
static_assert(f16{1.0f}.bits == 0x3c00 && f16{-2.0}.bits == 0xc000 && f16{0x1p-24f}.bits == 1);
static_assert(f16{65519.0f}.bits == 0x7bff && f16{65520.0f}.bits == 0x7c00);
static_assert(f16{1e9f, resect::overflow::saturate}.bits == f16::max().bits && f16::infinity().bits == 0x7c00);
static_assert(static_cast<float>(f16::from_bits(0x3555)) == 0x1.554p-2f && static_cast<double>(f16::max()) == 65504.0);
static_assert(bf16{1.0f}.bits == 0x3f80 && bf16{0x1.01p+0f}.bits == 0x3f80 && bf16{0x1.03p+0f}.bits == 0x3f82);
static_assert(static_cast<float>(bf16::from_bits(0xc049)) == -3.140625f);

namespace {
constexpr format f16_format = {5, 10, 15, true};
constexpr format bf16_format = {8, 7, 127, true};
}  // namespace

TEST_CASE("every code of f16 and bf16 is the number that sign, exponent and mantissa say") {
  every_code_is_the_number_it_stands_for<f16>(f16_format);
  every_code_is_the_number_it_stands_for<bf16>(bf16_format);
}

TEST_CASE("every f16 and bf16 number survives the way through float and double, and every NaN becomes the one") {
  every_code_survives_the_way_through_float_and_double<f16>(f16_format);
  every_code_survives_the_way_through_float_and_double<bf16>(bf16_format);
}

TEST_CASE("each step of rounding float and double to f16 and bf16 is at the middle, and the middle goes to even") {
  each_step_of_rounding_is_where_it_should_be<f16, float>(f16_format);
  each_step_of_rounding_is_where_it_should_be<bf16, float>(bf16_format);
  each_step_of_rounding_is_where_it_should_be<f16, double>(f16_format);
  each_step_of_rounding_is_where_it_should_be<bf16, double>(bf16_format);
}

TEST_CASE("zeros, NaN, infinities and numbers beyond the range become what the policy says in f16 and bf16") {
  what_is_not_a_step<f16, float>(f16_format);
  what_is_not_a_step<bf16, float>(bf16_format);
  what_is_not_a_step<f16, double>(f16_format);
  what_is_not_a_step<bf16, double>(bf16_format);
}

TEST_CASE("the constants of f16 and bf16 are those of their formats") {
  constants<f16>(f16_format);
  constants<bf16>(bf16_format);
}

TEST_CASE("blocks of f16 and bf16 convert as single numbers do, at every length") {
  blocks_convert_as_single_numbers_do<f16>(f16_format);
  blocks_convert_as_single_numbers_do<bf16>(bf16_format);
}

TEST_CASE("the rounding mode of the machine changes no conversion of f16 and bf16") {
  the_rounding_mode_changes_nothing<f16>(f16_format);
  the_rounding_mode_changes_nothing<bf16>(bf16_format);
}

TEST_CASE("views and sums take f16 and bf16; arithmetic and comparison do not exist") {
  views_hold_them<f16, 2>();
  views_hold_them<bf16, 2>();
}

TEST_CASE("a row of floats is handed on, one of a small type widened into memory, as far as that reaches") {
  const std::vector<float> floats{1, 2.5f, -3};
  float memory[2] = {};
  const auto same = resect::widened(floats, memory);
  CHECK((same.data() == floats.data() && same.size() == 3 && memory[0] == 0));

  const f16 stored[] = {f16{1.0f}, f16{2.5f}, f16{-3.0f}};
  const auto part = resect::widened(stored, memory);
  CHECK((part.data() == memory && part.size() == 2 && part[0] == 1 && part[1] == 2.5f));
  float more[5] = {7, 7, 7, 7, 7};
  const auto all = resect::widened(std::span<const f16>{stored}, more);
  CHECK((all.size() == 3 && all[2] == -3 && more[3] == 7));
}
