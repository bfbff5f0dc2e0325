// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <resect/random/normal.hpp>
#include <resect/random/philox.hpp>

// Bits to numbers, and numbers by position. Everything here is a pure function of its arguments with the same
// result on every compiler, flag and device, so a draw depends on (seed, stream, position) and on nothing else.
namespace RESECT_NAMESPACE::random {

// Uniform on [0, 1): the top 24 bits times 2⁻²⁴.
RESECT_HD constexpr float uniform_f32(std::uint32_t bits) noexcept { return static_cast<float>(bits >> 8) * 0x1p-24f; }
// Uniform on [0, 1): the top 53 bits times 2⁻⁵³.
RESECT_HD constexpr double uniform_f64(std::uint64_t bits) noexcept {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}
// Uniform on (0, 1): (k + ½)·2⁻²³ of the top 23 bits; exact, symmetric about ½, never 0 or 1.
RESECT_HD constexpr float uniform_open_f32(std::uint32_t bits) noexcept {
  return (static_cast<float>(bits >> 9) + 0.5f) * 0x1p-23f;
}
// Uniform on (0, 1): (k + ½)·2⁻⁵² of the top 52 bits; exact, symmetric about ½, never 0 or 1.
RESECT_HD constexpr double uniform_open_f64(std::uint64_t bits) noexcept {
  return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
}

// The i-th uniform number of a stream: on [0, 1). One 64-bit word each.
RESECT_HD constexpr double uniform(const philox_stream& s, std::uint64_t i) noexcept {
  return uniform_f64(s.word64(i));
}
// The same on (0, 1).
RESECT_HD constexpr double uniform_open(const philox_stream& s, std::uint64_t i) noexcept {
  return uniform_open_f64(s.word64(i));
}

// The i-th integer of a stream, uniform on 0 … n−1 without bias; n = 0 gives 0. The high half of word·n, where
// the few words that would favour some results are drawn again from block (attempt, i/2).
// Source: Lemire, "Fast random integer generation in an interval", ACM TOMACS 29 (2019).
RESECT_HD constexpr std::uint64_t integer_below(const philox_stream& s, std::uint64_t i, std::uint64_t n) noexcept {
  if (n == 0) return 0;
  for (std::uint64_t attempt = 0;; ++attempt) {
    const std::uint64_t w = s.block(attempt, i / 2).pair(static_cast<int>(i % 2));
    const std::uint64_t a = w & 0xffffffffu, b = w >> 32, c = n & 0xffffffffu, d = n >> 32;
    const std::uint64_t ac = a * c, bc = b * c, ad = a * d;
    const std::uint64_t middle = (ac >> 32) + (bc & 0xffffffffu) + (ad & 0xffffffffu);
    const std::uint64_t high = b * d + (bc >> 32) + (ad >> 32) + (middle >> 32);
    const std::uint64_t low = w * n;
    if (low >= n || low >= (0 - n) % n) return high;
  }
}

// The i-th standard normal number of a stream: Φ⁻¹ of `uniform_open`. |x| ≤ 8.2. About 30 ns with
// hardware fma, 70 ns without.
RESECT_HD inline double gaussian(const philox_stream& s, std::uint64_t i) noexcept {
  return gaussian(uniform_open(s, i));
}
RESECT_HD inline double gaussian(std::uint64_t seed, std::uint64_t stream, std::uint64_t i) noexcept {
  return gaussian(philox_stream{seed, stream}, i);
}

// out[j] = float(std · gaussian(seed, stream, first + j)): any split of a range gives the same numbers.
inline void fill_gaussian(std::span<float> out, std::uint64_t seed, std::uint64_t stream, std::uint64_t first = 0,
                          double std = 1.0) noexcept {
  const philox_stream s{seed, stream};
  std::size_t j = 0;
  const auto put = [&](std::uint64_t bits) {
    out[j++] = static_cast<float>(mul_rn(std, gaussian(uniform_open_f64(bits))));
  };
  if (first % 2 != 0 && !out.empty()) put(s.word64(first));
  while (j + 2 <= out.size()) {
    const philox_words block = s.block(0, (first + j) / 2);
    put(block.pair(0));
    put(block.pair(1));
  }
  if (j < out.size()) put(s.word64(first + j));
}

}  // namespace RESECT_NAMESPACE::random
