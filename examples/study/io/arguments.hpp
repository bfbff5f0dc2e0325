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

// "0-3,7" → {0, 1, 2, 3, 7}: ascending, each layer once. Errors name the part that is wrong.
resect::result<std::vector<int>> try_parse_layers(std::string_view list, int n_layers);

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
void note_long_context(long long tokens, int made_for);

// The command line as a shell would read it back.
std::string shell_command(int argc, const char* const* argv);

}  // namespace studies
