// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/random/sketch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>
#include <support/catch.hpp>

#include <resect/core/float16.hpp>
#include <resect/core/float8.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/threads.hpp>

namespace tests {

using namespace resect;
using random::block_origin;
using random::matrix_sketch;
using random::sketch_options;
using random::sketcher;
using resect::index_t;

struct weights {
  index_t rows, cols;
  std::vector<float> data;

  weights(index_t m, index_t n, std::uint64_t stream, double std = 0.02)
      : rows(m), cols(n), data(static_cast<std::size_t>(m * n)) {
    random::fill_gaussian(data, 77, stream, 0, std);
  }
  matrix_view<const float> view() const { return {data.data(), rows, cols}; }
  double norm2() const {
    return std::accumulate(data.begin(), data.end(), 0.0,
                           [](double s, float x) { return s + static_cast<double>(x) * static_cast<double>(x); });
  }
};

matrix_sketch sketch_of(const weights& w, sketch_options options = {}) {
  inline_executor exec;
  return random::sketch(exec, w.view(), options);
}

template <class R>
std::string parts(const R& r) {
  if (r) return "fine";
  const auto& e = r.error();
  std::string out{name(e.code)};
  for (const auto& part : {e.operand, e.got, e.wanted}) out.append(" | ").append(part.view());
  return out;
}

TEST_CASE("a sketch is the signed sum of each bucket, as bits of Philox at each position say") {
  const weights w(37, 51, 1);
  const matrix_sketch s = sketch_of(w, {.seed = 9, .buckets = 32});
  const random::philox_stream stream = random::sketch_stream(9);
  std::vector<double> expected(32);
  for (index_t r = 0; r < w.rows; ++r)
    for (index_t c = 0; c < w.cols; ++c) {
      const auto column = static_cast<std::uint64_t>(c);
      const std::uint32_t word =
          stream.block(static_cast<std::uint64_t>(r), column / 8)[static_cast<int>(column % 8 / 2)];
      const std::uint32_t bits = column % 2 == 0 ? word & 0xffffu : word >> 16;
      expected[bits % 32] += (bits >= 0x8000u ? -1.0 : 1.0) * static_cast<double>(w.view()(r, c));
    }
  REQUIRE(s.buckets.size() == 32);
  for (index_t b = 0; b < 32; ++b) CHECK(std::fabs(s.buckets[b] - expected[static_cast<std::size_t>(b)]) < 1e-14);
  CHECK(s.squared_norm == Approx(w.norm2()).epsilon(1e-14));
  CHECK(s.rows == 37);
  CHECK(s.cols == 51);
  CHECK(s.seed == 9);
}

TEST_CASE("sketches have the committed bits: they are stored in artifacts") {
  const matrix_sketch s = sketch_of(weights(64, 96, 2), {.seed = 5});
  fingerprint f;
  f.add(s.squared_norm);
  for (const double b : s.buckets) f.add(b);
  CHECK(f.value() == 0x2848292b7980700cu);
}

TEST_CASE("positions use all buckets and both signs alike") {
  constexpr std::uint32_t buckets = 64;
  const random::philox_stream s = random::sketch_stream(3);
  std::vector<int> seen(2 * buckets);
  constexpr index_t rows = 200, cols = 640;
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c) {
      const auto column = static_cast<std::uint64_t>(c);
      const auto at = random::sketch_position_of(s.block(static_cast<std::uint64_t>(r), column / 8), column, buckets);
      ++seen[2 * at.bucket + (at.negative ? 1 : 0)];
    }
  double chi2 = 0;
  for (const int n : seen) chi2 += (n - 1000.0) * (n - 1000.0) / 1000.0;
  CHECK(chi2 < 181.99);  // 127 degrees of freedom, p = 0.001
  CHECK(chi2 > 83.0);    // and not suspiciously even, p = 0.999
}

