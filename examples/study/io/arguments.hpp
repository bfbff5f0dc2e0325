// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>

// What stands in options as a text of its own kind.
namespace studies {

namespace detail {

inline resect::result<std::pair<int, int>> try_parse_range(std::string_view item, int n_layers) {
  const auto refusal = [&](std::string_view wanted) {
    return resect::error{resect::errc::invalid_argument, "--layers", hosts::shown(item).view(), wanted};
  };
  const auto number = [&](std::string_view digits, int& value) {
    const auto end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, value);
    return !digits.empty() && digits.front() != '-' && read.ec == std::errc{} && read.ptr == end;
  };
  const std::size_t dash = item.find('-');
  int first = 0, last = 0;
  if (!number(item.substr(0, dash), first) || (dash != item.npos && !number(item.substr(dash + 1), last)))
    return refusal("numbers and ranges as in 0-3,7");
  if (dash == item.npos) last = first;
  if (last < first) return refusal("a range from low to high");
  if (last >= n_layers) return refusal(resect::text("layers 0 to ", n_layers - 1).view());
  return std::pair{first, last};
}

}  // namespace detail

// "0-3,7" → {0, 1, 2, 3, 7}: ascending, each layer once. Errors name the part that is wrong.
inline resect::result<std::vector<int>> try_parse_layers(std::string_view list, int n_layers) {
  std::vector<bool> chosen(static_cast<std::size_t>(n_layers), false);
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    const auto range = detail::try_parse_range(list.substr(at, comma - at), n_layers);
    if (!range) return range.error();
    for (int l = range->first; l <= range->second; ++l) chosen[static_cast<std::size_t>(l)] = true;
    at = comma + 1;
  }
  std::vector<int> out;
  for (int l = 0; l < n_layers; ++l)
    if (chosen[static_cast<std::size_t>(l)]) out.push_back(l);
  return resect::result<std::vector<int>>{std::move(out)};
}

// "skip,reinit" → values of an enumeration, in the order given, each once. `all` are the values, name(value)
// their names.
template <class T, class Name>
resect::result<std::vector<T>> try_parse_names(std::string_view list, std::string_view option,
                                               const std::vector<T>& all, Name name) {
  std::vector<T> out;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    const std::string_view item = list.substr(at, comma - at);
    const auto found = std::find_if(all.begin(), all.end(), [&](const T& value) { return name(value) == item; });
    if (found == all.end()) {
      resect::short_text<120> known;
      for (const T& value : all) known.append(known.empty() ? "" : ", ").append(name(value));
      return resect::error{resect::errc::invalid_argument, option, hosts::shown(item).view(), known};
    }
    if (std::find(out.begin(), out.end(), *found) != out.end())
      return resect::error{resect::errc::invalid_argument, option, resect::text("a second ", item), "each once"};
    out.push_back(*found);
    at = comma + 1;
  }
  return resect::result<std::vector<T>>{std::move(out)};
}

// Windows that are longer than a model was made for are run, but not without a word.
inline void note_long_context(long long tokens, int made_for) {
  if (made_for > 0 && tokens > made_for)
    std::fprintf(stderr, "note: windows of %lld tokens, while the model was made for %d\n", tokens, made_for);
}

// The command line as a shell would read it back.
inline std::string shell_command(int argc, const char* const* argv) {
  constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=,+@%-";
  std::string out;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (i > 0) out += ' ';
    if (!word.empty() && word.find_first_not_of(plain) == word.npos) {
      out += word;
      continue;
    }
    out += '\'';
    for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    out += '\'';
  }
  return out;
}

}  // namespace studies
