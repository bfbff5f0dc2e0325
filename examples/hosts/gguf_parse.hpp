// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <hosts/bytes.hpp>
#include <hosts/ggml_types.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace hosts {

// Kinds of metadata values; the numbers are those in GGUF files.
enum class gguf_kind : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

inline constexpr std::array<std::string_view, 13> gguf_kind_names = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

constexpr std::string_view name(gguf_kind kind) noexcept { return gguf_kind_names[static_cast<std::size_t>(kind)]; }

// One metadata entry. Key and bytes point into the file.
struct gguf_value {
  std::string_view key;
  gguf_kind kind;
  gguf_kind element;  // of an array; the kind itself otherwise
  std::uint64_t count;
  std::span<const std::byte> bytes;  // the payload: of a string its characters, of an array all elements as stored
};

// One tensor. Name and bytes point into the file; extents are innermost first, unused ones are 1.
struct gguf_tensor {
  std::string_view name;
  ggml_type type;
  int n_dims;
  std::array<resect::index_t, 4> extents;
  std::span<const std::byte> bytes;

  resect::index_t values() const noexcept { return extents[0] * extents[1] * extents[2] * extents[3]; }
};

// All that a GGUF file says, in the order of the file.
struct gguf_contents {
  std::uint32_t version = 0;
  std::vector<gguf_value> metadata;
  std::vector<gguf_tensor> tensors;
  std::unordered_map<std::string_view, std::size_t> key_index;
  std::unordered_map<std::string_view, std::size_t> tensor_index;
};

namespace detail {

// Reads a GGUF file from front to back and stops at the first thing that is wrong with it. Every number
// is checked against what the file can hold before it is used, so memory stays in proportion to the file.
class gguf_parser {
 public:
  explicit gguf_parser(std::span<const std::byte> file) : file_(file), reader_(file) {}

  resect::result<gguf_contents> parse() {
    if (header() && metadata() && alignment() && tensor_infos() && layout() && overlaps()) return std::move(contents_);
    return failure_;
  }

 private:
  using label = resect::short_text<120>;

  bool fail(resect::errc code, const label& operand, const label& got, const label& wanted) {
    failure_ = resect::error{code, operand, got, wanted};
    return false;
  }
  bool malformed(const label& operand, const label& got, const label& wanted) {
    return fail(resect::errc::malformed, operand, got, wanted);
  }
  bool cut_short(const label& operand, std::uint64_t needed) {
    return malformed(operand, resect::text(reader_.remaining(), " bytes before the end of the file"),
                     resect::text("at least ", needed));
  }

  template <std::unsigned_integral T>
  bool number(const label& operand, T& value) {
    return reader_.read(value) || cut_short(operand, sizeof(T));
  }

  // A length and so many characters.
  bool string(const label& operand, std::string_view& value) {
    std::uint64_t length = 0;
    std::span<const std::byte> characters;
    if (!number(operand, length)) return false;
    if (!reader_.take(length, characters)) return cut_short(operand, length);
    value = as_text(characters);
    return true;
  }

  // A string that things are looked up by.
  bool identifier(const label& operand, std::string_view& value) {
    if (!string(operand, value)) return false;
    if (value.empty()) return malformed(operand, "an empty name", "a name");
    if (value.find('\0') != std::string_view::npos)
      return malformed(operand, shown(value).view(), "a name without NUL");
    return true;
  }

  bool header() {
    std::uint32_t magic = 0;
    if (!number("GGUF magic", magic)) return false;
    if (magic != 0x46554747u)
      return malformed("GGUF magic", shown(as_text(file_.first(4))).view(), "'GGUF' at the start of the file");
    if (!number("GGUF version", contents_.version)) return false;
    if (const std::uint32_t v = contents_.version; v != 2 && v != 3) {
      if (v != 0 && (v & 0xffffu) == 0)
        return fail(resect::errc::unsupported, "GGUF version", "a big-endian file", "a little-endian one");
      return fail(resect::errc::unsupported, "GGUF version", resect::text(v), "2 or 3");
    }
    constexpr std::uint64_t smallest_tensor = 33;  // name length, one letter, n_dims, one extent, type, offset
    constexpr std::uint64_t smallest_entry = 14;   // key length, one letter, kind, one byte
    return count("tensor count", smallest_tensor, n_tensors_) && count("metadata count", smallest_entry, n_entries_);
  }

