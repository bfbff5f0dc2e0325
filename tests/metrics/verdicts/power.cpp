// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/verdicts/power.hpp>

#include <cmath>
#include <cstdio>

#include <resect/metrics/verdicts/paired_items.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

TEST_CASE("mid-p of McNemar's test: the values of statsmodels 0.15.0's exact p less SciPy 1.17.1's binom.pmf") {
  const struct {
    index_t b, c;
    double exact, mid;
  } known[] = {{3, 1, 0.625, 0.375},
               {5, 0, 0.0625, 0.03125},
               {10, 4, 0.1795654296875, 0.11846923828125},
               {6, 6, 1, 0.88720703125},
               {30, 12, 0.00791589733489673, 0.00540157265459129},
               {121, 59, 4.43444926375516e-06, 3.26664679577457e-06},
               {0, 0, 1, 0.5}};
  for (const auto& k : known) {
    INFO(k.b << " to " << k.c);
    CHECK(mcnemar_p(k.b, k.c) == Approx(k.exact).epsilon(1e-11));
    CHECK(mcnemar_mid_p(k.b, k.c) == Approx(k.mid).epsilon(1e-11));
    CHECK(mcnemar_mid_p(k.c, k.b) == Approx(k.mid).epsilon(1e-11));
  }
  CHECK(std::isnan(mcnemar_mid_p(-1, 2)));
  paired_items t;
  t.add_counts(20, 10, 4, 3);
  CHECK(t.mid_p() == mcnemar_mid_p(10, 4));
  CHECK(t.score_difference().lo == tango(10, 4, 37).lo);
}

TEST_CASE("the power of McNemar's test: sums over all tables by SciPy 1.17.1") {
  const struct {
    double difference, discordance;
    index_t n;
    double exact, mid;
  } known[] = {{0.14, 0.2, 78, 0.772434776327, 0.835135399683}, {0.05, 0.15, 469, 0.775579670292, 0.806599317983},
               {0.3, 0.3, 20, 0.583629170553, 0.762492221122},  {0.3, 0.3, 7, 0.0037908, 0.0287955},
               {0, 0.3, 50, 0.0275053858084, 0.0461856694773},  {0.1, 0.2, 100, 0.544445427935, 0.617710656885}};
  for (const auto& k : known) {
    INFO(k.difference << " at " << k.discordance << ", " << k.n << " items");
    CHECK(mcnemar_power(k.difference, k.discordance, k.n) == Approx(k.exact).epsilon(1e-9));
    CHECK(mcnemar_power(-k.difference, k.discordance, k.n, 0.05, mcnemar_rule::mid_p) == Approx(k.mid).epsilon(1e-9));
  }
  CHECK(std::isnan(mcnemar_power(0.3, 0.2, 20)));
  CHECK(std::isnan(mcnemar_power(0.1, 0.2, -1)));
}

TEST_CASE(
    "McNemar's exact test errs in at most 5 % of studies at every discordance, by enumeration, also with 7 items") {
  double worst = 0, worst_mid = 0;
  for (const index_t n : {6, 7, 10, 20, 50, 100, 300})
    for (int step = 1; step <= 50; ++step) {
      const double error = mcnemar_power(0, 0.02 * step, n);
      const double mid = mcnemar_power(0, 0.02 * step, n, 0.05, mcnemar_rule::mid_p);
      INFO(n << " items, discordance " << 0.02 * step);
      CHECK(error <= 0.05);
      CHECK(mid <= 0.066);  // near 5 %, never promised
      CHECK(error <= mid);
      worst = std::fmax(worst, error);
      worst_mid = std::fmax(worst_mid, mid);
    }
  std::printf("largest error of McNemar's test: exact %.4f, mid-p %.4f\n", worst, worst_mid);
  CHECK(worst > 0.03);
  CHECK(mcnemar_power(0, 0.9, 7) < 0.02);  // seven items hardly ever decide anything
}

TEST_CASE("items needed: by the exact test, for non-inferiority, for the width of an interval") {
  const index_t n = mcnemar_items_needed(0.14, 0.2);
  CHECK(n > 78);  // what the normal approximation promises is too few for the exact test
  CHECK(n <= 95);
  for (index_t k = n; k < n + n / 4; ++k) CHECK(mcnemar_power(0.14, 0.2, k) >= 0.8);
  CHECK(mcnemar_power(0.14, 0.2, n - 1) < 0.8);
  CHECK(mcnemar_items_needed(0.14, 0.2, 0.05, 0.8, mcnemar_rule::mid_p) < n);
  CHECK((mcnemar_items_needed(0, 0.2) == 0 && mcnemar_items_needed(0.3, 0.2) == 0));
  CHECK(mcnemar_items_needed(0.01, 0.2, 0.05, 0.8, mcnemar_rule::exact, 500) == 0);
  CHECK(noninferiority_items_needed(0.03, 0.1) == 687);  // (1.644854 + 0.841621)²·0.1/0.0009 = 686.95
  CHECK(noninferiority_items_needed(0.03, 0.1, 0.025) == 873);
  CHECK((noninferiority_items_needed(0, 0.1) == 0 && noninferiority_items_needed(0.03, 1.5) == 0));
  // statsmodels 0.15.0, samplesize_confint_proportion: 96.0365, 544.2067, 864.3282
  CHECK(rate_items_needed(0.5, 0.1) == 97);
  CHECK(rate_items_needed(0.85, 0.03) == 545);
  CHECK(rate_items_needed(0.1, 0.02) == 865);
  CHECK((rate_items_needed(0, 0.1) == 0 && rate_items_needed(0.5, 0) == 0));
}

}  // namespace tests
