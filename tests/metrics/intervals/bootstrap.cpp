// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/bootstrap.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/threads.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::inline_executor;
using resect::matrix_view;

namespace {

const auto mean_of = [](std::span<const double> t) { return t[0] / t[1]; };

clustered_sums skewed(index_t clusters, index_t tokens, std::uint64_t seed) {
  clustered_sums s{clusters};
  draws d{seed};
  for (index_t c = 0; c < clusters; ++c) {
    const double effect = std::exp(0.8 * d.gauss() - 0.32);
    for (index_t k = 0; k < tokens + c % 3; ++k) s.add(c, effect * std::exp(0.5 * d.gauss() - 0.125));
  }
  return s;
}

// x and a column of ones, for T tokens of an AR(1) series with mean 0.
std::vector<double> autoregressive(index_t n, double rho, std::uint64_t seed) {
  std::vector<double> out;
  draws d{seed};
  double x = d.gauss() / std::sqrt(1 - rho * rho);
  for (index_t t = 0; t < n; ++t) {
    out.push_back(x);
    out.push_back(1);
    x = rho * x + d.gauss();
  }
  return out;
}
matrix_view<const double> two_columns(const std::vector<double>& x) {
  return {x.data(), static_cast<index_t>(x.size() / 2), 2, 2, 1};
}

std::uint64_t hash(const bootstrap_estimate& b) {
  resect::fingerprint f;
  for (const double x : {b.estimate.value, b.estimate.se, b.estimate.lo, b.estimate.hi, b.bias})
    f.add(resect::bits_of(x));
  return f.value();
}

}  // namespace

TEST_CASE("a percentile interval equals a bootstrap written out differently") {
  inline_executor exec;
  const auto data = skewed(11, 9, 1);
  constexpr index_t resamples = 400;
  std::vector<double> means;
  const resect::random::philox_stream stream{9, resect::metrics::detail::bootstrap_stream};
  for (index_t b = 0; b < resamples; ++b) {
    long double sum = 0, count = 0;
    for (index_t g = 0; g < 11; ++g) {
      const auto c =
          static_cast<index_t>(resect::random::integer_below(stream, static_cast<std::uint64_t>(b * 11 + g), 11));
      sum += data.sum(c);
      count += static_cast<long double>(data.count(c));
    }
    means.push_back(static_cast<double>(sum / count));
  }
  double mean = 0, squares = 0;
  for (const double m : means) mean += m / resamples;
  for (const double m : means) squares += (m - mean) * (m - mean);
  std::sort(means.begin(), means.end());
  const auto b = bootstrap(exec, percentile{}, data, bootstrap_options{.seed = 9, .resamples = resamples});
  CHECK(b.estimate.value == Approx(data.estimate().value).epsilon(1e-14));
  CHECK(b.estimate.lo == Approx(means[9]).epsilon(1e-13));
  CHECK(b.estimate.hi == Approx(means[389]).epsilon(1e-13));
  CHECK(b.estimate.se == Approx(std::sqrt(squares / (resamples - 1))).epsilon(1e-11));
  CHECK(b.bias == Approx(mean - b.estimate.value).margin(1e-13));
  CHECK(b.estimate.n == data.total_count());
  CHECK(b.estimate.n_clusters == 11);
  CHECK(b.undefined == 0);
}

TEST_CASE("every scheme and method gives the same bits for any number of workers") {
  const auto x = autoregressive(300, 0.5, 2);
  const auto table = two_columns(x);
  const auto run = [&](auto scheme, auto method) {
    std::uint64_t first = 0;
    for (const int workers : {1, 2, 3, 7, 64}) {
      resect::threads exec{workers};
      const auto h =
          hash(bootstrap(exec, scheme, method, table, mean_of, bootstrap_options{.seed = 3, .resamples = 200}));
      if (workers == 1) first = h;
      CHECK(h == first);
    }
    inline_executor here;
    CHECK(hash(bootstrap(here, scheme, method, table, mean_of, bootstrap_options{.seed = 3, .resamples = 200})) ==
          first);
    CHECK(hash(bootstrap(here, scheme, method, table, mean_of, bootstrap_options{.seed = 4, .resamples = 200})) !=
          first);
  };
  run(moving_blocks{11}, percentile{});
  run(circular_blocks{11}, bca{});
  run(circular_blocks{30}, studentized{});
  run(whole_clusters{}, bca{});
}

