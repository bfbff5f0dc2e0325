// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <string_view>

#include <resect/io/bytes.hpp>

namespace hosts {

using resect::io::as_bytes;
using resect::io::as_text;
using resect::io::byte_reader;
using resect::io::load_little;
using resect::io::shown;

// A path as an error message may show it: of a long one, the end.
inline resect::short_text<120> shown_path(std::string_view path) noexcept {
  constexpr std::size_t longest = 120;
  if (path.size() <= longest) return path;
  return resect::text("...", path.substr(path.size() - (longest - 3)));
}

}  // namespace hosts
