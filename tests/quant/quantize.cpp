// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <resect/core/threads.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/mse.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::errc;
using resect::index_t;
using resect::matrix_view;

namespace {

resect::inline_executor here;

struct backwards {  // an engine's own pool
  template <class F>
  void bulk(index_t n, F&& f) {
    for (index_t i = n; i-- > 0;) f(i);
  }
};

matrix_view<const float> view(const floats& w, index_t rows, index_t cols) { return {w.data(), rows, cols}; }

template <class F>
floats values(const quantized<F>& q) {
  floats out(static_cast<std::size_t>(q.rows * q.cols));
  dequantize(here, q, {out.data(), q.rows, q.cols});
  return out;
}

template <class F>
bool same(const quantized<F>& a, const quantized<F>& b) {
  return a.format.group == b.format.group && a.rows == b.rows && a.cols == b.cols && a.codes == b.codes &&
         a.parameters.size() == b.parameters.size() &&
         std::equal(a.parameters.begin(), a.parameters.end(), b.parameters.begin(), [](const auto& x, const auto& y) {
           bool equal = same_bits({&x.scale, 1}, {&y.scale, 1});
           if constexpr (requires { x.zero; }) equal = equal && x.zero == y.zero;
           return equal;
         });
}

// Rows of every family.
floats mixed(index_t rows, index_t cols, std::uint64_t seed) {
  floats out;
  for (index_t r = 0; r < rows; ++r) {
    const auto row =
        drawn(families[static_cast<std::size_t>(r) % std::size(families)], cols, seed + static_cast<std::uint64_t>(r));
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

template <class Q>
std::string refusal(const resect::result<Q>& r) {
  return r ? "fine" : std::string(r.error().message().view());
}

template <class F>
void on_formats(F f) {
  f(affine<2>{});
  f(affine_symmetric<2>{.group = 16});
  f(affine<3>{.group = 5});
  f(affine_symmetric<3>{.group = 64});
  f(affine<4>{.group = 64});
  f(affine_symmetric<5>{});
  f(affine<8>{.group = 1000});
  f(affine_symmetric<8>{.group = 32});
}
constexpr nearest to_nearest;

struct toward_zero {  // a user's own rounding rule
  template <resect::executor E, static_format F, class S>
  static resect::status round(E& exec, matrix_view<const float> w, const S& search, quantized<F>& out) {
    if (auto s = fit_all_groups(exec, w, search, out); !s) return s;
    for (index_t r = 0; r < w.rows; ++r)
      for (index_t c = 0; c < w.cols; ++c) {
        const auto p = out.parameters_at(r, c);
        const auto& g = out.format.grid;
        auto code = g.encode(w(r, c), p);
        if (std::fabs(g.decode(code, p)) > std::fabs(w(r, c)))
          code = static_cast<std::uint8_t>(code < g.zero_of(p) ? code + 1 : code - 1);
        out.codes[r * w.cols + c] = code;
      }
    return {};
  }
};
struct refusing {
  template <resect::executor E, static_format F, class S>
  static resect::status round(E&, matrix_view<const float>, const S&, quantized<F>&) {
    return resect::error{errc::unsupported, "rule", "this", "another"};
  }
};
static_assert(rounding_rule<nearest, resect::inline_executor, affine<4>, min_max> &&
              rounding_rule<toward_zero, resect::threads, affine<3>, mse_scale> &&
              !rounding_rule<min_max, resect::inline_executor, affine<4>, min_max> &&
              !rounding_rule<nearest, int, affine<4>, min_max>);

struct power_of_two {  // a user's own scale search
  static constexpr std::string_view name() { return "power of two"; }
  static std::uint64_t hash() { return 1; }
  static resect::status check(index_t) { return {}; }
  template <grid G, store_of<typename G::parameters> T>
  static typename G::parameters fit(const G& g, const T& t, const typename T::header& h, group_weights w) {
    auto p = min_max::fit(g, t, h, w);
    if (p.scale != 0) p.scale = std::copysign(std::exp2(std::ceil(std::log2(std::fabs(p.scale)))), p.scale);
    return p;
  }
};
struct nameless : power_of_two {  // no search: a method that uses it could not say so
  static void name() {}
};
static_assert(scale_search<power_of_two, integer_grid<4, zero_point::integer>, f32_store> &&
              !scale_search<nameless, integer_grid<4, zero_point::integer>, f32_store>);

}  // namespace

TEST_CASE("every weight has the code and the parameters of its own group, tail groups included") {
  on_formats([](auto format) {
    using G = typename decltype(format)::grid_type;
    for (const index_t cols : {1, 31, 32, 33, 64, 100}) {
      CAPTURE(G::bits, format.group, cols);
      const auto w = mixed(28, cols, 4);
      const auto q = quantize(here, view(w, 28, cols), format);
      REQUIRE(q.check());
      CHECK(q.format.group == format.group);
      const index_t group = format.group == 0 ? cols : std::min(format.group, cols);
      REQUIRE(q.parameters.size() == 28 * ((cols + group - 1) / group));
      bool right = true, decoded = true;
      const auto out = values(q);
      for (index_t r = 0; r < 28; ++r)
        for (index_t c = 0; c < cols; ++c) {
          const auto first = w.begin() + r * cols + c / group * group;
          const auto last = w.begin() + std::min(r * cols + (c / group + 1) * group, (r + 1) * cols);
          const auto [lo, hi] = std::minmax_element(first, last);
          const auto p = G::fit(extent{*lo, *hi}), got = q.parameters_at(r, c);
          const auto i = static_cast<std::size_t>(r * cols + c);
          const int code = q.codes[r * cols + c];
          right = right && got.scale == p.scale && G::zero_of(got) == G::zero_of(p) && code == G::encode(w[i], p);
          decoded = decoded && out[i] == static_cast<float>(double{got.scale} * (code - G::zero_of(got)));
        }
      CHECK(right);
      CHECK(decoded);
    }
  });
}

TEST_CASE("a format that is known at run time gives the result of the one that is known at compile time") {
  const auto w = mixed(14, 70, 2);
  const auto W = view(w, 14, 70);
  const mse_scale search{.steps = 10, .smallest = 0.5};
  const auto at_run_time = [&](const affine_format& f, const auto& s) {
    floats out;
    REQUIRE(try_visit(f, [&](auto format) -> resect::status {
      out = values(quantize(here, W, format, nearest{}, s));
      return {};
    }));
    return out;
  };
  CHECK(same_bits(values(quantize(here, W, affine<4>{.group = 64})),
                  at_run_time({4, zero_point::integer, 64}, min_max{})));
  CHECK(same_bits(values(quantize(here, W, affine_symmetric<3>{.group = 16})),
                  at_run_time({3, zero_point::symmetric, 16}, min_max{})));
  CHECK(same_bits(values(quantize(here, W, affine<2>{.group = 20}, nearest{}, search)),
                  at_run_time({2, zero_point::integer, 20}, search)));
}

TEST_CASE("quantizing again changes no value, for both searches") {
  on_formats([](auto format) {
    using G = typename decltype(format)::grid_type;
    CAPTURE(G::bits, format.group);
    const auto w = mixed(42, 100, 9);
    const auto W = view(w, 42, 100);
    floats importance(100, 1.0f);
    importance[3] = 50.0f;
    const auto check = [&](const auto& q, const auto& search) {
      const auto once = values(q);
      const auto again = quantize(here, view(once, 42, 100), format, to_nearest, search);
      const auto lost = loss(here, view(once, 42, 100), again);
      CHECK(lost.relative_frobenius == 0.0);
      CHECK(lost.largest == 0.0);
      CHECK(values(again) == once);
    };
    const mse_scale weighted{.importance = importance};
    check(quantize(here, W, format), min_max{});
    check(quantize(here, W, format, to_nearest, mse_scale{}), mse_scale{});
    check(quantize(here, W, format, to_nearest, weighted), weighted);
    // a symmetric scale of the other sign is none that min_max would choose
    if (G::zero == zero_point::integer) check(quantize(here, W, format, to_nearest, mse_scale{}), min_max{});
  });
}

TEST_CASE("the loss is what the definition says, and mse_scale never makes it larger") {
  on_formats([](auto format) {
    using G = typename decltype(format)::grid_type;
    const auto w = drawn(family::heavy_tails, 40 * 90, 6);
    const auto W = view(w, 40, 90);
    const auto q = quantize(here, W, format);
    const auto out = values(q);
    double error = 0, weights = 0, largest = 0;
    index_t clipped = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double e = std::fabs(double{w[i]} - double{out[i]});
      const auto p = q.parameters_at(static_cast<index_t>(i) / 90, static_cast<index_t>(i) % 90);
      error += e * e;
      weights += double{w[i]} * double{w[i]};
      largest = std::max(largest, e);
      clipped += e > 0.5 * (1 + std::ldexp(1.0, G::bits - 13)) * std::fabs(double{p.scale});
    }
    const auto got = loss(here, W, q);
    CHECK(got.relative_frobenius == Approx(std::sqrt(error / weights)).epsilon(1e-12));
    CHECK(got.mean_square == Approx(error / 3600).epsilon(1e-12));
    CHECK(got.largest == largest);
    if (G::zero == zero_point::integer) CHECK(got.clipped == 0);
    CHECK(got.clipped == clipped);
    const auto searched = loss(here, W, quantize(here, W, format, to_nearest, mse_scale{.steps = 15, .smallest = 0.4}));
    CHECK(searched.mean_square <= got.mean_square * (1 + 1e-6));
  });
  const floats zero(12, 0.0f);
  const auto none = loss(here, view(zero, 3, 4), quantize(here, view(zero, 3, 4), affine<4>{.group = 2}));
  CHECK(none.relative_frobenius == 0.0);
  CHECK(none.mean_square == 0.0);
}

TEST_CASE("clipped weights are counted") {
  floats w(32, 0.5f);
  for (std::size_t i = 0; i < w.size(); i += 2) w[i] = -0.25f;
  w[3] = -8.0f;
  w[5] = 7.9f;  // beyond 7.5 steps of 1
  CHECK(loss(here, view(w, 1, 32), quantize(here, view(w, 1, 32), affine_symmetric<4>{})).clipped == 1);
  CHECK(loss(here, view(w, 1, 32), quantize(here, view(w, 1, 32), affine<4>{})).clipped == 0);
}

TEST_CASE("bits per weight count codes, scales and zero points") {
  CHECK(stored_bits(affine<4>{.group = 64}, 100, 128) == 100 * 128 * 4 + 200 * 36.0);
  CHECK(stored_bits(affine_symmetric<4>{.group = 64}, 100, 128) == 100 * 128 * 4 + 200 * 32.0);
  CHECK(stored_bits(affine<3>{.group = 64}, 128, 100) == 12800 * 3 + 128 * 2 * 35.0);  // the tail pays in full
  CHECK(stored_bits(affine_symmetric<8>{}, 128, 100) == 12800 * 8 + 128 * 32.0);
  CHECK(stored_bits(affine<4, zero_point::integer, f16_store>{.group = 64, .group_rows = 8}, 100, 128) ==
        100 * 128 * 4 + 13 * 2 * 20.0);
  const floats w(128 * 100, 1.0f);
  CHECK(quantize(here, view(w, 100, 128), affine<4>{.group = 64}).bits_per_weight() == Approx(4 + 36 / 64.0));
  CHECK(quantize(here, view(w, 0, 128), affine<4>{.group = 64}).bits_per_weight() == 0.0);
}

TEST_CASE("the bits do not depend on the number of workers, their order, or how the matrix lies in memory") {
  const index_t rows = 37, cols = 70;
  const auto w = mixed(rows, cols, 8);
  const auto W = view(w, rows, cols);
  floats columns(w.size()), spread(static_cast<std::size_t>(rows * (2 * cols + 3)));
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c) {
      columns[static_cast<std::size_t>(c * rows + r)] = W(r, c);
      spread[static_cast<std::size_t>(r * (2 * cols + 3) + 2 * c)] = W(r, c);
    }
  const auto check = [&](auto format) {
    const mse_scale search{.steps = 8};
    const auto want = quantize(here, W, format, to_nearest, search);
    const auto lost = loss(here, W, want);
    for (const int workers : {1, 2, 3, 7, 64}) {
      const resect::threads pool{workers};
      CHECK(same(quantize(pool, W, format, to_nearest, search), want));
      CHECK(loss(pool, W, want).relative_frobenius == lost.relative_frobenius);
    }
    backwards own;
    CHECK(same(quantize(own, W, format, to_nearest, search), want));
    CHECK(loss(own, W, want).mean_square == lost.mean_square);
    CHECK(same(
        quantize(here, matrix_view<const float>{columns.data(), cols, rows}.transposed(), format, to_nearest, search),
        want));
    CHECK(same(quantize(here, matrix_view<const float>{spread.data(), rows, cols, 2 * cols + 3, 2}, format, to_nearest,
                        search),
               want));
  };
  check(affine<4>{.group = 32});
  check(affine_symmetric<3>{});
  CHECK(same_bits(w, mixed(rows, cols, 8)));  // the input is as it was
}

