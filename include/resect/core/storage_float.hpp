// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include <resect/core/ieee.hpp>

namespace RESECT_NAMESPACE {

// The result of converting a number that is too large for its type after rounding; infinities follow the same rule.
enum class overflow : std::uint8_t {
  non_finite,  // infinity, or NaN in a type that has no infinity; the sign stays
  saturate,    // the largest finite number of that sign
};

// The meaning of a type's largest exponent.
enum class top_exponent : std::uint8_t {
  infinity_and_nan,  // as in IEEE 754
  finite_but_one,    // ordinary numbers; only the largest code is NaN (OCP's "FN" types)
};

// A floating-point number that is stored in 1 or 2 bytes and computed with as float: sign, `ExponentBits` bits of
// exponent with bias 2^(ExponentBits−1) − 1, the rest mantissa. It is used through its aliases f16, bf16 (float16.hpp),
// fp8_e4m3 and fp8_e5m2 (float8.hpp). A storage type: there is no arithmetic and no comparison on purpose, write
// float(x) and say what you mean (`bits` compares codes). Trivially copyable and trivially constructible.
//
// To float and to double: exact. Of NaN every bit is CUDA's too: bf16's is moved as it is, that of the other types
// becomes the positive one whose other bits are all ones, 0x7fffffff.
// From float and from double: rounded once to the nearest, ties to the even code; subnormal results included, signed
// zeros kept. Too large after rounding: see `overflow`, by default what CUDA's constructors do. NaN becomes the positive
// one whose other bits are all ones; only from double to 8 bits it keeps its sign and, with an infinity in the type, the
// first bits of its payload, made quiet: as in CUDA.
// The code is integer arithmetic and products with powers of two that are exact, so the bits are the same on every
// compiler, flag, rounding mode and device, and in constant expressions.
// Source: IEEE 754-2019, 4.3.1, 5.4; Micikevicius et al., "FP8 formats for deep learning" (2022), table 1; OCP 8-bit
// floating point specification (OFP8) 1.0 (2023), 5.2, 5.3.
template <std::unsigned_integral Bits, int ExponentBits, top_exponent Top, overflow Default>
struct storage_float {
  Bits bits;

  static constexpr int digits = 8 * static_cast<int>(sizeof(Bits)) - ExponentBits;  // the leading one included
  static constexpr int mantissa_bits = digits - 1;
  static constexpr int bias = (1 << (ExponentBits - 1)) - 1;
  static constexpr bool has_infinity = Top == top_exponent::infinity_and_nan;
  static constexpr overflow default_overflow = Default;

  storage_float() = default;
  RESECT_HD constexpr explicit storage_float(float x, overflow o = Default) noexcept
      : bits(rounded<std::uint32_t, 23, 127>(bits_of(x), o)) {}
  RESECT_HD constexpr explicit storage_float(double x, overflow o = Default) noexcept
      : bits(rounded<std::uint64_t, 52, 1023>(bits_of(x), o)) {}

  RESECT_HD static constexpr storage_float from_bits(Bits code) noexcept {
    storage_float x{};
    x.bits = code;
    return x;
  }

  RESECT_HD constexpr explicit operator float() const noexcept {
    const std::uint32_t code = bits;
    if constexpr (bias == 127) {
      return float_of(code << (32 - 8 * sizeof(Bits)));
    } else {
      const std::uint32_t magnitude = code & largest_code;
      const std::uint32_t sign = (code & sign_bit) << (32 - 8 * sizeof(Bits));
      const bool special = magnitude > finite_code;
      const bool nan = magnitude > (has_infinity ? infinity_code : finite_code);
      const std::uint32_t wide = (magnitude << (23 - mantissa_bits)) + (std::uint32_t{127 - bias} << 23);
      // a subnormal code counts multiples of the smallest number
      const auto count = static_cast<float>(static_cast<std::int32_t>(magnitude));
      const std::uint32_t small = bits_of(count * float_of(std::uint32_t{128 - bias - mantissa_bits} << 23));
      // masks, because compilers vectorize no branch around a product
      const std::uint32_t is_small = 0u - static_cast<std::uint32_t>(magnitude < smallest_normal_code);
      const std::uint32_t is_nan = 0u - static_cast<std::uint32_t>(nan);
      const std::uint32_t number = (small & is_small) | (wide & ~is_small);
      return float_of(((number | (special ? 0x7f800000u : 0u) | sign) & ~is_nan) | (is_nan & 0x7fffffffu));
    }
  }
  RESECT_HD constexpr explicit operator double() const noexcept {
    return static_cast<double>(static_cast<float>(*this));
  }

