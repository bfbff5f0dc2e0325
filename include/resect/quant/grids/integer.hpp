// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/quant/grid.hpp>

// Equally spaced levels of which zero is one.
namespace RESECT_NAMESPACE::quant {

// Where zero lies among the codes of an affine grid. It is a level in either case.
enum class zero_point : std::uint8_t {
  integer,    // one of the codes, chosen a group ("asymmetric")
  symmetric,  // code 2^(b−1), the same in every group
};

// As messages call it.
constexpr std::string_view name(zero_point z) noexcept { return z == zero_point::integer ? "integer" : "symmetric"; }

namespace detail {
constexpr std::string_view integer_name(int bits, zero_point zero) noexcept {
  constexpr std::string_view symmetric[] = {"int2s", "int3s", "int4s", "int5s", "int6s", "int7s", "int8s"};
  constexpr std::string_view integer[] = {"int2z", "int3z", "int4z", "int5z", "int6z", "int7z", "int8z"};
  return zero == zero_point::symmetric ? symmetric[bits - 2] : integer[bits - 2];
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
  static constexpr grid_shape shape{};
  static constexpr std::string_view name = detail::integer_name(Bits, Zero);
  using code = std::uint8_t;
  using parameters = std::conditional_t<Zero == zero_point::symmetric, scale_parameters, zero_parameters<Bits>>;

  static constexpr bool mirrored = Zero == zero_point::integer;  // of zero z turned over is zero 2^b − 1 − z

  static constexpr int code_bits() noexcept { return Bits; }
  // The code that means 0.
  RESECT_HD static constexpr int zero_of(const parameters& p) noexcept {
    if constexpr (Zero == zero_point::symmetric) return middle;
    else return p.zero;
  }

  // The parameters for a group of this extent, clipped to `ratio` in (0, 1] of it.
  RESECT_HD static parameters fit(extent of, double ratio = 1.0) noexcept {
    if constexpr (Zero == zero_point::symmetric) {
      const double e = -of.lo >= of.hi ? of.lo : of.hi;
      if (e == 0) return {0.0f};
      const double s = mul_rn(ratio, e * (-1.0 / middle));
      const double least = s < 0 ? -double{detail::least_scale} : double{detail::least_scale};
      return {static_cast<float>(s * s < least * least ? least : s)};
    } else {
      if (of.lo == of.hi && (of.lo >= detail::least_scale || of.lo <= -detail::least_scale))
        return of.lo > 0 ? parameters{of.lo, 0} : parameters{-of.lo, 1};
      const double lo = mul_rn(ratio, detail::smaller(of.lo, 0)), hi = mul_rn(ratio, detail::larger(of.hi, 0));
      if (hi - lo == 0) return {0.0f, 0};
      double s = detail::cut_to_16_bits(div_rn(hi - lo, max_code));
      if (s <= double{detail::least_scale}) s = double{detail::least_scale};
      else if (detail::round_even(div_rn(hi, s)) + detail::round_even(div_rn(-lo, s)) < max_code)
        s = detail::next_below_16_bits(s);
      return {static_cast<float>(s), static_cast<std::uint8_t>(detail::round_even(div_rn(-lo, s)))};
    }
  }

  static parameters fit(std::span<const float> weights, std::span<const float>) noexcept {
    return fit(detail::extent_of(weights));
  }
  // The same zero with the scale times the ratio, made a scale that `fit` could have chosen; negative ratios turn an
  // integer zero over.
  RESECT_HD static parameters scaled(const parameters& p, double ratio) noexcept {
    if constexpr (Zero == zero_point::symmetric) {
      return regular(at_scale(mul_rn(p.scale, ratio), 0));
    } else {
      return regular(at_scale(mul_rn(p.scale, ratio), p.zero));
    }
  }

  // With the scale rounded to 16 significant bits, which makes all levels exact.
  RESECT_HD static parameters regular(parameters p) noexcept {
    if (p.scale != 0) p.scale = static_cast<float>(detail::round_to_16_bits(p.scale));
    return p;
  }

  static constexpr int level_sets() noexcept { return Zero == zero_point::symmetric ? 1 : max_code + 1; }
  static constexpr int level_count() noexcept { return max_code + 1; }
  static constexpr double level(int set, int c) noexcept {
    return c - (Zero == zero_point::symmetric ? int{middle} : set);
  }
  // The set of an integer zero is the zero, and a negative scale becomes the positive one of the zero that gives the same
  // levels.
  RESECT_HD static parameters at_scale(double s, int set) noexcept {
    if (s == 0) return parameters{};
    const double least = s < 0 ? -double{detail::least_scale} : double{detail::least_scale};
    if (s * s < least * least) s = least;
    if constexpr (Zero == zero_point::symmetric) {
      return {static_cast<float>(s)};
    } else {
      if (s < 0) return {static_cast<float>(-s), static_cast<std::uint8_t>(max_code - set)};
      return {static_cast<float>(s), static_cast<std::uint8_t>(set)};
    }
  }

  // The code whose level is nearest; of two equally near ones the one an even number of steps from zero.
  RESECT_HD static std::uint8_t encode(float w, const parameters& p) noexcept {
    return static_cast<std::uint8_t>(static_cast<int>(steps(w, p)) + zero_of(p));
  }
  RESECT_HD static float decode(std::uint8_t code, const parameters& p) noexcept { return level(code - zero_of(p), p); }
  RESECT_HD static std::uint8_t encode(std::span<const float> in, const parameters& p) noexcept {
    return encode(in[0], p);
  }
  RESECT_HD static void decode(std::uint8_t code, const parameters& p, std::span<float> out) noexcept {
    out[0] = decode(code, p);
  }
  // encode of neighbouring weights. Products with 1/s are within 2^(b−22) of the quotients, so where none comes so close to
  // the middle between two codes they choose the same codes; else the quotients do.
  static void encode_row(std::span<const float> w, const parameters& p, std::uint8_t* codes) noexcept {
    const auto n = static_cast<index_t>(w.size()), whole = n / detail::kernel_floats * detail::kernel_floats;
    const float size = p.scale < 0 ? -p.scale : p.scale, first = static_cast<float>(-zero_of(p));
    index_t done = 0;
    if (size > 0x1p-100f && size < 0x1p100f) {
      const float off = detail::integer_codes(best_instruction_set(), w.data(), whole, 1.0f / p.scale, first,
                                              first + static_cast<float>(max_code), codes);
      if (off < 0.5f - 0x1p-21f * static_cast<float>(max_code + 1)) done = whole;
    }
    for (; done < n; ++done) codes[done] = encode(w[static_cast<std::size_t>(done)], p);
  }
  // decode(encode(w)).
  RESECT_HD static float nearest(float w, const parameters& p) noexcept { return level(steps(w, p), p); }

 private:
  RESECT_HD static double steps(float w, const parameters& p) noexcept {
    const double x = div_rn(w, p.scale == 0 ? 1.0 : double{p.scale});
    const int first = -zero_of(p);
    return detail::round_even(detail::smaller(detail::larger(x, first), first + max_code));
  }
  // the product is exact in double; converting it is the one rounding, which no compiler can fuse away
  RESECT_HD static float level(double steps, const parameters& p) noexcept {
    return static_cast<float>(double{p.scale} * steps);
  }
};

}  // namespace RESECT_NAMESPACE::quant