TEST_CASE("the standard error of a mean is the clustered one, and that of its jackknife exactly") {
  inline_executor exec;
  clustered_sums s{40};
  draws d{5};
  for (index_t c = 0; c < 40; ++c)
    for (int k = 0; k < 10; ++k) s.add(c, d.gauss() + 0.1 * static_cast<double>(c % 5));
  const auto b = bootstrap(exec, percentile{}, s, bootstrap_options{.resamples = 20000});
  CHECK(b.estimate.se == Approx(s.estimate().se * std::sqrt(39.0 / 40)).epsilon(0.02));
  CHECK(std::fabs(b.bias) < 0.03 * b.estimate.se);
}

TEST_CASE("percentile and BCa intervals follow a monotone transformation") {
  inline_executor exec;
  joint_sums<2> j{15};
  draws d{6};
  for (index_t c = 0; c < 15; ++c)
    for (int k = 0; k < 6; ++k) j.add(c, d.lognormal(0.7), 1);
  const auto log_mean = [](const double(&t)[2], double(&)[2]) { return std::log(t[0] / t[1]); };
  const auto check = [&](auto method) {
    const auto plain = bootstrap(exec, method, j, ratio_of_totals{});
    const auto mapped = bootstrap(exec, method, j, log_mean);
    return std::pair{plain.estimate, mapped.estimate};
  };
  const auto [a, b] = check(percentile{});
  CHECK(std::exp(b.lo) == Approx(a.lo).epsilon(1e-12));
  CHECK(std::exp(b.hi) == Approx(a.hi).epsilon(1e-12));
  // The acceleration is the jackknife's, which the logarithm changes a little: a neighbouring replicate at most.
  const auto [c, e] = check(bca{});
  CHECK(std::exp(e.lo) == Approx(c.lo).epsilon(0.02));
  CHECK(std::exp(e.hi) == Approx(c.hi).epsilon(0.02));
  // Skewed to the right: BCa's interval lies to the right of the percentile one.
  CHECK(c.lo > a.lo);
  CHECK(c.hi > a.hi);
}

TEST_CASE("the jackknife of a mean is its textbook standard error, of skewed values its acceleration") {
  const std::vector<double> x{1, 2, 4, 8, 16, 3};
  double mean = 0, m2 = 0, m3 = 0;
  for (const double v : x) mean += v / 6;
  for (const double v : x) {
    m2 += (v - mean) * (v - mean);
    m3 += (v - mean) * (v - mean) * (v - mean);
  }
  const std::vector<double> totals{34, 6};
  std::vector<double> unit(2), rest(2);
  const auto j =
      resect::metrics::detail::leave_one_out(mean_of, totals, 6, mean, unit, rest, [&](index_t d, double* u) {
        u[0] = x[static_cast<std::size_t>(d)];
        u[1] = 1;
      });
  CHECK(j.se == Approx(std::sqrt(m2 / 5 / 6)).epsilon(1e-13));
  CHECK(j.acceleration == Approx(m3 / (6 * std::pow(m2, 1.5))).epsilon(1e-12));
}

