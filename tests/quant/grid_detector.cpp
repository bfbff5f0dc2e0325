// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <resect/core/float8.hpp>
#include <resect/core/threads.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/quant/quantize.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::errc;
using resect::index_t;
using resect::matrix_view;

namespace {

resect::inline_executor here;

grid_detection found(const floats& w, index_t cols) {
  return detect_grid(here, {w.data(), static_cast<index_t>(w.size()) / cols, cols});
}

// To so many significant bits, ties to even: 11 is what f16 keeps of a number in its range, 8 what bf16 keeps.
float kept(float x, int bits) {
  int e = 0;
  const float m = std::frexp(x, &e);
  return std::ldexp(std::nearbyint(std::ldexp(m, bits)), e - bits);
}
floats kept(floats w, int bits) {
  for (float& x : w) x = kept(x, bits);
  return w;
}

struct range {
  float lo, hi;
};
range range_of(const float* w, index_t n) { return {*std::min_element(w, w + n), *std::max_element(w, w + n)}; }

// ggml's block formats, as its quantizers fill and its dequantizers read them (fp16 scales; arithmetic in float).
// Qb_0: w = d·(q − 2^(b−1)), d = signed absmax / −2^(b−1).
floats ggml_0(floats w, int bits, index_t block) {
  const float half = static_cast<float>(1 << (bits - 1));
  for (std::size_t i = 0; i < w.size(); i += static_cast<std::size_t>(block)) {
    const auto [lo, hi] = range_of(&w[i], block);
    const float d = kept((-lo >= hi ? lo : hi) / -half, 11);
    for (std::size_t j = i; j < i + static_cast<std::size_t>(block); ++j)
      w[j] = d == 0 ? 0.0f : d * (std::min(2 * half - 1, std::floor(w[j] / d + half + 0.5f)) - half);
  }
  return w;
}
// Qb_1: w = d·q + m.
floats ggml_1(floats w, int bits, index_t block) {
  const float most = static_cast<float>((1 << bits) - 1);
  for (std::size_t i = 0; i < w.size(); i += static_cast<std::size_t>(block)) {
    const auto [lo, hi] = range_of(&w[i], block);
    const float d = kept((hi - lo) / most, 11), m = kept(lo, 11);
    for (std::size_t j = i; j < i + static_cast<std::size_t>(block); ++j)
      w[j] = d == 0 ? m : std::min(most, std::floor((w[j] - lo) / d + 0.5f)) * d + m;
  }
  return w;
}
// Q8_0: w = d·q, d = absmax/127.
floats ggml_8(floats w) {
  for (std::size_t i = 0; i < w.size(); i += 32) {
    const auto [lo, hi] = range_of(&w[i], 32);
    const float d = kept(std::max(-lo, hi) / 127, 11);
    for (std::size_t j = i; j < i + 32; ++j) w[j] = d * std::round(w[j] / d);
  }
  return w;
}
// Qb_K with minima: w = d·sc·q − dmin·mn, 256 weights a super-block, sc and mn integers below 2^scale_bits a sub-block.
floats ggml_k(floats w, int bits, index_t sub, int scale_bits) {
  const float most = static_cast<float>((1 << bits) - 1), top = static_cast<float>((1 << scale_bits) - 1);
  for (std::size_t i = 0; i < w.size(); i += 256) {
    float largest_step = 0, largest_min = 0;
    for (std::size_t b = i; b < i + 256; b += static_cast<std::size_t>(sub)) {
      const auto [lo, hi] = range_of(&w[b], sub);
      largest_step = std::max(largest_step, (hi - std::min(lo, 0.0f)) / most);
      largest_min = std::max(largest_min, -std::min(lo, 0.0f));
    }
    const float d = kept(largest_step / top, 11), dmin = kept(largest_min / top, 11);
    for (std::size_t b = i; b < i + 256; b += static_cast<std::size_t>(sub)) {
      const auto [lo, hi] = range_of(&w[b], sub);
      const float sc = std::max(1.0f, std::round((hi - std::min(lo, 0.0f)) / most / d));
      const float mn = std::round(-std::min(lo, 0.0f) / dmin);
      for (std::size_t j = b; j < b + static_cast<std::size_t>(sub); ++j)
        w[j] = d * sc * std::clamp(std::round((w[j] + dmin * mn) / (d * sc)), 0.0f, most) - dmin * mn;
    }
  }
  return w;
}
// Q6_K: w = d·sc·(q − 32), sub-blocks of 16, sc signed 8 bits.
floats ggml_6k(floats w) {
  for (std::size_t i = 0; i < w.size(); i += 256) {
    float largest = 0;
    for (std::size_t b = i; b < i + 256; b += 16) {
      const auto [lo, hi] = range_of(&w[b], 16);
      largest = std::max(largest, std::max(-lo, hi) / 32);
    }
    const float d = kept(largest / 127, 11);
    for (std::size_t b = i; b < i + 256; b += 16) {
      const auto [lo, hi] = range_of(&w[b], 16);
      const float sc = std::max(1.0f, std::round(std::max(-lo, hi) / 32 / d));
      for (std::size_t j = b; j < b + 16; ++j) w[j] = d * sc * std::clamp(std::round(w[j] / (d * sc)), -32.0f, 31.0f);
    }
  }
  return w;
}
// bitsandbytes' NF4: the nearest of 16 quantiles of the normal distribution, times the block's largest magnitude.
floats nf4(floats w, index_t block) {
  constexpr float level[] = {-1.0f,        -0.69619280f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f,
                             -0.09105004f, 0.0f,         0.07958030f,  0.16093020f,  0.24611230f,  0.33791524f,
                             0.44070983f,  0.56261700f,  0.72295684f,  1.0f};
  for (std::size_t i = 0; i < w.size(); i += static_cast<std::size_t>(block)) {
    const auto [lo, hi] = range_of(&w[i], block);
    const float absmax = std::max(-lo, hi);
    for (std::size_t j = i; j < i + static_cast<std::size_t>(block); ++j) {
      float best = level[0];
      for (const float l : level)
        if (std::fabs(w[j] / absmax - l) < std::fabs(w[j] / absmax - best)) best = l;
      w[j] = best * absmax;
    }
  }
  return w;
}

floats requantized(const floats& w, index_t cols, const affine_format& f) {
  floats out(w.size());
  const matrix_view<float> to{out.data(), static_cast<index_t>(w.size()) / cols, cols};
  REQUIRE(try_visit(f, [&](auto format) -> resect::status {
    return try_dequantize(here, quantize(here, {w.data(), to.rows, cols}, format), to);
  }));
  return out;
}

const index_t cols = 768;
floats weights(std::uint64_t seed = 1) { return gaussian(cols * 60, seed, 0.02); }

void check(const grid_detection& d, grid_kind kind, int bits, index_t group) {
  CHECK(name(d.kind) == name(kind));
  CHECK(d.bits == bits);
  CHECK(d.group == group);
  CHECK(d.share >= 0.999);
  CHECK(d.found());
}

}  // namespace

