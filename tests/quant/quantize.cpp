// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <resect/core/threads.hpp>
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

struct backwards {  // an engine's own pool
  template <class F>
  void bulk(index_t n, F&& f) {
    for (index_t i = n; i-- > 0;) f(i);
  }
};

matrix_view<const float> view(const floats& w, index_t rows, index_t cols) { return {w.data(), rows, cols}; }

floats values(const quantized& q) {
  floats out(static_cast<std::size_t>(q.rows * q.cols));
  dequantize(here, q, {out.data(), q.rows, q.cols});
  return out;
}

bool same(const quantized& a, const quantized& b) {
  return a.format == b.format && a.rows == b.rows && a.cols == b.cols && a.codes == b.codes && a.zeros == b.zeros &&
         same_bits(a.scales.span(), b.scales.span());
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

std::string refusal(const resect::result<quantized>& r) { return r ? "fine" : std::string(r.error().message().view()); }

constexpr affine_format all_formats[] = {
    {2, zero_point::integer, 0},    {2, zero_point::symmetric, 16}, {3, zero_point::integer, 5},
    {3, zero_point::symmetric, 64}, {4, zero_point::integer, 64},   {4, zero_point::symmetric, 32},
    {5, zero_point::integer, 1},    {5, zero_point::symmetric, 0},  {6, zero_point::integer, 33},
    {7, zero_point::symmetric, 48}, {8, zero_point::integer, 1000}, {8, zero_point::symmetric, 32},
};

struct toward_zero {  // a user's own rounding rule
  template <grid G, resect::executor E, scale_search S>
  static resect::status round(E&, matrix_view<const float> w, const S& search, quantized& out) {
    const auto layout = out.layout();
    for (index_t r = 0; r < w.rows; ++r)
      for (index_t g = 0; g < layout.per_row(); ++g) {
        const auto p = search.template fit<G>(
            {w.row(r).data + layout.first(g), static_cast<std::size_t>(layout.size(g))}, layout.first(g));
        const index_t i = r * layout.per_row() + g;
        out.scales[i] = p.scale;
        if (!out.zeros.empty()) out.zeros[i] = p.zero;
        for (index_t c = layout.first(g); c < layout.first(g) + layout.size(g); ++c) {
          auto code = G::encode(w(r, c), p);
          if (std::fabs(G::decode(code, p)) > std::fabs(w(r, c)))
            code = static_cast<std::uint8_t>(code < p.zero ? code + 1 : code - 1);
          out.codes[r * w.cols + c] = code;
        }
      }
    return {};
  }
};
struct refusing {
  template <grid G, resect::executor E, scale_search S>
  static resect::status round(E&, matrix_view<const float>, const S&, quantized&) {
    return resect::error{errc::unsupported, "rule", "this", "another"};
  }
};
static_assert(rounding_rule<nearest> && rounding_rule<toward_zero> && !rounding_rule<min_max>);

struct power_of_two {  // a user's own scale search
  static resect::status check(index_t) { return {}; }
  template <grid G>
  static group_parameters fit(std::span<const float> w, index_t) {
    auto p = min_max{}.fit<G>(w, 0);
    if (p.scale != 0) p.scale = std::copysign(std::exp2(std::ceil(std::log2(std::fabs(p.scale)))), p.scale);
    return p;
  }
};

}  // namespace

TEST_CASE("every weight has the code and the parameters of its own group, tail groups included") {
  for (const auto& format : all_formats)
    for (const index_t cols : {1, 31, 32, 33, 64, 100}) {
      CAPTURE(format.bits, format.group, cols);
      const auto w = mixed(28, cols, 4);
      const auto q = quantize(here, view(w, 28, cols), format);
      REQUIRE(q.check());
      CHECK(q.format == format);
      const index_t group = format.group == 0 ? cols : std::min(format.group, cols);
      const index_t groups = (cols + group - 1) / group;
      REQUIRE(q.scales.size() == 28 * groups);
      REQUIRE(try_visit(format, [&](auto f) -> resect::status {
        using G = typename decltype(f)::grid;
        bool right = true;
        for (index_t r = 0; r < 28; ++r)
          for (index_t c = 0; c < cols; ++c) {
            const auto first = w.begin() + r * cols + c / group * group;
            const auto last = w.begin() + std::min(r * cols + (c / group + 1) * group, (r + 1) * cols);
            const auto [lo, hi] = std::minmax_element(first, last);
            const auto p = G::fit({*lo, *hi}), got = q.parameters(r, c / group);
            right = right && got.scale == p.scale && got.zero == p.zero &&
                    q.codes[r * cols + c] ==
                        G::encode(w[static_cast<std::size_t>(r * cols + c)], p);
          }
        CHECK(right);
        return {};
      }));
      const auto out = values(q);
      bool decoded = true;
      for (index_t i = 0; i < q.codes.size(); ++i) {
        const auto p = q.parameters(i / cols, i % cols / group);
        decoded = decoded && out[static_cast<std::size_t>(i)] == static_cast<float>(double{p.scale} * (int{q.codes[i]} - int{p.zero}));
      }
      CHECK(decoded);
    }
}

