// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/error.hpp>
#include <resect/core/result.hpp>
#include <resect/quant/grid.hpp>

// Levels that are not equally spaced: code c stands for s·l_c, rounded once to float.
namespace RESECT_NAMESPACE::quant {

namespace detail {

// What codebooks do, of levels in ascending order. Of two equally near levels the lower one.
struct codebook_functions {
  static std::uint8_t encode(std::span<const float> levels, float w, scale_parameters p) noexcept {
    const double x = p.scale == 0 ? 0.0 : div_rn(w, p.scale);
    int code = 0;
    for (std::size_t c = 1; c < levels.size(); ++c) code += x > 0.5 * (double{levels[c - 1]} + double{levels[c]});
    return static_cast<std::uint8_t>(code);
  }
  // (Of a plain product of two floats that is rounded to float, g++ makes a float product, and fuses it with a sum.)
  static float decode(std::span<const float> levels, std::uint8_t code, scale_parameters p) noexcept {
    return static_cast<float>(mul_rn(p.scale, levels[code < levels.size() ? code : levels.size() - 1]));
  }
  // The least positive scale at which all weights lie between the first and the last level, where there is one; a side
  // without a level of its sign counts for nothing.
  static scale_parameters fit(std::span<const float> levels, extent of) noexcept {
    double s = 0;
    if (of.hi > 0 && levels.back() > 0) s = larger(s, div_rn(of.hi, levels.back()));
    if (of.lo < 0 && levels.front() < 0) s = larger(s, div_rn(of.lo, levels.front()));
    if (s > 0 && s < double{least_scale}) s = double{least_scale};
    return {static_cast<float>(s)};
  }
};

}  // namespace detail

// A codebook that is known at compile time: Table has `levels` (ascending floats), `name` and `mirrored` (see
// level_grid).
template <class Table>
struct table_grid {
  static constexpr int count = static_cast<int>(std::size(Table::levels));
  static_assert(count >= 2 && count <= 256, "a codebook has 2 to 256 levels");
  static constexpr grid_shape shape{};
  static constexpr std::string_view name = Table::name;
  static constexpr bool mirrored = Table::mirrored;
  using code = std::uint8_t;
  using parameters = scale_parameters;

  static constexpr std::span<const float> levels() noexcept { return Table::levels; }
  static constexpr int code_bits() noexcept {
    int bits = 1;
    while ((1 << bits) < count) ++bits;
    return bits;
  }
  static constexpr int level_sets() noexcept { return 1; }
  static constexpr int level_count() noexcept { return count; }
  static constexpr double level(int, int c) noexcept { return double{Table::levels[c]}; }
  static parameters at_scale(double s, int) noexcept { return {static_cast<float>(s)}; }

  static parameters fit(extent of, double ratio = 1.0) noexcept {
    return scaled(detail::codebook_functions::fit(levels(), of), ratio);
  }
  static parameters fit(std::span<const float> weights, std::span<const float>) noexcept {
    return fit(detail::extent_of(weights));
  }
  static parameters scaled(const parameters& p, double ratio) noexcept {
    return {static_cast<float>(mul_rn(p.scale, ratio))};
  }
  // The code whose level is nearest; of two equally near ones the lower.
  static code encode(std::span<const float> in, const parameters& p) noexcept {
    const double x = p.scale == 0 ? 0.0 : div_rn(in[0], p.scale);
    int c = 0;
    for (const double t : thresholds.between) c += x > t;
    return static_cast<code>(c);
  }
  static void decode(code c, const parameters& p, std::span<float> out) noexcept {
    out[0] = detail::codebook_functions::decode(levels(), c, p);
  }

