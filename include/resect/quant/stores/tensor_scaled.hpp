// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/store.hpp>

namespace RESECT_NAMESPACE::quant {

// What all groups of a matrix share: one scale.
struct matrix_scale {
  float scale = 0.0f;
};

// Scales e·t: e ≥ 0 a number of T (fp8_e4m3: 127 of them with 0) for each group, t a float for the matrix such that the
// largest scale is the largest e (NVFP4: 448). Rounded once to float.
template <small_float T>
struct tensor_scaled_store {
  using relaxed = float_store<float>;
  using header = matrix_scale;
  static constexpr int header_bits = 32;
  static constexpr index_t super_groups = 0;
  static constexpr bool negative_scales = false;
  static constexpr std::string_view name = std::same_as<T, fp8_e4m3> ? "e4m3*f32" : "small*f32";
  static constexpr int scale_count = static_cast<int>(T::max().bits) + 1;

  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr header header_of(std::span<const P> groups, double ratio) noexcept {
    double largest = 0;
    for (const P& p : groups) largest = detail::larger(largest, p.scale < 0 ? -double{p.scale} : double{p.scale});
    const double t = largest * ratio / static_cast<double>(T::max());
    return {static_cast<float>(t > 0 && t < double{detail::least_scale} ? double{detail::least_scale} : t)};
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static P nearest(const P& p, header h) noexcept {
    return {value(code(p.scale, h), h)};
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr int bits() noexcept {
    return 8 * static_cast<int>(sizeof(T));
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static constexpr std::uint64_t pack(const P& p, header h) noexcept {
    return code(p.scale, h).bits;
  }
  template <class P>
    requires std::same_as<P, scale_parameters>
  static P unpack(std::uint64_t bits, header h) noexcept {
    return {value(T::from_bits(static_cast<decltype(T::bits)>(bits)), h)};
  }
  static constexpr std::uint64_t pack_header(header h) noexcept { return bits_of(h.scale); }
  static constexpr header unpack_header(std::uint64_t bits) noexcept {
    return {float_of(static_cast<std::uint32_t>(bits))};
  }
  // The i-th of the scales that exist, ascending.
  static double scale_at(int i, header h) noexcept {
    return double{value(T::from_bits(static_cast<decltype(T::bits)>(i)), h)};
  }

 private:
  static constexpr T code(float s, header h) noexcept {
    if (!(s > 0) || !(h.scale > 0)) return T::from_bits(0);
    return T(double{s} / double{h.scale}, overflow::saturate);
  }
  static float value(T e, header h) noexcept { return static_cast<float>(mul_rn(static_cast<double>(e), h.scale)); }
};

}  // namespace RESECT_NAMESPACE::quant
