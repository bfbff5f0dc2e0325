// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/reduce.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/core/view.hpp>

// What f16, bf16 and the two fp8 types have to pass alike; the reference is ldexp on sign, exponent and mantissa.
namespace tests {

using resect::overflow;

// A format in numbers, written down a second time.
struct format {
  int exponent_bits, mantissa_bits, bias;
  bool infinities;
};

inline int size_of(const format& f) { return 1 + f.exponent_bits + f.mantissa_bits; }
inline std::uint32_t codes(const format& f) { return std::uint32_t{1} << size_of(f); }
inline std::uint32_t finite_codes(const format& f) {  // of one sign
  const std::uint32_t half = codes(f) / 2;
  return f.infinities ? half - (std::uint32_t{1} << f.mantissa_bits) : half - 1;
}

// The number that a code of positive sign stands for; also of the first code that is no longer finite.
inline double value(const format& f, std::uint32_t magnitude) {
  const auto mantissa = static_cast<double>(magnitude & ((std::uint32_t{1} << f.mantissa_bits) - 1));
  const int exponent = static_cast<int>(magnitude >> f.mantissa_bits);
  const double leading = exponent == 0 ? 0.0 : std::ldexp(1.0, f.mantissa_bits);
  return std::ldexp(leading + mantissa, (exponent == 0 ? 1 : exponent) - f.bias - f.mantissa_bits);
}

template <class T>
void every_code_is_the_number_it_stands_for(const format& f) {
  long wrong = 0, finite = 0;
  for (std::uint32_t code = 0; code < codes(f); ++code) {
    const T x = T::from_bits(static_cast<decltype(T::bits)>(code));
    const std::uint32_t magnitude = code & (codes(f) / 2 - 1);
    const bool negative = code >= codes(f) / 2;
    const auto as_float = static_cast<float>(x);
    const auto as_double = static_cast<double>(x);
    if (magnitude < finite_codes(f)) {
      ++finite;
      const double expected = negative ? -value(f, magnitude) : value(f, magnitude);
      wrong += std::bit_cast<std::uint64_t>(as_double) != std::bit_cast<std::uint64_t>(expected);
      wrong += std::bit_cast<std::uint32_t>(as_float) != std::bit_cast<std::uint32_t>(static_cast<float>(expected));
      wrong += x.is_nan() || !x.is_finite();
    } else if (f.infinities && magnitude == finite_codes(f)) {
      wrong += as_float != (negative ? -1.0f : 1.0f) * std::numeric_limits<float>::infinity();
      wrong += as_double != static_cast<double>(as_float) || x.is_nan() || x.is_finite();
    } else {
      wrong += !std::isnan(as_float) || !std::isnan(as_double) || !x.is_nan() || x.is_finite();
      wrong += std::bit_cast<std::uint32_t>(as_float) != (f.bias == 127 ? code << 16 : 0x7fffffffu);
    }
  }
  CHECK(wrong == 0);
  CHECK(finite == 2 * static_cast<long>(finite_codes(f)));
}

template <class T>
void every_code_survives_the_way_through_float_and_double(const format& f) {
  long wrong = 0;
  for (std::uint32_t code = 0; code < codes(f); ++code) {
    const T x = T::from_bits(static_cast<decltype(T::bits)>(code));
    for (const overflow o : {overflow::non_finite, overflow::saturate}) {
      const T a{static_cast<float>(x), o}, b{static_cast<double>(x), o};
      std::uint32_t expected = code;
      if (x.is_nan()) expected = codes(f) / 2 - 1;  // the one NaN
      else if (!x.is_finite() && o == overflow::saturate) expected = code - 1;
      wrong += a.bits != expected;
      wrong += b.bits != expected;
    }
  }
  CHECK(wrong == 0);
}

// Rounding is a step function of the input: it is right everywhere if it is right on both sides of and at each step.
template <class T, class Source>
void each_step_of_rounding_is_where_it_should_be(const format& f) {
  const auto to_code = [](Source x, overflow o) { return std::uint32_t{T{x, o}.bits}; };
  const std::uint32_t sign = codes(f) / 2, last = finite_codes(f) - 1;
  const std::uint32_t over = f.infinities ? last + 1 : codes(f) / 2 - 1;
  long wrong = 0;
  for (std::uint32_t code = 0; code <= last; ++code) {
    const double middle = value(f, code) / 2 + value(f, code + 1) / 2;
    const auto at = static_cast<Source>(middle);
    REQUIRE(static_cast<double>(at) == middle);
    const Source below = std::nextafter(at, Source{0}),
                 above = std::nextafter(at, std::numeric_limits<Source>::infinity());
    for (const overflow o : {overflow::non_finite, overflow::saturate}) {
      const std::uint32_t next = code < last ? code + 1 : o == overflow::saturate ? last : over;
      const std::uint32_t tie = code % 2 == 0 ? code : next;
      wrong += to_code(below, o) != code || to_code(-below, o) != (sign | code);
      wrong += to_code(at, o) != tie || to_code(-at, o) != (sign | tie);
      wrong += to_code(above, o) != next || to_code(-above, o) != (sign | next);
    }
  }
  CHECK(wrong == 0);
}

template <class T, class Source>
void what_is_not_a_step(const format& f) {
  using limits = std::numeric_limits<Source>;
  const std::uint32_t sign = codes(f) / 2, last = finite_codes(f) - 1, nan = sign - 1;
  const std::uint32_t over = f.infinities ? last + 1 : nan;
  const std::uint32_t kept = f.infinities ? last + 1 + (1u << (f.mantissa_bits - 1)) : nan;  // quiet, no payload
  for (const Source huge : {limits::max(), limits::infinity()}) {
    CHECK(T{huge, overflow::saturate}.bits == last);
    CHECK(T{-huge, overflow::saturate}.bits == (sign | last));
    CHECK(T{huge, overflow::non_finite}.bits == over);
    CHECK(T{-huge, overflow::non_finite}.bits == (sign | over));
  }
  CHECK(T{limits::max()}.bits == (T::default_overflow == overflow::saturate ? last : over));
  CHECK(T{Source{0}}.bits == 0);
  CHECK(T{-Source{0}}.bits == sign);
  const bool keeps = codes(f) == 256 && sizeof(Source) == 8;  // from double, CUDA's 8-bit types keep parts of a NaN
  CHECK(T{-limits::quiet_NaN()}.bits == (keeps ? sign | kept : nan));
  CHECK(T{limits::quiet_NaN()}.bits == (keeps ? kept : nan));
  CHECK(T{limits::signaling_NaN(), overflow::saturate}.is_nan());
  // Subnormal sources: zero of their sign, where they are not large enough for the type.
  const double tiny = static_cast<double>(limits::denorm_min());
  const std::uint32_t expected = tiny > value(f, 1) / 2 ? 1 : 0;
  CHECK(T{limits::denorm_min()}.bits == expected);
  CHECK(T{-limits::denorm_min()}.bits == (sign | expected));
}

template <class T>
void constants(const format& f) {
  CHECK(static_cast<double>(T::max()) == value(f, finite_codes(f) - 1));
  CHECK(static_cast<double>(T::lowest()) == -value(f, finite_codes(f) - 1));
  CHECK(static_cast<double>(T::min()) == std::ldexp(1.0, 1 - f.bias));
  CHECK(static_cast<double>(T::denorm_min()) == std::ldexp(1.0, 1 - f.bias - f.mantissa_bits));
  CHECK(T::epsilon() == std::ldexp(1.0f, -f.mantissa_bits));
  CHECK(T::digits == f.mantissa_bits + 1);
  CHECK(T::bias == f.bias);
  CHECK(T::has_infinity == f.infinities);
  CHECK(T::quiet_nan().is_nan());
  const T one{1.0f}, after = T::from_bits(static_cast<decltype(T::bits)>(one.bits + 1));
  CHECK(static_cast<float>(after) - 1.0f == T::epsilon());
}

// Every code, and lengths around the group of 16: block conversions equal those of single numbers and write nothing
// beyond the end.
template <class T>
void blocks_convert_as_single_numbers_do(const format& f) {
  std::vector<T> all(codes(f));
  for (std::uint32_t code = 0; code < codes(f); ++code) all[code] = T::from_bits(static_cast<decltype(T::bits)>(code));
  std::vector<float> wide(all.size() + 1, -7.0f);
  convert(all, wide);
  long wrong = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    wrong += std::bit_cast<std::uint32_t>(wide[i]) != std::bit_cast<std::uint32_t>(static_cast<float>(all[i]));
  CHECK(wrong == 0);
  CHECK(wide.back() == -7.0f);

  std::vector<float> inputs;
  for (std::uint32_t i = 0; i < 4096; ++i) inputs.push_back(std::bit_cast<float>(i * 0x100357u));
  for (std::uint32_t code = 0; code + 1 < finite_codes(f); ++code)  // subnormals and ties among them
    inputs.push_back(static_cast<float>(value(f, code) / 2 + value(f, code + 1) / 2));
  const std::vector<double> doubles(inputs.begin(), inputs.end());
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{15}, std::size_t{16}, std::size_t{17},
                              std::size_t{33}, inputs.size()})
    for (const overflow o : {overflow::non_finite, overflow::saturate}) {
      const T guard = T::from_bits(5);
      std::vector<T> a(n + 1, guard), b(n + 1, guard), c(n + 1, guard);
      convert(std::span<const float>{inputs}.first(n), a, o);
      convert(std::span<const double>{doubles}.first(n), b, o);
      convert(std::span<const float>{inputs}.first(n), c);
      wrong = 0;
      for (std::size_t i = 0; i < n; ++i) {
        wrong += a[i].bits != T(inputs[i], o).bits || b[i].bits != T(doubles[i], o).bits;
        wrong += c[i].bits != T(inputs[i]).bits;
      }
      CHECK(wrong == 0);
      CHECK(a[n].bits == 5);
      CHECK(b[n].bits == 5);
      CHECK(c[n].bits == 5);
    }
}

