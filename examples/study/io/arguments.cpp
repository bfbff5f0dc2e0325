// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/arguments.hpp>

namespace studies {

namespace detail {

resect::result<std::pair<int, int>> try_parse_range(std::string_view item, int n_layers) {
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

resect::result<std::vector<int>> try_parse_layers(std::string_view list, int n_layers) {
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

void note_long_context(long long tokens, int made_for) {
  if (made_for > 0 && tokens > made_for)
    std::fprintf(stderr, "note: windows of %lld tokens, while the model was made for %d\n", tokens, made_for);
}

std::string shell_command(int argc, const char* const* argv) {
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
