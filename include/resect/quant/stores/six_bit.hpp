// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/store.hpp>

namespace RESECT_NAMESPACE::quant {

// What the groups of a super-block share: the units of their scales and of their minimums, numbers of f16.
struct six_bit_units {
  float scale = 0.0f;
  float minimum = 0.0f;
};

// Parameters of six bits in super-blocks of eight groups (256 weights of groups of 32): the arithmetic of ggml's k-quants.
//   scale_parameters:   s = d·i, i of −32 … 31;                16 bits a super-block (d), 6 bits a group
//   minimum_parameters: s = d·i, m = −d_min·j, i, j of 0 … 63;  32 bits a super-block (d, d_min), 12 bits a group
// Products of 11 and 6 bits are exact. There is no minimum above 0: what nearest() makes of one is 0, and a group of
// positive weights wants a scale that begins there. Units below 2⁻²⁴ are 0 (f16).
template <class P>
  requires(std::same_as<P, scale_parameters> || std::same_as<P, minimum_parameters>)
struct six_bit_store {
  static constexpr bool with_minimum = std::same_as<P, minimum_parameters>;

  // The same of floats: where weights are positive, the levels begin at 0.
  struct without_units : float_store<float> {
    using relaxed = without_units;
    static constexpr P nearest(P p, no_header) noexcept {
      if constexpr (with_minimum) p.minimum = p.minimum > 0 ? 0.0f : p.minimum;
      return p;
    }
  };
  using relaxed = without_units;
  using header = six_bit_units;
  static constexpr int header_bits = with_minimum ? 32 : 16;
  static constexpr index_t super_groups = 8;
  static constexpr bool negative_scales = !with_minimum;
  static constexpr std::string_view name = "6bit*f16";
  static constexpr int scale_count = 64;

  static constexpr header header_of(std::span<const P> groups, double ratio) noexcept {
    if constexpr (with_minimum) {
      double scale = 0, minimum = 0;
      for (const P& p : groups) {
        scale = detail::larger(scale, p.scale);
        minimum = detail::larger(minimum, -double{p.minimum});
      }
      return {f16_of(scale * ratio / 63), f16_of(minimum * ratio / 63)};
    } else {
      double largest = 0;  // in magnitude; it gets −32
      for (const P& p : groups)
        if (double{p.scale} * p.scale > largest * largest) largest = p.scale;
      return {f16_of(largest * ratio / -32), 0.0f};
    }
  }
  static constexpr P nearest(const P& p, header h) noexcept {
    P out{};
    out.scale = h.scale * static_cast<float>(multiple(p.scale, h.scale, lowest, highest));
    if constexpr (with_minimum)
      out.minimum = -(h.minimum * static_cast<float>(multiple(-p.minimum, h.minimum, lowest, highest)));
    return out;
  }
  // A group's numbers cannot be too large for their units; the units can be for f16.
  static constexpr bool saturated(const P&, header h) noexcept { return largest(h.scale) || largest(h.minimum); }
  template <class Q>
    requires std::same_as<Q, P>
  static constexpr int bits() noexcept {
    return with_minimum ? 12 : 6;
  }
  static constexpr std::uint64_t pack(const P& p, header h) noexcept {
    auto out = static_cast<std::uint64_t>(multiple(p.scale, h.scale, lowest, highest) - lowest);
    if constexpr (with_minimum)
      out |= static_cast<std::uint64_t>(multiple(-p.minimum, h.minimum, lowest, highest)) << 6;
    return out;
  }
  template <class Q>
    requires std::same_as<Q, P>
  static constexpr P unpack(std::uint64_t bits, header h) noexcept {
    P out{};
    out.scale = h.scale * static_cast<float>(static_cast<int>(bits & 63) + lowest);
    if constexpr (with_minimum) out.minimum = -(h.minimum * static_cast<float>(static_cast<int>(bits >> 6 & 63)));
    return out;
  }
  static constexpr std::uint64_t pack_header(header h) noexcept {
    std::uint64_t out = f16(h.scale).bits;
    if constexpr (with_minimum) out |= std::uint64_t{f16(h.minimum).bits} << 16;
    return out;
  }
  static constexpr header unpack_header(std::uint64_t bits) noexcept {
    header out{static_cast<float>(f16::from_bits(static_cast<std::uint16_t>(bits))), 0.0f};
    if constexpr (with_minimum)
      out.minimum = static_cast<float>(f16::from_bits(static_cast<std::uint16_t>(bits >> 16)));
    return out;
  }
  // The i-th of the scales that exist.
  static constexpr double scale_at(int i, header h) noexcept { return double{h.scale} * (i + lowest); }

 private:
  static constexpr int lowest = with_minimum ? 0 : -32, highest = with_minimum ? 63 : 31;
  static constexpr bool largest(float unit) noexcept {
    return unit == static_cast<float>(f16::max()) || unit == -static_cast<float>(f16::max());
  }
  static constexpr float f16_of(double x) noexcept { return static_cast<float>(f16(x, overflow::saturate)); }
  // The nearest integer to x/unit within the bounds, ties up; 0 where there is no unit.
  static constexpr int multiple(float x, float unit, int least, int most) noexcept {
    if (unit == 0) return 0;
    const double q = double{x} / double{unit} + 0.5;
    if (!(q > least)) return least;
    if (q >= most + 1) return most;
    const int down = static_cast<int>(q);
    return down > q ? down - 1 : down;
  }
};

}  // namespace RESECT_NAMESPACE::quant