template <class T>
void the_rounding_mode_changes_nothing(const format& f) {
  std::vector<float> inputs;
  for (std::uint32_t code = 0; code + 1 < finite_codes(f); code += 1 + code / 64) {
    const double a = value(f, code), b = value(f, code + 1);
    for (const double x : {a + (b - a) / 4, a + (b - a) / 2, b - (b - a) / 4}) inputs.push_back(static_cast<float>(x));
  }
  std::vector<T> nearest(inputs.size()), other(inputs.size());
  std::vector<float> wide(inputs.size()), wide_other(inputs.size());
  convert(inputs, nearest);
  convert(nearest, wide);
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    REQUIRE(std::fesetround(mode) == 0);
    convert(inputs, other);
    convert(other, wide_other);
    std::fesetround(FE_TONEAREST);
    long wrong = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) wrong += other[i].bits != nearest[i].bits;
    CHECK(wrong == 0);
    CHECK(wide_other == wide);
  }
}

// Storage types: views hold them, sums convert them, nothing else is offered.
template <class T>
concept computes = requires(T a, T b) { a + b; } || requires(T a, T b) { a == b; } || requires(T a, T b) { a < b; } ||
                   std::is_convertible_v<T, float> || std::is_convertible_v<float, T>;

template <class T, std::size_t Size>
void views_hold_them() {
  static_assert(sizeof(T) == Size && alignof(T) == Size);
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_default_constructible_v<T> &&
                std::is_standard_layout_v<T>);
  static_assert(resect::small_float<T> && !resect::small_float<float>);
  static_assert(!computes<T>);
  std::vector<T> data(6);
  const resect::matrix_view<T> m{data.data(), 2, 3};
  REQUIRE(resect::check_view(m, "m"));
  for (resect::index_t r = 0; r < 2; ++r)
    for (resect::index_t c = 0; c < 3; ++c) m(r, c) = T{static_cast<float>(r * 3 + c)};
  const resect::matrix_view<const T> read = m;
  CHECK(static_cast<float>(read.transposed()(2, 1)) == 5.0f);
  CHECK(resect::sum(std::span<const T>{data}) == 15.0);
}

}  // namespace tests
