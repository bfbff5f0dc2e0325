// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/store.hpp>

namespace RESECT_NAMESPACE::quant {

// Scales that are powers of two, 2^(e−127), e of 0 to 254 in 8 bits (E8M0 of OCP Microscaling Formats 1.0, 2023, 5.4.1;
// 255 is NaN: never written, read as NaN). There is no scale 0: a group of zeros has the least one.
struct e8m0_store : detail::without_header {
  using relaxed = float_store<float>;
  static constexpr bool negative_scales = false;
  static constexpr std::string_view name = "e8m0";
  static constexpr int scale_count = 255;

  // The scale at the least distance, the larger of two: 2^e for 3/4·2^e ≤ s < 3/2·2^e. Below 0 it is the least one.
  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr P nearest(P p, no_header) noexcept {
    return {value(code(p.scale))};
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr int bits() noexcept {
    return 8;
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr std::uint64_t pack(const P& p, no_header) noexcept {
    return code(p.scale);
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr P unpack(std::uint64_t bits, no_header) noexcept {
    const auto e = static_cast<std::uint32_t>(bits & 0xff);
    return {e == 255 ? float_of(0x7fc00000u) : value(e)};
  }
  // The i-th of the scales that exist, ascending.
  static constexpr double scale_at(int i, no_header) noexcept { return double{value(static_cast<std::uint32_t>(i))}; }

 private:
  static constexpr std::uint32_t code(float s) noexcept {
    if (!(s > 0)) return 0;
    // 2^−127 is subnormal: half of the mantissa; the midpoint to 2^−126 is 3/4 of that
    const std::uint32_t bits = bits_of(s);
    if (bits < 0x00600000u) return 0;
    const std::uint32_t e = (bits + 0x00400000u) >> 23;
    return e < 1 ? 1 : e > 254 ? 254 : e;
  }
  static constexpr float value(std::uint32_t e) noexcept { return e == 0 ? float_of(0x00400000u) : float_of(e << 23); }
};

}  // namespace RESECT_NAMESPACE::quant
