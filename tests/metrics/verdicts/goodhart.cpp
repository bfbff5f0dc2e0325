// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/verdicts/goodhart.hpp>

#include <cmath>
#include <cstdio>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

goodhart_table items(index_t both, index_t only_u, index_t only_e, index_t neither) {
  goodhart_table t{both + only_u + only_e + neither};
  index_t c = 0;
  for (index_t i = 0; i < both; ++i) t.add(c++, grade::pass, grade::pass);
  for (index_t i = 0; i < only_u; ++i) t.add(c++, grade::pass, grade::fail);
  for (index_t i = 0; i < only_e; ++i) t.add(c++, grade::fail, grade::pass);
  for (index_t i = 0; i < neither; ++i) t.add(c++, grade::fail, grade::fail);
  return t;
}

}  // namespace

TEST_CASE("every rate of the 2x2 table on paper") {
  const goodhart_table t = items(12, 6, 2, 20);
  CHECK(t.both() == 12);
  CHECK(t.only_understood() == 6);
  CHECK(t.only_executed() == 2);
  CHECK(t.neither() == 20);
  CHECK(t.understanding().value == Approx(18.0 / 40));
  CHECK(t.execution().value == Approx(14.0 / 40));
  CHECK(t.gap().value == Approx(6.0 / 40));
  CHECK(t.conditional_gap().value == Approx(6.0 / 18));
  CHECK(t.unexplained_execution().value == Approx(2.0 / 14));
  CHECK(t.independent_gap().value == Approx(18.0 / 40 * 26 / 40));
  CHECK(t.excess_gap().value == Approx(6.0 / 40 - 18.0 / 40 * 26 / 40));
  CHECK(t.odds_ratio().value == Approx(20.0));
  // One item a cluster: the variance of a proportion with N − 1, and Woolf's of the log odds ratio.
  CHECK(t.gap().se == Approx(std::sqrt(0.15 * 0.85 / 39)).epsilon(1e-12));
  CHECK(t.conditional_gap().se == Approx(std::sqrt(40.0 / 39 * (1.0 / 3 * 2 / 3) / 18)).epsilon(1e-12));
  CHECK(t.odds_ratio().se ==
        Approx(20 * std::sqrt(40.0 / 39 * (1.0 / 12 + 1.0 / 6 + 1.0 / 2 + 1.0 / 20))).epsilon(1e-12));
  CHECK(t.gap().n == 40);
}

TEST_CASE("the standard errors of the independent and the excess gap agree with the jackknife") {
  const goodhart_table t = items(60, 25, 30, 85);
  const double n11 = 60, n10 = 25, n01 = 30, n00 = 85;
  const auto check = [&](const estimate& e, auto f) {
    double sum = 0, squares = 0;
    const double count[] = {n11, n10, n01, n00};
    for (int k = 0; k < 4; ++k) {
      double c[] = {n11, n10, n01, n00};
      c[k] -= 1;
      const double v = f(c[0], c[1], c[2], c[3]);
      sum += count[k] * v;
      squares += count[k] * v * v;
    }
    CHECK(e.value == Approx(f(n11, n10, n01, n00)).epsilon(1e-13));
    CHECK(e.se == Approx(std::sqrt(199.0 / 200 * (squares - sum * sum / 200))).epsilon(0.01));
  };
  const auto independent = [](double a, double b, double c, double d) {
    const double n = a + b + c + d;
    return (a + b) / n * ((b + d) / n);
  };
  check(t.independent_gap(), independent);
  check(t.excess_gap(),
        [&](double a, double b, double c, double d) { return b / (a + b + c + d) - independent(a, b, c, d); });
}

TEST_CASE("with templates of unequal size the standard errors of gaps agree with the jackknife over templates") {
  constexpr index_t templates = 40;
  goodhart_table t{templates};
  double cell[templates][4] = {}, total[4] = {};
  draws d{17};
  for (index_t c = 0; c < templates; ++c)
    for (index_t k = 0; k < 5 + 3 * (c % 6); ++k) {
      const bool u = d.uniform() < 0.3 + 0.06 * static_cast<double>(c % 6),
                 e = u ? d.uniform() < 0.7 : d.uniform() < 0.2;
      t.add(c, u ? grade::pass : grade::fail, e ? grade::pass : grade::fail);
      const int at = u ? (e ? 0 : 1) : (e ? 2 : 3);
      cell[c][at] += 1;
      total[at] += 1;
    }
  const auto check = [&](const estimate& e, auto f) {
    double sum = 0, squares = 0;
    for (const auto& c : cell) {
      const double v = f(total[0] - c[0], total[1] - c[1], total[2] - c[2], total[3] - c[3]);
      sum += v;
      squares += v * v;
    }
    CHECK(e.value == Approx(f(total[0], total[1], total[2], total[3])).epsilon(1e-12));
    CHECK(e.se == Approx(std::sqrt(39.0 / 40 * (squares - sum * sum / 40))).epsilon(0.06));
  };
  const auto independent = [](double a, double b, double c, double e) {
    const double n = a + b + c + e;
    return (a + b) / n * ((b + e) / n);
  };
  check(t.gap(), [](double a, double b, double c, double e) { return b / (a + b + c + e); });
  check(t.conditional_gap(), [](double a, double b, double, double) { return b / (a + b); });
  check(t.independent_gap(), independent);
  check(t.excess_gap(),
        [&](double a, double b, double c, double e) { return b / (a + b + c + e) - independent(a, b, c, e); });
  check(t.odds_ratio(), [](double a, double b, double c, double e) { return a * e / (b * c); });
}