TEST_CASE("every split into blocks, every order and every number of workers gives the same bits") {
  const weights w(61, 83, 3);
  const matrix_sketch whole = sketch_of(w, {.seed = 4});
  const auto view = w.view();
  for (const index_t step : {1, 2, 7, 60, 61}) {
    auto rows = *sketcher::try_make(61, 83, {.seed = 4});
    auto merged = *sketcher::try_make(61, 83, {.seed = 4});
    for (index_t first = (60 / step) * step; first >= 0; first -= step) {  // from the bottom up
      const index_t n = std::min(step, 61 - first);
      REQUIRE(rows.try_add(view.middle_rows(first, n), {.row = first}));
      auto part = *sketcher::try_make(61, 83, {.seed = 4});
      REQUIRE(part.try_add(view.middle_rows(first, n), {.row = first}));
      REQUIRE(part.try_merge(merged));
      merged = part;
    }
    CHECK(*rows.try_finish() == whole);
    CHECK(*merged.try_finish() == whole);
  }
  auto quarters = *sketcher::try_make(61, 83, {.seed = 4});  // columns that are cut within a block of eight, too
  for (const auto& [r, m] : {std::pair<index_t, index_t>{40, 21}, {0, 40}})
    for (const auto& [c, n] : {std::pair<index_t, index_t>{0, 13}, {13, 70}})
      REQUIRE(quarters.try_add(view.block(r, c, m, n), {r, c}));
  CHECK(*quarters.try_finish() == whole);
  for (const int workers : {1, 2, 3, 7}) {
    threads pool{workers};
    CHECK(random::sketch(pool, view, {.seed = 4}) == whole);
  }
}

TEST_CASE("any layout and any element type that holds the same numbers has the same sketch") {
  weights w(20, 30, 4);
  for (float& x : w.data) x = static_cast<float>(fp8_e5m2{x});
  const matrix_sketch expected = sketch_of(w);
  inline_executor exec;
  const auto as = [&]<class T>(std::type_identity<T>) {
    std::vector<T> narrow(w.data.size());
    convert(w.data, narrow);
    return random::sketch(exec, matrix_view<const T>{narrow.data(), 20, 30});
  };
  CHECK(as(std::type_identity<f16>{}) == expected);
  CHECK(as(std::type_identity<bf16>{}) == expected);
  CHECK(as(std::type_identity<fp8_e5m2>{}) == expected);
  const Eigen::MatrixXf columns =
      Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(w.data.data(), 20, 30);
  CHECK(random::sketch(exec, columns) == expected);
  CHECK(random::sketch(exec, as_view(columns).transposed()).buckets != expected.buckets);
}

// Over seeds: E‖s‖² = ‖x‖², variance (2/K)(‖x‖⁴ − Σx⁴).
TEST_CASE("the squared length of a sketch is unbiased and has the variance of the formula") {
  constexpr int seeds = 4000;
  weights w(9, 11, 5, 1.0);
  w.data[17] = 6.0f;  // one large element, so that the second term matters
  double norm4 = 0;
  for (const float x : w.data) norm4 += std::pow(static_cast<double>(x), 4.0);
  const double norm2 = w.norm2();
  for (const index_t k : {8, 64}) {
    double mean = 0, square = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      auto sum = *sketcher::try_make(9, 11, {.seed = seed, .buckets = k});
      REQUIRE(sum.try_add(w.view()));
      double length = 0;
      const matrix_sketch s = *sum.try_finish();
      for (const double b : s.buckets) length += b * b;
      mean += length / seeds;
      square += (length - norm2) * (length - norm2) / seeds;
    }
    const double variance = 2 / static_cast<double>(k) * (norm2 * norm2 - norm4);
    CHECK(std::fabs(mean - norm2) < 4 * std::sqrt(variance / seeds));
    CHECK(square == Approx(variance).epsilon(0.15));
  }
}

TEST_CASE("the distance is within its standard error as often as a normal number is") {
  const weights a(40, 50, 6);
  weights b = a;
  const weights noise(40, 50, 7, 0.002);
  for (std::size_t i = 0; i < b.data.size(); ++i) b.data[i] += noise.data[i];
  weights difference = a;
  for (std::size_t i = 0; i < b.data.size(); ++i) difference.data[i] -= b.data[i];
  const double truth = std::sqrt(difference.norm2() / a.norm2());
  CHECK(truth == Approx(0.1).epsilon(0.1));
  int within_one = 0, within_two = 0;
  constexpr int seeds = 400;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const auto d = random::compare(sketch_of(a, {.seed = seed}), sketch_of(b, {.seed = seed}));
    REQUIRE_FALSE(d.identical);
    CHECK(d.se == Approx(d.relative / std::sqrt(128.0)));
    within_one += std::fabs(d.relative - truth) < d.se;
    within_two += std::fabs(d.relative - truth) < 1.96 * d.se;
    CHECK(d.relative_at_least <= truth);
  }
  CHECK(within_one > seeds * 0.60);
  CHECK(within_one < seeds * 0.76);
  CHECK(within_two > seeds * 0.92);
}

