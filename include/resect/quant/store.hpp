// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/quant/grid.hpp>

// Stores: how the parameters of groups are kept, and so which of them exist. A search asks its store.
namespace RESECT_NAMESPACE::quant {

// What groups share that share nothing.
struct no_header {};

// A store S of parameters P:
//   header, header_bits         what the groups of a super-block share (trivially copyable), and its bits, at most 64
//   super_groups                neighbouring groups of a super-block, the last of a row of blocks shorter; 0: all groups of
//                               the matrix; 1 with no_header where nothing is shared
//   negative_scales             whether scales below 0 exist
//   name                        as files and reports call it
//   relaxed                     a store without header of the same P: the parameters from which a header is made
//   header_of(block, ratio)     the header of a super-block whose groups would have these parameters, times a ratio near 1
//   nearest(p, header)          the parameters that exist; of a scale, and of a minimum, the one at the least distance
//   bits<P>()                   of a group, at most 64
//   pack(p, header)             those bits, of parameters that exist
//   unpack<P>(bits, header)     the parameters of any such bits; unpack(pack(p)) = p where p exists
//   pack_header, unpack_header  the same of headers
//   saturated(p, header)        (where it has it) whether a number of p, or the header, is the largest that there is; outcomes count it
template <class S, class P>
concept store_of = std::copyable<S> && requires(const S& s, const P& p, const typename S::header& h,
                                                std::span<const P> block, double ratio, std::uint64_t bits) {
  requires std::is_trivially_copyable_v<typename S::header>;
  typename S::relaxed;
  { S::header_bits } -> std::convertible_to<int>;
  { S::super_groups } -> std::convertible_to<index_t>;
  { S::negative_scales } -> std::convertible_to<bool>;
  { S::name } -> std::convertible_to<std::string_view>;
  { s.header_of(block, ratio) } noexcept -> std::same_as<typename S::header>;
  { s.nearest(p, h) } noexcept -> std::same_as<P>;
  { s.template bits<P>() } noexcept -> std::convertible_to<int>;
  { s.pack(p, h) } noexcept -> std::same_as<std::uint64_t>;
  { s.template unpack<P>(bits, h) } noexcept -> std::same_as<P>;
  { s.pack_header(h) } noexcept -> std::same_as<std::uint64_t>;
  { s.unpack_header(bits) } noexcept -> std::same_as<typename S::header>;
};

// A store whose scales can be listed: scale_at(i, header) of 0 … scale_count − 1, ascending in magnitude or value.
template <class S>
concept listing_store = requires(const S& s, const typename S::header& h) {
  { S::scale_count } -> std::convertible_to<int>;
  { s.scale_at(0, h) } noexcept -> std::same_as<double>;
};

namespace detail {

template <class P>
concept has_minimum = requires(const P& p) {
  { p.minimum } -> std::convertible_to<float>;
};
template <class P>
concept has_zero = requires(const P& p) {
  { p.zero } -> std::convertible_to<std::uint8_t>;
  { P::zero_bits } -> std::convertible_to<int>;
};
// Parameters of a scale, and perhaps a minimum or a zero: what the stores here keep.
template <class P>
concept plain_parameters = requires(const P& p) {
  { p.scale } -> std::convertible_to<float>;
};

template <class P>
constexpr int zero_bits_of() noexcept {
  if constexpr (has_zero<P>) return P::zero_bits;
  else return 0;
}

// What stores have in which nothing is shared.
struct without_header {
  using header = no_header;
  static constexpr int header_bits = 0;
  static constexpr index_t super_groups = 1;
  template <class P>
  static constexpr no_header header_of(std::span<const P>, double) noexcept {
    return {};
  }
  static constexpr std::uint64_t pack_header(no_header) noexcept { return 0; }
  static constexpr no_header unpack_header(std::uint64_t) noexcept { return {}; }
};

template <class T>
constexpr std::string_view float_name() noexcept {
  if constexpr (std::same_as<T, float>) return "f32";
  else if constexpr (std::same_as<T, f16>) return "f16";
  else if constexpr (std::same_as<T, bf16>) return "bf16";
  else if constexpr (std::same_as<T, fp8_e4m3>) return "e4m3";
  else return "e5m2";
}

}  // namespace detail

// Scales and minimums as numbers of T: float, f16, bf16, fp8_e4m3, fp8_e5m2; zeros as codes. What is too large becomes
// the largest number of T, what is too small 0: the scales of weights far below 1 are lost in f16 (below 2⁻²⁴) and fp8.
template <class T>
struct float_store : detail::without_header {
  using relaxed = float_store<float>;
  static constexpr bool negative_scales = true;
  static constexpr std::string_view name = detail::float_name<T>();
  static constexpr int float_bits = 8 * static_cast<int>(sizeof(T));

  template <detail::plain_parameters P>
  static constexpr P nearest(P p, no_header) noexcept {
    p.scale = rounded(p.scale);
    if constexpr (detail::has_minimum<P>) p.minimum = rounded(p.minimum);
    return p;
  }
  template <detail::plain_parameters P>
  static constexpr bool saturated(const P& p, no_header) noexcept
    requires(!std::same_as<T, float>)
  {
    bool out = largest(p.scale);
    if constexpr (detail::has_minimum<P>) out = out || largest(p.minimum);
    return out;
  }
  template <detail::plain_parameters P>
  static constexpr int bits() noexcept {
    return float_bits * (1 + detail::has_minimum<P>)+detail::zero_bits_of<P>();
  }
  template <detail::plain_parameters P>
  static constexpr std::uint64_t pack(const P& p, no_header) noexcept {
    std::uint64_t out = code(p.scale);
    if constexpr (detail::has_minimum<P>) out |= code(p.minimum) << float_bits;
    if constexpr (detail::has_zero<P>) out |= std::uint64_t{p.zero} << float_bits;
    return out;
  }
  template <detail::plain_parameters P>
  static constexpr P unpack(std::uint64_t bits, no_header) noexcept {
    P out{};
    out.scale = value(bits);
    if constexpr (detail::has_minimum<P>) out.minimum = value(bits >> float_bits);
    if constexpr (detail::has_zero<P>)
      out.zero = static_cast<std::uint8_t>(bits >> float_bits & ((1u << P::zero_bits) - 1));
    return out;
  }

 private:
  static constexpr float rounded(float x) noexcept {
    if constexpr (std::same_as<T, float>) return x;
    else return static_cast<float>(T(x, overflow::saturate));
  }
  static constexpr bool largest(float x) noexcept {
    return x == static_cast<float>(T::max()) || x == -static_cast<float>(T::max());
  }
  static constexpr std::uint64_t code(float x) noexcept {
    if constexpr (std::same_as<T, float>) return bits_of(x);
    else return T(x, overflow::saturate).bits;
  }
  static constexpr float value(std::uint64_t bits) noexcept {
    if constexpr (std::same_as<T, float>) {
      return float_of(static_cast<std::uint32_t>(bits));
    } else {
      return static_cast<float>(T::from_bits(static_cast<decltype(T::bits)>(bits)));
    }
  }
};

// Parameters as they are.
using f32_store = float_store<float>;
// Parameters in binary16, 65504 the largest.
using f16_store = float_store<f16>;
// Parameters in bfloat16: 8 significant bits, every size.
using bf16_store = float_store<bf16>;

}  // namespace RESECT_NAMESPACE::quant