  // How many things follow, each of which takes at least `smallest` bytes.
  bool count(const label& operand, std::uint64_t smallest, std::uint64_t& value) {
    if (!number(operand, value)) return false;
    const std::uint64_t most = reader_.remaining() / smallest;
    if (value <= most) return true;
    return malformed(operand, resect::text(value),
                     resect::text("at most ", most, ", as many as the file could hold"));
  }

  bool metadata() {
    for (std::uint64_t i = 0; i < n_entries_; ++i) {
      gguf_value entry{};
      if (!identifier(resect::text("metadata key ", i + 1, " of ", n_entries_), entry.key)) return false;
      const auto operand = resect::text("metadata ", shown(entry.key).view());
      if (!contents_.key_index.try_emplace(entry.key, contents_.metadata.size()).second)
        return malformed(operand, "a key that came before", "keys that differ");
      if (!kind(operand, entry.kind)) return false;
      entry.element = entry.kind;
      entry.count = 1;
      if (entry.kind == gguf_kind::array) {
        if (!kind(operand, entry.element) || !number(operand, entry.count)) return false;
        if (entry.element == gguf_kind::array)
          return fail(resect::errc::unsupported, operand, "an array of arrays", "no nested arrays");
      }
      if (!payload(operand, entry)) return false;
      contents_.metadata.push_back(entry);
    }
    return true;
  }

  bool kind(const label& operand, gguf_kind& value) {
    std::uint32_t id = 0;
    if (!number(operand, id)) return false;
    if (id >= gguf_kind_names.size())
      return malformed(operand, resect::text("value kind ", id), "0 to 12");
    value = static_cast<gguf_kind>(id);
    return true;
  }

  static std::uint64_t size_of(gguf_kind kind) noexcept {
    switch (kind) {
      case gguf_kind::u8: case gguf_kind::i8: case gguf_kind::boolean: return 1;
      case gguf_kind::u16: case gguf_kind::i16: return 2;
      case gguf_kind::u32: case gguf_kind::i32: case gguf_kind::f32: return 4;
      default: return 8;  // of a string, its length field
    }
  }

  bool payload(const label& operand, gguf_value& entry) {
    if (entry.kind == gguf_kind::string) {
      std::string_view characters;
      if (!string(operand, characters)) return false;
      entry.bytes = as_bytes(characters);
      return true;
    }
    const std::uint64_t element_size = size_of(entry.element);
    if (entry.count > reader_.remaining() / element_size)
      return malformed(operand, resect::text(entry.count, " elements of ", name(entry.element)),
                       resect::text("at most the ", reader_.remaining(), " bytes before the end of the file"));
    if (entry.element == gguf_kind::string) return string_elements(operand, entry);
    reader_.take(entry.count * element_size, entry.bytes);
    if (entry.element == gguf_kind::boolean)
      for (const std::byte b : entry.bytes)
        if (b > std::byte{1})
          return malformed(operand, resect::text("a bool stored as ", std::to_integer<unsigned>(b)), "0 or 1");
    return true;
  }

  bool string_elements(const label& operand, gguf_value& entry) {
    const std::size_t begin = reader_.position();
    std::string_view element;
    for (std::uint64_t i = 0; i < entry.count; ++i)
      if (!string(operand, element)) return false;
    entry.bytes = file_.subspan(begin, reader_.position() - begin);
    return true;
  }

  bool alignment() {
    constexpr std::string_view key = "general.alignment";
    const auto found = contents_.key_index.find(key);
    if (found == contents_.key_index.end()) return true;
    const gguf_value& entry = contents_.metadata[found->second];
    const auto operand = resect::text("metadata ", shown(key).view());
    if (entry.kind != gguf_kind::u32) return malformed(operand, name(entry.kind), "u32");
    alignment_ = load_little<std::uint32_t>(entry.bytes.data());
    if (std::has_single_bit(alignment_) && alignment_ >= 8) return true;
    return malformed(operand, resect::text(alignment_), "a power of two, 8 or more");
  }

  bool tensor_infos() {
    for (std::uint64_t i = 0; i < n_tensors_; ++i) {
      gguf_tensor tensor{};
      if (!identifier(resect::text("name of tensor ", i + 1, " of ", n_tensors_), tensor.name)) return false;
      const auto operand = resect::text("tensor ", shown(tensor.name).view());
      if (!contents_.tensor_index.try_emplace(tensor.name, contents_.tensors.size()).second)
        return malformed(operand, "a name that came before", "names that differ");
      std::uint64_t offset = 0;
      std::uint64_t n_bytes = 0;
      if (!shape(operand, tensor) || !type(operand, tensor, n_bytes) || !number(operand, offset))
        return false;
      contents_.tensors.push_back(tensor);
      places_.push_back({offset, n_bytes});
    }
    return true;
  }