TEST_CASE("normal weights lie on no grid, in float or rounded to f16 or bf16, whatever the shape") {
  const auto w = gaussian(1 << 16, 3, 0.02);
  for (const auto& x : {w, kept(w, 11), kept(w, 8)})
    for (const index_t n : {8, 15, 16, 33, 64, 100, 256, 4096, 65536}) {
      const index_t rows = (1 << 16) / n;
      const auto d = detect_grid(here, {x.data(), rows, n});
      CAPTURE(n);
      CHECK_FALSE(d.found());
      CHECK(d.bits == 0);
      CHECK(d.share < 0.02);
      CHECK(d.groups > 0);
    }
}

TEST_CASE("nor do other weights of high precision") {
  for (const family f : {family::heavy_tails, family::positive, family::far_from_zero, family::one_outlier}) {
    CAPTURE(name(f));
    CHECK_FALSE(found(drawn(f, cols * 30, 2), cols).found());
    CHECK_FALSE(found(kept(drawn(family::heavy_tails, cols * 30, 2), 8), cols).found());
  }
  // zeros are on every grid and say nothing: pruned weights are not found
  for (const double zeros : {0.5, 0.9, 0.97}) {
    auto w = weights();
    for (std::size_t i = 0; i < w.size(); ++i)
      if (resect::random::uniform(resect::random::philox_stream{5}, i) < zeros) w[i] = 0;
    CHECK_FALSE(found(w, cols).found());
    CHECK_FALSE(found(kept(w, 11), cols).found());
  }
}

