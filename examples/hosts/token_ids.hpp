// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/core/result.hpp>
#include <resect/io/npy_reader.hpp>

namespace hosts {

namespace detail {

// Numbers of type T, one behind the other.
template <class T>
std::vector<T> numbers_of(std::span<const std::byte> bytes, bool big_endian = false) {
  std::vector<T> out(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::byte one[sizeof(T)];
    std::copy_n(bytes.data() + i * sizeof(T), sizeof(T), one);
    if (big_endian) std::reverse(one, one + sizeof(T));
    out[i] = load_little<T>(one);
  }
  return out;
}

inline bool is_text(std::span<const std::byte> bytes) {
  return !bytes.empty() && as_text(bytes).find_first_not_of("0123456789+-.,;[]() \t\r\n") == std::string_view::npos;
}

// int64 ids, read as int32, are the ids with a 0 behind each.
inline bool looks_like_int64(std::span<const std::byte> bytes) {
  const auto words = numbers_of<std::uint32_t>(bytes);
  if (words.size() < 4 || words.size() % 2 != 0) return false;
  bool any = false;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (words[i + 1] != 0) return false;
    any = any || words[i] != 0;
  }
  return any;
}

// What bytes that are no int32 ids of the vocabulary seem to be; nothing where that cannot be said.
inline std::string_view seen_as(std::span<const std::byte> bytes, std::int64_t n_vocab) {
  const auto fits = [&](const auto& ids) {
    return std::all_of(ids.begin(), ids.end(), [&](auto id) { return static_cast<std::int64_t>(id) < n_vocab; });
  };
  if (is_text(bytes)) return "text";
  if (bytes.size() % 4 == 0 && fits(numbers_of<std::uint32_t>(bytes, true))) return "big-endian numbers";
  if (n_vocab < 65536 && bytes.size() % 2 == 0 && fits(numbers_of<std::uint16_t>(bytes))) return "uint16";
  return "";
}

inline resect::short_text<120> ids_wanted(std::int64_t n_vocab) {
  return resect::text("little-endian int32 ids below ", n_vocab, ", or a .npy file");
}

inline resect::result<std::vector<std::int32_t>> try_check_ids(std::vector<std::int64_t> ids, const std::string& path,
                                                               std::int64_t n_vocab) {
  std::vector<std::int32_t> out(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= n_vocab)
      return resect::error{resect::errc::malformed, shown_path(path), resect::text("token id ", ids[i], " at ", i),
                           resect::text("ids from 0 to ", n_vocab - 1, ", the model's vocabulary")};
    out[i] = static_cast<std::int32_t>(ids[i]);
  }
  return resect::result<std::vector<std::int32_t>>{std::move(out)};
}

// The elements of an integer array with one extent (others may be 1).
inline resect::result<std::vector<std::int64_t>> try_npy_ids(std::span<const std::byte> bytes,
                                                             const std::string& path) {
  using resect::io::npy_type;
  auto array = resect::io::try_read_npy(bytes);
  if (!array) {
    auto e = array.error();
    e.operand = resect::text(shown_path(path).view(), ", ", e.operand.view());
    return e;
  }
  if (std::count_if(array->shape.begin(), array->shape.end(), [](resect::index_t n) { return n != 1; }) > 1)
    return resect::error{resect::errc::shape_mismatch, shown_path(path),
                         resect::text("an array of ", array->shape.size(), " dimensions"), "a row of ids"};
  const auto widened = [&](auto type) -> resect::result<std::vector<std::int64_t>> {
    const auto values = resect::io::try_npy_values<decltype(type)>(*array);
    if (!values) return values.error();
    std::vector<std::int64_t> out;
    for (const auto value : *values)
      out.push_back(static_cast<std::int64_t>(value));  // what is above int64 becomes negative, and is refused
    return resect::result<std::vector<std::int64_t>>{std::move(out)};
  };
  switch (array->type) {
    case npy_type::i8: return widened(std::int8_t{});
    case npy_type::i16: return widened(std::int16_t{});
    case npy_type::i32: return widened(std::int32_t{});
    case npy_type::i64: return widened(std::int64_t{});
    case npy_type::u8: return widened(std::uint8_t{});
    case npy_type::u16: return widened(std::uint16_t{});
    case npy_type::u32: return widened(std::uint32_t{});
    case npy_type::u64: return widened(std::uint64_t{});
    default:
      return resect::error{resect::errc::unsupported, shown_path(path), resect::text("an array of ", name(array->type)),
                           "an array of integers"};
  }
}

}  // namespace detail

// Token ids of a vocabulary of `n_vocab` from a file: a .npy array of integers of any type with one extent, or
// little-endian int32 numbers and nothing else. Content decides, not the name of the file.
// Errors: malformed for an id outside the vocabulary; malformed for int64, uint16, big-endian or written numbers and for
// archives in place of int32, as far as the bytes tell; what io::try_read_npy reports. int32 ids of which every second one
// is 0 are taken for int64 and refused: a .npy file says its type.
inline resect::result<std::vector<std::int32_t>> try_read_ids(const std::string& path, std::int64_t n_vocab) {
  const auto file = mapped_file::try_open(path);
  if (!file) return file.error();
  const auto bytes = file->bytes();
  const std::string_view start = as_text(bytes).substr(0, 6);
  const auto refusal = [&](resect::short_text<120> got) {
    return resect::error{resect::errc::malformed, shown_path(path), got, detail::ids_wanted(n_vocab)};
  };
  if (start == "\x93NUMPY") {
    auto ids = detail::try_npy_ids(bytes, path);
    if (!ids) return ids.error();
    return detail::try_check_ids(std::move(*ids), path, n_vocab);
  }
  if (start.starts_with("PK")) return refusal("an archive (.npz, or what torch.save writes)");
  if (detail::looks_like_int64(bytes)) return refusal("what looks like int64: every second int32 is 0");
  std::vector<std::int64_t> ids;
  if (bytes.size() % 4 == 0)
    for (const std::uint32_t id : detail::numbers_of<std::uint32_t>(bytes))
      ids.push_back(std::bit_cast<std::int32_t>(id));
  const bool fits = bytes.size() % 4 == 0 &&
                    std::all_of(ids.begin(), ids.end(), [&](std::int64_t id) { return id >= 0 && id < n_vocab; });
  if (const auto kind = fits ? "" : detail::seen_as(bytes, n_vocab); !kind.empty())
    return refusal(resect::text("what looks like ", kind));
  if (bytes.size() % 4 != 0) return refusal(resect::text(bytes.size(), " bytes, no multiple of 4"));
  return detail::try_check_ids(std::move(ids), path, n_vocab);
}

}  // namespace hosts
