// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/verdicts/mcnemar.hpp>
#include <resect/metrics/verdicts/paired_items.hpp>

#include <cmath>
#include <cstdio>
#include <limits>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

paired_items table(index_t both, index_t only_first, index_t only_second, index_t neither) {
  paired_items t;
  for (index_t i = 0; i < both; ++i) t.add(grade::pass, grade::pass);
  for (index_t i = 0; i < only_first; ++i) t.add(grade::pass, grade::fail);
  for (index_t i = 0; i < only_second; ++i) t.add(grade::fail, grade::pass);
  for (index_t i = 0; i < neither; ++i) t.add(grade::fail, grade::fail);
  return t;
}

}  // namespace

TEST_CASE("the exact McNemar p is the binomial sum") {
  CHECK(mcnemar_p(1, 0) == 1);
  CHECK(mcnemar_p(3, 0) == Approx(0.25).epsilon(1e-12));
  CHECK(mcnemar_p(5, 0) == Approx(0.0625).epsilon(1e-12));
  CHECK(mcnemar_p(0, 6) == Approx(0.03125).epsilon(1e-12));
  CHECK(mcnemar_p(0, 0) == 1);
  CHECK(std::isnan(mcnemar_p(-1, 3)));
  for (index_t b = 0; b <= 40; ++b)
    for (index_t c = 0; c <= 40; c += 3) {
      const index_t n = b + c, k = b < c ? b : c;
      long double term = std::pow(0.5L, static_cast<long double>(n)), sum = 0;
      for (index_t i = 0; i <= k; ++i) {
        sum += term;
        term *= static_cast<long double>(n - i) / static_cast<long double>(i + 1);
      }
      const double wanted = sum * 2 < 1 ? static_cast<double>(2 * sum) : 1.0;
      REQUIRE(mcnemar_p(b, c) == Approx(wanted).epsilon(1e-11));
      REQUIRE(mcnemar_p(b, c) == mcnemar_p(c, b));
    }
  CHECK(mcnemar_p(0, 1000) == Approx(2 * std::pow(0.5, 1000)).epsilon(1e-10));
}

TEST_CASE("below six discordant items nothing is decided, and with a stricter alpha not below eight") {
  CHECK(table(10, 5, 0, 10).verdict() == paired_verdict::undecidable);
  CHECK(table(0, 1, 0, 6).verdict() == paired_verdict::undecidable);
  CHECK(table(10, 6, 0, 10).verdict() == paired_verdict::first_better);
  CHECK(table(10, 0, 6, 10).verdict() == paired_verdict::second_better);
  CHECK(table(10, 5, 2, 10).verdict() == paired_verdict::no_difference_shown);
  CHECK(table(10, 7, 0, 10).verdict(0.01) == paired_verdict::undecidable);
  CHECK(table(10, 8, 0, 10).verdict(0.01) == paired_verdict::first_better);
  CHECK(table(10, 5, 0, 10).verdict(0.1) == paired_verdict::undecidable);
  CHECK(name(paired_verdict::undecidable) == "undecidable at this N");
}

TEST_CASE("Newcombe's interval of a paired difference: his published example, symmetry, and the margins") {
  const estimate e = table(36, 12, 2, 0).difference();
  CHECK(e.value == Approx(0.2));
  CHECK(e.lo == Approx(0.0569).margin(5e-5));
  CHECK(e.hi == Approx(0.3404).margin(5e-5));
  CHECK(e.se == Approx(std::sqrt(14 - 100.0 / 50) / 50).epsilon(1e-14));
  const estimate swapped = table(36, 2, 12, 0).difference();
  CHECK(swapped.value == -e.value);
  CHECK(swapped.lo == Approx(-e.hi).epsilon(1e-13));
  CHECK(swapped.hi == Approx(-e.lo).epsilon(1e-13));
  const auto t = table(3, 4, 1, 2);
  CHECK(t.first().value == 0.7);
  CHECK(t.second().value == 0.4);
  CHECK(t.items() == 10);
  CHECK(std::isnan(paired_items{}.difference().value));
  const estimate same = table(0, 0, 0, 20).difference();
  CHECK(same.value == 0);
  CHECK(same.lo < 0);
  CHECK(same.hi > 0);
}