TEST_CASE("the same bits are at distance 0, exactly, and one changed element at the size of its change") {
  const weights a(128, 96, 8);
  const matrix_sketch s = sketch_of(a);
  const auto same = random::compare(s, sketch_of(weights(128, 96, 8)));
  CHECK(same.identical);
  CHECK(same.relative == 0);
  CHECK(same.se == 0);
  CHECK(same.relative_at_least == 0);

  for (const std::size_t i : {std::size_t{0}, std::size_t{5000}, a.data.size() - 1})
    for (const float change : {1.0f, 1e-3f, 1e-6f}) {
      weights b = a;
      b.data[i] += change;
      const double actual = std::fabs(static_cast<double>(b.data[i]) - static_cast<double>(a.data[i]));
      REQUIRE(actual > 0);
      const auto d = random::compare(s, sketch_of(b));
      CHECK_FALSE(d.identical);
      CHECK(d.relative == Approx(actual / std::sqrt(a.norm2())).epsilon(1e-7));
    }
  weights last_bit = a;
  last_bit.data[77] = std::nextafter(last_bit.data[77], 1.0f);
  CHECK_FALSE(random::compare(s, sketch_of(last_bit)).identical);
}

TEST_CASE("unrelated matrices are the square root of 2 apart, a scaled one by its factor, two swapped rows by theirs") {
  const weights a(100, 80, 9), other(100, 80, 10);
  const matrix_sketch s = sketch_of(a);
  const auto unrelated = random::compare(s, sketch_of(other));
  CHECK(std::fabs(unrelated.relative - std::sqrt(2.0)) < 4 * unrelated.se);
  weights twice = a, swapped = a;
  for (float& x : twice.data) x *= 2;
  const auto scaled = random::compare(s, sketch_of(twice));
  CHECK(std::fabs(scaled.relative - 1) < 4 * scaled.se);
  CHECK(scaled.relative_at_least == Approx(1).epsilon(1e-12));
  std::swap_ranges(swapped.data.begin(), swapped.data.begin() + 80, swapped.data.begin() + 800);
  weights difference = a;
  for (std::size_t i = 0; i < a.data.size(); ++i) difference.data[i] -= swapped.data[i];
  const auto rows = random::compare(s, sketch_of(swapped));
  CHECK(rows.relative_at_least < 1e-12);
  CHECK(std::fabs(rows.relative - std::sqrt(difference.norm2() / a.norm2())) < 4 * rows.se);
}

TEST_CASE("matrices of zeros, of no elements and of extreme numbers have sketches") {
  weights zeros(3, 4, 1, 0.0), one = zeros;
  one.data[3] = 1.0f;
  CHECK(random::compare(sketch_of(zeros), sketch_of(zeros)).relative == 0);
  CHECK(std::isinf(random::compare(sketch_of(zeros), sketch_of(one)).relative));
  CHECK(random::compare(sketch_of(one), sketch_of(zeros)).relative == 1);
  CHECK(sketch_of(weights(0, 4, 1)).squared_norm == 0);
  CHECK(sketch_of(weights(4, 0, 1)).buckets == array<double>(64));
  weights extreme(2, 2, 1);
  extreme.data = {std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min(), 1.0f,
                  -std::numeric_limits<float>::max()};
  weights without = extreme;
  without.data[1] = 0.0f;
  const auto d = random::compare(sketch_of(extreme, {.seed = 1}), sketch_of(without, {.seed = 1}));
  CHECK(d.relative < 1e-80);
}

TEST_CASE("elements that came twice in place of others are noticed, whatever parts they came in") {
  const weights w(4, 4, 1);
  const auto rows = [&](index_t first, index_t n) { return w.view().middle_rows(first, n); };
  const std::string twice =
      "conflict | sketch | elements that came twice in place of others | all 16 of 4 x 4, each once";
  auto a = *sketcher::try_make(4, 4), b = a;
  REQUIRE(a.try_add(rows(0, 2)));
  REQUIRE(b.try_add(rows(0, 1)));
  REQUIRE(b.try_add(rows(2, 1), {.row = 2}));
  auto wrong = a;
  REQUIRE(wrong.try_merge(b));
  CHECK(parts(wrong.try_finish()) == twice);
  auto half_twice = a;
  REQUIRE(half_twice.try_add(rows(0, 2)));
  CHECK(parts(half_twice.try_finish()) == twice);
  auto other_half = a;
  REQUIRE(other_half.try_add(rows(2, 2), {.row = 2}));
  CHECK(other_half.try_finish());

  // two halves of a matrix, anywhere in it: only those that fill it are let
  const weights tall(4, 2, 1);
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (index_t i = 0; i < 3; ++i)
      for (index_t j = 0; j < 3; ++j) {
        auto sum = *sketcher::try_make(4, 2, {.seed = seed});
        REQUIRE(sum.try_add(tall.view().middle_rows(i, 2), {.row = i}));
        REQUIRE(sum.try_add(tall.view().middle_rows(j, 2), {.row = j}));
        CHECK(sum.try_finish().has_value() == (i + j == 2 && i != j));
      }
}

