// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/io/bytes.hpp>

// NumPy's .npy files from bytes that nobody vouches for (format: NumPy enhancement proposal 1, versions 1.0, 2.0 and
// 3.0; numpy/lib/format.py). Nothing here touches a file, evaluates Python or reads pickled objects.
namespace RESECT_NAMESPACE::io {

// Element types that are understood: little-endian numbers, and truth values of one byte.
enum class npy_type : std::uint8_t { f64, f32, f16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

// Which index runs fastest: the last one (c, NumPy's default) or the first one (fortran).
enum class npy_order : std::uint8_t { c, fortran };

// What a .npy file holds. `bytes` are the elements as stored; they point into the file's bytes and number exactly
// size · size_of(type).
struct npy_array {
  npy_type type = npy_type::f64;
  npy_order order = npy_order::c;
  std::vector<index_t> shape;  // empty: a single number
  index_t size = 0;            // elements
  std::span<const std::byte> bytes;
};

// Bytes that an element takes.
constexpr index_t size_of(npy_type type) noexcept {
  constexpr std::array<index_t, 12> sizes{8, 4, 2, 8, 4, 2, 1, 8, 4, 2, 1, 1};
  return sizes[static_cast<std::size_t>(type)];
}

// What errors call it.
constexpr std::string_view name(npy_type type) noexcept {
  constexpr std::array<std::string_view, 12> names{"f64", "f32", "f16", "i64", "i32", "i16",
                                                   "i8",  "u64", "u32", "u16", "u8",  "boolean"};
  return names[static_cast<std::size_t>(type)];
}

// C++ types that elements are read as, each from its own npy_type only: nothing is converted.
template <class T>
concept npy_element = std::same_as<T, double> || std::same_as<T, float> || std::same_as<T, std::int64_t> ||
    std::same_as<T, std::int32_t> || std::same_as<T, std::int16_t> || std::same_as<T, std::int8_t> ||
    std::same_as<T, std::uint64_t> || std::same_as<T, std::uint32_t> || std::same_as<T, std::uint16_t> ||
    std::same_as<T, std::uint8_t>;

namespace detail {

struct npy_descr_type {
  std::string_view descr;
  npy_type type;
};
inline constexpr std::array<npy_descr_type, 12> npy_descrs{{
    {"<f8", npy_type::f64},
    {"<f4", npy_type::f32},
    {"<f2", npy_type::f16},
    {"<i8", npy_type::i64},
    {"<i4", npy_type::i32},
    {"<i2", npy_type::i16},
    {"|i1", npy_type::i8},
    {"<u8", npy_type::u64},
    {"<u4", npy_type::u32},
    {"<u2", npy_type::u16},
    {"|u1", npy_type::u8},
    {"|b1", npy_type::boolean},
}};

template <npy_element T>
constexpr npy_type npy_type_of() noexcept {
  if constexpr (std::same_as<T, double>) return npy_type::f64;
  else if constexpr (std::same_as<T, float>) return npy_type::f32;
  else {
    constexpr std::array<npy_type, 4> with_sign{npy_type::i8, npy_type::i16, npy_type::i32, npy_type::i64};
    constexpr std::array<npy_type, 4> without{npy_type::u8, npy_type::u16, npy_type::u32, npy_type::u64};
    return (std::signed_integral<T> ? with_sign : without)[static_cast<std::size_t>(std::countr_zero(sizeof(T)))];
  }
}

// Reads the one Python literal that a header is: {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }
class npy_header_parser {
 public:
  explicit npy_header_parser(std::string_view header) noexcept : text_(header) {}

  result<npy_array> parse() {
    if (dictionary()) return std::move(array_);
    return failure_;
  }

 private:
  bool fail(errc code, short_text<120> operand, short_text<120> got, short_text<120> wanted) {
    failure_ = error{code, operand, got, wanted};
    return false;
  }
  bool malformed(std::string_view wanted) {
    const short_text<120> here = at_ < text_.size() ? text("byte ", at_, " is ", shown(text_.substr(at_, 1)).view())
                                                    : short_text<120>{"its end"};
    return fail(errc::malformed, "npy header", here, wanted);
  }
  static short_text<40> shown(std::string_view part) noexcept { return io::shown<32>(part); }

