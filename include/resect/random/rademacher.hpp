// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <resect/random/philox.hpp>

// Signs by position: +1 or −1 with equal chance, independent, one bit each, so a Philox block has 128 of them. Exact
// in every number type and the same on every compiler, flag and device.
//   Layout: sign i of row h is bit i mod 32, from the low end, of word (i div 32) mod 4 of block (h, i div 128); a bit
//   of 1 means −1. What is addressed by one number has h = 0.
namespace RESECT_NAMESPACE::random {

// The i-th sign of a row.
RESECT_HD constexpr int rademacher(const philox_stream& s, std::uint64_t row, std::uint64_t i) noexcept {
  const std::uint32_t word = s.block(row, i / 128)[static_cast<int>(i / 32 % 4)];
  return 1 - 2 * static_cast<int>(word >> (i % 32) & 1u);
}
// The i-th sign of a stream.
RESECT_HD constexpr int rademacher(const philox_stream& s, std::uint64_t i) noexcept { return rademacher(s, 0, i); }

namespace detail {
// put(j, negative) for j = 0 … n−1: signs first + j of a row.
template <class Put>
constexpr void each_sign(const philox_stream& s, std::uint64_t row, std::uint64_t first, std::size_t n, Put put) {
  for (std::size_t j = 0; j < n;) {
    const std::uint64_t i = first + j;
    const philox_words block = s.block(row, i / 128);
    const std::size_t in_block = static_cast<std::size_t>(i % 128);
    const std::size_t stop = n - j < 128 - in_block ? in_block + n - j : 128;
    for (std::size_t k = in_block; k < stop; ++k, ++j) put(j, (block.word[k / 32] >> (k % 32) & 1u) != 0);
  }
}
}  // namespace detail

// out[j] = rademacher(philox_stream{seed, stream}, first + j): any split of a range gives the same signs.
inline void fill_rademacher(std::span<float> out, std::uint64_t seed, std::uint64_t stream,
                            std::uint64_t first = 0) noexcept {
  detail::each_sign(philox_stream{seed, stream}, 0, first, out.size(),
                    [&](std::size_t j, bool negative) { out[j] = negative ? -1.0f : 1.0f; });
}
inline void fill_rademacher(std::span<double> out, std::uint64_t seed, std::uint64_t stream,
                            std::uint64_t first = 0) noexcept {
  detail::each_sign(philox_stream{seed, stream}, 0, first, out.size(),
                    [&](std::size_t j, bool negative) { out[j] = negative ? -1.0 : 1.0; });
}

}  // namespace RESECT_NAMESPACE::random
