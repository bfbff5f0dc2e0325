// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>

#include <resect/backend/cpu_extern.hpp>
#include <resect/core/matrix.hpp>
#include <resect/quant.hpp>
#include <resect/quant/apply.hpp>
#include <resect/quant/formats/all.hpp>
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
using run = format<run_grid, bf16_store>;
using short_list = format_list<affine_symmetric<3, f16_store>, nvfp4, two_level<4>, e8, codebook_format, run>;

codebook_format user_book() {
  const floats levels{-1.5f, -0.5f, 0.0f, 0.25f, 1.0f};
  return {.group = 32, .grid = codebook_grid(levels)};
}

template <class F>
void on_formats(F f) {
  f(affine_symmetric<3, f16_store>{.group = 48});
  f(nvfp4{.group_rows = 4});
  f(two_level<4>{});
  f(e8{.group = 64, .group_rows = 2});
  f(user_book());
  f(run{.group = 48});
}

template <class F>
quantized<F> drawn_in(const F& format, index_t rows = 19, index_t cols = 100) {
  const auto w = drawn(family::heavy_tails, rows * cols, 6);
  return quantize(here, matrix_view<const float>{w.data(), rows, cols}, format);
}

template <class T>
bool equal(const resect::array<T>& a, const resect::array<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

template <class F>
resect::matrix<float> dense(const quantized<F>& q) {
  resect::matrix<float> out(q.rows, q.cols);
  dequantize(here, q, out.view());
  return out;
}

}  // namespace

TEST_CASE("unpacking gives back every part, packing that the same bytes, and the bytes are the bits that are counted") {
  on_formats([](auto format) {
    using F = decltype(format);
    CAPTURE(F::name().view());
    const auto q = drawn_in(format);
    const packed bytes = pack(q);
    CHECK(bytes.format.view() == F::name().view());
    const auto back = unpack<F>(bytes.view());
    CHECK(equal(back.codes, q.codes));
    CHECK(dense(back) == dense(q));
    CHECK(back.headers.size() == q.headers.size());
    CHECK(equal(pack(back).bytes, bytes.bytes));
    const double head = 48 * 8, bits = static_cast<double>(bytes.bytes.size()) * 8;
    CHECK(bits >= q.stored_bits() + head);
    CHECK(bits < q.stored_bits() + head + 4 * 8);
  });
}

TEST_CASE("the documented layout, byte by byte") {
  const floats w{-4.0f, 3.0f, 1.0f, 0.0f, 2.0f};  // scale 1, steps −4 … 3 at 3 bits
  const auto q = quantize(here, matrix_view<const float>{w.data(), 1, 5}, affine_symmetric<3, f16_store>{.group = 5});
  const std::uint64_t name = resect::fingerprint{}.add(std::string_view("int3s/f16")).value();
  unsigned char mark[8];
  for (int i = 0; i < 8; ++i) mark[i] = static_cast<unsigned char>(name >> (8 * i));
  const unsigned char want[] = {'R',
                                'Q',
                                '0',
                                '2',
                                0,
                                0,
                                0,
                                0,
                                5,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                1,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                1,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                5,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,
                                0,  // 1 x 5
                                mark[0],
                                mark[1],
                                mark[2],
                                mark[3],
                                mark[4],
                                mark[5],
                                mark[6],
                                mark[7],
                                0x00,
                                0x3c,  // 1.0
                                0b01'111'000,
                                0b0'110'100'1};  // codes 0, 7, 5, 4, 6 of 3 bits each
  const auto bytes = pack(q);
  REQUIRE(bytes.bytes.size() == static_cast<index_t>(sizeof(want)));
  for (index_t i = 0; i < bytes.bytes.size(); ++i) CHECK(std::to_integer<int>(bytes.bytes[i]) == int{want[i]});
}

TEST_CASE("visit enters the format that the bytes have, of a list that the user may shorten") {
  const auto check = [](auto format) {
    using F = decltype(format);
    const auto q = drawn_in(format);
    const auto bytes = pack(q);
    const auto seen = try_visit<short_list>(bytes.view(), [&](const auto& m) -> resect::result<double> {
      using seen_format = typename std::remove_cvref_t<decltype(m)>::format_type;
      resect::matrix<float> out(m.rows(), m.cols());
      m.decode_rows(0, out.view());
      CHECK(out == dense(q));
      return stored_bits(m.format(), m.rows(), m.cols()) + (std::same_as<seen_format, F> ? 0.0 : 1e9);
    });
    REQUIRE(seen);
    CHECK(*seen == q.stored_bits());
  };
  on_formats(check);
  const auto bytes = pack(drawn_in(nf4{}));
  const auto refused = try_visit<short_list>(bytes.view(), [](const auto&) -> resect::status { return {}; });
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() ==
        "unsupported: format of a packed matrix: got nf4/f16, wanted one of the list that visit was given");
  const auto known = try_visit_all(bytes.view(), [](const auto& m) -> resect::result<index_t> { return m.cols(); });
  CHECK(*known == 100);
}