  void blanks() noexcept {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool next(char c) noexcept {
    blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) noexcept {
    blanks();
    if (!text_.substr(at_).starts_with(w)) return false;
    at_ += w.size();
    return true;
  }

  // A string without escapes.
  bool string(std::string_view& value) {
    blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') return malformed("a string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) return malformed("a string that ends");
    value = text_.substr(at_ + 1, end - at_ - 1);
    if (value.find('\\') != value.npos) return malformed("a string without escapes");
    at_ = end + 1;
    return true;
  }

  bool dictionary() {
    if (!next('{')) return malformed("'{'");
    int seen = 0;
    while (!next('}')) {
      std::string_view key;
      if (!string(key)) return false;
      const int field = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
      if (field == 0)
        return fail(errc::malformed, "npy header", text("the key ", shown(key).view()),
                    "descr, fortran_order and shape");
      if ((seen & field) != 0)
        return fail(errc::malformed, "npy header", text("a second ", shown(key).view()), "each key once");
      seen |= field;
      if (!next(':')) return malformed("':'");
      if (field == 1 ? !descr() : field == 2 ? !order() : !shape()) return false;
      if (next(',')) continue;
      if (!next('}')) return malformed("',' or '}'");
      break;
    }
    if (seen != 7) return fail(errc::malformed, "npy header", "a missing key", "descr, fortran_order and shape");
    blanks();
    if (at_ + 1 != text_.size() || text_[at_] != '\n') return malformed("blanks and one line feed at the end");
    return true;
  }

  bool descr() {
    blanks();
    if (at_ < text_.size() && text_[at_] == '[')
      return fail(errc::unsupported, "npy descr", "a structure", "one number an element");
    std::string_view value;
    if (!string(value)) return false;
    for (const npy_descr_type& known : npy_descrs)
      if (known.descr == value) {
        array_.type = known.type;
        return true;
      }
    return fail(errc::unsupported, "npy descr", shown(value).view(),
                "<f8 <f4 <f2 <i8 <i4 <i2 |i1 <u8 <u4 <u2 |u1 or |b1");
  }

  bool order() {
    if (word("False")) array_.order = npy_order::c;
    else if (word("True")) array_.order = npy_order::fortran;
    else return malformed("False or True");
    return true;
  }

  // (), (3,), (2, 3) or (2, 3,); without a comma one number in brackets is no tuple.
  bool shape() {
    if (!next('(')) return malformed("'('");
    for (bool comma = true; !next(')');) {
      if (!comma) return malformed("',' or ')'");
      index_t extent = 0;
      if (!number(extent)) return false;
      constexpr std::size_t most = 32;
      if (array_.shape.size() == most)
        return fail(errc::unsupported, "npy shape", "more dimensions", text("at most ", most));
      array_.shape.push_back(extent);
      comma = next(',');
      if (!comma && array_.shape.size() == 1) return malformed("',' after the first extent");
    }
    std::uint64_t size = std::find(array_.shape.begin(), array_.shape.end(), 0) == array_.shape.end() ? 1 : 0;
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<index_t>::max()) / 8;
    for (const index_t extent : array_.shape) {
      const auto n = static_cast<std::uint64_t>(extent);
      if (size != 0 && size > largest / n)
        return fail(errc::malformed, "npy shape", "an element count that overflows", text("at most ", largest));
      size *= n;
    }
    array_.size = static_cast<index_t>(size);
    return true;
  }