TEST_CASE("a user's own rounding rule and scale search work") {
  const auto w = drawn(family::gaussian, 30 * 50, 3);
  const auto W = view(w, 30, 50);
  const auto shrunk = values(quantize(here, W, affine<4>{.group = 16}, toward_zero{}));
  bool shrinks = true;
  for (std::size_t i = 0; i < w.size(); ++i) shrinks = shrinks && std::fabs(shrunk[i]) <= std::fabs(w[i]);
  CHECK(shrinks);
  int exponent = 0;
  for (const auto& p : quantize(here, W, affine_symmetric<4>{.group = 16}, to_nearest, power_of_two{}).parameters)
    CHECK(std::fabs(std::frexp(p.scale, &exponent)) == 0.5f);
  CHECK(refusal(try_quantize(here, W, affine<4>{}, refusing{})) == "unsupported: rule: got this, wanted another");
}

TEST_CASE("matrices without weights and of one weight") {
  const floats w{-2.5f};
  on_formats([&](auto format) {
    for (const auto& [rows, cols] : {std::pair<index_t, index_t>{0, 5}, {5, 0}, {0, 0}}) {
      const auto q = quantize(here, {nullptr, rows, cols}, format);
      CHECK(q.check());
      CHECK(q.codes.empty());
      CHECK(loss(here, {nullptr, rows, cols}, q).relative_frobenius == 0.0);
      dequantize(here, q, {nullptr, rows, cols});
    }
    CHECK(values(quantize(here, view(w, 1, 1), format)) == w);
  });
}

