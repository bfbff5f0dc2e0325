// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include <resect/core/ieee.hpp>

// A grid is the set of values that the codes of one group can stand for, up to the group's parameters. It knows
// nothing of matrices, group sizes or how codes are chosen.
namespace RESECT_NAMESPACE::quant {

// Where zero lies among the codes of an affine grid. It is a level in either case.
enum class zero_point : std::uint8_t {
  integer,    // one of the codes, chosen a group ("asymmetric")
  symmetric,  // code 2^(b−1), the same in every group
};

// As messages call it.
constexpr std::string_view name(zero_point z) noexcept { return z == zero_point::integer ? "integer" : "symmetric"; }

// What one group of weights has besides its codes.
struct group_parameters {
  float scale = 0.0f;     // may be negative (symmetric grids); 0: every code means 0
  std::uint8_t zero = 0;  // the code that means 0
};

// The smallest and the largest weight of a group.
struct extent {
  float lo = 0.0f;
  float hi = 0.0f;
};

// The largest magnitude that a weight may have, 2¹²⁶: levels may lie half a step beyond it (a third of it at 2 bits), and
// have to be finite.
inline constexpr float largest_weight = 0x1p126f;

namespace detail {

inline constexpr float least_scale = 0x1p-126f;  // the smallest normal float: no scale flushes to zero anywhere

// The nearest integer, ties to even, of |x| ≤ 2⁵¹; in the default rounding mode, without a call on any machine.
RESECT_HD inline double round_even(double x) noexcept {
  constexpr double big = 0x1.8p52;
  return (x + big) - big;
}
RESECT_HD inline double smaller(double a, double b) noexcept { return a < b ? a : b; }
RESECT_HD inline double larger(double a, double b) noexcept { return a > b ? a : b; }

inline constexpr int dropped_bits = 37;  // of a double's 52, which leaves 16 significant bits with the implicit one
// x > 0 cut to 16 significant bits.
RESECT_HD inline double cut_to_16_bits(double x) noexcept {
  return double_of(bits_of(x) >> dropped_bits << dropped_bits);
}
// The next smaller number of 16 significant bits.
RESECT_HD inline double next_below_16_bits(double x) noexcept {
  return double_of(bits_of(x) - (std::uint64_t{1} << dropped_bits));
}

}  // namespace detail

// The affine grid of b bits: code c of 0 … 2^b−1 stands for ŵ = s·(c − z), rounded once to float.
//
// Symmetric: z = 2^(b−1), s = −r·e/2^(b−1) with e the weight of largest magnitude (the negative one of two) and r the
//   clipping ratio. All 2^b codes are used and at r = 1 the largest weight is reproduced exactly (if |e| ≥ 2^(b−127), see
//   below), so s is negative where it is positive. What lies on the other side beyond the last level (|w| >
//   (2^(b−1) − ½)·|s|) is clipped, at r = 1 by at most |s|·(1 + 2^(b−24)): a step, where the group holds e and −e. This
//   is ggml's Q4_0 (d = signed absmax/−8). The common 2·absmax/(2^b−1) (GPTQ's
//   reference) reproduces neither extreme and drifts when it is applied again; absmax/(2^(b−1)−1) leaves one code
//   unused, which at 2 bits is a quarter of them.
// Integer zero: with lo = r·min(w, 0) and hi = r·max(w, 0), s = (hi − lo)/(2^b−1), z = round(−lo/s) (Frantar et al.,
//   GPTQ, 2022, and its reference code; Jacob et al. 2018 for zero being a level). s is cut to 16 significant bits,
//   so that s·(c − z) is exact in float, and lessened by one unit of those where both ends would round inwards.
//   Without that, quantizing the result again would change it. Groups of one value (also of one element)
//   are reproduced exactly by s = |w|, if that is at least 2⁻¹²⁶.
//
// Both: the scale of a group that is not all zero is at least 2⁻¹²⁶ (no subnormal scales: flushing them to zero, as
//   many engines do, would erase the group), so weights below it may become zero (or it): what is said to be exact of
//   e needs |e| ≥ 2^(b−127) in a symmetric group. A group of zeros has s = 0.
// Bound, for a weight that is not clipped: |w − ŵ| ≤ |s|/2·(1 + 2^(b−13)). With an integer zero and r = 1 no weight is.
// Quantizing the result again with r = 1 gives the same values: the ends of the group are levels. (Of weights above
// ¾·2¹²⁶ the result may lie beyond `largest_weight`, and is then refused.)
// Weights must be finite and at most `largest_weight` in magnitude; else the value is unspecified, not undefined.
template <int Bits, zero_point Zero>
struct integer_grid {
  static_assert(Bits >= 2 && Bits <= 8, "codes have 2 to 8 bits");
  static constexpr int bits = Bits;
  static constexpr int max_code = (1 << Bits) - 1;
  static constexpr zero_point zero = Zero;
  static constexpr std::uint8_t middle = 1 << (Bits - 1);