TEST_CASE("the BCa interval is that of Efron's formula on the replicates, bias and acceleration apart") {
  inline_executor exec;
  const auto data = skewed(12, 3, 5);
  constexpr index_t resamples = 1000;
  std::vector<double> means;
  const resect::random::philox_stream stream{2, resect::metrics::detail::bootstrap_stream};
  double sum = 0, count = 0;
  for (index_t c = 0; c < 12; ++c) {
    sum += data.sum(c);
    count += static_cast<double>(data.count(c));
  }
  for (index_t b = 0; b < resamples; ++b) {
    double s = 0, n = 0;
    for (index_t g = 0; g < 12; ++g) {
      const index_t c = resect::metrics::detail::resampled(stream, b, g, 12, 12);
      s += data.sum(c);
      n += static_cast<double>(data.count(c));
    }
    means.push_back(s / n);
  }
  std::sort(means.begin(), means.end());
  double left[12], average = 0, squares = 0, cubes = 0;
  for (index_t c = 0; c < 12; ++c) {
    left[c] = (sum - data.sum(c)) / (count - static_cast<double>(data.count(c)));
    average += left[c] / 12;
  }
  for (const double v : left) {
    squares += (average - v) * (average - v);
    cubes += (average - v) * (average - v) * (average - v);
  }
  const double a = cubes / (6 * std::pow(squares, 1.5));
  const double below = static_cast<double>(std::lower_bound(means.begin(), means.end(), sum / count) - means.begin());
  const double z0 = normal_quantile(below / resamples), z = normal_quantile(0.975);
  REQUIRE(z0 > 0.02);
  REQUIRE(a > 0.02);
  const auto end = [&](double w) {
    const double share = 0.5 * std::erfc(-(z0 + w / (1 - a * w)) / std::sqrt(2.0));
    return means[static_cast<std::size_t>(std::ceil(share * resamples)) - 1];
  };
  const auto b = bootstrap(exec, bca{}, data, bootstrap_options{.seed = 2, .resamples = resamples});
  CHECK(b.estimate.lo == Approx(end(z0 - z)).epsilon(1e-12));
  CHECK(b.estimate.hi == Approx(end(z0 + z)).epsilon(1e-12));
}

TEST_CASE("every replicate of blocks has as many tokens as the sequence, whatever the length of a block") {
  inline_executor exec;
  const auto x = autoregressive(50, 0.3, 7);
  const auto tokens = [](std::span<const double> t) { return t[1]; };
  for (const index_t length : {1, 3, 7, 8, 49}) {
    const auto ring = bootstrap(exec, circular_blocks{length}, percentile{}, two_columns(x), tokens);
    const auto line = bootstrap(exec, moving_blocks{length}, percentile{}, two_columns(x), tokens);
    CHECK(ring.estimate.value == 50);
    CHECK(ring.estimate.se == 0);
    CHECK(ring.bias == 0);
    CHECK(line.estimate.se == 0);
    CHECK(line.bias == 0);
  }
}

TEST_CASE("skewed clusters: the studentized interval covers what the percentile one misses") {
  inline_executor exec;
  int by_percentile = 0, by_bca = 0, by_student = 0;
  constexpr int runs = 500;
  for (int i = 0; i < runs; ++i) {
    const auto s = skewed(20, 3, 100 + static_cast<std::uint64_t>(i));
    const bootstrap_options options{.seed = static_cast<std::uint64_t>(i), .resamples = 400};
    const auto holds = [](const bootstrap_estimate& b) { return b.estimate.lo <= 1 && 1 <= b.estimate.hi; };
    by_percentile += holds(bootstrap(exec, percentile{}, s, options));
    by_bca += holds(bootstrap(exec, bca{}, s, options));
    by_student += holds(bootstrap(exec, studentized{}, s, options));
  }
  std::printf("coverage of a skewed mean, 20 clusters: percentile %.3f, BCa %.3f, studentized %.3f\n",
              by_percentile / double{runs}, by_bca / double{runs}, by_student / double{runs});
  CHECK(by_student >= 0.915 * runs);
  CHECK(by_student <= 0.98 * runs);
  CHECK(by_percentile < by_student);
  CHECK(by_bca >= by_percentile - 5);
}

