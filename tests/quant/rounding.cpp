// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Nearest rounding on every grid, layout and store; bad input.
#include <algorithm>
#include <cmath>
#include <limits>

#include <resect/core/float16.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/threads.hpp>
#include <resect/quant.hpp>
#include <support/catch.hpp>

#include "groups.hpp"
#include "run_grid.hpp"

namespace tests {

using namespace resect::quant;
using resect::errc;
using resect::f16;
using resect::index_t;
using resect::matrix_view;

namespace {

resect::inline_executor here;

matrix_view<const float> view(const floats& w, index_t rows, index_t cols) { return {w.data(), rows, cols}; }

codebook_format user_book(index_t group) {
  const floats levels{-1.5f, -0.5f, 0.0f, 0.25f, 1.0f};
  return {.group = group, .grid = codebook_grid(levels)};
}

// One of each grid, layout and store, with tails at 100 columns.
template <class F>
void on_formats(F f) {
  f(affine_symmetric<4, f16_store>{.group = 48});
  f(affine<3, zero_point::integer, f16_store>{.group = 16, .group_rows = 16});
  f(affine_minimum<4>{.group = 0, .group_rows = 0});
  f(nf4{});
  f(mxfp4{});
  f(nvfp4{.group_rows = 4});
  f(two_level<4>{});
  f(two_level_symmetric<3>{});
  f(user_book(32));
  f(e8{.group = 64, .group_rows = 2});
  f(format<run_grid, bf16_store>{.group = 48});
}

// Whether the parts of two results are the same, and their values.
template <class F>
bool same(const quantized<F>& a, const quantized<F>& b) {
  floats x(static_cast<std::size_t>(a.rows * a.cols)), y(x.size());
  dequantize(here, a, {x.data(), a.rows, a.cols});
  dequantize(here, b, {y.data(), b.rows, b.cols});
  return a.codes == b.codes && a.parameters.size() == b.parameters.size() && same_bits(x, y);
}

// A user's grid with a parameter of its own, w = s·c + shift, which is NaN of some groups; and the same that does not say so.
struct shifted_grid {
  struct parameters {
    float scale;
    float shift;
  };
  using code = std::uint8_t;
  static constexpr grid_shape shape{};
  static constexpr std::string_view name = "shifted";
  static constexpr int code_bits() noexcept { return 4; }
  static bool finite(const parameters& p) noexcept { return std::isfinite(p.scale) && std::isfinite(p.shift); }
  static parameters fit(std::span<const float> w, std::span<const float>) noexcept {
    return {0.1f, w[0] > 0.9f ? std::nanf("") : -0.8f};
  }
  static parameters scaled(parameters p, double ratio) noexcept {
    return {static_cast<float>(p.scale * ratio), p.shift};
  }
  static code encode(std::span<const float> in, parameters p) noexcept {
    const float c = std::round((in[0] - p.shift) / p.scale);
    return static_cast<code>(c > 0 ? c < 15 ? c : 15 : 0);
  }
  static void decode(code c, parameters p, std::span<float> out) noexcept {
    out[0] = p.scale * static_cast<float>(c) + p.shift;
  }
};
struct silent_grid : shifted_grid {
  static void finite(const parameters&) noexcept {}
};
static_assert(grid<shifted_grid> && !grid<silent_grid>);

// Keeps those parameters as they are.
struct shifted_store : f32_store {
  using relaxed = shifted_store;
  using P = shifted_grid::parameters;
  static constexpr std::string_view name = "f32x2";
  static constexpr P nearest(P p, no_header) noexcept { return p; }
  template <class>
  static constexpr int bits() noexcept {
    return 64;
  }
  static constexpr std::uint64_t pack(const P& p, no_header) noexcept {
    return resect::bits_of(p.scale) | std::uint64_t{resect::bits_of(p.shift)} << 32;
  }
  template <class>
  static constexpr P unpack(std::uint64_t b, no_header) noexcept {
    return {resect::float_of(static_cast<std::uint32_t>(b)), resect::float_of(static_cast<std::uint32_t>(b >> 32))};
  }
};

struct nan_grid : nf4_grid {  // a user's grid that is wrong
  static constexpr std::string_view name = "nan";
  static parameters fit(std::span<const float> w, std::span<const float>) noexcept {
    return {w[0] > 0.9f ? std::nanf("") : 1.0f};
  }
};

}  // namespace

TEST_CASE("each code is the grid's own for the parameters of its block, which are the search's for its weights") {
  const index_t rows = 19, cols = 100;
  const auto w = drawn(family::gaussian, rows * cols, 5);
  const auto W = view(w, rows, cols);
  on_formats([&](auto format) {
    using F = decltype(format);
    constexpr grid_shape shape = F::grid_type::shape;
    const auto q = quantize(here, W, format);
    CAPTURE(F::name().view());
    REQUIRE(q.check());
    const block_layout layout = q.layout();
    bool fitted = true, encoded = true;
    for (index_t i = 0; i < layout.down(); ++i)
      for (index_t g = 0; g < layout.per_row(); ++g) {
        floats group;
        const auto p = q.parameters[i * layout.per_row() + g];
        for (index_t r = layout.first_row(i); r < layout.first_row(i) + layout.row_count(i); r += shape.rows)
          for (index_t c = layout.first(g); c < layout.first(g) + layout.size(g); c += shape.cols) {
            float in[static_cast<std::size_t>(shape.size())] = {};
            for (index_t y = 0; y < shape.rows && r + y < rows; ++y)
              for (index_t x = 0; x < shape.cols && c + x < layout.first(g) + layout.size(g); ++x) {
                in[y * shape.cols + x] = W(r + y, c + x);
                group.push_back(W(r + y, c + x));
              }
            encoded =
                encoded && q.codes[r / shape.rows * q.parts().code_cols + c / shape.cols] == format.grid.encode(in, p);
          }
        const auto want = min_max::fit(format.grid, format.store, q.header_at(i, g), {group, {}});
        fitted = fitted && want.scale == p.scale;
      }
    CHECK(fitted);
    CHECK(encoded);
  });
}

TEST_CASE("the same bits for any number of workers and any way that the matrix lies in memory, of all formats") {
  const index_t rows = 19, cols = 100;
  const auto w = drawn(family::heavy_tails, rows * cols, 6);
  floats turned(w.size());
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c)
      turned[static_cast<std::size_t>(c * rows + r)] = w[static_cast<std::size_t>(r * cols + c)];
  on_formats([&](auto format) {
    const auto want = quantize(here, view(w, rows, cols), format);
    CAPTURE(decltype(format)::name().view());
    for (const int workers : {1, 2, 3, 7, 64}) {
      const resect::threads pool{workers};
      CHECK(same(quantize(pool, view(w, rows, cols), format), want));
    }
    CHECK(same(quantize(here, view(turned, cols, rows).transposed(), format), want));
  });
  const resect::threads pool{7};
  CHECK(same(quantize(pool, view(w, rows, cols), nvfp4{}, nearest{}, exact{}),
             quantize(here, view(w, rows, cols), nvfp4{}, nearest{}, exact{})));
  CHECK(same(quantize(pool, view(w, rows, cols), two_level<4>{}, nearest{}, two_level_search{}),
             quantize(here, view(w, rows, cols), two_level<4>{}, nearest{}, two_level_search{})));
}