TEST_CASE("a rotation takes weights off their grid") {
  auto w = ggml_0(weights(), 4, 32);
  for (std::size_t i = 0; i + 1 < w.size(); i += 2) {  // pairs of columns turned by one angle
    const float a = std::cos(1.0f) * w[i] - std::sin(1.0f) * w[i + 1];
    const float b = std::sin(1.0f) * w[i] + std::cos(1.0f) * w[i + 1];
    w[i] = a;
    w[i + 1] = b;
  }
  CHECK_FALSE(found(w, cols).found());
}

TEST_CASE("ggml's block formats are found with their bits and their group") {
  const auto w = weights();
  check(found(ggml_0(w, 4, 32), cols), grid_kind::symmetric, 4, 32);
  check(found(ggml_0(w, 5, 32), cols), grid_kind::symmetric, 5, 32);
  check(found(ggml_8(w), cols), grid_kind::symmetric, 8, 32);
  check(found(ggml_1(w, 4, 32), cols), grid_kind::offset, 4, 32);
  check(found(ggml_1(w, 5, 32), cols), grid_kind::offset, 5, 32);
  check(found(ggml_k(w, 4, 32, 6), cols), grid_kind::offset, 4, 32);
  check(found(ggml_k(w, 5, 32, 6), cols), grid_kind::offset, 5, 32);
  check(found(ggml_k(w, 2, 16, 4), cols), grid_kind::offset, 2, 16);
  check(found(ggml_6k(w), cols), grid_kind::symmetric, 6, 16);
}

TEST_CASE("the levels of a group are counted") {
  const auto d = found(ggml_0(weights(), 4, 32), cols);
  CHECK(d.levels > 9);
  CHECK(d.levels <= 16);
  CHECK(d.groups == cols * 60 / 32);
}

TEST_CASE("grids of any bits and group are found, and re-quantize without error where zero is a level") {
  const auto even = weights(2);
  auto uneven = even;
  for (float& x : uneven) x += 0.06f;  // a zero in the middle of its codes would be a symmetric one
  for (int bits = 2; bits <= 8; ++bits)
    for (const auto zero : {zero_point::integer, zero_point::symmetric})
      for (const index_t group : {32, 64, 128, 256, 0}) {
        CAPTURE(bits, static_cast<int>(zero), group);
        const affine_format format{bits, zero, group};
        const auto& w = zero == zero_point::symmetric ? even : uneven;
        const auto on = requantized(w, cols, format);
        check(found(on, cols), zero == zero_point::symmetric ? grid_kind::symmetric : grid_kind::integer_zero, bits,
              group == 0 ? cols : group);
        CHECK(requantized(on, cols, format) == on);
      }
}

TEST_CASE("tail groups and odd widths") {
  const auto w = gaussian(100 * 90, 4);
  check(found(requantized(w, 100, {4, zero_point::integer, 64}), 100), grid_kind::integer_zero, 4, 64);
  check(found(requantized(w, 90, {3, zero_point::symmetric, 32}), 90), grid_kind::symmetric, 3, 32);
  check(found(requantized(w, 12, {4, zero_point::integer, 0}), 12), grid_kind::integer_zero, 4, 12);
  check(found(requantized(w, 64, {4, zero_point::integer, 64}), 64), grid_kind::integer_zero, 4, 64);
}

TEST_CASE("few used levels, groups of zeros and constant groups do not hide a grid") {
  auto w = weights();
  for (float& x : w) x = x > 0.01f ? 0.0123f : x < -0.01f ? -0.0123f : 0.0f;  // ternary
  auto d = found(w, cols);
  CHECK(d.kind == grid_kind::symmetric);
  CHECK(d.bits == 2);
  CHECK(d.group == cols);
  for (float& x : w) x = x == 0 ? 0.0123f : -0.0123f;  // two values
  d = found(w, cols);
  CHECK(d.found());
  CHECK(d.bits == 1);
  CHECK(found(floats(w.size(), 0.7f), cols).found());

  w = ggml_1(weights(), 4, 32);
  for (std::size_t i = 0; i < w.size(); ++i)
    if (i / 32 % 3 == 0) w[i] = 0.0f;
    else if (i / 32 % 3 == 1) w[i] = 0.31f;
  d = found(w, cols);
  check(d, grid_kind::offset, 4, 32);
  CHECK(d.groups == cols * 60 / 32 * 2 / 3);
}

