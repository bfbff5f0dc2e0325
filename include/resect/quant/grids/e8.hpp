// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/math.hpp>
#include <resect/quant/detail/e8_kernels.hpp>
#include <resect/quant/grid.hpp>

// Eight weights a code, on a piece of the lattice E8.
namespace RESECT_NAMESPACE::quant {

namespace detail {

// The magnitudes of the codebook: 256 vectors of eight numbers 1/2, 3/2, 5/2, two bits each (magnitude = bits + 1/2).
struct e8_patterns {
  std::uint16_t digits[256] = {};

  // 227 are all magnitudes of vectors of (ℤ + ½)⁸ with an even sum and a norm² of at most 10; then 29 of the 56 of norm²
  // 12 that hold five 3/2, evenly taken in the order of their masks.
  constexpr e8_patterns() {
    int n = 0;
    constexpr auto spread = [](unsigned mask) {
      std::uint16_t out = 0;
      for (unsigned i = 0; i < 8; ++i) out = static_cast<std::uint16_t>(out | (mask >> i & 1u) << (2 * i));
      return out;
    };
    constexpr auto ones = [](unsigned mask) {
      int out = 0;
      for (; mask != 0; mask &= mask - 1) ++out;
      return out;
    };
    for (unsigned mask = 0; mask < 256; ++mask)
      if (ones(mask) <= 4) digits[n++] = spread(mask);
    for (unsigned i = 0; i < 8; ++i) digits[n++] = static_cast<std::uint16_t>(2u << (2 * i));
    for (unsigned i = 0; i < 8; ++i)
      for (unsigned j = 0; j < 8; ++j)
        if (i != j) digits[n++] = static_cast<std::uint16_t>(2u << (2 * i) | 1u << (2 * j));
    int seen = 0;
    for (unsigned mask = 0; mask < 256; ++mask) {
      if (ones(mask) != 5) continue;
      if ((seen + 1) * 29 / 56 != seen * 29 / 56) digits[n++] = spread(mask);
      ++seen;
    }
  }
  constexpr int digit(int pattern, int i) const noexcept { return digits[pattern] >> (2 * i) & 3; }
  constexpr float magnitude(int pattern, int i) const noexcept { return static_cast<float>(digit(pattern, i)) + 0.5f; }
};
template <class = void>  // made where it is used
inline constexpr e8_patterns e8_table{};

// The same as the kernels read it.
constexpr e8_lanes make_e8_lanes(const e8_patterns& patterns) noexcept {
  e8_lanes out{};
  for (int p = 0; p < 256; ++p)
    for (int i = 0; i < 8; ++i) {
      const int twice = 2 * patterns.digit(p, i) + 1;
      out.twice[i][p] = twice;
      out.squares[p] += twice * twice << 16;
      out.parity[p] ^= patterns.digit(p, i) & 1;
    }
  return out;
}
template <class = void>
alignas(64) inline constexpr e8_lanes e8_lane_table = make_e8_lanes(e8_table<>);

}  // namespace detail

// Two bits a weight: a code of 16 bits stands for s·(x ± ¼), x one of 2¹⁵ vectors of (ℤ + ½)⁸ whose sum is even (a coset
// of D8; with the shift of all eight numbers by ¼ both cosets of which E8 is made lie about it): Tseng et al., QuIP#,
// 2024, 4.2, there called E8P. Bits 0–7 the magnitudes, 8–14 the signs of the first seven numbers (1: negative), 15 the
// shift (0: +¼). The eighth sign makes the sum even. Which 29 magnitudes of norm² 12 there are is our own choice, so
// codes are not those of other tools.
//   fit: s = rms_ratio times the root mean square of the weights, which importance weighs.
//   encode finds the nearest of all 2¹⁶ vectors, the first of equally near ones. For that w/s is rounded to 2⁻¹⁸ and cut
//   at ±32, so that every sum is exact in double and the code is the same on every machine.
// Distortion on normal weights: 0.092 at 2 bits. Cost of a code: 2·256 products of eight numbers, by kernels of the best instruction set.
struct e8_grid {
  static constexpr grid_shape shape{1, 8};
  static constexpr std::string_view name = "e8";
  using code = std::uint16_t;
  using parameters = scale_parameters;
  // The scale over the root mean square of the weights that loses least where they are normal.
  static constexpr double rms_ratio = 0.97;

