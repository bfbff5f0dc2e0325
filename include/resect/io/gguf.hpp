// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/io/bytes.hpp>
#include <resect/io/ggml_type.hpp>
#include <resect/io/gguf_contents.hpp>

// GGUF files from bytes that nobody vouches for (format: ggml-org, ggml/docs/gguf.md, versions 2 and 3). Nothing here
// touches a file or decodes a tensor.
namespace RESECT_NAMESPACE::io {
namespace detail {

// Reads a GGUF file from front to back and stops at the first thing that is wrong with it. Every number
// is checked against what the file can hold before it is used, so memory stays in proportion to the file.
class gguf_parser {
 public:
  explicit gguf_parser(std::span<const std::byte> file) : file_(file), reader_(file) {}

  result<gguf_contents> parse() {
    if (header() && metadata() && alignment() && tensor_infos() && layout() && overlaps()) return std::move(contents_);
    return failure_;
  }

 private:
  using label = short_text<120>;

  bool fail(errc code, const label& operand, const label& got, const label& wanted) {
    failure_ = error{code, operand, got, wanted};
    return false;
  }
  bool malformed(const label& operand, const label& got, const label& wanted) {
    return fail(errc::malformed, operand, got, wanted);
  }
  bool cut_short(const label& operand, std::uint64_t needed) {
    return malformed(operand, text(reader_.remaining(), " bytes before the end of the file"),
                     text("at least ", needed));
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
    if (!number("GGUF version", contents_.version_)) return false;
    if (const std::uint32_t v = contents_.version_; v != 2 && v != 3) {
      if (v != 0 && (v & 0xffffu) == 0)
        return fail(errc::unsupported, "GGUF version", "a big-endian file", "a little-endian one");
      return fail(errc::unsupported, "GGUF version", text(v), "2 or 3");
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
    return malformed(operand, text(value), text("at most ", most, ", as many as the file could hold"));
  }

  bool metadata() {
    for (std::uint64_t i = 0; i < n_entries_; ++i) {
      gguf_value entry{};
      if (!identifier(text("metadata key ", i + 1, " of ", n_entries_), entry.key)) return false;
      const auto operand = text("metadata ", shown(entry.key).view());
      if (!contents_.key_index_.try_emplace(entry.key, contents_.metadata_.size()).second)
        return malformed(operand, "a key that came before", "keys that differ");
      if (!kind(operand, entry.kind)) return false;
      entry.element = entry.kind;
      entry.count = 1;
      if (entry.kind == gguf_kind::array) {
        if (!kind(operand, entry.element) || !number(operand, entry.count)) return false;
        if (entry.element == gguf_kind::array)
          return fail(errc::unsupported, operand, "an array of arrays", "no nested arrays");
      }
      if (!payload(operand, entry)) return false;
      contents_.metadata_.push_back(entry);
    }
    return true;
  }

  bool kind(const label& operand, gguf_kind& value) {
    std::uint32_t id = 0;
    if (!number(operand, id)) return false;
    if (id >= gguf_kind_names.size()) return malformed(operand, text("value kind ", id), "0 to 12");
    value = static_cast<gguf_kind>(id);
    return true;
  }

  static std::uint64_t size_of(gguf_kind kind) noexcept {
    switch (kind) {
      case gguf_kind::u8:
      case gguf_kind::i8:
      case gguf_kind::boolean:
        return 1;
      case gguf_kind::u16:
      case gguf_kind::i16:
        return 2;
      case gguf_kind::u32:
      case gguf_kind::i32:
      case gguf_kind::f32:
        return 4;
      default:
        return 8;  // of a string, its length field
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
      return malformed(operand, text(entry.count, " elements of ", name(entry.element)),
                       text("at most the ", reader_.remaining(), " bytes before the end of the file"));
    if (entry.element == gguf_kind::string) return string_elements(operand, entry);
    reader_.take(entry.count * element_size, entry.bytes);
    if (entry.element == gguf_kind::boolean)
      for (const std::byte b : entry.bytes)
        if (b > std::byte{1})
          return malformed(operand, text("a bool stored as ", std::to_integer<unsigned>(b)), "0 or 1");
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
    const auto found = contents_.key_index_.find(key);
    if (found == contents_.key_index_.end()) return true;
    const gguf_value& entry = contents_.metadata_[found->second];
    const auto operand = text("metadata ", shown(key).view());
    if (entry.kind != gguf_kind::u32) return malformed(operand, name(entry.kind), "u32");
    alignment_ = load_little<std::uint32_t>(entry.bytes.data());
    if (std::has_single_bit(alignment_) && alignment_ >= 8) return true;
    return malformed(operand, text(alignment_), "a power of two, 8 or more");
  }

  bool tensor_infos() {
    for (std::uint64_t i = 0; i < n_tensors_; ++i) {
      gguf_tensor tensor{};
      if (!identifier(text("name of tensor ", i + 1, " of ", n_tensors_), tensor.name)) return false;
      const auto operand = text("tensor ", shown(tensor.name).view());
      if (!contents_.tensor_index_.try_emplace(tensor.name, contents_.tensors_.size()).second)
        return malformed(operand, "a name that came before", "names that differ");
      std::uint64_t offset = 0;
      std::uint64_t n_bytes = 0;
      if (!shape(operand, tensor) || !type(operand, tensor, n_bytes) || !number(operand, offset)) return false;
      contents_.tensors_.push_back(tensor);
      places_.push_back({offset, n_bytes});
    }
    return true;
  }

  bool shape(const label& operand, gguf_tensor& tensor) {
    std::uint32_t n_dims = 0;
    if (!number(operand, n_dims)) return false;
    if (n_dims < 1 || n_dims > 4) return malformed(operand, text(n_dims, " dimensions"), "1 to 4");
    tensor.n_dims = static_cast<int>(n_dims);
    tensor.extents.fill(1);
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<index_t>::max());
    std::uint64_t product = 1;
    for (std::uint32_t d = 0; d < n_dims; ++d) {
      std::uint64_t extent = 0;
      if (!number(operand, extent)) return false;
      if (extent == 0 || extent > largest)
        return malformed(operand, text("extent ", static_cast<std::int64_t>(extent), " in dimension ", d),
                         "extents of 1 or more");
      if (extent > largest / product)
        return malformed(operand, text("an element count that overflows in dimension ", d), "63 bits");
      product *= extent;
      tensor.extents[d] = static_cast<index_t>(extent);
    }
    return true;
  }

  bool type(const label& operand, gguf_tensor& tensor, std::uint64_t& n_bytes) {
    std::uint32_t id = 0;
    if (!number(operand, id)) return false;
    const ggml_block* block = find_ggml_block(id);
    if (block == nullptr)
      return fail(errc::unsupported, operand, text("ggml type ", id),
                  "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K or Q6_K");
    tensor.type = block->type;
    if (tensor.extents[0] % block->values != 0)
      return malformed(operand, text("rows of ", tensor.extents[0], " values"),
                       text("whole blocks of ", block->values, " for ", block->name));
    const auto blocks = static_cast<std::uint64_t>(tensor.values() / block->values);
    const auto block_bytes = static_cast<std::uint64_t>(block->bytes);
    if (blocks > std::numeric_limits<std::uint64_t>::max() / block_bytes)
      return malformed(operand, "a byte count that overflows", "64 bits");
    n_bytes = blocks * block_bytes;
    return true;
  }

  // The data begin at the next multiple of the alignment; offsets count from there.
  bool layout() {
    if (n_tensors_ == 0) return true;
    const std::uint64_t unaligned = reader_.position();
    const std::uint64_t start = unaligned + (alignment_ - unaligned % alignment_) % alignment_;
    const std::uint64_t room = start < file_.size() ? file_.size() - start : 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const auto operand = text("tensor ", shown(contents_.tensors_[i].name).view());
      const place& p = places_[i];
      if (p.offset % alignment_ != 0)
        return malformed(operand, text("offset ", p.offset), text("a multiple of ", alignment_));
      if (p.offset > room || p.n_bytes > room - p.offset)
        return malformed(operand, text("offset ", p.offset, ", ", p.n_bytes, " bytes"),
                         text("an end within the ", room, " bytes of data"));
      contents_.tensors_[i].bytes =
          file_.subspan(static_cast<std::size_t>(start + p.offset), static_cast<std::size_t>(p.n_bytes));
    }
    return true;
  }