TEST_CASE("formats that are known at compile time and at run time give the same result") {
  const auto w = mixed(14, 70, 2);
  const auto W = view(w, 14, 70);
  CHECK(same(quantize(here, W, affine<4>{.group = 64}), quantize(here, W, affine_format{4, zero_point::integer, 64})));
  CHECK(same(quantize(here, W, affine_symmetric<3>{.group = 16}),
             quantize(here, W, affine_format{3, zero_point::symmetric, 16})));
  CHECK(same(quantize(here, W, affine<8>{}), quantize(here, W, affine_format{.bits = 8})));
  const mse_scale search{.steps = 10, .smallest = 0.5};
  CHECK(same(quantize(here, W, affine<2>{.group = 20}, search),
             quantize(here, W, affine_format{.bits = 2, .group = 20}, search, nearest{})));
}

TEST_CASE("quantizing again changes no value, for both searches") {
  for (const auto& format : all_formats) {
    CAPTURE(format.bits, format.group);
    const auto w = mixed(42, 100, 9);
    const auto W = view(w, 42, 100);
    floats importance(100, 1.0f);
    importance[3] = 50.0f;
    const auto check = [&](const quantized& q, const auto& search) {
      const auto once = values(q);
      const auto again = quantize(here, view(once, 42, 100), format, search);
      const auto lost = loss(here, view(once, 42, 100), again);
      CHECK(lost.relative_frobenius == 0.0);
      CHECK(lost.largest == 0.0);
      CHECK(values(again) == once);
    };
    check(quantize(here, W, format), min_max{});
    check(quantize(here, W, format, mse_scale{}), mse_scale{});
    check(quantize(here, W, format, mse_scale{.importance = importance}), mse_scale{.importance = importance});
    check(quantize(here, W, format, mse_scale{}), min_max{});
  }
}

TEST_CASE("the error on normal weights is the published one") {
  // D = mean square error over variance, of 2²⁰ standard normal weights in published comparisons; 2¹⁷ here
  const auto w = gaussian(1 << 17, 1);
  const auto W = view(w, 128, 1024);
  const auto d = [&](const affine_format& format, const auto& search) {
    return loss(here, W, quantize(here, W, format, search)).mean_square;
  };
  CHECK(d({4, zero_point::integer, 128}, min_max{}) == Approx(0.01011).epsilon(0.02));
  CHECK(d({4, zero_point::integer, 128}, mse_scale{}) == Approx(0.00901).epsilon(0.02));
  CHECK(d({4, zero_point::integer, 32}, min_max{}) == Approx(0.00651).epsilon(0.02));
  CHECK(d({4, zero_point::symmetric, 32}, min_max{}) == Approx(0.00739).epsilon(0.02));  // ggml's Q4_0
  CHECK(d({3, zero_point::integer, 128}, min_max{}) == Approx(0.0464).epsilon(0.02));
  CHECK(d({3, zero_point::integer, 128}, mse_scale{}) == Approx(0.0348).epsilon(0.02));
  CHECK(d({2, zero_point::integer, 64}, min_max{}) == Approx(0.208).epsilon(0.02));
  CHECK(d({2, zero_point::integer, 64}, mse_scale{}) == Approx(0.126).epsilon(0.02));
  CHECK(d({2, zero_point::integer, 16}, min_max{}) == Approx(0.122).epsilon(0.02));
}

