// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/verdicts/multiple.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/verdicts/marks.hpp>
#include <support/catch.hpp>
#include <support/listed.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

constexpr double none = resect::metrics::nan;

// An estimate over G clusters with its 95 % interval.
estimate over(index_t clusters, double value, double se) {
  estimate e{value, se, none, none, 64 * clusters, clusters};
  if (clusters >= 6) {
    const double half = student_t_quantile(0.975, static_cast<double>(clusters - 1)) * se;
    e.lo = value - half;
    e.hi = value + half;
  }
  return e;
}

}  // namespace

TEST_CASE("Holm: a worked example, order and ties do not matter, NaN is left out") {
  // p = .01 .04 .03 .005 → sorted .005·4 .01·3 .03·2 .04·1 → .02 .03 .06 .06 (the last kept at the running maximum).
  const std::vector<double> a = support::listed(holm(std::vector<double>{0.01, 0.04, 0.03, 0.005}));
  CHECK(a[0] == Approx(0.03));
  CHECK(a[1] == Approx(0.06));
  CHECK(a[2] == Approx(0.06));
  CHECK(a[3] == Approx(0.02));
  const std::vector<double> b = support::listed(holm(std::vector<double>{0.01, none, 0.04, 0.03, 0.005, none}));
  CHECK(b[0] == a[0]);
  CHECK(std::isnan(b[1]));
  CHECK(b[2] == a[1]);
  CHECK(b[4] == a[3]);
  for (const double p : holm(std::vector<double>{0.02, 0.02, 0.02})) CHECK(p == Approx(0.06));
  CHECK(holm(std::vector<double>{0.7, 0.9})[1] == 1);
  CHECK(holm({}).empty());
}

TEST_CASE("Benjamini-Hochberg: a worked example, order and ties do not matter, NaN is left out") {
  // p = .01 .04 .03 .005 → sorted .005·4 .01·2 .03·4/3 .04·1 → .02 .02 .04 .04.
  const std::vector<double> a = support::listed(benjamini_hochberg(std::vector<double>{0.01, none, 0.04, 0.03, 0.005}));
  CHECK(a[0] == Approx(0.02));
  CHECK(std::isnan(a[1]));
  CHECK(a[2] == Approx(0.04));
  CHECK(a[3] == Approx(0.04));
  CHECK(a[4] == Approx(0.02));
  for (const double p : benjamini_hochberg(std::vector<double>{0.02, 0.02, 0.02})) CHECK(p == Approx(0.02));
  CHECK(benjamini_hochberg(std::vector<double>{0.7, 1.5})[1] == 1);
  CHECK(benjamini_hochberg({}).empty());
}

TEST_CASE("Benjamini-Hochberg rejects what the step-up comparison with q i/m rejects, and no fewer than Holm") {
  tests::draws d{3};
  for (int round = 0; round < 300; ++round) {
    std::vector<double> p(static_cast<std::size_t>(1 + d.below(12)));
    for (double& v : p) v = d.uniform() * d.uniform() * d.uniform();
    const std::vector<double> adjusted = support::listed(benjamini_hochberg(p)), strict = support::listed(holm(p));
    std::vector<double> sorted = p;
    std::sort(sorted.begin(), sorted.end());
    for (const double q : {0.01, 0.05, 0.2}) {
      double cut = -1;
      for (std::size_t i = 0; i < sorted.size(); ++i)
        if (sorted[i] <= q * static_cast<double>(i + 1) / static_cast<double>(sorted.size())) cut = sorted[i];
      for (std::size_t i = 0; i < p.size(); ++i) CHECK((adjusted[i] <= q) == (p[i] <= cut));
    }
    for (std::size_t i = 0; i < p.size(); ++i) CHECK(adjusted[i] <= strict[i]);
  }
}

