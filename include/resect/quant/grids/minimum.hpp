// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/quant/grid.hpp>

// Equally spaced levels that begin anywhere.
namespace RESECT_NAMESPACE::quant {

namespace detail {
constexpr std::string_view minimum_name(int bits) noexcept {
  constexpr std::string_view names[] = {"int2m", "int3m", "int4m", "int5m", "int6m", "int7m", "int8m"};
  return names[bits - 2];
}
}  // namespace detail

// Codes c of 0 … 2^b−1 stand for ŵ = s·c + m, rounded once to double and once to float; s ≥ 0. Zero need not be a level
// (ggml's Q4_1, Q4_K; HQQ).
//   fit: m = min(w), s = (max(w) − m)/(2^b−1); with a ratio r in (0, 1] the extent is shrunk to r of it about its middle.
//   A group of one value has s = 0 and that value for a minimum, so it is exact.
// Bound for a weight within the levels: |w − ŵ| ≤ s/2·(1 + 2^(b−23)) + 2^−24·|w|.
// Weights must be finite and at most `largest_weight` in magnitude.
template <int Bits>
struct minimum_grid {
  static_assert(Bits >= 2 && Bits <= 8, "codes have 2 to 8 bits");
  static constexpr int bits = Bits;
  static constexpr int max_code = (1 << Bits) - 1;
  static constexpr grid_shape shape{};
  static constexpr std::string_view name = detail::minimum_name(Bits);
  using code = std::uint8_t;
  using parameters = minimum_parameters;

  static constexpr int code_bits() noexcept { return Bits; }
  static constexpr int level_count() noexcept { return max_code + 1; }
  RESECT_HD static parameters at(double s, double m) noexcept { return {static_cast<float>(s), static_cast<float>(m)}; }

  // The parameters for a group of this extent, shrunk to `ratio` in (0, 1] of it about its middle.
  RESECT_HD static parameters fit(extent of, double ratio = 1.0) noexcept {
    const double width = double{of.hi} - double{of.lo};
    const double cut = mul_rn(0.5 * (1.0 - ratio), width);
    return at(div_rn(width - 2 * cut, max_code), double{of.lo} + cut);
  }
  static parameters fit(std::span<const float> weights, std::span<const float>) noexcept {
    return fit(detail::extent_of(weights));
  }
  RESECT_HD static parameters scaled(const parameters& p, double ratio) noexcept {
    return ratio < 0 ? at(mul_rn(p.scale, -ratio),
                          mul_rn(fma_rn(double{p.scale}, double{max_code}, double{p.minimum}), ratio))
                     : at(mul_rn(p.scale, ratio), mul_rn(p.minimum, ratio));
  }

  // The code whose level is nearest; of two equally near ones the even one.
  RESECT_HD static std::uint8_t encode(float w, const parameters& p) noexcept {
    const double x = p.scale == 0 ? 0.0 : div_rn(double{w} - double{p.minimum}, p.scale);
    return static_cast<std::uint8_t>(detail::round_even(detail::smaller(detail::larger(x, 0), max_code)));
  }
  RESECT_HD static float decode(std::uint8_t code, const parameters& p) noexcept {
    return static_cast<float>(fma_rn(double{p.scale}, static_cast<double>(code), double{p.minimum}));
  }
  RESECT_HD static std::uint8_t encode(std::span<const float> in, const parameters& p) noexcept {
    return encode(in[0], p);
  }
  RESECT_HD static void decode(std::uint8_t code, const parameters& p, std::span<float> out) noexcept {
    out[0] = decode(code, p);
  }
  // decode(encode(w)).
  RESECT_HD static float nearest(float w, const parameters& p) noexcept { return decode(encode(w, p), p); }
};

}  // namespace RESECT_NAMESPACE::quant