TEST_CASE("a weight that is not finite or far too large is named by row and column") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), inf, -inf}) {
    auto w = drawn(family::gaussian, 40 * 9, 1);
    w[30 * 9 + 7] = bad;
    w[35 * 9 + 1] = bad;
    const auto q = try_quantize(here, view(w, 40, 9), affine<4>{.group = 4});
    REQUIRE_FALSE(q);
    CHECK(q.error().code == errc::not_finite);
    CHECK(q.error().operand == "W, row 30, column 7");
    const resect::threads pool{3};
    CHECK(refusal(try_quantize(pool, view(w, 40, 9), affine<4>{})) == refusal(q));
  }
  floats w(12, 1.0f);
  w[7] = -std::nextafter(largest_weight, inf);
  CHECK(refusal(try_quantize(here, view(w, 3, 4), affine<4>{})).find("invalid argument: W, row 1, column 3") == 0);
  w[7] = largest_weight;
  CHECK(try_quantize(here, view(w, 3, 4), affine<4>{}));
}

TEST_CASE("operands that do not fit are refused, and nothing is written") {
  const floats w(12, 1.0f);
  const auto W = view(w, 3, 4);
  CHECK(refusal(try_quantize(here, W, affine<4>{.group = -2})).find("invalid argument: group") == 0);
  CHECK(refusal(try_quantize(here, {nullptr, 3, 4}, affine<4>{})).find("null pointer: W") == 0);
  CHECK(refusal(try_quantize(here, {w.data(), 3, 4, -4}, affine<4>{})).find("bad stride: W") == 0);
  CHECK(refusal(try_quantize(here, {w.data(), -3, 4}, affine<4>{})).find("shape mismatch: W") == 0);
  CHECK(
      refusal(try_quantize(here, W, affine<4>{}, to_nearest, mse_scale{.steps = 0})).find("invalid argument: steps") ==
      0);
  CHECK_THROWS_AS(quantize(here, W, affine<4>{.group = -1}), resect::exception);

  const auto q = quantize(here, W, affine<4>{.group = 3});
  floats out(20, -7.0f);
  const auto refused = [&](const quantized<affine<4>>& broken, matrix_view<float> to) {
    const auto s = try_dequantize(here, broken, to);
    CHECK(std::count(out.begin(), out.end(), -7.0f) == 20);
    return s ? errc{} : s.error().code;
  };
  CHECK(refused(q, {out.data(), 4, 3}) == errc::shape_mismatch);
  CHECK(refused(q, {nullptr, 3, 4}) == errc::null_pointer);
  CHECK(refused(q, {out.data(), 3, 4, 2}) == errc::bad_stride);
  for (int part = 0; part < 3; ++part) {
    auto broken = q;
    if (part == 0) broken.codes.pop_back();
    if (part == 1) broken.parameters.pop_back();
    if (part == 2) broken.format.group = 1;
    CHECK(refused(broken, {out.data(), 3, 4}) == errc::shape_mismatch);
  }
  auto broken = q;
  broken.format.group = -3;
  CHECK(refused(broken, {out.data(), 3, 4}) == errc::invalid_argument);
  const auto other = try_loss(here, view(w, 4, 3), q);
  REQUIRE_FALSE(other);
  CHECK(other.error().code == errc::shape_mismatch);

  dequantize(here, q, {out.data(), 3, 4, 5});  // rows five apart: what lies between is left alone
  for (index_t i = 0; i < 20; ++i) CHECK(out[static_cast<std::size_t>(i)] == (i % 5 < 4 && i < 15 ? 1.0f : -7.0f));
}