TEST_CASE("bytes that are too few, of another kind or of other extents are refused, and never read beyond") {
  on_formats([](auto format) {
    using F = decltype(format);
    const auto whole = pack(drawn_in(format, 5, 40));
    for (index_t n = 0; n < whole.bytes.size(); ++n) {
      const resect::array<std::byte> cut(
          std::span<const std::byte>(whole.bytes.span().first(static_cast<std::size_t>(n))));
      const auto r = packed_matrix<F>::try_make({whole.format.view(), 5, 40, cut.span()});
      REQUIRE_FALSE(r);
      CHECK((r.error().code == errc::malformed || r.error().code == errc::shape_mismatch));
    }
    CHECK_FALSE(packed_matrix<F>::try_make({whole.format.view(), 500, 40, whole.bytes.span()}));
    CHECK_FALSE(
        packed_matrix<F>::try_make({whole.format.view(), index_t{1} << 40, index_t{1} << 40, whole.bytes.span()}));
    CHECK_FALSE(packed_matrix<F>::try_make({whole.format.view(), -5, 40, whole.bytes.span()}));
    auto other = whole;
    other.bytes[0] = std::byte{'X'};
    CHECK(try_unpack<F>(other.view()).error().code == errc::malformed);
    other = whole;
    other.bytes[15] = std::byte{0x80};  // a negative group
    CHECK(try_unpack<F>(other.view()).error().code == errc::invalid_argument);
    for (index_t i = 0; i < whole.bytes.size(); ++i) {  // any byte may be anything: an error or numbers, nothing else
      other = whole;
      other.bytes[i] ^= std::byte{0xff};
      const auto r = try_unpack<F>(other.view());
      if (r) CHECK(r->check());
    }
  });
  const auto bytes = pack(drawn_in(affine_symmetric<3, f16_store>{.group = 48}));
  CHECK(try_unpack<nf4>(bytes.view()).error().code == errc::unsupported);
}

TEST_CASE(
    "bytes of other extents or of another format are refused where their number is the same, and so are bytes too "
    "many") {
  on_formats([](auto format) {
    using F = decltype(format);
    CAPTURE(F::name().view());
    auto bytes = pack(drawn_in(format, 48, 48));
    const auto refused = [](const packed_view& view) {
      const auto r = packed_matrix<F>::try_make(view);
      CHECK_FALSE(try_unpack<F>(view));
      return r ? std::string("fine") : std::string(r.error().message().view());
    };
    CHECK(refused({bytes.format.view(), 24, 96, bytes.bytes.span()}) ==
          "shape mismatch: packed matrix: got 24 x 96, wanted 48 x 48, as its bytes say");
    const auto size = std::to_string(bytes.bytes.size());
    bytes.bytes.push_back(std::byte{0});
    CHECK(refused(bytes.view()) == "malformed: packed matrix: got " + std::to_string(bytes.bytes.size()) +
                                       " bytes, wanted " + size + " for 48 x 48");
  });
  // as many bytes, of another codebook
  auto bytes = pack(drawn_in(nf4{.group = 48}, 48, 48));
  bytes.format = fp4::name();
  CHECK(packed_matrix<fp4>::try_make(bytes.view()).error().message() ==
        "malformed: packed matrix: got bytes of another format than fp4/f16, wanted fp4/f16");
}

TEST_CASE("scales that are no numbers are refused by group before a product is begun") {
  // The first bytes after the head, of an 8 x 64 matrix, become a scale that is none.
  const auto check = [](auto format, index_t at, std::initializer_list<int> scale) {
    using F = decltype(format);
    CAPTURE(F::name().view());
    auto bytes = pack(drawn_in(format, 8, 64));
    for (const int b : scale) bytes.bytes[at++] = static_cast<std::byte>(b);
    const auto made = packed_matrix<F>::try_make(bytes.view());
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::not_finite);
    CHECK(made.error().message().view().find("of a packed matrix: got NaN or infinity, wanted finite numbers") !=
          std::string_view::npos);
    CHECK(try_unpack<F>(bytes.view()).error().code == errc::not_finite);
  };
  const index_t head = 48;
  check(affine_symmetric<3, f16_store>{.group = 32}, head, {0x00, 0x7c});       // infinity
  check(affine_symmetric<3, f16_store>{.group = 32}, head + 30, {0x01, 0xfc});  // NaN, in the last group
  check(affine_minimum<4>{.group = 32}, head + 2, {0x00, 0xfc});                // a minimum of −infinity
  check(mxfp4{}, head + 3, {0xff});                                             // E8M0's NaN
  check(nvfp4{}, head, {0x00, 0x00, 0xc0, 0x7f});                               // the matrix's
  check(nvfp4{}, head + 4 + 5, {0x7f});                                         // a group's
  check(two_level<4>{}, head, {0x00, 0x7e});
  check(two_level_symmetric<3>{}, head, {0x00, 0x7c});

  auto bytes = pack(drawn_in(nvfp4{}, 8, 64));
  bytes.bytes[head + 4] = std::byte{0x7f};
  resect::cpu exec;
  resect::scratch memory;
  const floats x(2 * 64, 1.0f);
  resect::matrix<float> y(2, 8);
  y.data.assign(16, 7.0f);
  const auto done =
      try_apply<short_list>(exec, bytes.view(), matrix_view<const float>{x.data(), 2, 64}, y.view(), memory);
  REQUIRE_FALSE(done);
  CHECK(done.error().message() ==
        "not finite: parameters of group 0 of row 0 of a packed matrix: got NaN or infinity, wanted finite numbers");
  for (const float v : y.data) CHECK(v == 7.0f);
}