TEST_CASE("the loss is what the definition says, and mse_scale never makes it larger") {
  for (const auto& format : all_formats) {
    const auto w = drawn(family::heavy_tails, 40 * 90, 6);
    const auto W = view(w, 40, 90);
    const auto q = quantize(here, W, format);
    const auto out = values(q);
    double error = 0, weights = 0, largest = 0;
    index_t clipped = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double e = std::fabs(double{w[i]} - double{out[i]});
      const index_t row = static_cast<index_t>(i) / 90, group = static_cast<index_t>(i) % 90 / q.layout().width();
      error += e * e;
      weights += double{w[i]} * double{w[i]};
      largest = std::max(largest, e);
      clipped += e > 0.5 * (1 + std::ldexp(1.0, format.bits - 13)) * std::fabs(double{q.parameters(row, group).scale});
    }
    const auto got = loss(here, W, q);
    CHECK(got.relative_frobenius == Approx(std::sqrt(error / weights)).epsilon(1e-12));
    CHECK(got.mean_square == Approx(error / 3600).epsilon(1e-12));
    CHECK(got.largest == largest);
    if (format.zero == zero_point::integer) CHECK(got.clipped == 0);
    CHECK(got.clipped == clipped);
    const auto searched = loss(here, W, quantize(here, W, format, mse_scale{.steps = 15, .smallest = 0.4}));
    CHECK(searched.mean_square <= got.mean_square * (1 + 1e-6));
  }
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
  const floats w(128 * 100, 1.0f);
  const auto bpw = [&](index_t rows, index_t cols, const affine_format& f) {
    return quantize(here, view(w, rows, cols), f).bits_per_weight();
  };
  CHECK(bpw(100, 128, {4, zero_point::integer, 64}) == Approx(4 + (32 + 4) / 64.0));
  CHECK(bpw(100, 128, {4, zero_point::symmetric, 64}) == Approx(4 + 32 / 64.0));
  CHECK(bpw(128, 100, {3, zero_point::integer, 64}) == Approx(3 + 2 * (32 + 3) / 100.0));  // the tail pays in full
  CHECK(bpw(128, 100, {8, zero_point::symmetric, 0}) == Approx(8 + 32 / 100.0));
  CHECK(bpw(0, 100, {4, zero_point::integer, 64}) == 0.0);
  CHECK(quantize(here, view(w, 100, 128), affine<4>{.group = 64}).stored_bits() == 100 * 128 * 4 + 200 * 36.0);
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
  for (const affine_format format : {affine_format{4, zero_point::integer, 32}, {3, zero_point::symmetric, 0}}) {
    const mse_scale search{.steps = 8};
    const auto want = quantize(here, W, format, search);
    const auto lost = loss(here, W, want);
    for (const int workers : {1, 2, 3, 7, 64}) {
      const resect::threads pool{workers};
      CHECK(same(quantize(pool, W, format, search), want));
      CHECK(loss(pool, W, want).relative_frobenius == lost.relative_frobenius);
    }
    backwards own;
    CHECK(same(quantize(own, W, format, search), want));
    CHECK(loss(own, W, want).mean_square == lost.mean_square);
    CHECK(
        same(quantize(here, matrix_view<const float>{columns.data(), cols, rows}.transposed(), format, search), want));
    CHECK(same(quantize(here, matrix_view<const float>{spread.data(), rows, cols, 2 * cols + 3, 2}, format, search),
               want));
  }
  CHECK(same_bits(w, mixed(rows, cols, 8)));  // the input is as it was
}

TEST_CASE("a user's own rounding rule and scale search work") {
  const auto w = drawn(family::gaussian, 30 * 50, 3);
  const auto W = view(w, 30, 50);
  const auto shrunk = values(quantize(here, W, affine<4>{.group = 16}, min_max{}, toward_zero{}));
  bool shrinks = true;
  for (std::size_t i = 0; i < w.size(); ++i) shrinks = shrinks && std::fabs(shrunk[i]) <= std::fabs(w[i]);
  CHECK(shrinks);
  int exponent = 0;
  for (const float s : quantize(here, W, affine_symmetric<4>{.group = 16}, power_of_two{}).scales)
    CHECK(std::fabs(std::frexp(s, &exponent)) == 0.5f);
  CHECK(refusal(try_quantize(here, W, affine<4>{}, min_max{}, refusing{})) ==
        "unsupported: rule: got this, wanted another");
}

