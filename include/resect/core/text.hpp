// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include <resect/config.hpp>

namespace RESECT_NAMESPACE {

// A short text with its own storage: no allocation, so errors can be made anywhere (also where memory
// is what ran out). Text that does not fit is cut, never an error.
template <std::size_t N>
class short_text {
 public:
  constexpr short_text() noexcept = default;
  constexpr short_text(std::string_view s) noexcept { append(s); }
  constexpr short_text(const char* s) noexcept { append(std::string_view{s}); }

  constexpr short_text& append(std::string_view s) noexcept {
    const std::size_t room = N - size_;
    const std::size_t n = s.size() < room ? s.size() : room;
    for (std::size_t i = 0; i < n; ++i) data_[size_ + i] = s[i];
    size_ += n;
    data_[size_] = '\0';
    return *this;
  }

  template <class T>
    requires(std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, char>)
  short_text& append(T value) noexcept {
    char buffer[48] = {};
    const auto end = [&] {
      if constexpr (std::is_floating_point_v<T>)
        return std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 9);
      else return std::to_chars(buffer, buffer + sizeof buffer, value);
    }();
    return append(std::string_view{buffer, static_cast<std::size_t>(end.ptr - buffer)});
  }

  constexpr std::string_view view() const noexcept { return {data_, size_}; }
  constexpr const char* c_str() const noexcept { return data_; }
  constexpr bool empty() const noexcept { return size_ == 0; }

  friend constexpr bool operator==(const short_text& a, std::string_view b) noexcept { return a.view() == b; }

 private:
  char data_[N + 1] = {};
  std::size_t size_ = 0;
};

// "rows 3, cols 4" and the like: the parts one after the other.
template <std::size_t N = 120, class... Parts>
short_text<N> text(const Parts&... parts) noexcept {
  short_text<N> out;
  (out.append(parts), ...);
  return out;
}

}  // namespace RESECT_NAMESPACE
