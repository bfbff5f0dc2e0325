// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <string_view>

#include <resect/core/operand.hpp>
#include <resect/quant/detail/check_weights.hpp>
#include <resect/quant/detail/level_fit.hpp>
#include <resect/quant/layout.hpp>

// Weights that were stored at few bits and dequantized still lie on their grid: a quantizer that meets the grid
// reproduces them without error and looks perfect. This finds them before a study does.
namespace RESECT_NAMESPACE::quant {

// What kind of grid weights lie on.
enum class grid_kind : std::uint8_t {
  none,          // no grid of at most 8 bits
  symmetric,     // w = s·k, k of −2^(b−1) … 2^(b−1)−1 (s of either sign): ggml's Q4_0, Q5_0, Q8_0, Q6_K
  integer_zero,  // w = s·(c − z): zero is a level (GPTQ, AWQ)
  offset,        // w = s·c + m, any m: ggml's Q4_1, Q5_1, Q2_K, Q4_K, Q5_K, HQQ
  codebook,      // few distinct values that are not equally spaced: NF4, FP4, fp8, IQ4_NL, any grid rounded to 16 bits
};

// As findings call it.
constexpr std::string_view name(grid_kind k) noexcept {
  constexpr std::string_view names[] = {"none", "symmetric", "integer zero", "offset", "codebook"};
  return names[static_cast<int>(k)];
}

// What was found, and how sure it is.
struct grid_detection {
  grid_kind kind = grid_kind::none;
  int bits = 0;         // that hold 99 % of the groups that fit
  index_t group = 0;    // columns that share parameters, the widest that explains the weights at this width
  double share = 0.0;   // of the groups that say something, those that fit (none: the largest seen)
  double levels = 0.0;  // distinct values a group that fits, mean
  index_t groups = 0;   // groups that say something at this width: at least 8 weights that are not 0

  bool found() const noexcept { return kind != grid_kind::none; }
};

// When weights count as lying on a grid.
struct detect_options {
  double share = 0.25;  // of groups that have to fit. Chance fits next to none, so a quarter is no accident
};

namespace detail {

// What the groups of one width look like: how many fit with how many bits.
struct fit_counts {
  index_t told = 0;                  // groups with enough weights that are not 0
  std::array<index_t, 9> even = {};  // equally spaced, by bits
  std::array<index_t, 9> few = {};   // each value twice on average, by bits
  index_t even_levels = 0, few_levels = 0;