TEST_CASE("matrices without weights and of one weight") {
  const floats w{-2.5f};
  for (const auto& format : all_formats) {
    for (const auto& [rows, cols] : {std::pair<index_t, index_t>{0, 5}, {5, 0}, {0, 0}}) {
      const auto q = quantize(here, {nullptr, rows, cols}, format);
      CHECK(q.check());
      CHECK(q.codes.empty());
      CHECK(loss(here, {nullptr, rows, cols}, q).relative_frobenius == 0.0);
      dequantize(here, q, {nullptr, rows, cols});
    }
    CHECK(values(quantize(here, view(w, 1, 1), format)) == w);
  }
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
  CHECK(refusal(try_quantize(here, W, affine_format{.bits = 1})) == "invalid argument: bits: got 1, wanted 2 to 8");
  CHECK(refusal(try_quantize(here, W, affine_format{.bits = 9})) == "invalid argument: bits: got 9, wanted 2 to 8");
  CHECK(refusal(try_quantize(here, W, affine<4>{.group = -2})).find("invalid argument: group") == 0);
  CHECK(refusal(try_quantize(here, {nullptr, 3, 4}, affine<4>{})).find("null pointer: W") == 0);
  CHECK(refusal(try_quantize(here, {w.data(), 3, 4, -4}, affine<4>{})).find("bad stride: W") == 0);
  CHECK(refusal(try_quantize(here, {w.data(), -3, 4}, affine<4>{})).find("shape mismatch: W") == 0);
  CHECK(refusal(try_quantize(here, W, affine<4>{}, mse_scale{.steps = 0})).find("invalid argument: steps") == 0);
  CHECK_THROWS_AS(quantize(here, W, affine_format{.bits = 1}), resect::exception);

  const auto q = quantize(here, W, affine<4>{.group = 3});
  floats out(20, -7.0f);
  const auto refused = [&](const quantized& broken, matrix_view<float> to) {
    const auto s = try_dequantize(here, broken, to);
    CHECK(std::count(out.begin(), out.end(), -7.0f) == 20);
    return s ? errc{} : s.error().code;
  };
  CHECK(refused(q, {out.data(), 4, 3}) == errc::shape_mismatch);
  CHECK(refused(q, {nullptr, 3, 4}) == errc::null_pointer);
  CHECK(refused(q, {out.data(), 3, 4, 2}) == errc::bad_stride);
  for (int part = 0; part < 5; ++part) {
    auto broken = q;
    if (part == 0) broken.codes.pop_back();
    if (part == 1) broken.scales.pop_back();
    if (part == 2) broken.zeros.clear();
    if (part == 3) broken.format.zero = zero_point::symmetric;
    if (part == 4) broken.format.group = 1;
    CHECK(refused(broken, {out.data(), 3, 4}) == errc::shape_mismatch);
  }
  auto broken = q;
  broken.format.bits = 12;
  CHECK(refused(broken, {out.data(), 3, 4}) == errc::invalid_argument);
  const auto other = try_loss(here, view(w, 4, 3), q);
  REQUIRE_FALSE(other);
  CHECK(other.error().code == errc::shape_mismatch);

  dequantize(here, q, {out.data(), 3, 4, 5});  // rows five apart: what lies between is left alone
  for (index_t i = 0; i < 20; ++i) CHECK(out[static_cast<std::size_t>(i)] == (i % 5 < 4 && i < 15 ? 1.0f : -7.0f));
}

TEST_CASE("a quantized matrix whose number of weights wraps to that of its codes does not pass its check") {
  quantized q;
  q.rows = q.cols = index_t{1} << 40;
  q.format = {.bits = 4, .zero = zero_point::symmetric, .group = 1};
  const auto status = q.check();
  REQUIRE_FALSE(status);
  CHECK(status.error().code == errc::shape_mismatch);
  CHECK(status.error().operand.view() == "layout");
}

TEST_CASE("quantizing again is possible up to three quarters of the largest weight, and beyond may be refused") {
  for (const int bits : {2, 3, 4, 8})
    for (const zero_point zero : {zero_point::integer, zero_point::symmetric}) {
      const affine_format format{.bits = bits, .zero = zero};
      floats w{-0.75f * largest_weight, 0.75f * largest_weight, 0.3f * largest_weight, 1};
      floats once(4), twice(4);
      dequantize(here, quantize(here, {w.data(), 1, 4}, format), {once.data(), 1, 4});
      dequantize(here, quantize(here, {once.data(), 1, 4}, format), {twice.data(), 1, 4});
      CHECK(same_bits(once, twice));
    }
  floats w{-largest_weight, largest_weight}, once(2);
  dequantize(here, quantize(here, {w.data(), 1, 2}, affine<2>{}), {once.data(), 1, 2});
  CHECK((std::isfinite(once[0]) && std::isfinite(once[1])));
  CHECK(try_quantize(here, {once.data(), 1, 2}, affine<2>{}).error().code == errc::invalid_argument);
}

}  // namespace tests