  bool shape(const label& operand, gguf_tensor& tensor) {
    std::uint32_t n_dims = 0;
    if (!number(operand, n_dims)) return false;
    if (n_dims < 1 || n_dims > 4) return malformed(operand, resect::text(n_dims, " dimensions"), "1 to 4");
    tensor.n_dims = static_cast<int>(n_dims);
    tensor.extents.fill(1);
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<resect::index_t>::max());
    std::uint64_t product = 1;
    for (std::uint32_t d = 0; d < n_dims; ++d) {
      std::uint64_t extent = 0;
      if (!number(operand, extent)) return false;
      if (extent == 0 || extent > largest)
        return malformed(operand,
                         resect::text("extent ", static_cast<std::int64_t>(extent), " in dimension ", d),
                         "extents of 1 or more");
      if (extent > largest / product)
        return malformed(operand, resect::text("an element count that overflows in dimension ", d), "63 bits");
      product *= extent;
      tensor.extents[d] = static_cast<resect::index_t>(extent);
    }
    return true;
  }

  bool type(const label& operand, gguf_tensor& tensor, std::uint64_t& n_bytes) {
    std::uint32_t id = 0;
    if (!number(operand, id)) return false;
    const ggml_block* block = find_block(id);
    if (block == nullptr)
      return fail(resect::errc::unsupported, operand, resect::text("ggml type ", id),
                  "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K or Q6_K");
    tensor.type = block->type;
    if (static_cast<std::uint64_t>(tensor.extents[0]) % block->values != 0)
      return malformed(operand, resect::text("rows of ", tensor.extents[0], " values"),
                       resect::text("whole blocks of ", block->values, " for ", block->name));
    const std::uint64_t blocks = static_cast<std::uint64_t>(tensor.values()) / block->values;
    if (blocks > std::numeric_limits<std::uint64_t>::max() / block->bytes)
      return malformed(operand, "a byte count that overflows", "64 bits");
    n_bytes = blocks * block->bytes;
    return true;
  }

  // The data begin at the next multiple of the alignment; offsets count from there.
  bool layout() {
    if (n_tensors_ == 0) return true;
    const std::uint64_t unaligned = reader_.position();
    const std::uint64_t start = unaligned + (alignment_ - unaligned % alignment_) % alignment_;
    const std::uint64_t room = start < file_.size() ? file_.size() - start : 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const auto operand = resect::text("tensor ", shown(contents_.tensors[i].name).view());
      const place& p = places_[i];
      if (p.offset % alignment_ != 0)
        return malformed(operand, resect::text("offset ", p.offset),
                         resect::text("a multiple of ", alignment_));
      if (p.offset > room || p.n_bytes > room - p.offset)
        return malformed(operand, resect::text("offset ", p.offset, ", ", p.n_bytes, " bytes"),
                         resect::text("an end within the ", room, " bytes of data"));
      contents_.tensors[i].bytes =
          file_.subspan(static_cast<std::size_t>(start + p.offset), static_cast<std::size_t>(p.n_bytes));
    }
    return true;
  }

  bool overlaps() {
    std::vector<const gguf_tensor*> by_offset;
    for (const gguf_tensor& tensor : contents_.tensors) by_offset.push_back(&tensor);
    std::ranges::sort(by_offset, {}, [](const gguf_tensor* t) { return t->bytes.data(); });
    for (std::size_t i = 1; i < by_offset.size(); ++i) {
      const gguf_tensor& before = *by_offset[i - 1];
      const gguf_tensor& after = *by_offset[i];
      if (before.bytes.data() + before.bytes.size() > after.bytes.data())
        return malformed(resect::text("tensor ", shown(after.name).view()),
                         resect::text("bytes shared with ", shown(before.name).view()),
                         "tensors that do not overlap");
    }
    return true;
  }

  struct place {
    std::uint64_t offset, n_bytes;
  };

  std::span<const std::byte> file_;
  byte_reader reader_;
  std::uint64_t n_tensors_ = 0;
  std::uint64_t n_entries_ = 0;
  std::uint32_t alignment_ = 32;
  std::vector<place> places_;
  gguf_contents contents_;
  resect::error failure_;
};

}  // namespace detail
}  // namespace hosts
