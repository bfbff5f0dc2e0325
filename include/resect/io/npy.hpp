// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

// NumPy's file formats, as bytes: .npy (one array) and .npz (a ZIP archive of them). Nothing here touches a file.
namespace RESECT_NAMESPACE::io {

// Element types that are written: '<f8', '<f4', '<i8'.
template <class T>
concept npy_value = std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, std::int64_t>;

namespace detail {

inline constexpr std::array<std::uint32_t, 256> crc32_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0u);
    table[i] = c;
  }
  return table;
}();

template <std::unsigned_integral U>
void append_little(std::string& out, U value) {
  for (std::size_t i = 0; i < sizeof(U); ++i)
    out += static_cast<char>(static_cast<unsigned char>(static_cast<std::uint64_t>(value) >> (8 * i)));
}

template <npy_value T>
void append_values(std::string& out, std::span<const T> values) {
  if constexpr (std::endian::native == std::endian::little) {
    out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  } else {
    using bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    for (const T v : values) append_little(out, std::bit_cast<bits>(v));
  }
}

template <npy_value T>
constexpr std::string_view npy_descr() noexcept {
  return std::same_as<T, double> ? "<f8" : std::same_as<T, float> ? "<f4" : "<i8";
}

// An error unless the extents make exactly `size` elements.
inline status check_npy_shape(std::span<const index_t> shape, std::size_t size) {
  constexpr std::size_t most = 32;
  if (shape.size() > most)
    return error{errc::invalid_argument, "dimensions of the array", text(shape.size()), text("at most ", most)};
  std::uint64_t elements = 1;
  for (const index_t extent : shape) {
    if (extent < 0) return error{errc::invalid_argument, "extent of the array", text(extent), "0 or more"};
    if (extent == 0) elements = 0;
    else if (elements > (std::uint64_t{1} << 60) / static_cast<std::uint64_t>(extent))
      return error{errc::shape_mismatch, "elements of the array", "an overflow", text(size)};
    else elements *= static_cast<std::uint64_t>(extent);
  }
  if (elements == size) return {};
  return error{errc::shape_mismatch, "elements of the array", text(size), text(elements, " by its shape")};
}

}  // namespace detail

// The CRC-32 of ZIP, gzip and PNG (ISO 3309, reflected polynomial EDB88320), of "123456789" CBF43926.
constexpr std::uint32_t crc32(std::string_view bytes) noexcept {
  std::uint32_t c = ~std::uint32_t{0};
  for (const char b : bytes) c = detail::crc32_table[(c ^ static_cast<unsigned char>(b)) & 0xFF] ^ (c >> 8);
  return ~c;
}

// The bytes of a .npy file, version 1.0: magic, a header padded with blanks to a multiple of 64 bytes, then the
// elements in C order, little-endian. `shape` {} is a single number. Same values, same bytes.
//   file << io::npy<double>(values, {rows, columns});
// Errors: a negative extent, a shape that does not make values.size() elements.
template <npy_value T>
result<std::string> try_npy(std::span<const T> values, const std::vector<index_t>& shape) {
  if (auto s = detail::check_npy_shape(shape, values.size()); !s) return s.error();
  std::string header = "{'descr': '" + std::string{detail::npy_descr<T>()} + "', 'fortran_order': False, 'shape': (";
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (d > 0) header += ' ';
    header += std::to_string(shape[d]);
    if (d + 1 < shape.size() || shape.size() == 1) header += ',';
  }
  header += "), }";
  constexpr std::size_t before = 10;  // magic, version, length of the header
  header.append((64 - (before + header.size() + 1) % 64) % 64, ' ') += '\n';

  std::string out{"\x93NUMPY\x01\x00", 8};
  out.reserve(before + header.size() + values.size_bytes());
  detail::append_little(out, static_cast<std::uint16_t>(header.size()));
  out += header;
  detail::append_values(out, values);
  return result<std::string>{std::move(out)};
}