TEST_CASE("what the bytes of a format cannot hold is refused before it is packed") {
  auto q = drawn_in(affine_symmetric<3, f16_store>{.group = 48}, 5, 40);
  q.codes[2 * 40 + 7] = 8;
  CHECK(try_pack(q).error().message() == "invalid argument: code 7 of row 2: got 8, wanted less than 2^3");
  q.codes[2 * 40 + 7] = 7;
  CHECK(try_pack(q));
  q.parameters[3].scale = std::nanf("");
  CHECK(try_pack(q).error().message() ==
        "not finite: parameters of group 3: got NaN or infinity, wanted finite numbers");
  auto runs = drawn_in(run{.group = 48});
  runs.codes[1] = 1u << 20;
  CHECK(try_pack(runs).error().code == errc::invalid_argument);
}

TEST_CASE(
    "apply is the backend's product with the dequantized matrix, in f32, f16 and bf16, for any number of workers") {
  const index_t tokens = 3, rows = 131, cols = 100;
  const auto x = gaussian(tokens * cols, 2);
  const matrix_view<const float> X{x.data(), tokens, cols};
  on_formats([&](auto format) {
    using F = decltype(format);
    CAPTURE(F::name().view());
    const auto q = drawn_in(format, rows, cols);
    const auto w = dense(q);
    const auto bytes = pack(q);
    const auto m = packed_matrix<F>::try_make(bytes.view());
    REQUIRE(m);
    resect::matrix<float> y(tokens, rows), same(tokens, rows);
    resect::cpu one;
    resect::scratch memory;
    REQUIRE(try_apply(one, *m, X, y.view(), memory));
    bool near = true;
    for (index_t t = 0; t < tokens; ++t)
      for (index_t r = 0; r < rows; ++r) {
        double sum = 0, size = 0;
        for (index_t c = 0; c < cols; ++c) {
          sum += double{X(t, c)} * double{w(r, c)};
          size += std::fabs(double{X(t, c)} * double{w(r, c)});
        }
        near = near && std::fabs(sum - double{y(t, r)}) <= (static_cast<double>(cols) + 2) * 0x1p-24 * size;
      }
    CHECK(near);
    const index_t held = memory.capacity();
    resect::cpu many{resect::threads{3}};
    REQUIRE(try_apply<short_list>(many, bytes.view(), X, same.view(), memory));
    CHECK(same == y);
    CHECK(memory.capacity() == held);

    resect::matrix<f16> half(tokens, cols), out(tokens, rows);
    resect::matrix<float> wide(tokens, cols);
    for (index_t t = 0; t < tokens; ++t)
      for (index_t c = 0; c < cols; ++c) wide(t, c) = static_cast<float>(half(t, c) = f16(X(t, c)));
    REQUIRE(try_apply(one, *m, half, out, memory));
    REQUIRE(try_apply(one, *m, wide, same, memory));
    bool rounded = true;
    for (index_t t = 0; t < tokens; ++t)
      for (index_t r = 0; r < rows; ++r) rounded = rounded && out(t, r).bits == f16(same(t, r)).bits;
    CHECK(rounded);
  });
  const auto bytes = pack(drawn_in(nvfp4{}, 5, 100));
  const auto m = packed_matrix<nvfp4>::try_make(bytes.view());
  resect::cpu exec;
  resect::scratch memory;
  resect::matrix<float> wrong(tokens, 4);
  CHECK(try_apply(exec, *m, X, wrong.view(), memory).error().message() == "shape mismatch: Y: got 3 x 4, wanted 3 x 5");
  CHECK(try_apply(exec, *m, matrix_view<const float>{x.data(), 3, 99}, wrong.view(), memory).error().operand == "X");
}

}  // namespace tests