TEST_CASE("Benjamini-Hochberg keeps the share of false discoveries") {
  tests::draws d{4};
  constexpr int tables = 4000;
  double share = 0;
  for (int t = 0; t < tables; ++t) {
    std::vector<double> p(20);  // the last 5 are true effects
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = i < 15 ? d.uniform() : 1e-3 * d.uniform();
    const std::vector<double> adjusted = support::listed(benjamini_hochberg(p));
    int found = 0, wrong = 0;
    for (std::size_t i = 0; i < p.size(); ++i)
      if (adjusted[i] <= 0.2) ++found, wrong += i < 15;
    share += found > 0 ? static_cast<double>(wrong) / found : 0.0;
  }
  CHECK(share / tables == Approx(0.2 * 15 / 20).margin(0.01));  // q·m₀/m exactly
}

TEST_CASE("Holm rejects what step-down comparison with alpha/(m - i + 1) rejects") {
  tests::draws d{1};
  for (int round = 0; round < 300; ++round) {
    std::vector<double> p(static_cast<std::size_t>(1 + d.below(12)));
    for (double& v : p) v = d.uniform() * d.uniform() * d.uniform();
    const std::vector<double> adjusted = support::listed(holm(p));
    std::vector<std::size_t> order(p.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) { return p[x] < p[y]; });
    bool rejecting = true;
    for (std::size_t i = 0; i < order.size(); ++i) {
      rejecting = rejecting && p[order[i]] <= 0.05 / static_cast<double>(order.size() - i);
      CHECK((adjusted[order[i]] <= 0.05) == rejecting);
    }
  }
}

TEST_CASE("Holm keeps the family-wise error at alpha where every hypothesis is true, and singles do not") {
  tests::draws d{2};
  int any = 0, uncorrected = 0;
  constexpr int rounds = 4000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> p(10);
    for (double& v : p) v = d.uniform();
    const std::vector<double> adjusted = support::listed(holm(p));
    any += *std::min_element(adjusted.begin(), adjusted.end()) <= 0.05;
    uncorrected += *std::min_element(p.begin(), p.end()) <= 0.05;
  }
  CHECK(any < rounds * 0.06);
  CHECK(any > rounds * 0.035);
  CHECK(uncorrected > rounds * 0.35);
}

TEST_CASE("one-sided p-values say 0.025 exactly where the bound is an end of the 95 % interval") {
  for (const index_t g : {6, 16, 32, 500}) {
    const estimate e = over(g, 0.37, 0.05);
    CHECK(p_above(e, e.lo) == Approx(0.025).epsilon(1e-9));
    CHECK(p_below(e, e.hi) == Approx(0.025).epsilon(1e-9));
    CHECK(p_above(e, e.value) == Approx(0.5));
    CHECK(p_above(e, 0.2) + p_below(e, 0.2) == Approx(1).epsilon(1e-12));
    CHECK(p_within(e, e.hi) == Approx(0.025).epsilon(1e-9));
    CHECK(p_above(e, 0.3, 1e9) < p_above(e, 0.3, 4));
  }
  CHECK(std::isnan(p_above(over(5, 1, 0.1), 0)));
  CHECK(std::isnan(p_below(over(5, 1, 0.1), 0)));
  CHECK(p_above(over(8, 1, 0), 0.5) == 0);
  CHECK(p_above(over(8, 1, 0), 1) == 1);
  CHECK(p_below(over(8, 0, 0), 0) == 1);
  CHECK(p_within(over(8, 0, 0), 0.01) == 0);
}

TEST_CASE("a table of one layer is marked by the bounds of its 95 % interval") {
  for (const index_t g : {6, 16, 32}) {
    const double t = student_t_quantile(0.975, static_cast<double>(g - 1));
    const auto marked = [&](double value, double se) {
      return assign_marks(std::vector<estimate>{over(g, value, se)})[0].verdict;
    };
    CHECK(marked(0.1 + t * 0.01 * 1.001, 0.01) == mark::critical);
    CHECK(marked(0.1 + t * 0.01 * 0.999, 0.01) == mark::none);
    CHECK(marked(0.0, 0.01 / t * 0.999) == mark::negligible);
    CHECK(marked(0.0, 0.01 / t * 1.001) == mark::none);
    CHECK(marked(0.005, 0.005 / t * 0.999) == mark::negligible);
    CHECK(marked(0.005, 0.005 / t * 1.001) == mark::none);
    CHECK(marked(-t * 0.02 * 1.001, 0.02) == mark::better_than_intact);
    CHECK(marked(-t * 0.02 * 0.999, 0.02) == mark::none);
    CHECK(marked(-0.005, 0.001) == mark::negligible);  // better as well, by less than matters
    CHECK(marked(0.05, 1e-4) == mark::none);           // surely worse, and neither critical nor negligible
  }
}