TEST_CASE("operands of f16 and bf16 give what their values as floats give") {
  const auto w = drawn(family::gaussian, 6 * 40, 1);
  const auto check = [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> stored;
    floats wide;
    for (const float x : w) {
      stored.push_back(T(x));
      wide.push_back(static_cast<float>(stored.back()));
    }
    const matrix_view<const T> W{stored.data(), 6, 40};
    CHECK(same(quantize(here, W, affine<4>{.group = 16}), quantize(here, view(wide, 6, 40), affine<4>{.group = 16})));
    resect::matrix<T> own(6, 40);
    for (index_t r = 0; r < 6; ++r)
      for (index_t c = 0; c < 40; ++c) own(r, c) = W(r, c);
    CHECK(same(quantize(here, own, nf4{}), quantize(here, view(wide, 6, 40), nf4{})));
    own(4, 7) = T(std::numeric_limits<float>::infinity());
    CHECK(try_quantize(here, own, nf4{}).error().operand == "W, row 4, column 7");
  };
  check(f16{});
  check(resect::bf16{});
}

TEST_CASE("any shape and any weights: no extent, one weight, tails, every family") {
  on_formats([](auto format) {
    CAPTURE(decltype(format)::name().view());
    for (const auto& [rows, cols] : {std::pair<index_t, index_t>{0, 5}, {5, 0}, {1, 1}, {1, 33}, {33, 1}, {3, 257}})
      for (const family kind : families) {
        const auto w = drawn(kind, rows * cols, 2);
        const auto q = quantize(here, view(w, rows, cols), format);
        REQUIRE(q.check());
        floats back(w.size(), -1.0f);
        dequantize(here, q, {back.data(), rows, cols});
        CHECK(std::all_of(back.begin(), back.end(), [](float x) { return std::isfinite(x); }));
        CHECK(std::isfinite(loss(here, view(w, rows, cols), q).relative_frobenius));
      }
  });
}

TEST_CASE("importance is read at the columns of each block") {
  const index_t rows = 6, cols = 48;
  const auto w = drawn(family::heavy_tails, rows * cols, 3);
  floats a = gaussian(cols, 9);
  for (float& x : a) x = x * x;
  const affine_symmetric<3, f16_store> format{.group = 16, .group_rows = 2};
  const auto q = quantize(here, view(w, rows, cols), format, nearest{}, mse_scale{.importance = a});
  floats group, weights;
  for (index_t r = 2; r < 4; ++r)
    for (index_t c = 16; c < 32; ++c) {
      group.push_back(w[static_cast<std::size_t>(r * cols + c)]);
      weights.push_back(a[static_cast<std::size_t>(c)]);
    }
  CHECK(q.parameters_at(3, 20).scale == mse_scale{}.fit(format.grid, format.store, {}, {group, weights}).scale);
}