  RESECT_HD constexpr bool is_nan() const noexcept {
    return (bits & largest_code) > (has_infinity ? infinity_code : finite_code);
  }
  RESECT_HD constexpr bool is_finite() const noexcept { return (bits & largest_code) <= finite_code; }

  // As in std::numeric_limits.
  RESECT_HD static constexpr storage_float max() noexcept { return from_bits(static_cast<Bits>(finite_code)); }
  RESECT_HD static constexpr storage_float lowest() noexcept {
    return from_bits(static_cast<Bits>(finite_code | sign_bit));
  }
  RESECT_HD static constexpr storage_float min() noexcept { return from_bits(static_cast<Bits>(smallest_normal_code)); }
  RESECT_HD static constexpr storage_float denorm_min() noexcept { return from_bits(Bits{1}); }
  RESECT_HD static constexpr storage_float quiet_nan() noexcept { return from_bits(static_cast<Bits>(largest_code)); }
  RESECT_HD static constexpr storage_float infinity() noexcept
    requires(Top == top_exponent::infinity_and_nan)
  {
    return from_bits(static_cast<Bits>(infinity_code));
  }
  // The distance from 1 to the next number, 2^(1−digits): twice the largest relative rounding error.
  RESECT_HD static constexpr float epsilon() noexcept { return float_of(std::uint32_t{128 - digits} << 23); }

 private:
  static constexpr std::uint32_t sign_bit = std::uint32_t{1} << (8 * sizeof(Bits) - 1);
  static constexpr std::uint32_t largest_code = sign_bit - 1;
  static constexpr std::uint32_t infinity_code = ((std::uint32_t{1} << ExponentBits) - 1) << mantissa_bits;
  static constexpr std::uint32_t finite_code = (has_infinity ? infinity_code : largest_code) - 1;
  static constexpr std::uint32_t smallest_normal_code = std::uint32_t{1} << mantissa_bits;

