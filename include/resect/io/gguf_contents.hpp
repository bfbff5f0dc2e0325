// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/io/bytes.hpp>
#include <resect/io/ggml_type.hpp>

// What a GGUF file holds; gguf.hpp reads it.
namespace RESECT_NAMESPACE::io {

// Kinds of metadata values; the numbers are those in GGUF files.
enum class gguf_kind : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

namespace detail {
inline constexpr std::array<std::string_view, 13> gguf_kind_names = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
}  // namespace detail

// What errors call it.
constexpr std::string_view name(gguf_kind kind) noexcept {
  return detail::gguf_kind_names[static_cast<std::size_t>(kind)];
}

// One metadata entry. Key and bytes point into the file.
struct gguf_value {
  std::string_view key;
  gguf_kind kind;
  gguf_kind element;                 // of an array; the kind itself otherwise
  std::uint64_t count;               // of an array's elements; 1 otherwise
  std::span<const std::byte> bytes;  // the payload: of a string its characters, of an array all elements as stored
};

// One tensor. Name and bytes point into the file. Extents are innermost first, those from n_dims on are 1: a weight
// (out, in) has extents {in, out, 1, 1}. `bytes` are whole blocks of `type`, which quant/formats/ggml.hpp decodes.
struct gguf_tensor {
  std::string_view name;
  ggml_type type;
  int n_dims;
  std::array<index_t, 4> extents;
  std::span<const std::byte> bytes;

  index_t values() const noexcept { return extents[0] * extents[1] * extents[2] * extents[3]; }
};

namespace detail {
class gguf_parser;
}

// All that a GGUF file says. Names, strings and bytes point into the file's bytes, which the caller keeps alive and in
// their place.
//
// The `find_` functions answer an absent key with an empty optional and a key of another kind with an error; for the
// `get_` functions an absent key is an error too. Errors are `malformed` and name the key.
class gguf_contents {
 public:
  // 2 or 3.
  std::uint32_t version() const noexcept { return version_; }

  // All tensors, in the order of the file.
  std::span<const gguf_tensor> tensors() const noexcept { return tensors_; }

  // The tensor of this name, null where there is none.
  const gguf_tensor* find(std::string_view name) const {
    const auto found = tensor_index_.find(name);
    return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
  }

  // All metadata entries, in the order of the file.
  std::span<const gguf_value> metadata() const noexcept { return metadata_; }

  // The metadata entry with this key, null where there is none.
  const gguf_value* find_value(std::string_view key) const {
    const auto found = key_index_.find(key);
    return found == key_index_.end() ? nullptr : &metadata_[found->second];
  }

  // An integer of any width that is not negative.
  result<std::optional<std::uint64_t>> find_u64(std::string_view key) const {
    return find_as<std::uint64_t>(key, "an integer >= 0", [](const gguf_value& value) { return as_u64(value); });
  }

  // A floating-point number, single or double.
  result<std::optional<double>> find_f64(std::string_view key) const {
    return find_as<double>(key, "f32 or f64", [](const gguf_value& value) -> std::optional<double> {
      const std::byte* p = value.bytes.data();
      if (value.kind == gguf_kind::f32) return std::bit_cast<float>(load_little<std::uint32_t>(p));
      if (value.kind == gguf_kind::f64) return std::bit_cast<double>(load_little<std::uint64_t>(p));
      return {};
    });
  }

  result<std::optional<bool>> find_bool(std::string_view key) const {
    return find_as<bool>(key, "bool", [](const gguf_value& value) -> std::optional<bool> {
      if (value.kind != gguf_kind::boolean) return {};
      return value.bytes[0] != std::byte{0};
    });
  }

  result<std::optional<std::string_view>> find_string(std::string_view key) const {
    return find_as<std::string_view>(key, "string", [](const gguf_value& value) -> std::optional<std::string_view> {
      if (value.kind != gguf_kind::string) return {};
      return as_text(value.bytes);
    });
  }

  // The number of elements of an array of any kind.
  result<std::optional<std::uint64_t>> find_array_size(std::string_view key) const {
    return find_as<std::uint64_t>(key, "an array", [](const gguf_value& value) -> std::optional<std::uint64_t> {
      if (value.kind != gguf_kind::array) return {};
      return value.count;
    });
  }

  result<std::uint64_t> get_u64(std::string_view key) const { return present(key, find_u64(key)); }
  result<double> get_f64(std::string_view key) const { return present(key, find_f64(key)); }
  result<bool> get_bool(std::string_view key) const { return present(key, find_bool(key)); }
  result<std::string_view> get_string(std::string_view key) const { return present(key, find_string(key)); }

 private:
  friend class detail::gguf_parser;

  template <class T, class Convert>
  result<std::optional<T>> find_as(std::string_view key, std::string_view wanted, Convert convert) const {
    const gguf_value* value = find_value(key);
    if (value == nullptr) return std::optional<T>{};
    std::optional<T> converted = convert(*value);
    if (!converted) return error{errc::malformed, operand_of(key), describe(*value), wanted};
    return converted;
  }

  template <class T>
  static result<T> present(std::string_view key, result<std::optional<T>> found) {
    if (!found) return found.error();
    if (!*found) return error{errc::malformed, operand_of(key), "no such key", "a value"};
    return **found;
  }

  static std::optional<std::uint64_t> as_u64(const gguf_value& value) {
    const std::byte* p = value.bytes.data();
    std::int64_t number = 0;
    switch (value.kind) {
      case gguf_kind::u8:
        return load_little<std::uint8_t>(p);
      case gguf_kind::u16:
        return load_little<std::uint16_t>(p);
      case gguf_kind::u32:
        return load_little<std::uint32_t>(p);
      case gguf_kind::u64:
        return load_little<std::uint64_t>(p);
      case gguf_kind::i8:
        number = std::bit_cast<std::int8_t>(load_little<std::uint8_t>(p));
        break;
      case gguf_kind::i16:
        number = std::bit_cast<std::int16_t>(load_little<std::uint16_t>(p));
        break;
      case gguf_kind::i32:
        number = std::bit_cast<std::int32_t>(load_little<std::uint32_t>(p));
        break;
      case gguf_kind::i64:
        number = std::bit_cast<std::int64_t>(load_little<std::uint64_t>(p));
        break;
      default:
        return {};
    }
    if (number < 0) return {};
    return static_cast<std::uint64_t>(number);
  }

  static short_text<120> operand_of(std::string_view key) { return text("metadata ", shown(key).view()); }

  static short_text<120> describe(const gguf_value& value) {
    if (value.kind == gguf_kind::array) return text("an array of ", name(value.element));
    const bool negative = value.kind == gguf_kind::i8 || value.kind == gguf_kind::i16 || value.kind == gguf_kind::i32 ||
                          value.kind == gguf_kind::i64;
    if (negative && !as_u64(value)) return text("a negative ", name(value.kind));
    return name(value.kind);
  }

  std::uint32_t version_ = 0;
  std::vector<gguf_value> metadata_;
  std::vector<gguf_tensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> key_index_;
  std::unordered_map<std::string_view, std::size_t> tensor_index_;
};

}  // namespace RESECT_NAMESPACE::io