TEST_CASE("what has no denominator is not applicable; a rate of 0 or 1 keeps an interval of positive width") {
  const goodhart_table none = items(0, 0, 3, 17);
  CHECK(std::isnan(none.conditional_gap().value));
  CHECK_FALSE(none.conditional_gap().has_interval());
  CHECK(std::isnan(none.odds_ratio().value));
  CHECK(none.gap().value == 0);
  CHECK(none.gap().lo == 0);
  CHECK(none.gap().hi == Approx(0.1611).margin(1e-4));  // 0/20
  const goodhart_table all = items(0, 8, 0, 12);
  CHECK(all.conditional_gap().value == 1);
  CHECK(all.conditional_gap().lo == Approx(wilson(8, 8).lo));
  CHECK(all.conditional_gap().hi == 1);
  CHECK(std::isnan(all.unexplained_execution().value));
  CHECK(std::isnan(goodhart_table{9}.gap().value));
  goodhart_table bad = items(3, 3, 3, 3);
  bad.add(0, understood_executed{});
  CHECK(std::isnan(bad.gap().value));
}

TEST_CASE("with several runs an item still counts once") {
  goodhart_table t{4};
  t.add(0, {.both = 5});
  t.add(1, {.only_understood = 1, .only_executed = 1, .neither = 2});
  t.add(2, {.both = 1, .only_understood = 3});
  t.add(3, {.neither = 10});
  CHECK(t.gap().value == Approx((0.25 + 0.75) / 4));
  CHECK(t.conditional_gap().value == Approx(1 / (1 + 0.25 + 1)));
  CHECK(t.gap().n == 4);
  CHECK_FALSE(t.gap().has_interval());
}

TEST_CASE("items of a template are not independent: the clustered gap covers, the one by item does not") {
  int by_template = 0, by_item = 0;
  constexpr int runs = 1500;
  for (int i = 0; i < runs; ++i) {
    draws d{static_cast<std::uint64_t>(i), 8};
    goodhart_table clustered{25}, single{25 * 12};
    for (index_t c = 0; c < 25; ++c) {
      const double p = d.uniform();  // of failing to execute what is understood: E = ½
      for (index_t k = 0; k < 12; ++k) {
        const grade g = d.uniform() < p ? grade::fail : grade::pass;
        clustered.add(c, grade::pass, g);
        single.add(12 * c + k, grade::pass, g);
      }
    }
    const auto holds = [](const estimate& e) { return e.lo <= 0.5 && 0.5 <= e.hi; };
    by_template += holds(clustered.conditional_gap());
    by_item += holds(single.conditional_gap());
  }
  std::printf("coverage of the conditional gap, 25 templates: clustered %.3f, by item %.3f\n",
              by_template / double{runs}, by_item / double{runs});
  CHECK(by_template >= 0.93 * runs);
  CHECK(by_template <= 0.97 * runs);
  CHECK(by_item <= 0.75 * runs);
}

TEST_CASE("tables and arms merge to one pass and refuse other numbers of clusters") {
  const auto pick = [](draws& d) { return d.uniform() < 0.6 ? grade::pass : grade::fail; };
  const auto make = [] { return goodhart_table{8}; };
  const auto feed = [&](goodhart_table& t, index_t i) {
    draws d{9, static_cast<std::uint64_t>(i)};
    const grade u = pick(d), e = pick(d);
    t.add(d.below(8), u, e);
  };
  const auto whole = one_pass(200, make, feed);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto merged = merged_from_parts(seed, 4, 200, make, feed);
    CHECK(same_estimate(whole.gap(), merged.gap()));
    CHECK(same_estimate(whole.odds_ratio(), merged.odds_ratio()));
  }
  auto t = whole;
  CHECK(t.merge(goodhart_table{9}).error().code == resect::errc::shape_mismatch);
  goodhart_arms a{7};
  CHECK(a.merge(goodhart_arms{8}).error().code == resect::errc::shape_mismatch);
}

