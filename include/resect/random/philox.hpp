// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/config.hpp>

namespace RESECT_NAMESPACE::random {

// Four 32-bit words: a counter, or what Philox makes of one. (std::array cannot be indexed in device code.)
struct philox_words {
  std::uint32_t word[4] = {};

  RESECT_HD constexpr std::uint32_t operator[](int i) const noexcept { return word[i]; }
  // Words 2·half and 2·half + 1 as one 64-bit number, the first of them low.
  RESECT_HD constexpr std::uint64_t pair(int half) const noexcept {
    return word[2 * half] | static_cast<std::uint64_t>(word[2 * half + 1]) << 32;
  }
  friend constexpr bool operator==(const philox_words&, const philox_words&) = default;
};

// Philox4x32-10: a bijection of the 128-bit counter under a 64-bit key (low word first), ten rounds. The same
// bits everywhere; about 10 ns a block on one core. The published Random123 vectors are in the test.
// Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
RESECT_HD constexpr philox_words philox(std::uint64_t key, philox_words counter) noexcept {
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  std::uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// One of 2⁶⁴ streams of a seed, read by position: no state, no order, no thread. The key is a bijection of the
// stream for every seed, and of the seed for every stream (SplitMix64's finalizer, twice); two different
// (seed, stream) pairs share a key with chance 2⁻⁶⁴.
class philox_stream {
 public:
  RESECT_HD constexpr explicit philox_stream(std::uint64_t seed, std::uint64_t stream = 0) noexcept
      : key_(mix(mix(seed) + stream)) {}

  RESECT_HD constexpr std::uint64_t key() const noexcept { return key_; }

  // The block at the 128-bit position (hi, lo). What is addressed by one number has hi = 0.
  RESECT_HD constexpr philox_words block(std::uint64_t hi, std::uint64_t lo) const noexcept {
    return philox(key_, {{static_cast<std::uint32_t>(lo), static_cast<std::uint32_t>(lo >> 32),
                          static_cast<std::uint32_t>(hi), static_cast<std::uint32_t>(hi >> 32)}});
  }
  // The i-th 32-bit word: block i/4, word i%4.
  RESECT_HD constexpr std::uint32_t word32(std::uint64_t i) const noexcept {
    return block(0, i / 4)[static_cast<int>(i % 4)];
  }
  // The i-th 64-bit word: block i/2, half i%2.
  RESECT_HD constexpr std::uint64_t word64(std::uint64_t i) const noexcept {
    return block(0, i / 2).pair(static_cast<int>(i % 2));
  }

 private:
  RESECT_HD static constexpr std::uint64_t mix(std::uint64_t z) noexcept {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint64_t key_;
};

}  // namespace RESECT_NAMESPACE::random
