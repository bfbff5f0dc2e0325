// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <hosts/bytes.hpp>
#include <hosts/gguf_parse.hpp>
#include <hosts/mapped_file.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// A GGUF file (versions 2 and 3, little-endian) whose every length, count, offset and type was checked.
// Names, strings and tensor bytes point into the file and live as long as this object (or, after
// `try_parse`, as the caller's bytes).
//
// The `find_` functions answer an absent key with an empty optional and a key of another kind with an
// error; the `get_` functions make an absent key an error too.
class gguf_file {
 public:
  static resect::result<gguf_file> try_open(const std::string& path) {
    auto file = mapped_file::try_open(path);
    if (!file) return file.error();
    auto contents = detail::gguf_parser{file->bytes()}.parse();
    if (!contents) return contents.error();
    return gguf_file{std::move(*contents), std::move(*file)};
  }

  // The same on bytes in memory, which the caller keeps alive.
  static resect::result<gguf_file> try_parse(std::span<const std::byte> bytes) {
    auto contents = detail::gguf_parser{bytes}.parse();
    if (!contents) return contents.error();
    return gguf_file{std::move(*contents), std::nullopt};
  }

  std::uint32_t version() const noexcept { return contents_.version; }

  // All tensors, in the order of the file.
  std::span<const gguf_tensor> tensors() const noexcept { return contents_.tensors; }

  // The tensor of this name, null where there is none.
  const gguf_tensor* find(std::string_view name) const {
    const auto found = contents_.tensor_index.find(name);
    return found == contents_.tensor_index.end() ? nullptr : &contents_.tensors[found->second];
  }

  // All metadata entries, in the order of the file.
  std::span<const gguf_value> metadata() const noexcept { return contents_.metadata; }

  // The metadata entry with this key, null where there is none.
  const gguf_value* find_value(std::string_view key) const {
    const auto found = contents_.key_index.find(key);
    return found == contents_.key_index.end() ? nullptr : &contents_.metadata[found->second];
  }

  // An integer of any width that is not negative.
  resect::result<std::optional<std::uint64_t>> find_u64(std::string_view key) const {
    return find_as<std::uint64_t>(key, "an integer >= 0", [](const gguf_value& value) { return as_u64(value); });
  }

  // A floating-point number, single or double.
  resect::result<std::optional<double>> find_f64(std::string_view key) const {
    return find_as<double>(key, "f32 or f64", [](const gguf_value& value) -> std::optional<double> {
      const std::byte* p = value.bytes.data();
      if (value.kind == gguf_kind::f32) return std::bit_cast<float>(load_little<std::uint32_t>(p));
      if (value.kind == gguf_kind::f64) return std::bit_cast<double>(load_little<std::uint64_t>(p));
      return {};
    });
  }

  resect::result<std::optional<bool>> find_bool(std::string_view key) const {
    return find_as<bool>(key, "bool", [](const gguf_value& value) -> std::optional<bool> {
      if (value.kind != gguf_kind::boolean) return {};
      return value.bytes[0] != std::byte{0};
    });
  }

  resect::result<std::optional<std::string_view>> find_string(std::string_view key) const {
    return find_as<std::string_view>(key, "string", [](const gguf_value& value) -> std::optional<std::string_view> {
      if (value.kind != gguf_kind::string) return {};
      return as_text(value.bytes);
    });
  }

  // The number of elements of an array of any kind.
  resect::result<std::optional<std::uint64_t>> find_array_size(std::string_view key) const {
    return find_as<std::uint64_t>(key, "an array", [](const gguf_value& value) -> std::optional<std::uint64_t> {
      if (value.kind != gguf_kind::array) return {};
      return value.count;
    });
  }

  resect::result<std::uint64_t> get_u64(std::string_view key) const { return present(key, find_u64(key)); }
  resect::result<double> get_f64(std::string_view key) const { return present(key, find_f64(key)); }
  resect::result<bool> get_bool(std::string_view key) const { return present(key, find_bool(key)); }
  resect::result<std::string_view> get_string(std::string_view key) const { return present(key, find_string(key)); }

 private:
  gguf_file(gguf_contents contents, std::optional<mapped_file> file)
      : contents_(std::move(contents)), file_(std::move(file)) {}

  template <class T, class Convert>
  resect::result<std::optional<T>> find_as(std::string_view key, std::string_view wanted, Convert convert) const {
    const gguf_value* value = find_value(key);
    if (value == nullptr) return std::optional<T>{};
    std::optional<T> converted = convert(*value);
    if (!converted) return resect::error{resect::errc::malformed, operand_of(key), describe(*value), wanted};
    return converted;
  }

  template <class T>
  static resect::result<T> present(std::string_view key, resect::result<std::optional<T>> found) {
    if (!found) return found.error();
    if (!*found) return resect::error{resect::errc::malformed, operand_of(key), "no such key", "a value"};
    return **found;
  }

  static std::optional<std::uint64_t> as_u64(const gguf_value& value) {
    const std::byte* p = value.bytes.data();
    std::int64_t number = 0;
    switch (value.kind) {
      case gguf_kind::u8: return load_little<std::uint8_t>(p);
      case gguf_kind::u16: return load_little<std::uint16_t>(p);
      case gguf_kind::u32: return load_little<std::uint32_t>(p);
      case gguf_kind::u64: return load_little<std::uint64_t>(p);
      case gguf_kind::i8: number = std::bit_cast<std::int8_t>(load_little<std::uint8_t>(p)); break;
      case gguf_kind::i16: number = std::bit_cast<std::int16_t>(load_little<std::uint16_t>(p)); break;
      case gguf_kind::i32: number = std::bit_cast<std::int32_t>(load_little<std::uint32_t>(p)); break;
      case gguf_kind::i64: number = std::bit_cast<std::int64_t>(load_little<std::uint64_t>(p)); break;
      default: return {};
    }
    if (number < 0) return {};
    return static_cast<std::uint64_t>(number);
  }

  static resect::short_text<120> operand_of(std::string_view key) {
    return resect::text("metadata ", shown(key).view());
  }

  static resect::short_text<120> describe(const gguf_value& value) {
    if (value.kind == gguf_kind::array) return resect::text("an array of ", name(value.element));
    const bool negative = value.kind == gguf_kind::i8 || value.kind == gguf_kind::i16 ||
                          value.kind == gguf_kind::i32 || value.kind == gguf_kind::i64;
    if (negative && !as_u64(value)) return resect::text("a negative ", name(value.kind));
    return name(value.kind);
  }

  gguf_contents contents_;
  std::optional<mapped_file> file_;
};

}  // namespace hosts