TEST_CASE("groups that use every second level of a symmetric grid are on it too") {
  floats w;
  const resect::random::philox_stream draws{3};
  for (std::uint64_t i = 0; i < 32 * 400; ++i) {
    const float scale = 0.01f + 1e-4f * static_cast<float>(i / 32);
    const auto code = static_cast<float>(resect::random::integer_below(draws, i, 16));
    w.push_back(scale * (i / 32 % 2 == 0 ? code - 8 : 2 * std::floor(code / 2) - 7));
  }
  check(found(w, 320), grid_kind::symmetric, 4, 32);
}

TEST_CASE("a matrix of zeros, or without weights, says nothing") {
  for (const float zero : {0.0f, -0.0f}) {
    const auto d = found(floats(640, zero), 64);
    CHECK_FALSE(d.found());
    CHECK(d.groups == 0);
  }
  CHECK_FALSE(detect_grid(here, {nullptr, 0, 64}).found());
  CHECK_FALSE(detect_grid(here, {nullptr, 3, 0}).found());
}

TEST_CASE("part of a matrix on a grid is found, with its share") {
  auto w = weights();
  const auto on = ggml_0(w, 4, 32);
  std::copy(on.begin(), on.begin() + static_cast<index_t>(w.size() / 2), w.begin());
  const auto d = found(w, cols);
  CHECK(d.kind == grid_kind::symmetric);
  CHECK(d.bits == 4);
  CHECK(d.share == Approx(0.5).margin(0.01));
  CHECK_FALSE(detect_grid(here, {w.data(), 60, cols}, {.share = 0.9}).found());
}

TEST_CASE("groups that begin in the middle of a window are found from 32 columns on") {
  for (const index_t group : {32, 64, 128})
    for (const index_t shift : {1, 5, 16, 31}) {
      auto w = ggml_0(gaussian(1024 * 40, 6), 4, group);
      for (index_t r = 0; r < 40; ++r)
        std::rotate(&w[static_cast<std::size_t>(r * 1024)], &w[static_cast<std::size_t>(r * 1024 + shift)],
                    &w[static_cast<std::size_t>(r * 1024)] + 1024);
      CAPTURE(group, shift);
      const auto d = found(w, 1024);
      CHECK(d.kind == grid_kind::symmetric);
      CHECK(d.bits == 4);
      CHECK(d.group >= 16);
      CHECK(d.share >= 0.49);
    }
}

TEST_CASE("levels that are not equally spaced are a codebook") {
  const auto w = weights();
  auto d = found(nf4(w, 64), cols);
  CHECK(d.kind == grid_kind::codebook);
  CHECK(d.bits == 4);
  CHECK(d.group == 64);
  // a grid that was stored in 16 bits after it was dequantized
  for (const int bits : {8, 11}) {
    d = found(kept(ggml_1(w, 4, 64), bits), cols);
    CHECK(d.kind == grid_kind::codebook);
    CHECK(d.bits == 4);
  }
  d = found(kept(weights(), 3), cols);  // about fp8
  CHECK(d.found());
}

TEST_CASE("the result does not depend on the number of workers or on how the matrix lies in memory") {
  const auto w = ggml_1(weights(), 4, 32);
  const auto want = found(w, cols);
  const auto equal = [&](const grid_detection& d) {
    return d.kind == want.kind && d.bits == want.bits && d.group == want.group && d.share == want.share &&
           d.levels == want.levels && d.groups == want.groups;
  };
  const matrix_view<const float> W{w.data(), 60, cols};
  for (const int workers : {1, 2, 3, 7, 64}) {
    const resect::threads pool{workers};
    CHECK(equal(detect_grid(pool, W)));
  }
  floats turned(w.size());
  for (index_t r = 0; r < 60; ++r)
    for (index_t c = 0; c < cols; ++c) turned[static_cast<std::size_t>(c * 60 + r)] = W(r, c);
  CHECK(equal(detect_grid(here, matrix_view<const float>{turned.data(), cols, 60}.transposed())));
}

