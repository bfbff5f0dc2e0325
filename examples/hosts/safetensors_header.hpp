// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace hosts {

// One tensor of a safetensors file. Bytes point into the file; extents are outermost first.
struct safetensor {
  std::string name;
  std::string_view dtype;
  std::vector<resect::index_t> extents;
  resect::index_t values = 0;
  std::span<const std::byte> bytes;
};

// All that a safetensors header says, in the order of the header.
struct safetensors_contents {
  std::vector<safetensor> tensors;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::unordered_map<std::string, std::size_t> index;
};

namespace detail {

struct dtype_size {
  std::string_view name;
  std::uint64_t bits;
};

inline constexpr std::array<dtype_size, 20> dtype_sizes = {{
    {"F32", 32},     {"F16", 16},     {"BF16", 16},   {"F64", 64},    {"I64", 64},    {"I32", 32},     {"I16", 16},
    {"I8", 8},       {"U64", 64},     {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8},     {"C64", 64},
    {"F8_E4M3", 8},  {"F8_E5M2", 8},  {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
}};

// Takes the events of nlohmann-json's parser and accepts exactly a safetensors header:
//   {"__metadata__": {key: string …}, name: {"dtype": string, "shape": [n …], "data_offsets": [begin, end]} …}
// No document is built, so memory stays in proportion to the header.
class safetensors_header_handler {
 public:
  using json = nlohmann::json;

  explicit safetensors_header_handler(std::span<const std::byte> data) : data_(data) {}

  safetensors_contents& contents() noexcept { return contents_; }
  const resect::error& failure() const noexcept { return failure_; }

  bool start_object(std::size_t) {
    switch (at_) {
      case place::start: at_ = place::top; return true;
      case place::top: return enter_entry();
      default: return unexpected("an object");
    }
  }

  bool key(std::string& text) {
    key_ = text;
    if (at_ == place::metadata && !metadata_keys_.insert(text).second) return twice();
    if (at_ == place::tensor) {
      const int field = text == "dtype" ? 1 : text == "shape" ? 2 : text == "data_offsets" ? 4 : 0;
      if (field == 0) return fail(tensor_operand(), shown(text).view(), "dtype, shape and data_offsets");
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

  bool string(std::string& text) {
    if (at_ == place::metadata) {
      contents_.metadata.emplace_back(key_, std::move(text));
      return true;
    }
    if (at_ != place::tensor || key_ != "dtype") return unexpected("a string");
    for (const dtype_size& known : dtype_sizes)
      if (known.name == text) {
        tensor_.dtype = known.name;
        bits_ = known.bits;
        return true;
      }
    failure_ = resect::error{resect::errc::unsupported, tensor_operand(), resect::text("dtype ", shown(text).view()),
                             "a dtype of the safetensors format"};
    return false;
  }

  bool number_unsigned(std::uint64_t value) {
    if (at_ == place::shape) {
      constexpr std::size_t most_dimensions = 16;
      if (value > static_cast<std::uint64_t>(std::numeric_limits<resect::index_t>::max()))
        return fail(tensor_operand(), resect::text("extent ", value), "63 bits");
      if (tensor_.extents.size() == most_dimensions)
        return fail(tensor_operand(), "more dimensions", resect::text("at most ", most_dimensions));
      tensor_.extents.push_back(static_cast<resect::index_t>(value));
      return true;
    }
    if (at_ == place::offsets) {
      if (n_offsets_ == 2) return fail(tensor_operand(), "more than two data_offsets", "a begin and an end");
      offsets_[n_offsets_++] = value;
      return true;
    }
    return unexpected("a number");
  }

  bool number_integer(std::int64_t value) { return not_a_count(resect::text(value)); }
  bool number_float(double value, const std::string&) { return not_a_count(resect::text(value)); }
  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a bool"); }
  bool binary(json::binary_t&) { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    return fail("safetensors header", resect::text("a JSON error at byte ", position), "JSON in UTF-8");
  }

 private:
  enum class place { start, top, metadata, tensor, shape, offsets, end };

  bool fail(resect::short_text<120> operand, resect::short_text<120> got, resect::short_text<120> wanted) {
    failure_ = resect::error{resect::errc::malformed, operand, got, wanted};
    return false;
  }
  bool unexpected(std::string_view what) {
    switch (at_) {
      case place::start: return fail("safetensors header", what, "an object");
      case place::top: return fail(resect::text("tensor ", shown(key_).view()), what, "an object");
      case place::metadata: return fail(resect::text("__metadata__ ", shown(key_).view()), what, "a string");
      default: return fail(tensor_operand(), resect::text(what, " in ", key_), "a dtype name or a list of counts");
    }
  }
  bool not_a_count(resect::short_text<120> got) {
    if (at_ != place::shape && at_ != place::offsets) return unexpected("a number");
    return fail(tensor_operand(), resect::text(got.view(), " in ", key_), "integers >= 0");
  }
  bool twice() {
    return fail(resect::text("safetensors key ", shown(key_).view()), "a second one", "keys that differ");
  }
  resect::short_text<120> tensor_operand() const { return resect::text("tensor ", shown(tensor_.name).view()); }

  bool enter_entry() {
    if (key_ == "__metadata__") {
      if (std::exchange(metadata_seen_, true)) return twice();
      at_ = place::metadata;
      return true;
    }
    if (key_.empty() || key_.find('\0') != std::string::npos)
      return fail("safetensors key", key_.empty() ? "an empty name" : shown(key_).view(), "a name without NUL");
    if (!contents_.index.try_emplace(key_, contents_.tensors.size()).second) return twice();
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
      return fail(tensor_operand(), resect::text(n_offsets_, " data_offsets"), "a begin and an end");
    std::uint64_t values = 1;
    constexpr std::uint64_t most_values = std::uint64_t{std::numeric_limits<resect::index_t>::max()} / 64;
    for (const resect::index_t extent : tensor_.extents) {
      const auto n = static_cast<std::uint64_t>(extent);
      if (n != 0 && values > most_values / n)
        return fail(tensor_operand(), "an element count that overflows", resect::text("at most ", most_values));
      values *= n;
    }
    const auto [begin, end] = offsets_;
    if (begin > end || end > data_.size())
      return fail(tensor_operand(), resect::text("data_offsets ", begin, ", ", end),
                  resect::text("a range within the ", data_.size(), " bytes of data"));
    if ((values * bits_) % 8 != 0 || values * bits_ / 8 != end - begin)
      return fail(tensor_operand(), resect::text(end - begin, " bytes"),
                  resect::text(values * bits_, " bits for ", values, " values of ", tensor_.dtype));
    tensor_.values = static_cast<resect::index_t>(values);
    tensor_.bytes = data_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    contents_.tensors.push_back(std::move(tensor_));
    return true;
  }

  std::span<const std::byte> data_;
  safetensors_contents contents_;
  resect::error failure_;
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
}  // namespace hosts
