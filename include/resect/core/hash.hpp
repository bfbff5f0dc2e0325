// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE {

// A 64-bit hash of a sequence of values in their order. It distinguishes artifacts and plans and does not resist an
// adversary. Each word is mixed by a multiply–xorshift permutation (the finalizer of
// SplitMix64: Steele, Lea & Flood 2014), so equal states mean equal inputs up to chance 2⁻⁶⁴.
class fingerprint {
 public:
  constexpr fingerprint& add(std::uint64_t word) noexcept {
    state_ = mix(state_ ^ mix(word + 0x9e3779b97f4a7c15u * ++count_));
    return *this;
  }
  constexpr fingerprint& add(std::string_view s) noexcept {
    add(static_cast<std::uint64_t>(s.size()));
    for (std::size_t i = 0; i < s.size(); i += 8) {
      std::uint64_t word = 0;
      for (std::size_t j = 0; j < 8 && i + j < s.size(); ++j)
        word |= static_cast<std::uint64_t>(static_cast<unsigned char>(s[i + j])) << (8 * j);
      add(word);
    }
    return *this;
  }
  fingerprint& add_bytes(const void* bytes, std::size_t n) noexcept {
    const auto* p = static_cast<const unsigned char*>(bytes);
    add(static_cast<std::uint64_t>(n));
    for (; n >= 8; n -= 8, p += 8) {
      std::uint64_t word;
      std::memcpy(&word, p, 8);
      if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
      add(word);
    }
    std::uint64_t tail = 0;
    for (std::size_t j = 0; j < n; ++j) tail |= static_cast<std::uint64_t>(p[j]) << (8 * j);
    return add(tail);
  }
  fingerprint& add(std::span<const float> x) noexcept { return add_bytes(x.data(), x.size() * sizeof(float)); }
  constexpr fingerprint& add(double x) noexcept { return add(std::bit_cast<std::uint64_t>(x)); }

  constexpr std::uint64_t value() const noexcept { return state_; }

 private:
  static constexpr std::uint64_t mix(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint64_t state_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace RESECT_NAMESPACE
