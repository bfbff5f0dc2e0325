// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/array.hpp>
#include <resect/io/safetensors.hpp>

// safetensors files as bytes. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {

namespace detail {

// A JSON string of this text; what is no UTF-8 stays, for the reader to refuse.
inline void append_json_string(std::string& out, std::string_view s) {
  constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (const char c : s) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      (out += digits[byte >> 4]) += digits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

inline void append_entry(std::string& out, const safetensor& t, std::size_t begin) {
  append_json_string(out, t.name);
  out += ":{\"dtype\":";
  append_json_string(out, t.dtype);
  out += ",\"shape\":[";
  for (std::size_t d = 0; d < t.extents.size(); ++d) {
    if (d > 0) out += ',';
    out += std::to_string(t.extents[d]);
  }
  out += "],\"data_offsets\":[" + std::to_string(begin) + ',' + std::to_string(begin + t.bytes.size()) + "]}";
}

}  // namespace detail

// The bytes of a safetensors file: `__metadata__` first, then the tensors in their order, nothing between them. The header
// is filled with blanks to a multiple of 8 bytes, so that tensors of 8-byte elements which come first are aligned. Same
// contents, same bytes; `values` of the tensors is not read.
//   Errors: what try_read_safetensors finds in the result (names that come twice or hold NUL, text that is no UTF-8, an
//   unknown dtype, bytes that do not fit the extents). Cost: linear in the bytes.
inline result<array<std::byte>> try_write_safetensors(std::span<const safetensor> tensors,
                                                      std::span<const std::pair<std::string, std::string>> metadata) {
  std::string header = "{\"__metadata__\":{";
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    if (i > 0) header += ',';
    detail::append_json_string(header, metadata[i].first);
    header += ':';
    detail::append_json_string(header, metadata[i].second);
  }
  header += '}';
  std::size_t size = 0;
  for (const safetensor& t : tensors) {
    header += ',';
    detail::append_entry(header, t, size);
    size += t.bytes.size();
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');

  array<std::byte> out;
  out.reserve(static_cast<index_t>(8 + header.size() + size));
  for (std::size_t i = 0; i < 8; ++i)
    out.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(header.size()) >> (8 * i) & 0xFF));
  for (const std::byte b : as_bytes(header)) out.push_back(b);
  for (const safetensor& t : tensors)
    for (const std::byte b : t.bytes) out.push_back(b);
  if (const auto read = try_read_safetensors(std::as_const(out).span()); !read) return read.error();
  return out;
}

#if RESECT_EXCEPTIONS
inline array<std::byte> write_safetensors(std::span<const safetensor> tensors,
                                          std::span<const std::pair<std::string, std::string>> metadata) {
  return value_or_throw(try_write_safetensors(tensors, metadata));
}
#endif

}  // namespace RESECT_NAMESPACE::io