  bool overlaps() {
    std::vector<const gguf_tensor*> by_offset;
    for (const gguf_tensor& tensor : contents_.tensors_) by_offset.push_back(&tensor);
    std::ranges::sort(by_offset, {}, [](const gguf_tensor* t) { return t->bytes.data(); });
    for (std::size_t i = 1; i < by_offset.size(); ++i) {
      const gguf_tensor& before = *by_offset[i - 1];
      const gguf_tensor& after = *by_offset[i];
      if (before.bytes.data() + before.bytes.size() > after.bytes.data())
        return malformed(text("tensor ", shown(after.name).view()),
                         text("bytes shared with ", shown(before.name).view()), "tensors that do not overlap");
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
  error failure_;
};

}  // namespace detail

// Finds what a GGUF file holds: its metadata and its tensors, with type, extents and bytes, which stay where they are.
// The file must hold all that its header says; what follows the last tensor is not looked at.
// Errors: malformed (not that format; a length, count, extent or offset that the file cannot hold; a name or key that
// is empty, holds NUL or comes twice; rows that are no whole blocks; tensors that overlap); unsupported (other
// versions, big-endian files, arrays of arrays, element types that ggml_type does not have).
// Cost: linear in the metadata and in the number of tensors; memory in proportion to them.
inline result<gguf_contents> try_read_gguf(std::span<const std::byte> file) {
  return detail::gguf_parser{file}.parse();
}

#if RESECT_EXCEPTIONS
inline gguf_contents read_gguf(std::span<const std::byte> file) { return value_or_throw(try_read_gguf(file)); }
#endif

}  // namespace RESECT_NAMESPACE::io
