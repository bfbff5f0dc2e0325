// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/clopper_pearson.hpp>
#include <resect/metrics/intervals/tango.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/intervals/item_runs.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <resect/metrics/verdicts/paired_items.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

struct known_rate {
  index_t successes, n;
  double level, lo, hi;
};

double log_choose(index_t n, index_t k) {
  const auto f = [](index_t x) { return std::lgamma(static_cast<double>(x) + 1); };
  return f(n) - f(k) - f(n - k);
}
double binomial(index_t k, index_t n, double p) {
  return std::exp(log_choose(n, k) + static_cast<double>(k) * std::log(p) +
                  static_cast<double>(n - k) * std::log1p(-p));
}

// The share of samples of n items with the rate p whose interval holds p: by enumeration, no simulation.
double coverage(const std::vector<estimate>& intervals, double p) {
  const auto n = static_cast<index_t>(intervals.size()) - 1;
  double sum = 0;
  for (index_t k = 0; k <= n; ++k) {
    const estimate& e = intervals[static_cast<std::size_t>(k)];
    if (e.lo <= p && p <= e.hi) sum += binomial(k, n, p);
  }
  return sum;
}

std::vector<estimate> every_interval(index_t n, estimate (*interval)(index_t, index_t, double)) {
  std::vector<estimate> out;
  for (index_t k = 0; k <= n; ++k) out.push_back(interval(k, n, 0.95));
  return out;
}

// Mean coverage of an interval of a paired difference over the shares of items that are graded differently, two thirds of
// them for the first arm: by enumeration up to 100 items, above by drawn tables.
template <class Interval>
double paired_coverage(index_t n, Interval interval) {
  double sum = 0;
  draws d{static_cast<std::uint64_t>(n), 11};
  for (int step = 1; step < 50; step += 2) {
    const double p = 0.02 * step, b_share = 2 * p / 3, c_share = p / 3, truth = p / 3;
    const auto holds = [&](index_t b, index_t c) {
      const estimate e = interval(b, c, n);
      return e.lo <= truth && truth <= e.hi;
    };
    if (n > 100) {
      constexpr int tables = 400;
      for (int t = 0; t < tables; ++t) {
        index_t b = 0, c = 0;
        for (index_t i = 0; i < n; ++i) {
          const double u = d.uniform();
          b += u < b_share;
          c += u >= b_share && u < p;
        }
        sum += holds(b, c) / double{tables};
      }
      continue;
    }
    for (index_t m = 0; m <= n; ++m)
      for (index_t b = 0; b <= m; ++b) {
        const double mass = binomial(m, n, p) * binomial(b, m, b_share / (b_share + c_share));
        if (mass > 1e-9 && holds(b, m - b)) sum += mass;
      }
  }
  return sum / 25;
}

}  // namespace

TEST_CASE("Clopper-Pearson: the values of SciPy 1.17.1, binomtest(k, n).proportion_ci(level, 'exact')") {
  const known_rate known[] = {{3, 7, 0.95, 0.0989882784424369, 0.81594843235993},
                              {0, 7, 0.95, 0, 0.409616397225049},
                              {7, 7, 0.95, 0.590383602774951, 1},
                              {1, 20, 0.95, 0.00126508949795603, 0.248732762772028},
                              {6, 7, 0.9, 0.479297026408693, 0.992699168020853},
                              {43, 100, 0.95, 0.331391016631388, 0.532866261675154},
                              {999, 1000, 0.99, 0.992593713061647, 0.999994987470739},
                              {500, 1000, 0.95, 0.468549172971792, 0.531450827028208}};
  for (const known_rate& k : known) {
    INFO(k.successes << " of " << k.n << " at " << k.level);
    const estimate e = clopper_pearson(k.successes, k.n, k.level);
    CHECK(e.lo == Approx(k.lo).epsilon(1e-11).margin(1e-300));
    CHECK(e.hi == Approx(k.hi).epsilon(1e-11));
    CHECK(e.value == static_cast<double>(k.successes) / static_cast<double>(k.n));
    CHECK(e.n_clusters == k.n);
  }
  // statsmodels 0.15.0, proportion_confint(method="beta"); SciPy's root finder stops six digits early here
  CHECK(clopper_pearson(1, 100000).lo == Approx(2.531780477933316e-07).epsilon(1e-11));
  for (const index_t wrong : {-1, 8}) CHECK(std::isnan(clopper_pearson(wrong, 7).value));
  CHECK(std::isnan(clopper_pearson(0, 0).value));
}

