// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <type_traits>

#include <resect/config.hpp>

namespace RESECT_NAMESPACE {

namespace detail {

// One part of a text: characters that live elsewhere, or a number in figures. One type for all that goes into texts, so
// that the compiler makes no function for each combination of parts.
class text_part {
 public:
  constexpr text_part() noexcept : text_part(std::string_view{}) {}
  constexpr text_part(std::string_view s) noexcept : outside_(s.data()), size_(s.size()) {}
  constexpr text_part(const char* s) noexcept : text_part(std::string_view{s}) {}
  // A std::string, whatever its allocator.
  template <template <class...> class String, class... Rest>
  text_part(const String<char, Rest...>& s) noexcept : text_part(std::string_view{s.data(), s.size()}) {}
  template <class T>
    requires(std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, char>)
  text_part(T value) noexcept {
    if constexpr (std::is_floating_point_v<T>) {
      write(static_cast<double>(value));
    } else {
      bool negative = false;
      if constexpr (std::is_signed_v<T>) negative = value < 0;
      const auto bits = static_cast<unsigned long long>(value);
      write(negative ? 0ULL - bits : bits, negative);
    }
  }

  constexpr std::string_view view() const noexcept { return {outside_ ? outside_ : figures_, size_}; }

 private:
  // As std::to_chars in its general form; <charconv> would cost every file a twentieth of what core may. What the
  // locale puts between whole digits and others becomes a point.
  void write(double value) noexcept {
    char printed[48] = {};
    std::snprintf(printed, sizeof printed, "%.9g", value);
    for (const char* c = printed; *c != '\0' && size_ < sizeof figures_; ++c) {
      const bool figure = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'n') || *c == '+' || *c == '-';
      if (figure || figures_[size_ - (size_ > 0)] != '.') figures_[size_++] = figure ? *c : '.';
    }
  }
  void write(unsigned long long magnitude, bool negative) noexcept {
    char backwards[24];
    std::size_t n = 0;
    do backwards[n++] = static_cast<char>('0' + magnitude % 10);
    while ((magnitude /= 10) != 0);
    if (negative) backwards[n++] = '-';
    while (n > 0) figures_[size_++] = backwards[--n];
  }

  const char* outside_ = nullptr;  // null: the figures
  std::size_t size_ = 0;
  char figures_[24] = {};
};

}  // namespace detail

// A short text with its own storage: it never allocates, so an error can be made where memory ran out. Text that does
// not fit is cut, never an error.
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

  // A number in full: digits, or at most nine significant ones of a float or double.
  template <class T>
    requires(std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, char>)
  short_text& append(T value) noexcept {
    return append(detail::text_part(value).view());
  }

  constexpr std::string_view view() const noexcept { return {data_, size_}; }
  constexpr const char* c_str() const noexcept { return data_; }
  constexpr bool empty() const noexcept { return size_ == 0; }

  friend constexpr bool operator==(const short_text& a, std::string_view b) noexcept { return a.view() == b; }

 private:
  char data_[N + 1] = {};
  std::size_t size_ = 0;
};

// Joins up to twelve texts and numbers to a short_text: text("rows ", 3, ", cols ", 4).
template <std::size_t N = 120>
short_text<N> text(detail::text_part a = {}, detail::text_part b = {}, detail::text_part c = {},
                   detail::text_part d = {}, detail::text_part e = {}, detail::text_part f = {},
                   detail::text_part g = {}, detail::text_part h = {}, detail::text_part i = {},
                   detail::text_part j = {}, detail::text_part k = {}, detail::text_part l = {}) noexcept {
  short_text<N> out;
  for (const detail::text_part* part : {&a, &b, &c, &d, &e, &f, &g, &h, &i, &j, &k, &l}) out.append(part->view());
  return out;
}

// A hash as it is shown and stored: "0x" and 16 digits.
constexpr short_text<18> hexadecimal(std::uint64_t x) noexcept {
  constexpr char digits[] = "0123456789abcdef";
  short_text<18> out("0x");
  for (int shift = 60; shift >= 0; shift -= 4) out.append(std::string_view{&digits[x >> shift & 15], 1});
  return out;
}

}  // namespace RESECT_NAMESPACE