  bool number(index_t& value) {
    blanks();
    const std::size_t begin = at_;
    value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const index_t digit = text_[at_] - '0';
      if (value > (std::numeric_limits<index_t>::max() - digit) / 10)
        return fail(errc::malformed, "npy shape", "an extent that overflows", "63 bits");
      value = value * 10 + digit;
    }
    if (at_ == begin) return malformed("an extent of 0 or more");
    if (at_ - begin > 1 && text_[begin] == '0')
      return fail(errc::malformed, "npy shape", "an extent with a leading 0", "a decimal number");
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  npy_array array_;
  error failure_;
};

}  // namespace detail

// Reads the header of a .npy file and finds its elements, which stay where they are. The file must be whole: not a
// byte less or more than its header says.
// Errors: malformed (not that format, a header that is no such literal, a key missing or twice, an overflow, a size
// that differs); unsupported (other versions, headers above 10,000 bytes, big-endian numbers, structures, objects,
// strings, complex numbers, more than 32 dimensions).
// Cost: linear in the header; memory for the shape alone.
inline result<npy_array> try_read_npy(std::span<const std::byte> file) {
  constexpr std::size_t before_length = 8;
  constexpr std::string_view magic{"\x93NUMPY", 6};
  constexpr std::uint64_t largest_header = 10'000;  // what NumPy itself reads unless told otherwise
  if (file.size() < before_length || std::memcmp(file.data(), magic.data(), magic.size()) != 0)
    return error{errc::malformed, "npy magic", text("a file of ", file.size(), " bytes"),
                 "one that begins with \\x93NUMPY"};
  const auto major = std::to_integer<int>(file[6]);
  const auto minor = std::to_integer<int>(file[7]);
  if (major < 1 || major > 3 || minor != 0)
    return error{errc::unsupported, "npy version", text(major, ".", minor), "1.0, 2.0 or 3.0"};
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  if (file.size() < before_length + length_bytes)
    return error{errc::malformed, "npy header length", text("a file of ", file.size(), " bytes"),
                 text(before_length + length_bytes, " or more")};
  const std::byte* stored = file.data() + before_length;
  const std::uint64_t length = major == 1 ? load_little<std::uint16_t>(stored) : load_little<std::uint32_t>(stored);
  if (length > largest_header)
    return error{errc::unsupported, "npy header", text(length, " bytes"), text("at most ", largest_header)};
  const std::span<const std::byte> rest = file.subspan(before_length + length_bytes);
  if (length > rest.size())
    return error{errc::malformed, "npy header", text(length, " bytes"),
                 text("at most the ", rest.size(), " of the file")};
  const auto header = rest.first(static_cast<std::size_t>(length));
  auto array = detail::npy_header_parser{as_text(header)}.parse();
  if (!array) return array;
  array->bytes = rest.subspan(header.size());
  if (static_cast<std::uint64_t>(array->size) * static_cast<std::uint64_t>(size_of(array->type)) != array->bytes.size())
    return error{errc::malformed, "npy elements", text(array->bytes.size(), " bytes"),
                 text(array->size, " elements of ", name(array->type))};
  return array;
}

// The elements in C order (the last index runs fastest), whatever order they are stored in.
// Errors: unsupported where the array is of another type.
// Cost: one copy; memory in proportion to the elements that are there.
template <npy_element T>
result<std::vector<T>> try_npy_values(const npy_array& array) {
  if (array.type != detail::npy_type_of<T>())
    return error{errc::unsupported, "npy elements", name(array.type), name(detail::npy_type_of<T>())};
  std::vector<T> values(static_cast<std::size_t>(array.size));
  const auto stored = [&](std::size_t i) {
    std::array<std::byte, sizeof(T)> bytes;
    std::memcpy(bytes.data(), array.bytes.data() + i * sizeof(T), sizeof(T));
    if constexpr (std::endian::native == std::endian::big) std::reverse(bytes.begin(), bytes.end());
    return std::bit_cast<T>(bytes);
  };
  if (array.order == npy_order::c || array.shape.size() < 2) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = stored(i);
    return result<std::vector<T>>{std::move(values)};
  }
  std::vector<index_t> at(array.shape.size(), 0);  // the multi-index of element i in C order
  index_t from = 0;                                // where that element is stored
  for (T& value : values) {
    value = stored(static_cast<std::size_t>(from));
    index_t stride = array.size;
    for (std::size_t d = array.shape.size(); d-- > 0;) {
      stride /= array.shape[d];
      from += stride;
      if (++at[d] < array.shape[d]) break;
      from -= at[d] * stride;
      at[d] = 0;
    }
  }
  return result<std::vector<T>>{std::move(values)};
}

#if RESECT_EXCEPTIONS
inline npy_array read_npy(std::span<const std::byte> file) { return value_or_throw(try_read_npy(file)); }
template <npy_element T>
std::vector<T> npy_values(const npy_array& array) {
  return value_or_throw(try_npy_values<T>(array));
}
#endif

}  // namespace RESECT_NAMESPACE::io