TEST_CASE("quantiles of the beta distribution: the values of SciPy 1.17.1, beta.ppf, down to 1e-53") {
  CHECK(beta_quantile(0.025, 3, 5) == Approx(0.09898827844250786).epsilon(1e-12));
  CHECK(beta_quantile(0.5, 0.5, 0.5) == Approx(0.5).epsilon(1e-13));
  CHECK(beta_quantile(1e-10, 2, 30) == Approx(4.637409746263904e-07).epsilon(1e-12));
  CHECK(beta_quantile(0.975, 1000, 3) == Approx(0.999382136649986).epsilon(1e-12));
  CHECK(beta_quantile(0.3, 0.01, 2) == Approx(1.905408479969997e-53).epsilon(1e-9));
  CHECK(beta_quantile(0.999, 40, 60000) == Approx(0.001039448317879717).epsilon(1e-11));
  CHECK((beta_quantile(0, 2, 3) == 0 && beta_quantile(1, 2, 3) == 1));
  CHECK((std::isnan(beta_quantile(-0.1, 2, 3)) && std::isnan(beta_quantile(0.5, 0, 3))));
}

TEST_CASE(
    "Clopper-Pearson holds the rate in at least 95 % of samples at every rate, by enumeration, also with 7 items") {
  double least = 1;
  for (const index_t n : {1, 2, 3, 5, 6, 7, 8, 10, 20, 50, 100}) {
    const auto intervals = every_interval(n, clopper_pearson);
    std::vector<double> rates;
    for (int i = 1; i < 500; ++i) rates.push_back(0.002 * i);
    for (const estimate& e : intervals)  // coverage is least beside an end
      for (const double end : {e.lo, e.hi})
        for (const double beside : {-1e-9, 1e-9})
          if (end + beside > 0 && end + beside < 1) rates.push_back(end + beside);
    double here = 1;
    for (const double p : rates) here = std::fmin(here, coverage(intervals, p));
    INFO(n << " items: " << here);
    CHECK(here >= 0.95 - 1e-9);
    least = std::fmin(least, here);
    if (n == 7) std::printf("least coverage of Clopper-Pearson with 7 items: %.4f\n", here);
    if (n == 7) CHECK(coverage(every_interval(7, wilson), 0.02) < 0.95);  // Wilson's promises the mean alone
  }
  CHECK(least < 0.96);  // it is not simply wide
}

TEST_CASE("Wilson's interval holds the rate in 93 to 97 % of samples, mean over rates, by enumeration") {
  for (const index_t n : {20, 100, 1000}) {
    const auto intervals = every_interval(n, wilson);
    double mean = 0;
    for (int step = 1; step < 50; step += 2) mean += coverage(intervals, 0.02 * step) / 25;
    std::printf("mean coverage of Wilson's interval, %d items: %.4f\n", static_cast<int>(n), mean);
    CHECK(mean >= 0.93);
    CHECK(mean <= 0.97);
  }
}

TEST_CASE("Tango's interval: the constrained likelihood maximized by SciPy 1.17.1, its roots by brentq") {
  const struct {
    index_t b, c, n;
    double lo, hi;
  } known[] = {{12, 2, 50, 0.061112, 0.344709}, {9, 1, 32, 0.068152, 0.432562},     {3, 0, 7, -0.077615, 0.749542},
               {1, 1, 7, -0.436939, 0.436939},  {60, 40, 1000, 0.000407, 0.040106}, {0, 5, 20, -0.468701, -0.048594}};
  for (const auto& k : known) {
    INFO(k.b << " to " << k.c << " of " << k.n);
    const estimate e = tango(k.b, k.c, k.n), mirrored = tango(k.c, k.b, k.n);
    CHECK(e.lo == Approx(k.lo).margin(2e-6));
    CHECK(e.hi == Approx(k.hi).margin(2e-6));
    CHECK(mirrored.lo == Approx(-e.hi).margin(1e-12));
    CHECK(e.value == static_cast<double>(k.b - k.c) / static_cast<double>(k.n));
  }
  const double z2 = 1.959963984540054 * 1.959963984540054;  // nothing discordant: ± z²/(n + z²)
  CHECK(tango(0, 0, 20).hi == Approx(z2 / (20 + z2)).epsilon(1e-9));
  CHECK(tango(0, 0, 20).lo == Approx(-z2 / (20 + z2)).epsilon(1e-9));
  CHECK((tango(7, 0, 7).hi == 1 && tango(0, 7, 7).lo == -1));
  CHECK((std::isnan(tango(0, 0, 0).value) && std::isnan(tango(4, 4, 7).value) && std::isnan(tango(-1, 0, 7).value)));
}

TEST_CASE("intervals of a paired difference cover 93 to 97 %, mean over shares of discordant items") {
  for (const index_t n : {20, 100, 1000}) {
    const double score = paired_coverage(n, [](index_t b, index_t c, index_t items) { return tango(b, c, items); });
    const double hybrid = paired_coverage(n, [](index_t b, index_t c, index_t items) {
      paired_items t;
      t.add_counts(items - b - c, b, c, 0);
      return t.difference();
    });
    std::printf("mean coverage of a paired difference, %d items: Tango %.4f, Newcombe %.4f\n", static_cast<int>(n),
                score, hybrid);
    CHECK((score >= 0.93 && score <= 0.97));
    CHECK((hybrid >= 0.93 && hybrid <= 0.97));
  }
}

}  // namespace tests