  // The parameters for a group of this extent, clipped to `ratio` in (0, 1] of it.
  RESECT_HD static group_parameters fit(extent of, double ratio = 1.0) noexcept {
    if constexpr (Zero == zero_point::symmetric) {
      const double e = -of.lo >= of.hi ? of.lo : of.hi;
      if (e == 0) return {0.0f, middle};
      const double s = mul_rn(ratio, e * (-1.0 / middle));
      const double least = s < 0 ? -double{detail::least_scale} : double{detail::least_scale};
      return {static_cast<float>(s * s < least * least ? least : s), middle};
    } else {
      if (of.lo == of.hi && (of.lo >= detail::least_scale || of.lo <= -detail::least_scale))
        return of.lo > 0 ? group_parameters{of.lo, 0} : group_parameters{-of.lo, 1};
      const double lo = mul_rn(ratio, detail::smaller(of.lo, 0)), hi = mul_rn(ratio, detail::larger(of.hi, 0));
      if (hi - lo == 0) return {0.0f, 0};
      double s = detail::cut_to_16_bits(div_rn(hi - lo, max_code));
      if (s <= double{detail::least_scale}) s = double{detail::least_scale};
      else if (detail::round_even(div_rn(hi, s)) + detail::round_even(div_rn(-lo, s)) < max_code)
        s = detail::next_below_16_bits(s);
      return {static_cast<float>(s), static_cast<std::uint8_t>(detail::round_even(div_rn(-lo, s)))};
    }
  }

  // The code whose level is nearest; of two equally near ones the one an even number of steps from zero.
  RESECT_HD static std::uint8_t encode(float w, group_parameters p) noexcept {
    return static_cast<std::uint8_t>(static_cast<int>(steps(w, p)) + p.zero);
  }
  RESECT_HD static float decode(std::uint8_t code, group_parameters p) noexcept { return level(code - p.zero, p); }
  // decode(encode(w)).
  RESECT_HD static float nearest(float w, group_parameters p) noexcept { return level(steps(w, p), p); }

 private:
  RESECT_HD static double steps(float w, group_parameters p) noexcept {
    const double x = div_rn(w, p.scale == 0 ? 1.0 : double{p.scale});
    const int first = -int{p.zero};
    return detail::round_even(detail::smaller(detail::larger(x, first), first + max_code));
  }
  // the product is exact in double; converting it is the one rounding, which no compiler can fuse away
  RESECT_HD static float level(double steps, group_parameters p) noexcept {
    return static_cast<float>(double{p.scale} * steps);
  }
};

// What a grid must have: a width, parameters for an extent, and the way from weights to codes and back.
template <class G>
concept grid = requires(float w, group_parameters p, extent e, double ratio, std::uint8_t code) {
  { G::bits } -> std::convertible_to<int>;
  { G::fit(e, ratio) } -> std::same_as<group_parameters>;
  { G::encode(w, p) } -> std::same_as<std::uint8_t>;
  { G::decode(code, p) } -> std::same_as<float>;
  { G::nearest(w, p) } -> std::same_as<float>;
};

}  // namespace RESECT_NAMESPACE::quant