TEST_CASE("blocks keep the dependence of a series; single tokens lose it") {
  inline_executor exec;
  constexpr int runs = 300;
  int blocks = 0, moving = 0, tokens = 0;
  for (int i = 0; i < runs; ++i) {
    const auto x = autoregressive(800, 0.7, 500 + static_cast<std::uint64_t>(i));
    const bootstrap_options options{.seed = static_cast<std::uint64_t>(i), .resamples = 300};
    const auto holds = [](const bootstrap_estimate& b) { return b.estimate.lo <= 0 && 0 <= b.estimate.hi; };
    blocks += holds(bootstrap(exec, circular_blocks{25}, percentile{}, two_columns(x), mean_of, options));
    moving += holds(bootstrap(exec, moving_blocks{25}, percentile{}, two_columns(x), mean_of, options));
    tokens += holds(bootstrap(exec, circular_blocks{1}, percentile{}, two_columns(x), mean_of,
                              bootstrap_options{.seed = 1, .resamples = 100}));
  }
  std::printf("coverage of an AR(1) mean: circular blocks %.3f, moving blocks %.3f, single tokens %.3f\n",
              blocks / double{runs}, moving / double{runs}, tokens / double{runs});
  CHECK(blocks >= 0.89 * runs);
  CHECK(moving >= 0.88 * runs);
  CHECK(tokens <= 0.75 * runs);
}

TEST_CASE("blocks: of one token they are clusters of one, of the whole sequence the sample itself") {
  inline_executor exec;
  const auto x = autoregressive(50, 0.3, 7);
  const auto table = two_columns(x);
  const auto ones = bootstrap(exec, circular_blocks{1}, percentile{}, table, mean_of);
  const auto rows = bootstrap(exec, whole_clusters{}, percentile{}, table, mean_of);
  CHECK(ones.estimate.lo == Approx(rows.estimate.lo).epsilon(1e-10));
  CHECK(ones.estimate.hi == Approx(rows.estimate.hi).epsilon(1e-10));
  CHECK(ones.estimate.n_clusters == 50);
  CHECK(bootstrap(exec, circular_blocks{50}, percentile{}, table, mean_of).estimate.n_clusters == 1);
  // Circular replicates are centred on the sample, tokens at the ends of moving blocks are drawn less often.
  std::vector<double> trend;
  for (int t = 0; t < 60; ++t) {
    trend.push_back(t * t);
    trend.push_back(1);
  }
  const bootstrap_options many{.resamples = 20000};
  const auto round = bootstrap(exec, circular_blocks{7}, percentile{}, two_columns(trend), mean_of, many);
  const auto straight = bootstrap(exec, moving_blocks{7}, percentile{}, two_columns(trend), mean_of, many);
  // Exactly: the mean over blocks at 0 … 53 (the last of nine cut to 4) less the mean of t².
  double wanted = 0;
  for (int at = 0; at <= 53; ++at)
    for (int j = 0; j < 7; ++j) wanted += (at + j) * (at + j) / 54.0 / 60 * (j < 4 ? 9 : 8);
  wanted -= straight.estimate.value;
  CHECK(std::fabs(round.bias) < 4 * round.estimate.se / std::sqrt(20000.0));
  CHECK(straight.bias == Approx(wanted).margin(4 * straight.estimate.se / std::sqrt(20000.0)));
  CHECK(std::fabs(wanted) > 10 * straight.estimate.se / std::sqrt(20000.0));
}

TEST_CASE("few units, undefined replicates and bad options") {
  inline_executor exec;
  const auto five = bootstrap(exec, percentile{}, skewed(5, 4, 1));
  CHECK_FALSE(five.estimate.has_interval());
  CHECK(five.estimate.se > 0);
  // A denominator that only one cluster of eight has is missing from a third of the replicates.
  joint_sums<2> rare{8};
  for (index_t c = 0; c < 8; ++c) rare.add(c, 1, c == 0 ? 1 : 0);
  for (const auto& b : {bootstrap(exec, percentile{}, rare, ratio_of_totals{}),
                        bootstrap(exec, studentized{}, rare, ratio_of_totals{})}) {
    CHECK(b.undefined > 500);
    CHECK_FALSE(b.estimate.has_interval());
    CHECK(b.estimate.value == 8);
  }
  joint_sums<2> nothing{8};
  CHECK(std::isnan(bootstrap(exec, bca{}, nothing, ratio_of_totals{}).estimate.value));
  const auto s = skewed(8, 4, 2);
  CHECK(try_bootstrap(exec, bca{}, s, {.resamples = 0}).error().code == resect::errc::invalid_argument);
  CHECK(try_bootstrap(exec, bca{}, s, {.level = 1}).error().code == resect::errc::invalid_argument);
  const auto x = autoregressive(20, 0.3, 7);
  for (const index_t length : {0, -1, 21})
    CHECK(try_bootstrap(exec, moving_blocks{length}, bca{}, two_columns(x), mean_of).error().code ==
          resect::errc::invalid_argument);
  auto outside = s;
  for (const index_t bad : {index_t{-1}, index_t{8}}) outside.add(bad, 1.0);
  CHECK_THROWS_AS(bootstrap(exec, bca{}, outside), resect::exception);
  CHECK(try_bootstrap(exec, whole_clusters{}, bca{}, {nullptr, 5, 2, 2, 1}, mean_of).error().code ==
        resect::errc::null_pointer);
}

