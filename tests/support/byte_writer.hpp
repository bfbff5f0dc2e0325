// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <resect/io/bytes.hpp>

namespace support {

// Bytes that grow; numbers go in little-endian.
class byte_writer {
 public:
  template <std::unsigned_integral T>
  byte_writer& number(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes_.push_back(static_cast<std::byte>((std::uint64_t{value} >> (8 * i)) & 0xff));
    return *this;
  }
  byte_writer& number(float value) { return number(std::bit_cast<std::uint32_t>(value)); }
  byte_writer& number(double value) { return number(std::bit_cast<std::uint64_t>(value)); }
  byte_writer& raw(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  byte_writer& raw(std::string_view text) { return raw(resect::io::as_bytes(text)); }
  // A length and the characters.
  byte_writer& string(std::string_view text) { return number(std::uint64_t{text.size()}).raw(text); }
  byte_writer& pad(std::size_t alignment) {
    while (bytes_.size() % alignment != 0) bytes_.push_back(std::byte{0});
    return *this;
  }

  std::size_t size() const noexcept { return bytes_.size(); }
  const std::vector<std::byte>& bytes() const noexcept { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

inline std::vector<std::byte> bytes_of(std::span<const float> values) {
  byte_writer out;
  for (const float value : values) out.number(value);
  return out.bytes();
}

}  // namespace support
