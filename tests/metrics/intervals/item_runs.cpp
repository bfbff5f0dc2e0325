// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/item_runs.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/intervals/clopper_pearson.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

item_runs of(const std::vector<index_t>& successes, index_t runs) {
  item_runs out;
  for (const index_t k : successes) REQUIRE(out.try_add(k, runs));
  return out;
}

}  // namespace

TEST_CASE("items by runs: the profile likelihood of SciPy 1.17.1's betabinom, cut at t squared half") {
  const auto spread = of({0, 5, 3, 5, 1, 0, 5, 4, 2, 5, 5, 0}, 5);
  CHECK(spread.estimate().lo == Approx(0.3216464).margin(2e-6));
  CHECK(spread.estimate().hi == Approx(0.8157750).margin(2e-6));
  CHECK(spread.estimate().value == Approx(35.0 / 60));
  CHECK(spread.correlation() == Approx(0.663390).margin(2e-5));
  const auto even = of({1, 2, 1, 0, 2, 1, 1, 1, 2, 1}, 4);  // less spread than a binomial has: no correlation
  CHECK(even.estimate().lo == Approx(0.1571607).margin(2e-6));
  CHECK(even.estimate().hi == Approx(0.4756390).margin(2e-6));
  CHECK(even.correlation() < 1e-6);
  std::vector<index_t> rare(20);
  rare[18] = 3;
  rare[19] = 1;
  CHECK(of(rare, 3).estimate().lo == Approx(0.0096856).margin(2e-6));
  CHECK(of(rare, 3).estimate().hi == Approx(0.2376798).margin(2e-6));
  CHECK(of(rare, 3).correlation() == Approx(0.725821).margin(2e-5));
}

TEST_CASE("runs of one item are no further items: with runs that agree the interval is as long as with one run") {
  std::vector<index_t> same, once;
  for (index_t i = 0; i < 40; ++i) {
    once.push_back(i % 4 == 0);
    same.push_back(i % 4 == 0 ? 25 : 0);
  }
  const auto a = of(once, 1).estimate(), b = of(same, 25).estimate();
  CHECK(b.lo == Approx(a.lo).margin(1e-6));
  CHECK(b.hi == Approx(a.hi).margin(1e-6));
  CHECK(b.n == 1000);
  CHECK(b.n_clusters == 40);
  const auto counted_as_items = clopper_pearson(250, 1000);
  CHECK(b.hi - b.lo > 4 * (counted_as_items.hi - counted_as_items.lo));
}

TEST_CASE("a rate of 0 or 1 over items is Wilson's with one observation an item; below 6 items there is no interval") {
  const auto none = of(std::vector<index_t>(20, 0), 5).estimate(), all = of(std::vector<index_t>(20, 5), 5).estimate();
  CHECK((none.value == 0 && none.lo == 0 && none.hi == wilson(0, 20).hi));
  CHECK((all.value == 1 && all.hi == 1 && all.lo == wilson(20, 20).lo));
  CHECK_FALSE(of({1, 2, 3, 1, 0}, 3).estimate().has_interval());
  CHECK(std::isnan(item_runs{}.estimate().value));
}

TEST_CASE("runs of unequal number, merging, and what is refused") {
  draws d{5};
  std::vector<std::pair<index_t, index_t>> data;
  for (int i = 0; i < 60; ++i) {
    const auto runs = static_cast<index_t>(1 + 9 * d.uniform());
    data.emplace_back(static_cast<index_t>(d.uniform() * static_cast<double>(runs + 1)), runs);
  }
  item_runs whole, first, second;
  for (std::size_t i = 0; i < data.size(); ++i) {
    REQUIRE(whole.try_add(data[i].first, data[i].second));
    REQUIRE((i % 3 ? first : second).try_add(data[i].first, data[i].second));
  }
  first.merge(second);
  const auto a = whole.estimate(), b = first.estimate();
  CHECK(same_estimate(a, b, 1e-6));
  CHECK((a.lo < a.value && a.value < a.hi));
  const auto error = whole.try_add(4, 3);
  REQUIRE_FALSE(error);
  CHECK(error.error().message().view() == "invalid argument: successes of an item: got 4, wanted 0 to 3");
  CHECK_FALSE(whole.try_add(0, 0));
  CHECK(whole.items() == 60);
}

TEST_CASE("the interval of items by runs covers 93 to 97 %, mean over rates, whatever runs of an item have in common") {
  constexpr index_t runs = 5;
  for (const index_t items : {20, 100, 1000}) {
    int held = 0, as_items = 0, tries = 0;
    for (const double correlation : {0.05, 0.3, 0.7}) {
      for (int step = 1; step < 50; step += 2)
        for (int repeat = 0; repeat < 20; ++repeat, ++tries) {
          const double p = 0.02 * step, a = p * (1 - correlation) / correlation,
                       b = (1 - p) * (1 - correlation) / correlation;
          draws d{static_cast<std::uint64_t>(tries), static_cast<std::uint64_t>(items)};
          item_runs sums;
          index_t total = 0;
          for (index_t i = 0; i < items; ++i) {
            // Polya's urn: the runs of a Beta-Binomial item one after the other
            double right = a, wrong = b;
            index_t k = 0;
            for (index_t r = 0; r < runs; ++r) {
              const bool success = d.uniform() * (right + wrong) < right;
              k += success;
              (success ? right : wrong) += 1;
            }
            total += k;
            (void)sums.try_add(k, runs);
          }
          const auto e = sums.estimate(), naive = clopper_pearson(total, items * runs);
          held += e.lo <= p && p <= e.hi;
          as_items += naive.lo <= p && p <= naive.hi;
        }
    }
    const double mean = held / double(tries);
    std::printf("mean coverage of items by runs, %d items of %d runs: %.3f; runs taken for items: %.3f\n",
                static_cast<int>(items), static_cast<int>(runs), mean, as_items / double(tries));
    CHECK(mean >= 0.93);  // 1,500 intervals: one standard error is 0.6 %
    CHECK(mean <= 0.97);
    CHECK(as_items < 0.85 * tries);
  }
}

}  // namespace tests