 private:
  struct middles {
    double between[static_cast<std::size_t>(count - 1)];
    constexpr middles() : between{} {
      for (int c = 1; c < count; ++c) between[c - 1] = 0.5 * (double{Table::levels[c - 1]} + double{Table::levels[c]});
    }
  };
  static constexpr middles thresholds{};
};

namespace detail {
struct nf4_table {
  static constexpr std::string_view name = "nf4";
  static constexpr bool mirrored = false;
  static constexpr float levels[] = {-1.0f,        -0.69619280f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f,
                                     -0.09105004f, 0.0f,         0.07958030f,  0.16093020f,  0.24611230f,  0.33791524f,
                                     0.44070983f,  0.56261700f,  0.72295684f,  1.0f};
};
struct fp4_table {
  static constexpr std::string_view name = "fp4";
  static constexpr bool mirrored = true;
  static constexpr float levels[] = {-1.0f,      -8.0f / 12,    -0.5f, -4.0f / 12,   -0.25f,
                                     -2.0f / 12, -0.0625f / 12, 0.0f,  0.0625f / 12, 2.0f / 12,
                                     0.25f,      4.0f / 12,     0.5f,  8.0f / 12,    1.0f};
};
struct e2m1_table {
  static constexpr std::string_view name = "e2m1";
  static constexpr bool mirrored = true;
  static constexpr float levels[] = {-6.0f, -4.0f, -3.0f, -2.0f, -1.5f, -1.0f, -0.5f, 0.0f,
                                     0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f};
};
}  // namespace detail

// NF4: quantiles of the normal distribution, 7 below zero and 8 above it, of absmax (Dettmers et al., QLoRA, 2023).
using nf4_grid = table_grid<detail::nf4_table>;
// FP4 of bitsandbytes: 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1 of absmax, and their negatives.
using fp4_grid = table_grid<detail::fp4_table>;
// E2M1 of OCP's MX formats and of NVFP4: 0, ½, 1, 1½, 2, 3, 4, 6, and their negatives (OCP Microscaling Formats 1.0,
// 2023, 5.3.3).
using e2m1_grid = table_grid<detail::e2m1_table>;

// A codebook that is given at run time: 2 to 256 finite levels, strictly ascending. It is part of what is stored.
//   format<codebook_grid, f16_store>{.group = 32, .grid = codebook_grid(levels)}
template <class T>
class basic_codebook {
 public:
  static constexpr grid_shape shape{};
  static constexpr std::string_view name = "codebook";
  using code = std::uint8_t;
  using parameters = scale_parameters;

  basic_codebook() = default;
  explicit basic_codebook(std::span<const T> levels) : levels_(levels) {}
  std::span<const T> levels() const noexcept { return levels_.span(); }

  // Errors: invalid_argument (number of levels, order), not_finite.
  status check() const noexcept {
    if (levels_.size() < 2 || levels_.size() > 256)
      return error{errc::invalid_argument, "codebook", text(levels_.size(), " levels"), "2 to 256"};
    for (index_t c = 0; c < levels_.size(); ++c) {
      const float l = levels_[c];
      if (!(l <= largest_weight && l >= -largest_weight))
        return error{errc::not_finite, text("level ", c, " of the codebook"), text(l),
                     "a finite number, at most 2^126"};
      if (c > 0 && !(levels_[c - 1] < l))
        return error{errc::invalid_argument, text("level ", c, " of the codebook"), text(l),
                     text("more than the level before it, ", levels_[c - 1])};
    }
    return {};
  }

  int code_bits() const noexcept {
    int bits = 1;
    while ((index_t{1} << bits) < levels_.size()) ++bits;
    return bits;
  }
  // Of the codebook itself: a count and its levels as floats.
  index_t state_bits() const noexcept { return 32 + 32 * levels_.size(); }
  // Those bits, and the codebook of such bits.
  void write_state(std::span<std::uint32_t> words) const noexcept {
    words[0] = static_cast<std::uint32_t>(levels_.size());
    for (index_t c = 0; c < levels_.size(); ++c) words[static_cast<std::size_t>(c) + 1] = bits_of(levels_[c]);
  }
  static result<basic_codebook> try_read_state(std::span<const std::uint32_t> words) {
    if (words.empty() || words[0] > 256 || words.size() < words[0] + 1)
      return error{errc::malformed, "codebook", "fewer words than it says, or more than 256 levels",
                   "a count and its levels"};
    basic_codebook out;
    for (std::size_t c = 0; c < words[0]; ++c) out.levels_.push_back(float_of(words[c + 1]));
    if (status s = out.check(); !s) return s.error();
    return out;
  }

  int level_sets() const noexcept { return 1; }
  int level_count() const noexcept { return static_cast<int>(levels_.size()); }
  double level(int, int c) const noexcept { return double{levels_[c]}; }
  parameters at_scale(double s, int) const noexcept { return {static_cast<float>(s)}; }
  parameters fit(extent of, double ratio = 1.0) const noexcept {
    return scaled(detail::codebook_functions::fit(levels(), of), ratio);
  }
  parameters fit(std::span<const float> weights, std::span<const float>) const noexcept {
    return fit(detail::extent_of(weights));
  }
  parameters scaled(const parameters& p, double ratio) const noexcept {
    return {static_cast<float>(mul_rn(p.scale, ratio))};
  }
  code encode(std::span<const float> in, const parameters& p) const noexcept {
    return detail::codebook_functions::encode(levels(), in[0], p);
  }
  void decode(code c, const parameters& p, std::span<float> out) const noexcept {
    out[0] = detail::codebook_functions::decode(levels(), c, p);
  }

 private:
  array<T> levels_;
};
// Of floats. (A template, because owners of memory cost the compiler nothing until a program has one.)
using codebook_grid = basic_codebook<float>;

}  // namespace RESECT_NAMESPACE::quant
