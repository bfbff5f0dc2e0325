// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <resect/core/text.hpp>

// What the readers of files share, for readers of a user's own formats too.
namespace RESECT_NAMESPACE::io {

// The little-endian number at `p`, of which sizeof(T) bytes are read, at any alignment and on any machine.
template <std::unsigned_integral T>
constexpr T load_little(const std::byte* p) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<std::uint64_t>(p[i]) << (8 * i);
  return static_cast<T>(value);
}

// The same memory as characters.
inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The same memory as bytes.
inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A name out of a file as an error message may show it: in quotes, control characters masked, cut after `Longest`
// bytes.
template <std::size_t Longest = 80>
short_text<Longest + 8> shown(std::string_view name) noexcept {
  short_text<Longest + 8> out{"'"};
  for (const char c : name.substr(0, Longest)) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    out.append(std::string_view{control ? "?" : &c, 1});
  }
  return out.append(name.size() > Longest ? "...'" : "'");
}

// A cursor over bytes that nobody vouches for: every step says whether the bytes were there, and a step that fails
// moves nothing.
class byte_reader {
 public:
  explicit byte_reader(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  std::size_t position() const noexcept { return position_; }
  std::size_t remaining() const noexcept { return bytes_.size() - position_; }

  // The next little-endian number.
  template <std::unsigned_integral T>
  bool read(T& value) noexcept {
    std::span<const std::byte> taken;
    if (!take(sizeof(T), taken)) return false;
    value = load_little<T>(taken.data());
    return true;
  }

  // The next n bytes, which stay where they are.
  bool take(std::uint64_t n, std::span<const std::byte>& taken) noexcept {
    if (n > remaining()) return false;
    taken = bytes_.subspan(position_, static_cast<std::size_t>(n));
    position_ += static_cast<std::size_t>(n);
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace RESECT_NAMESPACE::io