// A .npz file in the making: arrays by name, stored without compression, with the date that ZIP begins at
// (1980-01-01), so that the same arrays in the same order give the same bytes. No ZIP64: 4 GiB and 65,534 arrays
// at most.
//   io::npz_archive a;
//   a.add<double>("kl_sum", sums, {rows, clusters});
//   file << a.bytes();
class npz_archive {
 public:
  // Adds an array that numpy.load will call `name`. Errors (nothing is added): those of try_npy; a name that is
  // empty, longer than 200 bytes, there already, or holds '/', '\', or a control character; no room.
  template <npy_value T>
  status try_add(std::string_view name, std::span<const T> values, const std::vector<index_t>& shape) {
    if (auto s = check_name(name); !s) return s;
    auto array = try_npy(values, shape);
    if (!array) {
      error e = array.error();
      e.operand = text(e.operand.view(), " '", name, "'");
      return e;
    }
    const std::uint64_t end = std::uint64_t{data_.size()} + directory_.size() + array->size() + 2 * name.size() + 1024;
    if (names_.size() >= 0xFFFE || end > 0xFFFFFFFEu)
      return error{errc::unsupported, text("archive with '", name, "'"), text(end, " bytes"), "below 4 GiB"};

    const auto offset = static_cast<std::uint32_t>(data_.size());
    std::string entry;                                        // what a local header and the directory say alike
    detail::append_little(entry, std::uint16_t{20});          // needs version 2.0
    detail::append_little(entry, std::uint16_t{1 << 11});     // the name is UTF-8
    detail::append_little(entry, std::uint16_t{0});           // stored
    detail::append_little(entry, std::uint16_t{0});           // 00:00
    detail::append_little(entry, std::uint16_t{1 << 5 | 1});  // 1980-01-01
    detail::append_little(entry, crc32(*array));
    detail::append_little(entry, static_cast<std::uint32_t>(array->size()));
    detail::append_little(entry, static_cast<std::uint32_t>(array->size()));
    detail::append_little(entry, static_cast<std::uint16_t>(name.size() + 4));
    detail::append_little(entry, std::uint16_t{0});  // no extra field

    data_.append("PK\x03\x04", 4).append(entry).append(name).append(".npy").append(*array);
    directory_.append("PK\x01\x02", 4);
    detail::append_little(directory_, std::uint16_t{20});  // made by MS-DOS, version 2.0
    directory_.append(entry);
    directory_.append(10, '\0');  // no comment, disk 0, no attributes
    detail::append_little(directory_, offset);
    directory_.append(name).append(".npy");
    names_.emplace_back(name);
    return {};
  }

  // The whole archive. May be asked for at any time.
  std::string bytes() const {
    std::string out = data_;
    out.append(directory_).append("PK\x05\x06", 4).append(4, '\0');
    detail::append_little(out, static_cast<std::uint16_t>(names_.size()));
    detail::append_little(out, static_cast<std::uint16_t>(names_.size()));
    detail::append_little(out, static_cast<std::uint32_t>(directory_.size()));
    detail::append_little(out, static_cast<std::uint32_t>(data_.size()));
    out.append(2, '\0');
    return out;
  }

#if RESECT_EXCEPTIONS
  template <npy_value T>
  void add(std::string_view name, std::span<const T> values, const std::vector<index_t>& shape) {
    value_or_throw(try_add(name, values, shape));
  }
#endif

 private:
  status check_name(std::string_view name) const {
    constexpr std::size_t longest = 200;
    const auto refusal = [&](std::string_view got, std::string_view wanted) {
      return error{errc::invalid_argument, "name of an array", got, wanted};
    };
    if (name.empty()) return refusal("nothing", "a name");
    if (name.size() > longest) return refusal(text(name.size(), " bytes").view(), text("at most ", longest).view());
    for (const char c : name)
      if (c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20)
        return refusal("a slash or a control character", "a name without");
    for (const std::string& known : names_)
      if (known == name) return refusal(text("a second '", name, "'").view(), "names that differ");
    return {};
  }

  std::string data_;       // local headers and arrays
  std::string directory_;  // central headers
  std::vector<std::string> names_;
};

#if RESECT_EXCEPTIONS
template <npy_value T>
std::string npy(std::span<const T> values, const std::vector<index_t>& shape) {
  return value_or_throw(try_npy(values, shape));
}
#endif

}  // namespace RESECT_NAMESPACE::io