TEST_CASE("one element in place of another is noticed at every pair of positions") {
  const weights w(6, 7, 1);
  const auto one = [&](index_t i) {
    auto s = *sketcher::try_make(6, 7);
    REQUIRE(s.try_add(w.view().block(i / 7, i % 7, 1, 1), {i / 7, i % 7}));
    return s;
  };
  for (index_t missing = 0; missing < 42; ++missing) {
    auto rest = *sketcher::try_make(6, 7);
    for (index_t i = 0; i < 42; ++i)
      if (i != missing) REQUIRE(rest.try_merge(one(i)));
    for (index_t i = 0; i < 42; ++i) {
      auto all = rest;
      REQUIRE(all.try_merge(one(i)));
      CHECK(all.try_finish().has_value() == (i == missing));
    }
  }
}

TEST_CASE("what does not fit is refused by name, and nothing is added") {
  const weights w(6, 8, 1);
  auto s = *sketcher::try_make(6, 8);
  CHECK(parts(sketcher::try_make(6, 8, {.buckets = 48})) ==
        "invalid argument | buckets | 48 | a power of two from 8 to 4096");
  CHECK(parts(sketcher::try_make(6, 8, {.buckets = 4})) ==
        "invalid argument | buckets | 4 | a power of two from 8 to 4096");
  CHECK(parts(sketcher::try_make(-1, 8)) == "shape mismatch | matrix | -1 x 8 | extents from 0 to 2^31");
  CHECK(parts(s.try_add(w.view(), {.row = 1})) == "shape mismatch | block | 6 x 8 at 1, 0 | a part of 6 x 8");
  CHECK(parts(s.try_add(w.view().middle_rows(0, 1), {.row = std::numeric_limits<index_t>::max()})).substr(0, 14) ==
        "shape mismatch");
  weights bad = w;
  bad.data[13] = std::numeric_limits<float>::quiet_NaN();
  CHECK(parts(s.try_add(bad.view().middle_rows(1, 4), {.row = 3})) ==
        "shape mismatch | block | 4 x 8 at 3, 0 | a part of 6 x 8");
  CHECK(parts(s.try_add(bad.view().middle_rows(1, 3), {.row = 3})) ==
        "not finite | W(3, 5) | NaN or infinity | finite elements");
  bad.data[13] = -std::numeric_limits<float>::infinity();
  inline_executor exec;
  CHECK_FALSE(random::try_sketch(exec, bad.view()));
  CHECK(parts(s.try_finish()) == "conflict | sketch | 0 elements | all 48 of 6 x 8");
  REQUIRE(s.try_add(w.view()));
  CHECK(parts(s.try_add(w.view().middle_rows(2, 1), {.row = 2})) ==
        "conflict | sketch | 56 elements | 48 of 6 x 8, each once");
  CHECK(parts(s.try_merge(s)) == "conflict | sketch | 96 elements | 48 of 6 x 8, each once");
  CHECK(parts(s.try_merge(*sketcher::try_make(6, 9))) == "shape mismatch | sketch | 6 x 9 | 6 x 8");
  CHECK(parts(s.try_merge(*sketcher::try_make(6, 8, {.seed = 3, .buckets = 128}))) ==
        "conflict | sketch | seed 3, 128 buckets | seed 0, 64 buckets");
  CHECK(*s.try_finish() == sketch_of(w));

  const matrix_sketch a = sketch_of(w), seed = sketch_of(w, {.seed = 1}), shape = sketch_of(weights(8, 6, 1));
  CHECK(parts(random::try_compare(a, seed)) ==
        "conflict | sketch | revision 1, seed 1, 64 buckets | revision 1, seed 0, 64 buckets");
  CHECK(parts(random::try_compare(a, shape)) == "shape mismatch | sketch | 8 x 6 | 6 x 8");
  matrix_sketch later = a;
  later.revision = 2;
  CHECK_FALSE(random::try_compare(a, later));
  CHECK_THROWS_AS(random::compare(a, seed), resect::exception);
}

}  // namespace tests
