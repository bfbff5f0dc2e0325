// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include <resect/core/types.hpp>

// Numbers of a few bits, one after another from the lowest bit of the first byte on.
namespace RESECT_NAMESPACE::quant::detail {

// n bits of x at bit `at`, into bytes that are zero there. n ≤ 64.
inline void put_bits(std::span<std::byte> bytes, index_t at, std::uint64_t x, int n) noexcept {
  while (n > 0) {
    const int shift = static_cast<int>(at % 8), room = 8 - shift, part = n < room ? n : room;
    bytes[static_cast<std::size_t>(at / 8)] |= static_cast<std::byte>((x & ((1u << part) - 1)) << shift);
    x >>= part;
    at += part;
    n -= part;
  }
}

// n ≤ 64 bits at bit `at`.
inline std::uint64_t get_bits(std::span<const std::byte> bytes, index_t at, int n) noexcept {
  const auto first = static_cast<std::size_t>(at / 8);
  const int shift = static_cast<int>(at % 8);
  std::uint64_t x = 0;
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
    if (n <= 56 && first + 8 <= bytes.size()) {
      std::memcpy(&x, bytes.data() + first, 8);
      return x >> shift & ((std::uint64_t{1} << n) - 1);
    }
  }
  for (int got = 0; got < n;) {
    const index_t bit = at + got;
    const int low = static_cast<int>(bit % 8), room = 8 - low, part = n - got < room ? n - got : room;
    const std::uint64_t byte = static_cast<std::uint64_t>(bytes[static_cast<std::size_t>(bit / 8)]);
    x |= (byte >> low & ((1u << part) - 1)) << got;
    got += part;
  }
  return x;
}

// The first n bits of a code in memory order, and the code of such bits.
template <class Code>
void put_code(std::span<std::byte> bytes, index_t at, const Code& code, int n) noexcept {
  std::uint8_t raw[sizeof(Code)];
  std::memcpy(raw, &code, sizeof(Code));
  for (int i = 0; i < n; i += 8) put_bits(bytes, at + i, raw[i / 8], n - i < 8 ? n - i : 8);
}
template <class Code>
Code get_code(std::span<const std::byte> bytes, index_t at, int n) noexcept {
  Code code{};
  if constexpr (std::is_unsigned_v<Code>) {
    return static_cast<Code>(get_bits(bytes, at, n));
  } else {
    std::uint8_t raw[sizeof(Code)] = {};
    for (int i = 0; i < n; i += 8)
      raw[i / 8] = static_cast<std::uint8_t>(get_bits(bytes, at + i, n - i < 8 ? n - i : 8));
    std::memcpy(&code, raw, sizeof(Code));
    return code;
  }
}

}  // namespace RESECT_NAMESPACE::quant::detail
