// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/io/bytes.hpp>
#include <resect/io/safetensors_contents.hpp>

// safetensors files from bytes that nobody vouches for (format: Hugging Face, safetensors, README). Nothing here
// touches a file or decodes a tensor. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {
namespace detail {

struct safetensors_dtype {
  std::string_view name;
  std::uint64_t bits;
};

inline constexpr std::array<safetensors_dtype, 20> safetensors_dtypes = {{
    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F64", 64},    {"I64", 64},    {"I32", 32}, {"I16", 16},
    {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8}, {"C64", 64},
    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
}};

// Takes the events of nlohmann-json's parser and accepts exactly a safetensors header:
//   {"__metadata__": {key: string …}, name: {"dtype": string, "shape": [n …], "data_offsets": [begin, end]} …}
// No document is built, so memory stays in proportion to the header.
class safetensors_header_handler {
 public:
  using json = nlohmann::json;

  explicit safetensors_header_handler(std::span<const std::byte> data) : data_(data) {}

  // What the header says, once the parser is through with it and where the tensors' bytes, one after the other, are the
  // whole data part.
  result<safetensors_contents> finish() {
    if (!check_tiling()) return failure_;
    return std::move(contents_);
  }
  const error& failure() const noexcept { return failure_; }

  bool start_object(std::size_t) {
    switch (at_) {
      case place::start:
        at_ = place::top;
        return true;
      case place::top:
        return enter_entry();
      default:
        return unexpected("an object");
    }
  }

  bool key(std::string& name) {
    key_ = name;
    if (at_ == place::metadata && !metadata_keys_.insert(name).second) return twice();
    if (at_ == place::tensor) {
      const int field = name == "dtype" ? 1 : name == "shape" ? 2 : name == "data_offsets" ? 4 : 0;
      if (field == 0) return fail(tensor_operand(), shown(name).view(), "dtype, shape and data_offsets");
      if ((seen_ & field) != 0) return twice();
      seen_ |= field;
    }
    return true;
  }

  bool end_object() {
    if (at_ == place::tensor && !finish_tensor()) return false;
    at_ = at_ == place::top ? place::end : place::top;
    return true;
  }

  bool start_array(std::size_t) {
    if (at_ != place::tensor || (key_ != "shape" && key_ != "data_offsets")) return unexpected("an array");
    at_ = key_ == "shape" ? place::shape : place::offsets;
    return true;
  }

  bool end_array() {
    at_ = place::tensor;
    return true;
  }

  bool string(std::string& value) {
    if (at_ == place::metadata) {
      contents_.metadata_.emplace_back(key_, std::move(value));
      return true;
    }
    if (at_ != place::tensor || key_ != "dtype") return unexpected("a string");
    for (const safetensors_dtype& known : safetensors_dtypes)
      if (known.name == value) {
        tensor_.dtype = known.name;
        bits_ = known.bits;
        return true;
      }
    failure_ = error{errc::unsupported, tensor_operand(), text("dtype ", shown(value).view()),
                     "a dtype of the safetensors format"};
    return false;
  }

  bool number_unsigned(std::uint64_t value) {
    if (at_ == place::shape) {
      constexpr std::size_t most_dimensions = 16;
      if (value > static_cast<std::uint64_t>(std::numeric_limits<index_t>::max()))
        return fail(tensor_operand(), text("extent ", value), "63 bits");
      if (tensor_.extents.size() == most_dimensions)
        return fail(tensor_operand(), "more dimensions", text("at most ", most_dimensions));
      tensor_.extents.push_back(static_cast<index_t>(value));
      return true;
    }
    if (at_ == place::offsets) {
      if (n_offsets_ == 2) return fail(tensor_operand(), "more than two data_offsets", "a begin and an end");
      offsets_[n_offsets_++] = value;
      return true;
    }
    return unexpected("a number");
  }

  bool number_integer(std::int64_t value) { return not_a_count(text(value)); }
  bool number_float(double value, const std::string&) { return not_a_count(text(value)); }
  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a bool"); }
  bool binary(json::binary_t&) { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    return fail("safetensors header", text("a JSON error at byte ", position), "JSON in UTF-8");
  }

 private:
  enum class place { start, top, metadata, tensor, shape, offsets, end };

  bool fail(short_text<120> operand, short_text<120> got, short_text<120> wanted) {
    failure_ = error{errc::malformed, operand, got, wanted};
    return false;
  }
  bool unexpected(std::string_view what) {
    switch (at_) {
      case place::start:
        return fail("safetensors header", what, "an object");
      case place::top:
        return fail(text("tensor ", shown(key_).view()), what, "an object");
      case place::metadata:
        return fail(text("__metadata__ ", shown(key_).view()), what, "a string");
      default:
        return fail(tensor_operand(), text(what, " in ", key_), "a dtype name or a list of counts");
    }
  }
  bool not_a_count(short_text<120> got) {
    if (at_ != place::shape && at_ != place::offsets) return unexpected("a number");
    return fail(tensor_operand(), text(got.view(), " in ", key_), "integers >= 0");
  }
  bool twice() { return fail(text("safetensors key ", shown(key_).view()), "a second one", "keys that differ"); }
  short_text<120> tensor_operand() const { return text("tensor ", shown(tensor_.name).view()); }