TEST_CASE("what cannot be looked at is refused") {
  auto w = weights();
  const matrix_view<const float> W{w.data(), 60, cols};
  for (const double share : {0.0, -1.0, 1.5, std::nan("")}) {
    const auto d = try_detect_grid(here, W, {.share = share});
    REQUIRE_FALSE(d);
    CHECK(d.error().code == errc::invalid_argument);
    CHECK(d.error().operand == "share");
  }
  w[5 * cols + 9] = std::nanf("");
  const auto d = try_detect_grid(here, W);
  REQUIRE_FALSE(d);
  CHECK(d.error().code == errc::not_finite);
  CHECK(d.error().operand == "W, row 5, column 9");
  CHECK_THROWS_AS(detect_grid(here, W), resect::exception);
  CHECK(try_detect_grid(here, {nullptr, 60, cols}).error().code == errc::null_pointer);
}

TEST_CASE("fp8 is a codebook, with one scale for all or one a row, though many small groups look equally spaced") {
  const auto check = [](const floats& w, index_t columns, int bits) {
    const auto d = found(w, columns);
    CHECK(d.kind == grid_kind::codebook);
    CHECK(d.bits <= bits);
    CHECK(d.bits >= bits - 1);
    CHECK(d.group >= 256);
    CHECK(d.share > 0.95);
  };
  for (const index_t columns : {512, 1024, 2048}) {
    const auto w = gaussian(64 * 512, 9);
    floats e4m3 = w, e5m2 = w, rows = w;
    for (std::size_t i = 0; i < w.size(); ++i) {
      e4m3[i] = static_cast<float>(resect::fp8_e4m3(w[i]));
      e5m2[i] = static_cast<float>(resect::fp8_e5m2(w[i]));
      const float scale = 0.01f * static_cast<float>(1 + i / static_cast<std::size_t>(columns));
      rows[i] = scale * static_cast<float>(resect::fp8_e4m3(w[i]));
    }
    CAPTURE(columns);
    check(e4m3, columns, 8);
    check(e5m2, columns, 7);
    check(rows, columns, 8);
  }
}

TEST_CASE("shifted groups of 2 and 3 bits are still grids, not codebooks of the rows") {
  for (const int bits : {2, 3})
    for (const index_t shift : {8, 16, 24}) {
      auto w = ggml_0(gaussian(512 * 40, 6), bits, 32);
      for (index_t r = 0; r < 40; ++r)
        std::rotate(&w[static_cast<std::size_t>(r * 512)], &w[static_cast<std::size_t>(r * 512 + shift)],
                    &w[static_cast<std::size_t>(r * 512)] + 512);
      CAPTURE(bits, shift);
      const auto d = found(w, 512);
      CHECK(d.kind == grid_kind::symmetric);
      CHECK(d.share >= 0.45);
    }
}

TEST_CASE("levels that were dequantized in two ways, a rounding apart, are one level") {
  auto w = ggml_0(weights(), 4, 32);
  const auto exact = found(w, cols);
  const auto jitter = gaussian(static_cast<index_t>(w.size()), 77);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] *= 1 + (jitter[i] > 0 ? 1.2e-7f : 0.0f);  // 1 unit in the last place
  const auto d = found(w, cols);
  CHECK(d.kind == exact.kind);
  CHECK(d.bits == 4);
  CHECK(d.group == exact.group);
  CHECK(d.share == Approx(exact.share).margin(1e-3));
  CHECK(d.levels == exact.levels);
}

TEST_CASE("weights about 1 that were rounded to bf16 are on a grid of 8 bits with an offset, as documented") {
  auto w = gaussian(64 * 512, 3, 0.1);
  for (float& x : w) x = kept(1 + x, 8);
  const auto d = found(w, 512);
  CHECK(d.kind == grid_kind::offset);
  CHECK(d.bits == 8);
  CHECK(d.share > 0.9);
}

}  // namespace tests