TEST_CASE(
    "Newcombe's interval is his formula for every small table, with the correction that lowers a positive "
    "correlation") {
  const double z = 1.959963984540054;
  const auto score = [&](double k, double n) {  // Wilson's limits
    const double p = k / n, centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return std::pair{centre - half, centre + half};
  };
  int corrected = 0, cut = 0, negative = 0;
  for (int a = 0; a < 12; a += 2)
    for (int b = 0; b < 12; b += 3)
      for (int c = 0; c < 12; c += 3)
        for (int d = 0; d < 12; d += 2) {
          const double n = a + b + c + d;
          if (n == 0) continue;
          const auto [l1, u1] = score(a + b, n);
          const auto [l2, u2] = score(a + c, n);
          const double p1 = (a + b) / n, p2 = (a + c) / n;
          const double margins = double(a + b) * (c + d) * (a + c) * (b + d), cross = double(a) * d - double(b) * c;
          double top = cross;
          if (cross > n / 2) top = cross - n / 2;
          else if (cross > 0) top = 0;
          corrected += cross > n / 2;
          cut += cross > 0 && cross <= n / 2;
          negative += cross < 0;
          const double phi = margins == 0 ? 0 : top / std::sqrt(margins);
          const double down = (p1 - l1) * (p1 - l1) - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) * (u2 - p2);
          const double up = (u1 - p1) * (u1 - p1) - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) * (p2 - l2);
          const estimate e = table(a, b, c, d).difference();
          INFO(a << " " << b << " " << c << " " << d);
          CHECK(e.lo == Approx(p1 - p2 - std::sqrt(std::fmax(down, 0))).margin(1e-9));
          CHECK(e.hi == Approx(p1 - p2 + std::sqrt(std::fmax(up, 0))).margin(1e-9));
        }
  CHECK((corrected > 100 && cut > 10 && negative > 100));
}

TEST_CASE("the paired interval covers the true difference in 95 % of simulations of 40 items") {
  int covered = 0;
  constexpr int runs = 4000;
  for (int i = 0; i < runs; ++i) {
    draws d{static_cast<std::uint64_t>(i), 3};
    paired_items t;
    for (int k = 0; k < 40; ++k) {
      const double u = d.uniform();  // both .5, only first .2, only second .08, neither .22
      t.add(u < 0.7 ? grade::pass : grade::fail, u < 0.5 || (u >= 0.7 && u < 0.78) ? grade::pass : grade::fail);
    }
    const estimate e = t.difference();
    covered += e.lo <= 0.12 && 0.12 <= e.hi;
  }
  std::printf("coverage of Newcombe's paired interval, 40 items: %.3f\n", covered / double{runs});
  CHECK(covered >= 0.935 * runs);
  CHECK(covered <= 0.975 * runs);
}

TEST_CASE("non-inferiority needs the bound, not the value, within the margin") {
  CHECK_FALSE(within_margin(table(20, 0, 0, 20)));  // no difference seen in 40 items is not a 3-point bound
  CHECK(within_margin(table(1000, 10, 10, 1000)));
  CHECK_FALSE(within_margin(table(1000, 100, 10, 1000)));
  CHECK(within_margin(table(20, 0, 0, 20), 0.5));
  CHECK_FALSE(within_margin(paired_items{}));
}

TEST_CASE("items that a paired test needs: known values, and the power that simulations find") {
  CHECK(paired_items_needed(0.14, 0.2) == 78);
  CHECK(paired_items_needed(-0.14, 0.2) == 78);
  CHECK(paired_items_needed(0.05, 0.15) == 469);
  CHECK(paired_items_needed(0.03, 0.1) == 870);
  CHECK(paired_items_needed(0.1, 0.1) == 77);  // every discordant item on one side
  CHECK(paired_items_needed(0.14, 0.2, 0.05, 0.9) > 78);
  CHECK(paired_items_needed(0.14, 0.2, 0.01) > 78);
  for (const double wrong : {0.0, 0.3, std::numeric_limits<double>::quiet_NaN()})
    CHECK(paired_items_needed(wrong, 0.2) == 0);
  CHECK(paired_items_needed(0.5, 1.0) == 29);  // every item discordant: ⌈(1.96 + 0.8416·√0.75)²/0.25⌉
  CHECK((paired_items_needed(0.1, 1.5) == 0 && paired_items_needed(0.1, -0.2) == 0));
  CHECK((paired_items_needed(0.1, 0.2, 0.0) == 0 && paired_items_needed(0.1, 0.2, 0.05, 1.0) == 0));
  CHECK(paired_items_needed(1e-160, 0.2) == 0);  // more than there are numbers for

  tests::draws d{7};
  int significant = 0;
  constexpr int runs = 4000;
  for (int r = 0; r < runs; ++r) {
    index_t b = 0, c = 0;
    for (index_t i = 0; i < paired_items_needed(0.05, 0.15); ++i) {
      const double u = d.uniform();
      b += u < 0.1;
      c += u >= 0.1 && u < 0.15;
    }
    const double z = static_cast<double>(b - c) / std::sqrt(static_cast<double>(b + c));
    significant += std::fabs(z) > 1.959963984540054;
  }
  CHECK(significant / static_cast<double>(runs) == Approx(0.8).margin(0.03));
}

TEST_CASE("paired tables merge") {
  auto a = table(1, 2, 3, 4);
  a.merge(table(10, 20, 30, 40));
  CHECK(a.both() == 11);
  CHECK(a.only_first() == 22);
  CHECK(a.only_second() == 33);
  CHECK(a.neither() == 44);
}

}  // namespace tests