  bool enter_entry() {
    if (key_ == "__metadata__") {
      if (std::exchange(metadata_seen_, true)) return twice();
      at_ = place::metadata;
      return true;
    }
    if (key_.empty() || key_.find('\0') != std::string::npos)
      return fail("safetensors key", key_.empty() ? "an empty name" : shown(key_).view(), "a name without NUL");
    if (!contents_.index_.try_emplace(key_, contents_.tensors_.size()).second) return twice();
    tensor_ = safetensor{};
    tensor_.name = key_;
    seen_ = 0;
    n_offsets_ = 0;
    at_ = place::tensor;
    return true;
  }

  bool finish_tensor() {
    if (seen_ != 7) return fail(tensor_operand(), "an incomplete entry", "dtype, shape and data_offsets");
    if (tensor_.dtype.empty() || n_offsets_ != 2)
      return fail(tensor_operand(), text(n_offsets_, " data_offsets"), "a begin and an end");
    std::uint64_t values = 1;
    constexpr std::uint64_t most_values = std::uint64_t{std::numeric_limits<index_t>::max()} / 64;
    for (const index_t extent : tensor_.extents) {
      const auto n = static_cast<std::uint64_t>(extent);
      if (n != 0 && values > most_values / n)
        return fail(tensor_operand(), "an element count that overflows", text("at most ", most_values));
      values *= n;
    }
    const auto [begin, end] = offsets_;
    if (begin > end || end > data_.size())
      return fail(tensor_operand(), text("data_offsets ", begin, ", ", end),
                  text("a range within the ", data_.size(), " bytes of data"));
    if ((values * bits_) % 8 != 0 || values * bits_ / 8 != end - begin)
      return fail(tensor_operand(), text(end - begin, " bytes"),
                  text(values * bits_, " bits for ", values, " values of ", tensor_.dtype));
    tensor_.values = static_cast<index_t>(values);
    tensor_.bytes = data_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    contents_.tensors_.push_back(std::move(tensor_));
    return true;
  }

  bool check_tiling() {
    std::vector<const safetensor*> by_offset;
    for (const safetensor& tensor : contents_.tensors_) by_offset.push_back(&tensor);
    std::ranges::sort(by_offset, {}, [](const safetensor* t) { return std::pair{t->bytes.data(), t->bytes.size()}; });
    const std::byte* expected = data_.data();
    for (const safetensor* tensor : by_offset) {
      if (tensor->bytes.data() != expected)
        return fail(text("tensor ", shown(tensor->name).view()),
                    text("a begin at ", tensor->bytes.data() - data_.data()),
                    text(expected - data_.data(), ", the end of the tensor before"));
      expected += tensor->bytes.size();
    }
    if (expected != data_.data() + data_.size())
      return fail("safetensors data", text(data_.size(), " bytes"),
                  text(expected - data_.data(), ", the end of the last tensor"));
    return true;
  }

  std::span<const std::byte> data_;
  safetensors_contents contents_;
  error failure_;
  place at_ = place::start;
  std::string key_;
  bool metadata_seen_ = false;
  std::unordered_set<std::string> metadata_keys_;
  safetensor tensor_;
  std::uint64_t bits_ = 0;
  int seen_ = 0;
  std::array<std::uint64_t, 2> offsets_{};
  std::size_t n_offsets_ = 0;
};

}  // namespace detail

// Finds what a safetensors file holds: its tensors, with dtype, extents and bytes, which stay where they are, and its
// metadata. The file must be whole: behind the header stand the tensors' bytes, one after the other in any order, and
// nothing else.
// Errors: malformed (not that format; a header of more than 100,000,000 bytes, or that is no JSON of that form; a key
// that comes twice; a name that is empty or holds NUL; a count that overflows; more than 16 dimensions; bytes that are
// missing, left over or shared, or that do not fit dtype and extents); unsupported (a dtype that is not the format's).
// Cost: linear in the header, beside sorting the tensors; memory in proportion to the header.
inline result<safetensors_contents> try_read_safetensors(std::span<const std::byte> file) {
  constexpr std::uint64_t largest_header = 100'000'000;
  const auto refuse = [](short_text<120> got, short_text<120> wanted) {
    return error{errc::malformed, "safetensors header", got, wanted};
  };
  byte_reader reader{file};
  std::uint64_t size = 0;
  std::span<const std::byte> header;
  if (!reader.read(size)) return refuse(text("a file of ", file.size(), " bytes"), "8 or more");
  if (size > largest_header) return refuse(text(size, " bytes"), text("at most ", largest_header));
  if (!reader.take(size, header))
    return refuse(text(size, " bytes"), text("at most the ", reader.remaining(), " bytes of the file"));
  const std::string_view json = as_text(header);
  if (!json.starts_with('{')) return refuse("no '{' at its start", "a JSON object");
  if (const std::size_t nul = json.find('\0'); nul != json.npos)  // where the JSON parser would stop
    return refuse(text("a NUL byte at ", nul), "JSON in UTF-8");
  detail::safetensors_header_handler handler{file.subspan(reader.position())};
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) return handler.failure();
  return handler.finish();
}

#if RESECT_EXCEPTIONS
inline safetensors_contents read_safetensors(std::span<const std::byte> file) {
  return value_or_throw(try_read_safetensors(file));
}
#endif

}  // namespace RESECT_NAMESPACE::io