  static constexpr int code_bits() noexcept { return 16; }
  static parameters fit(std::span<const float> weights, std::span<const float> importance) noexcept {
    double sum = 0, n = 0, largest = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) largest = detail::larger(largest, math::fabs(double{weights[i]}));
    if (largest == 0) return {};
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double a = importance.empty() ? 1.0 : double{importance[i]}, x = div_rn(weights[i], largest);
      sum = fma_rn(mul_rn(x, x), a, sum);
      n += a;
    }
    const double rms = n == 0 || sum == 0 ? largest : mul_rn(largest, sqrt_rn(div_rn(sum, n)));
    return {static_cast<float>(detail::larger(mul_rn(rms, rms_ratio), double{detail::least_scale}))};
  }
  static parameters scaled(const parameters& p, double ratio) noexcept {
    return {static_cast<float>(mul_rn(p.scale, ratio))};
  }

  static code encode(std::span<const float> in, const parameters& p) noexcept {
    double x[8];
    for (std::size_t i = 0; i < 8; ++i) {
      const double v = p.scale == 0 ? 0.0 : div_rn(in[i], p.scale);
      x[i] = detail::round_even(detail::smaller(detail::larger(v, -32), 32) * 0x1p18) * 0x1p-18;
    }
    std::uint32_t best_code = 0;
    double least = 0;
    const instruction_set set = best_instruction_set();
    for (std::uint32_t shift = 0; shift < 2; ++shift) {
      double magnitude[8], sum = 0;
      std::int32_t scaled[8];
      std::uint32_t negative = 0, odd = 0;
      for (unsigned i = 0; i < 8; ++i) {
        const double y = x[i] + (shift == 0 ? -0.25 : 0.25);
        magnitude[i] = math::fabs(y);
        scaled[i] = static_cast<std::int32_t>(magnitude[i] * 0x1p18);
        negative |= std::uint32_t{y < 0} << i;
        odd ^= std::uint32_t{y < 0};
        sum += magnitude[i] * magnitude[i];
      }
      const int pattern =
          detail::nearest_e8_pattern(set, detail::e8_lane_table<>, scaled, static_cast<std::int32_t>(odd));
      const found f = nearest_signs(magnitude, negative, pattern);
      const double e = sum + f.cost;
      if (shift == 0 || e < least) {
        least = e;
        best_code = static_cast<std::uint32_t>(pattern) | (f.signs & 0x7fu) << 8 | shift << 15;
      }
    }
    return static_cast<code>(best_code);
  }

  static void decode(code c, const parameters& p, std::span<float> out) noexcept {
    const int pattern = c & 0xff;
    const double shift = (c >> 15) == 0 ? 0.25 : -0.25;
    std::uint32_t signs = c >> 8 & 0x7fu, odd = digit_sum(pattern);
    for (std::uint32_t s = signs; s != 0; s &= s - 1) ++odd;
    signs |= (odd & 1u) << 7;
    for (int i = 0; i < 8; ++i) {
      const double x = double{detail::e8_table<>.magnitude(pattern, i)};
      out[static_cast<std::size_t>(i)] =
          static_cast<float>(mul_rn(p.scale, (signs >> i & 1u) != 0 ? shift - x : x + shift));
    }
  }

 private:
  struct found {
    std::uint32_t signs;
    double cost;  // Σ (magnitude − x)² − Σ magnitude²
  };
  // The sum of the numbers is (sum of digits) + 4 − 2·(the negative ones), so it is even where digits and signs are
  // together.
  static constexpr std::uint32_t digit_sum(int pattern) noexcept {
    const std::uint32_t d = detail::e8_table<>.digits[pattern];
    const std::uint32_t ones = d & 0x5555u;  // the twos are even
    std::uint32_t n = 0;
    for (std::uint32_t s = ones; s != 0; s &= s - 1) ++n;
    return n;
  }
  static found nearest_signs(const double (&magnitude)[8], std::uint32_t negative, int pattern) noexcept {
    double cost = 0, cheapest = 0;
    unsigned flip = 0;
    std::uint32_t odd = digit_sum(pattern);
    for (std::uint32_t s = negative; s != 0; s &= s - 1) ++odd;
    for (unsigned i = 0; i < 8; ++i) {
      const double x = double{detail::e8_table<>.magnitude(pattern, static_cast<int>(i))}, product = magnitude[i] * x;
      cost += x * x - 2 * product;
      if (i == 0 || product < cheapest) {
        cheapest = product;
        flip = i;
      }
    }
    if ((odd & 1u) == 0) return {negative, cost};
    return {negative ^ 1u << flip, cost + 4 * cheapest};
  }
};

}  // namespace RESECT_NAMESPACE::quant