TEST_CASE("arms: the change of execution over all items and over those that both understand") {
  goodhart_arms a{4};
  const auto pass = grade::pass, fail = grade::fail;
  a.add(0, {pass, pass}, {pass, fail});  // both understand, execution lost, a new gap
  a.add(1, {pass, fail}, {fail, fail});  // the altered arm understands no more: its gap is gone, nothing is executed
  a.add(2, {fail, pass}, {fail, fail});
  a.add(3, {pass, fail}, {pass, pass});
  CHECK(a.execution_change().value == Approx(-0.25));
  CHECK(a.execution_change_understood().value == 0);
  CHECK(a.gap_change().value == Approx(-0.25));
  goodhart_arms none{1};
  none.add(0, {fail, pass}, {pass, pass});
  CHECK(std::isnan(none.execution_change_understood().value));
  CHECK(none.execution_change().value == 0);
  goodhart_arms l{6}, r{6};
  for (index_t c = 0; c < 6; ++c) {
    l.add(c, {pass, pass}, {pass, c < 3 ? fail : pass});
    (c % 2 ? r : l).add(c, {pass, fail}, {pass, pass});
  }
  REQUIRE(l.merge(r));
  CHECK(l.execution_change().value == Approx(3.0 / 12));
  CHECK(l.execution_change().has_interval());
}

TEST_CASE("gaps that are exactly 0 for want of spread have intervals that hold what was possible") {
  const double unseen = wilson(0, 8).hi;  // 0.324
  goodhart_table all(8), none(8), odd(8);
  for (index_t c = 0; c < 8; ++c) {
    all.add(c, grade::pass, grade::pass);
    none.add(c, grade::fail, c % 2 ? grade::pass : grade::fail);
    odd.add(c, grade::pass, grade::fail);
  }
  CHECK(all.excess_gap().value == 0);
  CHECK(all.excess_gap().lo == Approx(-unseen).epsilon(1e-12));
  CHECK(all.excess_gap().hi == Approx(unseen * unseen).epsilon(1e-12));
  CHECK(all.independent_gap().lo == 0);
  CHECK(all.independent_gap().hi == Approx(unseen).epsilon(1e-12));
  CHECK(odd.independent_gap().value == 1);
  CHECK(odd.independent_gap().hi == 1);
  CHECK(odd.independent_gap().lo == Approx((1 - unseen) * (1 - unseen)).epsilon(1e-12));
  // nothing understood: cov(U, 1 − E) = p_U·(P(1 − E | U) − P(1 − E)) for some p_U up to 0.324
  const estimate e = none.execution(), excess = none.excess_gap();
  CHECK(excess.value == 0);
  CHECK(excess.lo == Approx(-unseen * (1 - e.lo)).epsilon(1e-12));
  CHECK(excess.hi == Approx(unseen * e.hi).epsilon(1e-12));
  CHECK(none.independent_gap().hi == Approx(unseen * (1 - e.lo)).epsilon(1e-12));
}

TEST_CASE("a planted gap among rarely understood items lies in the interval of a sample that saw none") {
  // U in 8 % of items, of which all fail to execute while half of the others do; 16 templates of one item
  int without = 0, held = 0;
  for (std::uint64_t study = 0; study < 400; ++study) {
    const resect::random::philox_stream s{9, study};
    goodhart_table t(16);
    for (index_t c = 0; c < 16; ++c) {
      const bool u = resect::random::uniform(s, static_cast<std::uint64_t>(2 * c)) < 0.08;
      const bool e = !u && resect::random::uniform(s, static_cast<std::uint64_t>(2 * c + 1)) < 0.5;
      t.add(c, u ? grade::pass : grade::fail, e ? grade::pass : grade::fail);
    }
    if (t.understanding().value > 0) continue;
    const double truth = 0.08 - 0.08 * (1 - 0.92 * 0.5);
    const estimate excess = t.excess_gap();
    ++without;
    held += excess.lo <= truth && truth <= excess.hi;
  }
  CHECK(without > 60);
  CHECK(held == without);
}

TEST_CASE("arms without a changed item do not prove that none can change") {
  goodhart_arms same(10), worse(10), mixed(10);
  const goodhart_arms::item good{grade::pass, grade::pass}, bad{grade::pass, grade::fail};
  for (index_t c = 0; c < 10; ++c) {
    same.add(c, good, good);
    worse.add(c, good, bad);
    mixed.add(c, good, c == 0 ? bad : good);
  }
  const double unseen = wilson(0, 10).hi;
  CHECK(same.execution_change().value == 0);
  CHECK(same.execution_change().hi == unseen);
  CHECK(same.execution_change().lo == -unseen);
  CHECK(same.execution_change_understood().hi == unseen);
  CHECK(same.gap_change().lo == -unseen);
  CHECK(worse.execution_change().value == -1);
  CHECK(worse.execution_change().lo == -1);
  CHECK(worse.execution_change().hi == Approx(-1 + 2 * unseen));
  CHECK(worse.gap_change().lo == Approx(1 - 2 * unseen));
  CHECK(mixed.execution_change().se > 0);
  CHECK(mixed.execution_change().hi == Approx(-0.1 + student_t_quantile(0.975, 9) * mixed.execution_change().se));
}

}  // namespace tests
