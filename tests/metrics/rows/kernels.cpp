// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/rows/detail/row_kernels.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/random/distributions.hpp>
#include <support/catch.hpp>
#include <support/instruction_sets.hpp>

// The kernels themselves, on every instruction set of this machine.
namespace tests {

using namespace resect::metrics::detail;
using resect::index_t;
using resect::instruction_set;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float quiet = std::numeric_limits<float>::quiet_NaN();

std::vector<float> row(index_t n, std::uint64_t seed, double sd = 3) {
  std::vector<float> x(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(x, seed, 0, 0, sd);
  return x;
}

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// One exponential as the kernels compute it, in units of 2^power.
double term(instruction_set set, float x, double power) { return exp_sum(set, &x, 1, unit_of(power)).sum; }

}  // namespace

TEST_CASE("the exponential has the documented relative error over its whole range, and no more") {
  for (const instruction_set set : instruction_sets()) {
    double worst = 0;
    for (float x = -530; x < 299; x += 0.0037f)  // below, the filled tail of a single logit shows
      worst =
          std::fmax(worst, std::fabs(static_cast<double>(term(set, x, 0) / std::exp(static_cast<long double>(x)) - 1)));
    INFO(resect::name(set));
    CHECK(worst <= 2.0e-9);
    CHECK(worst >= 1.0e-9);  // else the bound in the comment is stale
    CHECK(term(set, 0.0f, 0) == 1);
    CHECK(term(set, -0.0f, 0) == 1);
  }
}

TEST_CASE("another unit scales a term exactly, also far from zero") {
  for (const instruction_set set : instruction_sets())
    for (const float x : {-3.7f, 0.1f, 88.9f, 64999.5f, -64000.25f}) {
      const double near = std::floor(static_cast<double>(x) / 0.693147180559945);
      const double here = term(set, x, near);
      INFO(resect::name(set) << " " << x);
      CHECK(here > 0.4);
      CHECK(here < 4);
      for (const double away : {-300.0, -1.0, 1.0, 17.0, 700.0})
        CHECK(same_bits(term(set, x, near + away), std::ldexp(here, -static_cast<int>(away))));
      const long double v = static_cast<long double>(x) - static_cast<long double>(near) * std::log(2.0L);
      CHECK(std::fabs(static_cast<double>(here / std::exp(v) - 1)) <=
            2.0e-9 + std::fabs(static_cast<double>(x)) * 0x1p-53);
    }
}

TEST_CASE("a unit holds what it says: the ends of its range are numbers, and NaN is never held") {
  for (const double power : {0.0, 40.0, -90000.0}) {
    const exp_unit unit = unit_of(power);
    for (const instruction_set set : instruction_sets()) {
      const float ends[2] = {unit.low, unit.high};
      const exp_result r = exp_sum(set, ends, 2, unit);
      CHECK(unit.holds(r.range));
      CHECK(r.sum == Approx(std::exp(300.0)).epsilon(0.01));
      CHECK(term(set, unit.low, power) > 0);
      CHECK(term(set, unit.low, power) < 1e-250);
    }
    CHECK_FALSE(unit.holds({std::nextafter(unit.low, -inf), unit.high}));
    CHECK_FALSE(unit.holds({unit.low, std::nextafter(unit.high, inf)}));
    CHECK_FALSE(unit.holds({quiet, unit.high}));
    CHECK_FALSE(unit.holds({unit.low, quiet}));
  }
}

TEST_CASE("sums, ranges and cross sums are those of long double for every length, wherever a row begins") {
  const auto x = row(200, 1), y = row(200, 2);
  const exp_unit unit_x = unit_of(2), unit_y = unit_of(-3);
  for (const instruction_set set : instruction_sets())
    for (index_t n = 1; n <= 70; ++n)
      for (const index_t at : {index_t{0}, index_t{1}, index_t{7}}) {
        long double sum_x = 0, sum_y = 0, cross = 0, size = 0;
        float low = inf, high = -inf;
        for (index_t i = at; i < at + n; ++i) {
          const auto k = static_cast<std::size_t>(i);
          const long double e = std::exp(static_cast<long double>(x[k])) / 4, d = static_cast<long double>(x[k]) - y[k];
          sum_x += e;
          sum_y += std::exp(static_cast<long double>(y[k])) * 8;
          cross += e * d;
          size += e * std::fabs(d);
          low = std::fmin(low, x[k]);
          high = std::fmax(high, x[k]);
        }
        const exp_pair_result r = exp_pair(set, x.data() + at, y.data() + at, n, unit_x, unit_y);
        const exp_result alone = exp_sum(set, x.data() + at, n, unit_x);
        INFO(resect::name(set) << " n " << n << " at " << at);
        CHECK(std::fabs(static_cast<double>(r.x.sum / sum_x - 1)) <= 2.1e-9);
        CHECK(std::fabs(static_cast<double>(r.y.sum / sum_y - 1)) <= 2.1e-9);
        CHECK(std::fabs(static_cast<double>(r.cross - cross)) <= 2.1e-9 * static_cast<double>(size));
        CHECK(same_bits(alone.sum, r.x.sum));
        CHECK(r.x.range.high == high);
        CHECK(alone.range.high == high);
        CHECK((r.x.range.low == low || n % group != 0));  // a filled tail lowers it to the unit's end
        CHECK(unit_x.holds(r.x.range));
      }
}

TEST_CASE("NaN stays in the sum, infinities leave the range: nothing broken passes for a number") {
  for (const instruction_set set : instruction_sets())
    for (const index_t n : {index_t{5}, index_t{16}, index_t{100}})
      for (const index_t at : {index_t{0}, index_t{3}, n - 1}) {
        auto x = row(n, 3), y = row(n, 4);
        const auto k = static_cast<std::size_t>(at);
        const exp_unit unit = unit_of(0);
        x[k] = quiet;
        CHECK(std::isnan(exp_sum(set, x.data(), n, unit).sum));
        CHECK(std::isnan(exp_pair(set, x.data(), y.data(), n, unit, unit).x.sum));
        CHECK(std::isnan(exp_pair(set, x.data(), y.data(), n, unit, unit).cross));
        CHECK(std::isnan(exp_pair(set, y.data(), x.data(), n, unit, unit).y.sum));
        CHECK(same_bits(exp_pair(set, x.data(), y.data(), n, unit, unit).y.sum, exp_sum(set, y.data(), n, unit).sum));
        for (const float bad : {inf, -inf, 3e38f, -3e38f, 301.0f, -581.0f}) {
          x[k] = bad;
          CHECK_FALSE(unit.holds(exp_sum(set, x.data(), n, unit).range));
          CHECK_FALSE(unit.holds(exp_pair(set, y.data(), x.data(), n, unit, unit).y.range));
          CHECK(unit.holds(exp_pair(set, y.data(), x.data(), n, unit, unit).x.range));
        }
      }
}

TEST_CASE("peak finds the maximum and any NaN, place the first of equals and how many there are") {
  for (const instruction_set set : instruction_sets())
    for (const index_t n : {index_t{1}, index_t{7}, index_t{16}, index_t{17}, index_t{100}, index_t{2048}})
      for (const index_t at : {index_t{0}, n / 3, n / 2, n - 1}) {
        auto x = row(n, 5);
        const auto k = static_cast<std::size_t>(at);
        x[k] = 1000;
        INFO(resect::name(set) << " n " << n << " at " << at);
        CHECK(peak(set, x.data(), n).high == 1000);
        CHECK_FALSE(peak(set, x.data(), n).has_nan);
        CHECK(place(set, x.data(), n, 1000).first == at);
        CHECK(place(set, x.data(), n, 1000).count == 1);
        CHECK(place(set, x.data(), n, 2000).first == -1);
        CHECK(place(set, x.data(), n, 2000).count == 0);
        const auto last = static_cast<std::size_t>(n - 1);
        x[last] = 1000;
        CHECK(place(set, x.data(), n, 1000).first == at);
        CHECK(place(set, x.data(), n, 1000).count == (at == n - 1 ? 1 : 2));
        x[k] = quiet;
        CHECK(peak(set, x.data(), n).has_nan);
        x[k] = -inf;
        CHECK_FALSE(peak(set, x.data(), n).has_nan);
      }
}

TEST_CASE("the bits are those of every other build: portable, and the two AVX sets alike") {
  const auto x = row(3001, 6), y = row(3001, 7);
  const auto hash = [&](instruction_set set) {
    resect::fingerprint f;
    for (const index_t n : {index_t{1}, index_t{15}, index_t{1000}, index_t{3001}}) {
      const exp_pair_result r = exp_pair(set, x.data(), y.data(), n, unit_of(1), unit_of(-1));
      f.add(r.x.sum).add(r.y.sum).add(r.cross).add(exp_sum(set, y.data(), n, unit_of(5)).sum);
    }
    return f.value();
  };
  const auto product_hash = [&](instruction_set set) {
    resect::fingerprint f;
    for (const index_t n : {index_t{1}, index_t{15}, index_t{1000}, index_t{3001}}) {
      const product_result p = products(set, x.data(), y.data(), n);
      f.add(p.dot).add(p.aa).add(p.bb).add(p.dd);
    }
    return f.value();
  };
  for (const instruction_set set : instruction_sets()) {
    INFO(resect::name(set));
    CHECK(hash(set) == (set == instruction_set::portable ? 0x4820bc4bc43da298u : 0x77df15d30ad534dfu));
    CHECK(product_hash(set) == 0xb28b0517a6cc55e0u);
  }
}

}  // namespace tests