  // The code of an IEEE number with the given layout. Codes of one sign are ordered as the numbers are, so a carry
  // out of the mantissa goes into the exponent by itself, and a code above the largest finite one is an overflow.
  template <class Source, int SourceMantissa, int SourceBias>
  RESECT_HD static constexpr Bits rounded(Source x, overflow o) noexcept {
    constexpr int source_size = 8 * static_cast<int>(sizeof(Source));
    constexpr Source source_sign = Source{1} << (source_size - 1);
    constexpr Source source_infinity = source_sign - (Source{1} << SourceMantissa);
    constexpr int dropped = SourceMantissa - mantissa_bits;
    const Source magnitude = x & ~source_sign;
    const Source over = o == overflow::saturate ? finite_code : has_infinity ? infinity_code : largest_code;

    Source code;
    if constexpr (SourceBias == bias) {
      code = (magnitude + ((Source{1} << (dropped - 1)) - 1) + (magnitude >> dropped & 1)) >> dropped;
    } else {
      // A number below the smallest normal one loses more bits, one for each power of two; after mantissa_bits + 2
      // nothing is left, so subnormal sources need no care.
      constexpr Source first_normal = SourceBias - bias + 1;
      constexpr Source all = mantissa_bits + 2;
      const Source exponent = magnitude >> SourceMantissa;
      const Source significand = (magnitude & ((Source{1} << SourceMantissa) - 1)) | Source{1} << SourceMantissa;
      const Source below = exponent < first_normal ? first_normal - exponent : Source{0};
      const Source above = exponent > first_normal ? exponent - first_normal : Source{0};
      const Source shift = static_cast<Source>(dropped) + (below < all ? below : all);
      const Source half = Source{1} << (shift - 1);
      code = ((significand + (half - 1) + (significand >> shift & 1)) >> shift) + (above << mantissa_bits);
    }
    code = code > finite_code ? over : code;
    code |= x >> (source_size - 8 * static_cast<int>(sizeof(Bits))) & sign_bit;
    Source nan = largest_code;
    if constexpr (sizeof(Bits) == 1 && SourceMantissa == 52) {
      constexpr Source quiet = has_infinity ? infinity_code | std::uint32_t{1} << (mantissa_bits - 1) : largest_code;
      nan = (code & sign_bit) | quiet | (magnitude >> dropped & ((Source{1} << mantissa_bits) - 1));
    }
    code = magnitude > source_infinity ? nan : code;
    return static_cast<Bits>(code);
  }
};

namespace detail {
template <class T>
inline constexpr bool is_storage_float = false;
template <class Bits, int E, top_exponent Top, overflow Default>
inline constexpr bool is_storage_float<storage_float<Bits, E, Top, Default>> = true;

template <class Range>
using span_element = typename decltype(std::span{std::declval<Range&>()})::element_type;
template <class Range>
using element_of = std::remove_const_t<span_element<const Range>>;

// Whole groups first: a compiler turns loops of a fixed length into vector code at every level of optimisation.
template <class From, class To, class Map>
void convert_groups(const From* __restrict from, To* __restrict to, std::size_t n, Map map) noexcept {
  constexpr std::size_t group = 16;
  const std::size_t whole = n - n % group;
  for (std::size_t i = 0; i < whole; i += group)
    for (std::size_t j = 0; j < group; ++j) to[i + j] = map(from[i + j]);
  for (std::size_t i = whole; i < n; ++i) to[i] = map(from[i]);
}
}  // namespace detail

// A type that is stored in 1 or 2 bytes and computed with as float.
template <class T>
concept small_float = detail::is_storage_float<T>;
// A type that converts to float exactly: float and the small types.
template <class T>
concept widens_to_float = std::same_as<T, float> || small_float<T>;

// A contiguous range (std::vector, std::span, …) of floats or of a small type.
template <class Range>
concept widening_row = requires { typename detail::element_of<Range>; } && widens_to_float<detail::element_of<Range>>;
// A contiguous range of a small type.
template <class Range>
concept small_row = widening_row<Range> && small_float<detail::element_of<Range>>;

// Converts contiguous ranges element by element: to[i] = To(from[i]). The ranges must not overlap; the shorter one
// gives the length. From a small type to float, exact; or from float or double to a small type, rounded once as its
// constructor does. Never allocates; about a load, a few integer operations and a store an element, in vector code
// where the machine has shifts by variable counts (AVX2, NEON).
template <class In, class Out>
  requires(small_row<In> && std::same_as<detail::span_element<Out>, float>)
void convert(const In& from, Out&& to) noexcept {
  const std::span in{from};
  const std::span out{to};
  using element = typename decltype(in)::value_type;
  detail::convert_groups(in.data(), out.data(), in.size() < out.size() ? in.size() : out.size(),
                         [](element x) { return static_cast<float>(x); });
}
template <class In, class Out>
  requires(std::floating_point<detail::element_of<In>> && small_float<detail::span_element<Out>>)
void convert(const In& from, Out&& to, overflow o = detail::span_element<Out>::default_overflow) noexcept {
  const std::span in{from};
  const std::span out{to};
  using source = typename decltype(in)::value_type;
  using element = typename decltype(out)::value_type;
  detail::convert_groups(in.data(), out.data(), in.size() < out.size() ? in.size() : out.size(),
                         [o](source x) { return element{x, o}; });
}

// A row as floats: a row of floats is returned itself and must stay alive; a row of a small type is widened into
// `memory`, up to the length of `memory`.
template <class Row>
  requires(widening_row<std::remove_reference_t<Row>> &&
           (small_row<std::remove_reference_t<Row>> || std::is_lvalue_reference_v<Row> ||
            std::ranges::enable_borrowed_range<std::remove_cv_t<Row>>))
std::span<const float> widened(Row&& row, std::span<float> memory) noexcept {
  const std::span in{row};
  if constexpr (small_row<std::remove_reference_t<Row>>) {
    convert(in, memory);
    return memory.first(in.size() < memory.size() ? in.size() : memory.size());
  } else {
    return in;
  }
}

}  // namespace RESECT_NAMESPACE
