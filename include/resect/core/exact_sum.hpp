// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <resect/core/ieee.hpp>

// Sums of floats without any rounding: the same for every order, every split and every tree of merges, on every
// machine, because integers are added. A long fixed-point number in overlapping words: word j counts 2^(8j − Offset);
// the four highest are for carries only.
// Source: the long accumulator of Kulisch, "Computer arithmetic and validity" (2008), 8.1, with words that overlap so
// that an addition needs no carry, as in Neal, "Fast exact summation using small and large superaccumulators" (2015).
namespace RESECT_NAMESPACE {

// The common part of exact_sum and exact_square_sum: words, merging, carries, rounding to double.
template <std::size_t Words, std::size_t Offset>
struct exact_words {
  std::int64_t word[Words] = {};

  RESECT_HD constexpr void merge(const exact_words& other) noexcept {
    for (std::size_t j = 0; j < Words; ++j) word[j] += other.word[j];
  }

  // Moves carries up, so that each word but the last is in [0, 256) and there is room again; the sum stays.
  RESECT_HD constexpr void normalize() noexcept {
    for (std::size_t j = 0; j + 1 < Words; ++j) {
      word[j + 1] += word[j] >> 8;
      word[j] &= 255;
    }
  }

  // The sum in double: a function of the sum alone, within 0.51 units in the last place.
  RESECT_HD constexpr double value() const noexcept {
    exact_words digits = *this;
    digits.normalize();
    const bool negative = digits.word[Words - 1] < 0;
    if (negative) {  // digits of the magnitude: nothing cancels below
      for (std::int64_t& w : digits.word) w = -w;
      digits.normalize();
    }
    double sum = 0;                          // from the smallest digit up, so that only the last roundings count
    for (std::size_t j = 0; j < Words; ++j)  // exact products, so it does not matter whether they are fused
      sum += static_cast<double>(digits.word[j]) * double_of(std::uint64_t{1023 + 8 * j - Offset} << 52);
    return negative ? -sum : sum;
  }
};

// The exact sum of finite floats, Σ x (the caller refuses infinities and NaN). It takes 2³¹ additions, merged ones
// included, between two calls of `normalize`, and 2⁶² in all.
struct exact_sum : exact_words<36, 150> {
  RESECT_HD constexpr void add(float x) noexcept {
    const std::uint32_t bits = bits_of(x);
    const std::uint32_t exponent = bits >> 23 & 255u;
    const std::uint32_t place = exponent != 0 ? exponent : 1u;
    const auto mantissa = static_cast<std::int64_t>((bits & 0x7fffffu) | (exponent != 0 ? 0x800000u : 0u));
    const std::int64_t shifted = mantissa << (place & 7u);
    word[place >> 3] += bits >> 31 != 0 ? -shifted : shifted;
  }
};

// The exact sum of squares of finite floats, Σ x², with the same limits.
struct exact_square_sum : exact_words<71, 300> {
  RESECT_HD constexpr void add(float x) noexcept {
    const std::uint32_t bits = bits_of(x);
    const std::uint32_t exponent = bits >> 23 & 255u;
    const std::uint32_t place = 2 * (exponent != 0 ? exponent : 1u);
    const auto mantissa = static_cast<std::int64_t>((bits & 0x7fffffu) | (exponent != 0 ? 0x800000u : 0u));
    const std::int64_t square = mantissa * mantissa;  // 48 bits, put down in two halves
    word[place >> 3] += (square & 0xffffff) << (place & 7u);
    word[(place >> 3) + 3] += (square >> 24) << (place & 7u);
  }
};

}  // namespace RESECT_NAMESPACE