TEST_CASE("a quantized matrix whose number of weights wraps to that of its codes does not pass its check") {
  quantized<affine_symmetric<4>> q;
  q.rows = q.cols = index_t{1} << 40;
  q.format = {.group = 1};
  const auto status = q.check();
  REQUIRE_FALSE(status);
  CHECK(status.error().code == errc::shape_mismatch);
  CHECK(status.error().operand.view() == "layout");
}

TEST_CASE("quantizing again is possible up to three quarters of the largest weight, and beyond may be refused") {
  on_formats([](auto format) {
    floats w{-0.75f * largest_weight, 0.75f * largest_weight, 0.3f * largest_weight, 1};
    floats once(4), twice(4);
    dequantize(here, quantize(here, {w.data(), 1, 4}, format), {once.data(), 1, 4});
    dequantize(here, quantize(here, {once.data(), 1, 4}, format), {twice.data(), 1, 4});
    CHECK(same_bits(once, twice));
  });
  floats w{-largest_weight, largest_weight}, once(2);
  dequantize(here, quantize(here, {w.data(), 1, 2}, affine<2>{}), {once.data(), 1, 2});
  CHECK((std::isfinite(once[0]) && std::isfinite(once[1])));
  CHECK(try_quantize(here, {once.data(), 1, 2}, affine<2>{}).error().code == errc::invalid_argument);
}

}  // namespace tests
