// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <compress/small_problem.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <cmath>
#include <cstdio>
#include <limits>

#include <resect/compress/pack_decomposed.hpp>
#include <resect/core/threads.hpp>
#include <resect/quant/quantize.hpp>

template class resect::compress::factor_rounder<resect::cpu<resect::threads>, tests::four_bits>;

namespace tests {

using namespace resect::compress;
using support::expect_error;
namespace quant = resect::quant;

resect::result<small_pair> try_small_decompose(const matrix<float>& w, const quant::moment_view& h,
                                               const decompose_options& o, int workers) {
  resect::cpu exec{resect::threads{workers}};
  return try_decompose(exec, w.view(), h, two_bits{.group = 16}, four_bits{}, o);
}

packing_method small_packing(resect::cpu<resect::threads>& exec, std::span<const quant::hessian> hessians,
                             const decompose_options& o) {
  return pack_decomposed(exec, two_bits{.group = 16}, four_bits{}, hessians, o);
}

namespace {

matrix<float> values_of(const small_pair& p) {
  resect::cpu exec{resect::threads{1}};
  return p.to_dense(exec);
}

}  // namespace

TEST_CASE("decompose: the pair's loss never rises from one half step to the next, and the result is the least of all") {
  const auto w = gaussian_weights(40, 48, 1);
  const auto h = second_moment(48, 200, 2);
  for (const auto start :
       {starting_point::quantized, starting_point::low_rank, starting_point::outliers, starting_point::split_rank}) {
    auto o = small_options(6, 6);
    o.starts = {start};
    o.least_gain = 0;
    const auto d = try_small_decompose(w, h, o);
    REQUIRE(d);
    CAPTURE(name(start).data());
    REQUIRE(d->steps.size() >= 4);
    for (index_t i = 0; i < d->steps.size(); ++i) {
      const auto& s = d->steps[i];
      CAPTURE(i, s.loss, s.best);
      CHECK(s.best <= s.loss);
      if (i > 0) CHECK(s.best <= d->steps[i - 1].best);
      CHECK(d->loss <= s.best);
    }
    CHECK(d->loss == d->steps.back().best);
    CHECK(d->loss < 0.9 * d->steps.front().best);                          // what the low rank is for
    CHECK(loss_of(w, values_of(*d), h) == Approx(d->loss).epsilon(1e-5));  // Ŵ is rounded to float once
  }
}

TEST_CASE("decompose: the best of several starts goes on, and none of them is better than the result") {
  const auto w = gaussian_weights(40, 48, 3);
  const auto h = second_moment(48, 200, 4);
  const auto d = try_small_decompose(w, h, small_options(6));
  REQUIRE(d);
  double least = std::numeric_limits<double>::infinity();
  for (const auto& s : d->steps) least = std::min(least, s.best);
  CHECK(d->loss == least);
  for (const auto start :
       {starting_point::quantized, starting_point::low_rank, starting_point::outliers, starting_point::split_rank}) {
    bool made = false;
    for (const auto& s : d->steps) made = made || s.start == start;
    CHECK(made);
  }
}

TEST_CASE("decompose: with a spiked H the downdated pair loses less than both half steps by themselves") {
  const auto w = gaussian_weights(48, 64, 5);
  matrix<double> h = second_moment(64, 400, 6);
  for (index_t i = 0; i < 64; ++i)  // three directions carry most of what the matrix reads
    for (index_t j = 0; j < 64; ++j)
      for (int k = 1; k <= 3; ++k)
        h(i, j) += 2000 * std::cos(0.3 * k * static_cast<double>(i)) * std::cos(0.3 * k * static_cast<double>(j));
  auto o = small_options(6, 6);
  o.starts = {starting_point::quantized};
  o.least_gain = 0;
  const auto with = try_small_decompose(w, h, o);
  o.downdate = false;
  const auto without = try_small_decompose(w, h, o);
  REQUIRE(with);
  REQUIRE(without);
  int tried = 0;
  for (const auto& s : with->steps) tried += s.what == decompose_step::kind::downdated;
  CHECK(tried >= 1);
  for (const auto& s : without->steps) CHECK(s.what != decompose_step::kind::downdated);
  std::printf("decompose: loss with downdated pairs over that without: %.4f (%d tried)\n", with->loss / without->loss,
              tried);
  CHECK(with->loss < 0.99 * without->loss);
}

TEST_CASE("decompose: bits are those of codes and scales, counted by hand") {
  const auto w = gaussian_weights(40, 48, 5);
  const auto h = second_moment(48, 200, 6);
  const auto d = try_small_decompose(w, h, small_options(5, 0));
  REQUIRE(d);
  const double q = 40 * 48 * 2 + 40 * 3 * 16, factors = 5 * (40 + 48) * 4 + 2 * 5 * 16;
  CHECK(d->q.stored_bits() == q);
  CHECK(d->stored_bits() == q + factors);
  CHECK(d->bits_per_weight() == Approx((q + factors) / (40 * 48)));
}

TEST_CASE("decompose: without a rank it is quantizing, and a rank loses less") {
  const auto w = gaussian_weights(40, 48, 7);
  const auto h = second_moment(48, 200, 8);
  const auto o = small_options(0);
  const auto none = try_small_decompose(w, h, o);
  REQUIRE(none);
  CHECK(none->rank() == 0);
  resect::cpu exec{resect::threads{1}};
  const auto q = quant::try_quantize(exec, w.view(), two_bits{.group = 16}, quant::gptq{h, o.feedback});
  REQUIRE(q);
  CHECK(q->codes == none->q.codes);
  CHECK(q->outcome.loss == Approx(none->loss).epsilon(1e-6));
  double before = none->loss;
  for (const index_t rank : {2, 6, 12}) {
    const auto d = try_small_decompose(w, h, small_options(rank));
    REQUIRE(d);
    CAPTURE(rank, d->loss, before);
    CHECK(d->loss < before);
    before = d->loss;
  }
}

TEST_CASE("decompose: what is planted as a sum of codes and thin factors is found again within the factors' rounding") {
  const auto thin = gaussian_weights(40, 3, 9), wide = gaussian_weights(3, 48, 10);
  matrix<float> w(40, 48);
  for (index_t r = 0; r < 40; ++r)
    for (index_t c = 0; c < 48; ++c) {
      w(r, c) = static_cast<float>((r * 7 + c * 5) % 4 - 2) * 0.01f;  // on a grid of 2 bits
      for (index_t k = 0; k < 3; ++k) w(r, c) += 40 * thin(r, k) * wide(k, c);
    }
  const auto h = second_moment(48, 200, 11);
  const auto d = try_small_decompose(w, h, small_options(3));
  REQUIRE(d);
  CHECK(d->relative_loss() < 1e-3);
  CHECK(d->start != starting_point::quantized);
}

TEST_CASE("decompose: same bits for any number of workers") {
  const auto w = gaussian_weights(40, 48, 12);
  const auto h = second_moment(48, 60, 13);
  const auto one = try_small_decompose(w, h, small_options(6, 1), 1),
             three = try_small_decompose(w, h, small_options(6, 1), 3);
  REQUIRE((one && three));
  CHECK(one->q.codes == three->q.codes);
  CHECK(one->factors.l.codes == three->factors.l.codes);
  CHECK(one->factors.r.codes == three->factors.r.codes);
  CHECK(one->loss == three->loss);
}

TEST_CASE("decompose: no H and no W makes it fail") {
  const matrix<double> h = second_moment(16, 5, 14);  // singular
  matrix<double> zero(16, 16), ones(16, 16), steep(16, 16);
  for (index_t i = 0; i < 16; ++i) {
    steep(i, i) = std::pow(10.0, -static_cast<double>(i) * 14 / 15);
    for (index_t j = 0; j < 16; ++j) ones(i, j) = 1;  // rank 1
  }
  const auto w = gaussian_weights(12, 16, 15);
  const auto run = [](const matrix<float>& of, const matrix<double>& moment, index_t rank) {
    auto o = small_options(rank, 1);
    const auto d = try_small_decompose(of, moment, o);
    REQUIRE(d);
    CAPTURE(of.rows, of.cols, d->loss);
    CHECK((d->loss >= 0 && d->loss <= d->weights * (1 + 1e-9)));
    CHECK(loss_of(of, values_of(*d), moment) <= d->loss + 1e-5 * d->weights);
  };
  const matrix<double>* const moments[] = {&h, &zero, &ones, &steep};
  for (const auto* const moment : moments) run(w, *moment, 3);
  run(matrix<float>(12, 16), h, 3);                              // W = 0
  run(gaussian_weights(1, 16, 16), h, 1);                        // 1 × n
  run(gaussian_weights(12, 1, 17), second_moment(1, 4, 18), 1);  // n × 1
  matrix<float> same(12, 16);
  same.data.assign(12 * 16, 0.5f);
  run(same, h, 4);  // rank 1, of a repeated value
}

TEST_CASE("decompose: bad input is one error that names it") {
  const auto w = gaussian_weights(12, 16, 19);
  const auto h = second_moment(16, 40, 20);
  const auto wrong = [&](auto change) {
    auto o = small_options(3);
    change(o);
    return try_small_decompose(w, h, o);
  };
  using resect::errc;
  expect_error(wrong([](auto& o) { o.rank = 13; }), errc::invalid_argument, {"rank", "13", "0 to 12"});
  expect_error(wrong([](auto& o) { o.rank = -1; }), errc::invalid_argument, {"rank", "-1"});
  expect_error(wrong([](auto& o) { o.rounds = -1; }), errc::invalid_argument, {"rounds", "-1"});
  expect_error(wrong([](auto& o) { o.least_gain = 1; }), errc::invalid_argument, {"least gain", "1"});
  expect_error(wrong([](auto& o) { o.starts = {}; }), errc::invalid_argument, {"starts", "at least one"});
  expect_error(wrong([](auto& o) { o.factors.rounds = 0; }), errc::invalid_argument, {"rounds of factors", "0"});
  const auto narrow_h = second_moment(15, 40, 21);
  expect_error(try_small_decompose(w, narrow_h, small_options(3)), errc::shape_mismatch, {"H", "15 x 15", "16 x 16"});
  auto bad_w = w;
  bad_w(3, 4) = std::numeric_limits<float>::quiet_NaN();
  expect_error(try_small_decompose(bad_w, h, small_options(3)), errc::not_finite, {"W, row 3, column 4"});
  auto bad_h = h;
  bad_h(5, 2) = std::numeric_limits<double>::infinity();
  expect_error(try_small_decompose(w, bad_h, small_options(3)), errc::not_finite, {"H, row 5, column 2"});
}

}  // namespace tests
