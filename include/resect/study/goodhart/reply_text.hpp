// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// What graders read in a reply: its last number, its last time of day, its words. Bytes of UTF-8 outside ASCII are letters.
namespace RESECT_NAMESPACE::study {

namespace detail {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// A number in one form: no sign of plus, no group commas, no zeros that say nothing. "-0" is "0".
inline std::string canonical_number(bool negative, std::string whole, std::string part) {
  while (!part.empty() && part.back() == '0') part.pop_back();
  const std::size_t zeros = whole.find_first_not_of('0');
  whole = zeros == std::string::npos ? "0" : whole.substr(zeros);
  std::string out = part.empty() ? whole : whole + "." + part;
  return negative && out != "0" ? "-" + out : out;
}

}  // namespace detail

// The last number in a text, in canonical form ("1,168.00" is "1168", "-0.50" is "-0.5"); empty where there is none. Digits
// that belong to a time ("4:15"), a fraction, a word ("x2") or something with two points ("1.2.3") are no number; a unit may
// follow ("15kg", "15%").
inline std::string last_number(std::string_view s) {
  std::string last;
  for (std::size_t i = 0; i < s.size();) {
    if (!detail::is_digit(s[i])) {
      ++i;
      continue;
    }
    const std::size_t first = i;
    std::string whole, part;
    while (i < s.size() && (detail::is_digit(s[i]) || (s[i] == ',' && i + 3 < s.size() && detail::is_digit(s[i + 1]) &&
                                                       detail::is_digit(s[i + 2]) && detail::is_digit(s[i + 3]) &&
                                                       (i + 4 == s.size() || !detail::is_digit(s[i + 4])))))
      if (s[i++] != ',') whole += s[i - 1];
    if (i + 1 < s.size() && s[i] == '.' && detail::is_digit(s[i + 1]))
      for (++i; i < s.size() && detail::is_digit(s[i]); ++i) part += s[i];
    const bool goes_on = i + 1 < s.size() && (s[i] == ':' || s[i] == '/' || s[i] == '.') && detail::is_digit(s[i + 1]);
    bool negative = false;
    std::size_t before = first;
    if (before > 0 && s[before - 1] == '-') {
      negative = true;
      --before;
    } else if (before > 2 && s.substr(before - 3, 3) == "\xe2\x88\x92") {  // the minus sign of Unicode
      negative = true;
      before -= 3;
    }
    const char left = before > 0 ? s[before - 1] : ' ';
    const bool joined = left == ':' || left == '/' || left == '.' || detail::is_letter(left);
    if (negative && (detail::is_letter(left) || detail::is_digit(left))) negative = false;  // "5-3": a range, or a name
    if (goes_on || (joined && before + (negative ? 1 : 0) <= first && left != ' ')) {
      while (i < s.size() && (detail::is_digit(s[i]) || ((s[i] == ':' || s[i] == '/' || s[i] == '.') &&
                                                         i + 1 < s.size() && detail::is_digit(s[i + 1]))))
        ++i;
      continue;
    }
    last = detail::canonical_number(negative, whole, part);
  }
  return last;
}

// The last time of day in a text ("4:15 PM", "4:15 p.m.", "16:15") in minutes after midnight; −1 where there is none. Hours
// of 12 with AM or PM; an hour without either is of 24.
inline int last_clock_time(std::string_view s) {
  int last = -1;
  for (std::size_t i = 1; i + 2 < s.size(); ++i) {
    if (s[i] != ':' || !detail::is_digit(s[i - 1]) || !detail::is_digit(s[i + 1]) || !detail::is_digit(s[i + 2]))
      continue;
    if (i + 3 < s.size() && (detail::is_digit(s[i + 3]) || s[i + 3] == ':')) continue;
    std::size_t first = i - 1;
    if (first > 0 && detail::is_digit(s[first - 1])) --first;
    if (first > 0 && (detail::is_digit(s[first - 1]) || s[first - 1] == ':')) continue;
    int hour = 0;
    for (std::size_t k = first; k < i; ++k) hour = 10 * hour + (s[k] - '0');
    const int minute = 10 * (s[i + 1] - '0') + (s[i + 2] - '0');
    std::size_t after = i + 3;
    while (after < s.size() && s[after] == ' ') ++after;
    const char half = after < s.size() ? detail::lower(s[after]) : ' ';
    std::size_t m = after + 1;
    if (m < s.size() && s[m] == '.') ++m;
    const bool marked = (half == 'a' || half == 'p') && m < s.size() && detail::lower(s[m]) == 'm' &&
                        (m + 1 == s.size() || !detail::is_letter(s[m + 1]));
    if (minute > 59 || (marked ? hour < 1 || hour > 12 : hour > 23)) continue;
    if (marked) hour = hour % 12 + (half == 'p' ? 12 : 0);
    last = 60 * hour + minute;
  }
  return last;
}

// The words of a text in lower case; spaces, commas, semicolons, full stops and line ends part them. Of a text that says
// "answer:" only what follows its last one counts.
inline std::vector<std::string> reply_words(std::string_view s) {
  std::string low;
  for (const char c : s) low += detail::lower(c);
  constexpr std::string_view mark = "answer:";
  if (const std::size_t at = low.rfind(mark); at != std::string::npos) low.erase(0, at + mark.size());
  std::vector<std::string> out(1);
  for (const char c : low) {
    const bool parts = c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c == ';' || c == '.';
    if (!parts) out.back() += c;
    else if (!out.back().empty()) out.emplace_back();
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

}  // namespace RESECT_NAMESPACE::study