  friend fit_counts operator+(fit_counts a, const fit_counts& b) noexcept {
    a.told += b.told;
    for (std::size_t i = 0; i < a.even.size(); ++i) {
      a.even[i] += b.even[i];
      a.few[i] += b.few[i];
    }
    a.even_levels += b.even_levels;
    a.few_levels += b.few_levels;
    return a;
  }
};

struct kind_counts {
  index_t fit = 0, symmetric = 0, integer = 0;
  friend kind_counts operator+(kind_counts a, const kind_counts& b) noexcept {
    return {a.fit + b.fit, a.symmetric + b.symmetric, a.integer + b.integer};
  }
};

inline constexpr index_t least_told = 8;  // weights that are not 0, below which a group says nothing

enum class look_for { steps_and_repeats, repeats };

// f(values, steps, weights that are not 0) for every group of rows [first, last) that may be equally spaced
// (steps ≥ 0: it is) or have each value twice on average; returns the number of groups that say something. A group on a
// grid has its first 16 weights on it, so most groups are given up after those.
template <class F>
index_t for_each_group(matrix_view<const float> w, index_t width, look_for what, index_t first, index_t last, F f) {
  const block_layout layout{w.rows, w.cols, 1, width};
  constexpr index_t start = 16;
  index_t told = 0;
  for (index_t r = first; r < last; ++r)
    for (index_t g = 0; g < layout.per_row(); ++g) {
      const index_t size = layout.size(g);
      distinct_values v;
      index_t not_zero = 0, most = what == look_for::repeats ? size / 2 : most_steps + 1;
      bool few = true;
      for (index_t j = 0; j < size && (few || not_zero < least_told); ++j) {
        if (j == start && few && what != look_for::repeats && steps_between(v) < 0) most = size / 2;
        const float x = w(r, layout.first(g) + j);
        not_zero += x != 0;
        few = few && v.add(x) && v.size() <= most;
      }
      if (not_zero < least_told) continue;
      ++told;
      if (few) f(v, what == look_for::repeats ? -1 : steps_between(v), not_zero);
    }
  return told;
}

inline int bits_of_steps(int steps) noexcept {
  return steps == 0 ? 1 : static_cast<int>(std::bit_width(static_cast<unsigned>(steps)));
}

template <executor E>
fit_counts count_fits(E& exec, matrix_view<const float> w, index_t width, look_for what) {
  return parallel_reduce(
      exec, w.rows, 8, fit_counts{},
      [&](index_t first, index_t last) {
        fit_counts out;
        out.told =
            for_each_group(w, width, what, first, last, [&](const distinct_values& v, int steps, index_t not_zero) {
              if (steps >= 0) {
                ++out.even[static_cast<std::size_t>(bits_of_steps(steps))];
                out.even_levels += v.size();
              }
              if (2 * v.size() <= not_zero) {
                ++out.few[static_cast<std::size_t>(bits_of_steps(v.size() - 1))];
                out.few_levels += v.size();
              }
            });
        return out;
      },
      [](const fit_counts& a, const fit_counts& b) { return a + b; });
}

template <executor E>
kind_counts count_kinds(E& exec, matrix_view<const float> w, index_t width, int bits) {
  return parallel_reduce(
      exec, w.rows, 8, kind_counts{},
      [&](index_t first, index_t last) {
        kind_counts out;
        for_each_group(w, width, look_for::steps_and_repeats, first, last,
                       [&](const distinct_values& v, int steps, index_t) {
                         if (steps < 0 || bits_of_steps(steps) > bits) return;
                         ++out.fit;
                         out.symmetric += zero_is_a_level(v, steps, bits, zero_point::symmetric);
                         out.integer += zero_is_a_level(v, steps, bits, zero_point::integer);
                       });
        return out;
      },
      [](const kind_counts& a, const kind_counts& b) { return a + b; });
}

// One way to read the weights; the better of two explains more of them (by more than a hundredth), or the same with
// fewer bits: codes, and two parameters of 16 bits a group.
struct reading {
  grid_detection what;
  double cost = 0.0;
  double half_cost = 0.0;  // with the bits that half of the groups that fit need
  bool better_than(const reading& other) const noexcept {
    if (what.share > other.what.share + 0.01) return true;
    return what.share >= other.what.share - 0.01 && cost < other.cost;
  }
};

// Whether few values explain the weights where equal spacing hardly does. A small group of values from a codebook of
// neighbouring binades (fp8) is equally spaced by chance, at 255 steps or fewer; then a codebook explains far more of
// the groups, and needs fewer bits. Groups of a real grid that are cut by the windows (shifted groups) are not taken
// for one: each has its own values, so windows that hold several need more bits than those that fit.
inline bool is_codebook(const reading& few, const reading& even) noexcept {
  return few.what.share > even.what.share + 0.25 && few.cost + 1 < even.half_cost;
}

inline reading read_counts(const std::array<index_t, 9>& fits, index_t levels, index_t told, index_t width,
                           grid_kind kind) {
  index_t all = 0, so_far = 0;
  for (const index_t n : fits) all += n;
  reading out;
  out.what = {kind,
              0,
              width,
              told == 0 ? 0.0 : static_cast<double>(all) / static_cast<double>(told),
              all == 0 ? 0.0 : static_cast<double>(levels) / static_cast<double>(all),
              told};
  const double parameters = 32.0 / static_cast<double>(width);
  while (out.what.bits < 8 && static_cast<double>(so_far) < 0.99 * static_cast<double>(all)) {
    so_far += fits[static_cast<std::size_t>(++out.what.bits)];
    if (out.half_cost == 0.0 && 2 * so_far >= all) out.half_cost = out.what.bits + parameters;
  }
  out.cost = out.what.bits + parameters;
  return out;
}

}  // namespace detail

// Whether W (out, in) re-quantizes without error at 8 bits or fewer: whether the values of each group of 16, 32, 64,
// 128, 256 columns or of a row are equally spaced with at most 255 steps, up to the rounding of a dequantization in
// float (2⁻²¹ of the group's largest magnitude). Where they are not, whether they are at least few (at most 256, and
// each there twice on average): a codebook. Equal spacing is preferred to a codebook (unless that explains more of the
// groups by a quarter of them, with fewer bits), then the group width that explains the most groups, then the one that
// costs the fewest bits.
// A group says something only with 8 weights that are not 0: zeros are on every grid. A matrix of zeros is on none.
// Fewer levels than the format has are found too; `bits` is what is used.
// Chance: five distinct random floats are equally spaced with probability below 1e-9; a group of 16 normal numbers
// rounded to bf16 below 1e-6 (f16: less). Rounding alone is therefore not taken for a grid, and repeated values are
// not enough for one. That holds for weights about zero, which span many binades. Weights within one or two binades
// (norm gains about 1) that were rounded to bf16 lie on a grid of 8 bits with an offset, and are reported.
// Limits: groups that begin elsewhere than at multiples of 16 of a row are found where enough windows of 16 lie inside
// one group (any shift of groups of 32 and more), groups of 16 then are not; columns that were permuted, and grids that
// were rotated or added to, are not (they do not re-quantize without error either). An offset beyond 2¹⁵ steps hides
// the steps. Stored in 16 bits after dequantization, a grid is a codebook.
// Determinism: the same for any number of workers. Cost: linear, at most seven passes; a group is given up as soon as
// it is on no grid, at its 257th value at the latest. 0.1 to 0.3 µs a weight on one core; some rows of a large matrix
// tell as much.
// Errors: not_finite (row and column named), shape_mismatch, null_pointer, bad_stride; invalid_argument for a share
// outside (0, 1].
template <executor E>
result<grid_detection> try_detect_grid(E& exec, matrix_view<const float> W, const detect_options& options = {}) {
  if (!(options.share > 0 && options.share <= 1))
    return error{errc::invalid_argument, "share", text(options.share), "above 0, at most 1"};
  if (status s = detail::check_weights(exec, W); !s) return s.error();
  if (W.empty()) return grid_detection{};
  detail::reading even, few;
  auto what = detail::look_for::steps_and_repeats;
  const index_t widths[] = {16, 32, 64, 128, 256, W.cols};
  for (const index_t& width : widths) {
    if (width >= W.cols && &width != widths + 5) continue;
    const detail::fit_counts n = detail::count_fits(exec, W, width, what);
    const auto keep = [](detail::reading& best, const detail::reading& r) {
      if (best.what.group == 0 || r.better_than(best)) best = r;
    };
    keep(even, detail::read_counts(n.even, n.even_levels, n.told, width, grid_kind::offset));
    keep(few, detail::read_counts(n.few, n.few_levels, n.told, width, grid_kind::codebook));
    // a group on a grid has all its parts on it: where next to no part is, no group of parts needs looking at
    if (n.told > 0 && even.what.share < 0.25 * options.share) what = detail::look_for::repeats;
  }
  grid_detection& found = even.what;
  if (found.share >= options.share && !detail::is_codebook(few, even)) {
    const detail::kind_counts n = detail::count_kinds(exec, W, found.group, found.bits);
    const auto most = [&](index_t k) { return static_cast<double>(k) >= 0.9 * static_cast<double>(n.fit); };
    if (most(n.symmetric)) found.kind = grid_kind::symmetric;
    else if (most(n.integer)) found.kind = grid_kind::integer_zero;
    return found;
  }
  if (few.what.share >= options.share) return few.what;
  return grid_detection{.share = even.what.share > few.what.share ? even.what.share : few.what.share,
                        .groups = even.what.groups};
}

// The same of any operand.
template <executor E, operand_of<float> W>
result<grid_detection> try_detect_grid(E& exec, const W& w, const detect_options& options = {}) {
  return on_view(w, "W", [&](matrix_view<const float> view) { return try_detect_grid(exec, view, options); });
}

#if RESECT_EXCEPTIONS
template <executor E>
grid_detection detect_grid(E& exec, matrix_view<const float> W, const detect_options& options = {}) {
  return value_or_throw(try_detect_grid(exec, W, options));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