TEST_CASE("marks are corrected over the table: a layer that is critical alone may not be among many") {
  const double t = student_t_quantile(0.975, 31);
  const estimate borderline = over(32, 0.1 + t * 0.01 * 1.05, 0.01), clear = over(32, 0.5, 0.01),
                 dull = over(32, 0.05, 0.01);
  std::vector<estimate> table(30, dull);
  table[3] = borderline;
  CHECK(assign_marks(table)[3].verdict == mark::none);
  CHECK(assign_marks(std::vector<estimate>{borderline})[0].verdict == mark::critical);
  table[7] = clear;
  CHECK(assign_marks(table)[7].verdict == mark::critical);
  // Step-down: once the others are rejected, the borderline layer is tested alone.
  std::vector<estimate> all(30, clear);
  all[3] = borderline;
  CHECK(assign_marks(all)[3].verdict == mark::critical);
  CHECK(assign_marks(all)[3].p_critical == Approx(p_above(borderline, 0.1)).epsilon(1e-12));
}

TEST_CASE("a layer without an interval gets no mark and does not cost the others") {
  const double t = student_t_quantile(0.975, 31);
  std::vector<estimate> table(20, over(5, 3.0, 1e-3));
  table[4] = over(32, 0.1 + t * 0.01 * 1.001, 0.01);
  const auto marks = support::listed(assign_marks(table));
  for (std::size_t i = 0; i < table.size(); ++i) {
    CHECK(marks[i].verdict == (i == 4 ? mark::critical : mark::none));
    CHECK(std::isnan(marks[i].p_critical) == (i != 4));
  }
  table[0] = estimate{};
  CHECK(assign_marks(table)[0].verdict == mark::none);
  CHECK(assign_marks({}).empty());
}

TEST_CASE("marks of operators with seeds use their degrees of freedom") {
  const double t = student_t_quantile(0.975, 4);
  estimate e = over(32, 0.1 + t * 0.01 * 0.99, 0.01);
  CHECK(assign_marks(std::vector<estimate>{e})[0].verdict == mark::critical);
  CHECK(assign_marks(std::vector<estimate>{e}, {.degrees = 4})[0].verdict == mark::none);
}

TEST_CASE("under the null, a table of twenty layers has a false mark in at most 2.5 % of runs") {
  int false_critical = 0, false_better = 0;
  constexpr int runs = 400;
  for (int run = 0; run < runs; ++run) {
    tests::draws d{7, static_cast<std::uint64_t>(run)};
    std::vector<estimate> at_limit, at_zero;
    for (int l = 0; l < 20; ++l) {
      clustered_sums a{16};
      for (index_t c = 0; c < 16; ++c) {
        const double effect = 0.05 * d.gauss();
        for (int k = 0; k < 4; ++k) a.add(c, effect + 0.05 * d.gauss());
      }
      at_zero.push_back(a.estimate());
      estimate shifted = a.estimate();
      shifted.value += 0.1;
      shifted.lo += 0.1;
      shifted.hi += 0.1;
      at_limit.push_back(shifted);
    }
    bool critical = false, better = false;
    for (const auto& m : assign_marks(at_limit)) critical = critical || m.verdict == mark::critical;
    for (const auto& m : assign_marks(at_zero)) better = better || m.verdict == mark::better_than_intact;
    false_critical += critical;
    false_better += better;
  }
  CHECK(false_critical <= runs * 0.025 + 3 * std::sqrt(runs * 0.025));
  CHECK(false_better <= runs * 0.025 + 3 * std::sqrt(runs * 0.025));
}

}  // namespace tests