TEST_CASE("a grid or a search whose parameters are no numbers is an error that names the group") {
  floats w(4 * 64, 0.5f);
  w[2 * 64 + 32] = 1.0f;
  const auto refused = try_quantize(here, view(w, 4, 64), format<nan_grid, f32_store>{.group = 32});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() ==
        "not finite: parameters of group 1 of row 2: got NaN or infinity from the search on grid nan, wanted finite "
        "numbers");
  const resect::threads pool{3};
  const auto of_matrix =
      try_quantize(pool, view(w, 4, 64), format<nan_grid, tensor_scaled_store<resect::fp8_e4m3>>{.group = 32});
  REQUIRE_FALSE(of_matrix);
  CHECK(of_matrix.error().operand == "parameters of group 1 of row 2");
  const format<shifted_grid, shifted_store> shifted{.group = 32};
  const auto of_shift = try_quantize(here, view(w, 4, 64), shifted);
  REQUIRE_FALSE(of_shift);
  CHECK(of_shift.error().operand == "parameters of group 1 of row 2");
  w[2 * 64 + 32] = 0.5f;
  CHECK(try_quantize(here, view(w, 4, 64), shifted));
}

TEST_CASE("scales that a store does not hold are counted: the largest number, and 0") {
  const auto lost = [](auto format, std::initializer_list<float> sizes, const auto& search) {
    floats w;  // a group of 32 of each size
    for (const float size : sizes)
      for (int i = 0; i < 32; ++i) w.push_back(size * static_cast<float>(i % 13 - 6));
    const auto q = quantize(here, view(w, static_cast<index_t>(sizes.size()), 32), format, nearest{}, search);
    return std::to_string(q.outcome.saturated_scales) + ", " + std::to_string(q.outcome.vanished_scales);
  };
  const auto sizes = {1.0f, 0.0f, 1e-9f, 1e9f, 1e-8f};
  CHECK(lost(affine_symmetric<4, f16_store>{.group = 32}, sizes, min_max{}) == "1, 2");
  CHECK(lost(affine_symmetric<4, f16_store>{.group = 32}, sizes, exact{}) == "1, 1");  // f16 has 2⁻²⁴
  CHECK(lost(affine_symmetric<4>{.group = 32}, sizes, min_max{}) == "0, 0");
  CHECK(lost(affine_symmetric<4, bf16_store>{.group = 32}, sizes, min_max{}) == "0, 0");
  CHECK(lost(affine<4, zero_point::integer, float_store<resect::fp8_e4m3>>{.group = 32}, sizes, min_max{}) == "1, 2");
  CHECK(lost(affine_minimum<4>{.group = 32}, sizes, exact{}) == "1, 2");
  CHECK(lost(nvfp4{.group = 32}, {1.0f, 0.0f, 1e-6f}, min_max{}) == "0, 1");
  CHECK(lost(two_level<4>{.group = 32}, {1e9f, 1.0f, 0.0f}, min_max{}) == "1, 0");
  CHECK(lost(e8{.group = 32}, sizes, min_max{}) == "1, 1");
  const floats constant(64, 0.1f), tiny(64, 1e-9f);  // about a minimum neither is lost, or the minimum is
  CHECK(quantize(here, view(constant, 2, 32), affine_minimum<4>{.group = 32}).outcome.vanished_scales == 0);
  CHECK(quantize(here, view(tiny, 2, 32), affine_minimum<4>{.group = 32}).outcome.vanished_scales == 2);
}

TEST_CASE("groups that would cut a code in two, and codebooks that are none, are refused") {
  const floats w(64, 1.0f);
  const auto refused = [&](auto format) {
    const auto q = try_quantize(here, view(w, 2, 32), format);
    return q ? std::string("fine") : std::string(q.error().message().view());
  };
  CHECK(refused(e8{.group = 20}) == "invalid argument: group: got 20, wanted a multiple of 8 columns");
  CHECK(refused(e8{.group = 40}) == "fine");  // one group a row
  CHECK(refused(format<run_grid, f16_store>{.group = 8}) ==
        "invalid argument: group: got 8, wanted a multiple of 16 columns");
  CHECK(refused(nf4{.group_rows = -1}) ==
        "invalid argument: rows of a group: got -1, wanted 0 (all) or a number of rows");
  CHECK(refused(codebook_format{}).find("invalid argument: codebook: got 0 levels") == 0);
  const floats a(31, 1.0f);
  const auto q = try_quantize(here, view(w, 2, 32), nf4{}, nearest{}, exact{.importance = a});
  REQUIRE_FALSE(q);
  CHECK(q.error().message() == "shape mismatch: importance: got 31 columns, wanted 32");
}

}  // namespace tests