TEST_CASE("studentized intervals exist for ordinary rates and few units: drawing one unit only is no missing value") {
  resect::inline_executor exec;
  // 16 clusters of 10 tokens, of which five have one miss: one replicate in 400 draws none of the five
  clustered_sums rate(16);
  for (index_t i = 0; i < 160; ++i) rate.add(i / 10, i % 30 == 5 && i < 150 ? 0.0 : 1.0);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto b = bootstrap(exec, studentized{}, rate, bootstrap_options{.seed = seed});
    CHECK(b.undefined == 0);
    REQUIRE(b.estimate.has_interval());
    CHECK(b.estimate.lo < rate.estimate().value);
    CHECK(b.estimate.lo > 0.9);
    CHECK(b.estimate.hi >= rate.estimate().value);
  }
  // six continuous units: one replicate in 7,776 draws one unit six times
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    tests::draws d{seed, 5};
    clustered_sums six(6);
    for (index_t c = 0; c < 6; ++c) six.add(c, d.gauss());
    const auto b = bootstrap(exec, studentized{}, six, bootstrap_options{.seed = seed, .resamples = 4000});
    CHECK(b.undefined == 0);
    REQUIRE(b.estimate.has_interval());
    CHECK((std::isfinite(b.estimate.lo) && std::isfinite(b.estimate.hi)));
    CHECK((b.estimate.lo < b.estimate.value && b.estimate.value < b.estimate.hi));
  }
}

TEST_CASE("an end of a studentized interval is infinite only where its quantile is a replicate without spread") {
  resect::inline_executor exec;
  clustered_sums one(8);  // a single cluster differs: (7/8)^8 = 34 % of the replicates do not have it
  for (index_t c = 0; c < 8; ++c) one.add(c, c == 0 ? 1.0 : 0.0);
  const auto b = bootstrap(exec, studentized{}, one, bootstrap_options{.seed = 3});
  CHECK(b.undefined == 0);
  CHECK(b.estimate.hi == std::numeric_limits<double>::infinity());
  CHECK(std::isfinite(b.estimate.lo));
  clustered_sums three(16);  // three clusters with a miss: 3.6 % have none of them, more than the 2.5 % of one end
  for (index_t i = 0; i < 160; ++i) three.add(i / 10, i == 5 || i == 55 || i == 105 ? 0.0 : 1.0);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto r = bootstrap(exec, studentized{}, three, bootstrap_options{.seed = seed});
    CHECK(r.estimate.has_interval());
    CHECK(r.estimate.lo == -std::numeric_limits<double>::infinity());
    CHECK((std::isfinite(r.estimate.hi) && r.estimate.hi >= r.estimate.value));
    const auto narrower = bootstrap(exec, studentized{}, three, bootstrap_options{.seed = seed, .level = 0.9});
    CHECK((narrower.estimate.lo > 0.8 && narrower.estimate.lo < narrower.estimate.value));
  }
  clustered_sums none(8);
  for (index_t c = 0; c < 8; ++c) none.add(c, 1.0);
  const auto p = bootstrap(exec, studentized{}, none, bootstrap_options{.seed = 3});
  CHECK(p.estimate.lo == 1);
  CHECK(p.estimate.hi == 1);
}

}  // namespace tests
