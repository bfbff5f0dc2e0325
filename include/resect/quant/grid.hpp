// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>
#include <string_view>
#include <type_traits>

#include <resect/core/ieee.hpp>
#include <resect/core/types.hpp>
#include <resect/quant/detail/group_kernels.hpp>

// The vocabulary of quantization, and its first word. Five words make a quantizer, and each can be a user's own type:
//   grid      (here)               the values that codes stand for, up to the parameters that a group of weights has
//   layout    (layout.hpp)         which weights share parameters: groups of a row, rows, blocks, the whole matrix
//   store     (store.hpp)          which parameters exist: how they are kept, and what super-blocks of them share
//   search    (scale_search.hpp)   chooses the parameters of a group among those that the store can keep
//   rounding  (rounding.hpp)       chooses the codes of a matrix
// A format (format.hpp) is grid × layout × store and knows its bits; quantized<Format> (quantized.hpp) is a matrix in
// it; quantize(exec, W, format, rounding, search) makes one.
namespace RESECT_NAMESPACE::quant {

// The weights that one code stands for, row-major: {1, 1} a scalar grid, {1, 8} a lattice, {1, 16} a run of a trellis.
// The rounding rules that pass errors on do so between blocks of `cols` columns.
struct grid_shape {
  int rows = 1;
  int cols = 1;
  constexpr int size() const noexcept { return rows * cols; }
  friend constexpr bool operator==(const grid_shape&, const grid_shape&) noexcept = default;
};

// Parameters that are a scale alone. A negative one turns the levels over; of 0 every code means 0.
struct scale_parameters {
  float scale = 0.0f;
};

// A scale and the code of `zero_bits` bits that means 0.
template <int Bits>
struct zero_parameters {
  static constexpr int zero_bits = Bits;
  float scale = 0.0f;
  std::uint8_t zero = 0;
};

// A scale and the value of code 0.
struct minimum_parameters {
  float scale = 0.0f;
  float minimum = 0.0f;
};

namespace detail {

template <class P>
inline constexpr bool known_parameters = std::same_as<P, scale_parameters> || std::same_as<P, minimum_parameters>;
template <int Bits>
inline constexpr bool known_parameters<zero_parameters<Bits>> = true;

// Whether all of a grid's parameters can be checked: they are of a type above, or the grid says it of its own.
template <class G>
concept says_finite = requires(const G& g, const typename G::parameters& p) {
  { g.finite(p) } noexcept -> std::same_as<bool>;
};
template <class G>
concept checkable_parameters = known_parameters<typename G::parameters> || says_finite<G>;

}  // namespace detail

// A grid is a value: what all groups share (a codebook given at run time) it holds itself, what a group has of its own
// is its `parameters`. It knows nothing of matrices, layouts or how codes are chosen.
//   parameters, code            trivially copyable. What a packed file holds of a code are its first code_bits() bits in
//                               the order of a little-endian machine
//   shape                       a grid_shape, static
//   name                        what files and reports call it, static; it changes where codes change their meaning
//   code_bits()                 of a code
//   fit(weights, importance)    parameters that hold all of the weights of a group: what a search begins with.
//                               Importance a_j ≥ 0 of each weight, or nothing: 1
//   scaled(p, ratio)            the parameters whose levels are those of p times the ratio, which may be negative
//   encode(in, p)               the code whose values are nearest to the shape.size() weights `in`, where no other is
//                               asked for by the grid's documentation. Weights beyond the matrix are zeros
//   decode(code, p, out)        its shape.size() values
//   finite(p)                   whether every number of p is finite; of parameters that are none of the three types above.
//                               Groups of which it is not are refused
// All are const, noexcept and have the same bits on every machine.
//   encode_row(weights, p, codes)   (of scalar grids, where it has it) encode of neighbouring weights, the same and faster
template <class G>
concept grid =
    std::copyable<G> && detail::checkable_parameters<G> &&
    requires(const G& g, const typename G::parameters& p, const typename G::code& code, std::span<const float> in,
             std::span<float> out, double ratio) {
      requires std::is_trivially_copyable_v<typename G::parameters> && std::is_trivially_copyable_v<typename G::code>;
      { G::shape } -> std::convertible_to<grid_shape>;
      { G::name } -> std::convertible_to<std::string_view>;
      { g.code_bits() } noexcept -> std::convertible_to<int>;
      { g.fit(in, in) } noexcept -> std::same_as<typename G::parameters>;
      { g.scaled(p, ratio) } noexcept -> std::same_as<typename G::parameters>;
      { g.encode(in, p) } noexcept -> std::same_as<typename G::code>;
      { g.decode(code, p, out) } noexcept;
    };

// A grid of one weight a code.
template <class G>
concept scalar_grid = grid<G> && grid_shape{G::shape} == grid_shape{};

// A scalar grid whose code c stands for s·l_c, s the scale and l_0 < l_1 < … one of a few sets of levels, which a group's
// parameters name. An exact search works on every such grid.
//   level_sets()            how many sets there are: 1, or for integer zeros one a zero
//   level_count()           levels of each
//   level(set, c)           l_c
//   at_scale(s, set)        the parameters of that scale (of either sign) and set
//   regular(p)              (where it has it) p with a scale that makes all levels exact floats; what searches take of it where
//                           the store keeps floats as they are, so that values on a grid are found again exactly
//   mirrored                (static, where it has it) whether scales below 0 give no levels that scales above 0 do not
template <class G>
concept level_grid = scalar_grid<G> && requires(const G& g, int i, double s) {
  { g.level_sets() } noexcept -> std::same_as<int>;
  { g.level_count() } noexcept -> std::same_as<int>;
  { g.level(i, i) } noexcept -> std::same_as<double>;
  { g.at_scale(s, i) } noexcept -> std::same_as<typename G::parameters>;
};

// A scalar grid whose code c of 0 … level_count() − 1 stands for s·c + m with any minimum m.
template <class G>
concept offset_grid = scalar_grid<G> && requires(const G& g, double s, double m) {
  { g.level_count() } noexcept -> std::same_as<int>;
  { g.at(s, m) } noexcept -> std::same_as<typename G::parameters>;
};

// The smallest and the largest weight of a group.
struct extent {
  float lo = 0.0f;
  float hi = 0.0f;
};

// A grid whose fit asks for the extent of the weights alone, and can clip it: fit(extent, ratio) fits an extent that is
// shrunk to the ratio, in (0, 1]. Searches then shrink the extent in place of `scaled`.
template <class G>
concept extent_grid = grid<G> && requires(const G& g, extent e, double ratio) {
  { g.fit(e, ratio) } noexcept -> std::same_as<typename G::parameters>;
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
// |x| rounded to the nearest number of 16 significant bits, ties away from zero, with its sign.
RESECT_HD inline double round_to_16_bits(double x) noexcept {
  return double_of((bits_of(x) + (std::uint64_t{1} << (dropped_bits - 1))) >> dropped_bits << dropped_bits);
}

// Of finite weights; a zero has no sign.
inline extent extent_of(std::span<const float> w) noexcept {
  if (w.empty()) return {};
  const auto n = static_cast<index_t>(w.size());
  if (n >= kernel_floats) {
    const value_range r = range(best_instruction_set(), w.data(), n);
    return {r.low + 0.0f, r.high + 0.0f};
  }
  extent out{w[0], w[0]};
  for (const float x : w) {
    out.lo = x < out.lo ? x : out.lo;
    out.hi = x > out.hi ? x : out.hi;
  }
  return {out.lo + 0.0f, out.hi + 0.0f};
}

// Of the weight of largest magnitude; the negative one of two.
inline float largest_of(extent of) noexcept { return -of.lo >= of.hi ? of.lo : of.hi; }

// Whether all numbers of a group's parameters are finite.
template <grid G>
bool finite_parameters(const G& g, const typename G::parameters& p) noexcept {
  using P = typename G::parameters;
  bool finite = true;
  if constexpr (says_finite<G>) finite = g.finite(p);
  if constexpr (known_parameters<P>) finite = finite && p.scale - p.scale == 0;
  if constexpr (std::same_as<P, minimum_parameters>) finite = finite && p.minimum - p.minimum == 0;
  return finite;
}

// The value that a weight becomes on a scalar grid.
template <scalar_grid G>
float nearest_value(const G& g, float w, const typename G::parameters& p) noexcept {
  if constexpr (requires {
                  { g.nearest(w, p) } -> std::same_as<float>;
                }) {
    return g.nearest(w, p);
  } else {
    float out = 0;
    g.decode(g.encode({&w, 1}, p), p, {&out, 1});
    return out;
  }
}

// The codes of neighbouring weights of a scalar grid.
template <scalar_grid G>
void encode_row(const G& g, std::span<const float> w, const typename G::parameters& p,
                typename G::code* codes) noexcept {
  if constexpr (requires { g.encode_row(w, p, codes); }) {
    g.encode_row(w, p, codes);
  } else {
    for (std::size_t j = 0; j < w.size(); ++j) codes[j] = g.encode(w.subspan(j, 1), p);
  }
}

}  // namespace detail
}  // namespace RESECT_NAMESPACE::quant
