// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/clustered.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

struct token {
  index_t cluster;
  double value;
};

// Tokens of G clusters of unequal sizes with a cluster effect, all shifted by `offset`.
std::vector<token> sample(index_t clusters, int n, double offset, std::uint64_t seed) {
  draws d{seed};
  std::vector<double> effect(static_cast<std::size_t>(clusters));
  for (double& e : effect) e = 0.5 * d.gauss();
  std::vector<token> out;
  for (int i = 0; i < n; ++i) {
    const index_t c = d.below(clusters) * d.below(clusters) / clusters;
    out.push_back({c, offset + effect[static_cast<std::size_t>(c)] + d.gauss()});
  }
  return out;
}

struct reference {
  long double mean = 0, se = 0;
  index_t used = 0;
};

// The formula of the reference, expanded as it is printed there, in long double about the offset.
reference expanded(const std::vector<token>& tokens, index_t clusters, long double offset) {
  std::vector<long double> s(static_cast<std::size_t>(clusters)), n(static_cast<std::size_t>(clusters));
  for (const token& t : tokens) {
    s[static_cast<std::size_t>(t.cluster)] += static_cast<long double>(t.value) - offset;
    n[static_cast<std::size_t>(t.cluster)] += 1;
  }
  long double total = 0, count = 0, ss = 0, sn = 0, nn = 0;
  reference r;
  for (std::size_t c = 0; c < s.size(); ++c) {
    total += s[c];
    count += n[c];
    ss += s[c] * s[c];
    sn += s[c] * n[c];
    nn += n[c] * n[c];
    r.used += n[c] > 0;
  }
  const long double mu = total / count, g = static_cast<long double>(r.used);
  r.mean = mu + offset;
  r.se = std::sqrt(g / (g - 1) * (ss - 2 * mu * sn + mu * mu * nn)) / count;
  return r;
}

}  // namespace

TEST_CASE("the clustered standard error is the printed formula, also at a common offset of 1e8") {
  for (const double offset : {0.0, 1.0, -3e4, 1e8}) {
    const auto tokens = sample(20, 1500, offset, 1);
    const estimate e = tests::one_pass(
                           static_cast<index_t>(tokens.size()), [] { return clustered_sums{20}; },
                           [&](clustered_sums& a, index_t i) {
                             const token& t = tokens[static_cast<std::size_t>(i)];
                             a.add(t.cluster, t.value);
                           })
                           .estimate();
    const reference r = expanded(tokens, 20, offset);
    CHECK(e.value == Approx(static_cast<double>(r.mean)).epsilon(1e-15).margin(1e-15));
    CHECK(e.se == Approx(static_cast<double>(r.se)).epsilon(1e-12));
    CHECK(e.n == 1500);
    CHECK(e.n_clusters == r.used);
    const double half = student_t_quantile(0.975, static_cast<double>(r.used - 1)) * e.se;
    CHECK(e.lo == Approx(e.value - half).epsilon(1e-14));
    CHECK(e.hi == Approx(e.value + half).epsilon(1e-14));
  }
}

TEST_CASE("a case small enough for paper: six clusters of two") {
  clustered_sums a{6};
  for (index_t c = 0; c < 6; ++c) {
    a.add(c, static_cast<double>(c));
    a.add(c, static_cast<double>(c) + 1);
  }
  const estimate e = a.estimate();
  // Cluster residuals 2(c − 2.5), squares 25 + 9 + 1 + 1 + 9 + 25 = 70; se = √(6/5·70)/12; t(5) = 2.570581835636314.
  CHECK(e.value == 3.0);
  CHECK(e.se == Approx(std::sqrt(84.0) / 12).epsilon(1e-15));
  CHECK(e.hi == Approx(3.0 + 2.570581835636314 * std::sqrt(84.0) / 12).epsilon(1e-14));
  CHECK(a.estimate(0.9).hi == Approx(3.0 + 2.015048373333023 * std::sqrt(84.0) / 12).epsilon(1e-13));
}

TEST_CASE("clusters of equal size give the t interval of the cluster means") {
  draws d{4};
  clustered_sums a{10};
  std::vector<double> mean(10);
  for (index_t c = 0; c < 10; ++c)
    for (int k = 0; k < 7; ++k) {
      const double v = d.gauss() + static_cast<double>(c % 3);
      a.add(c, v);
      mean[static_cast<std::size_t>(c)] += v / 7;
    }
  double mu = 0, m2 = 0;
  for (const double m : mean) mu += m / 10;
  for (const double m : mean) m2 += (m - mu) * (m - mu);
  CHECK(a.estimate().value == Approx(mu).epsilon(1e-14));
  CHECK(a.estimate().se == Approx(std::sqrt(m2 / 9 / 10)).epsilon(1e-13));
}

TEST_CASE("one observation per cluster gives the textbook standard error of a mean") {
  draws d{5};
  clustered_sums a{50};
  double s = 0, s2 = 0;
  for (index_t c = 0; c < 50; ++c) {
    const double v = d.gauss();
    a.add(c, v);
    s += v;
    s2 += v * v;
  }
  CHECK(a.estimate().se == Approx(std::sqrt((s2 / 50 - s * s / 2500) / 49)).epsilon(1e-12));
}

TEST_CASE("merging any partition of tokens equals one pass to 1e-12, also at an offset of 1e8") {
  for (const double offset : {0.0, 1e8, -1e8}) {
    const auto tokens = sample(24, 3000, offset, 2);
    const auto make = [] { return clustered_sums{24}; };
    const auto feed = [&](clustered_sums& a, index_t i) {
      const token& t = tokens[static_cast<std::size_t>(i)];
      a.add(t.cluster, t.value);
    };
    const clustered_sums whole = tests::one_pass(3000, make, feed);
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const clustered_sums merged = tests::merged_from_parts(seed, 1 + static_cast<int>(seed), 3000, make, feed);
      CHECK(tests::same_estimate(whole.estimate(), merged.estimate()));
      // The interval's width is what cancellation would spoil first.
      const estimate a = whole.estimate(), b = merged.estimate();
      CHECK(tests::same_number(a.se, b.se, 1e-12));
      for (index_t c = 0; c < 24; ++c) {
        REQUIRE(whole.count(c) == merged.count(c));
        REQUIRE(tests::same_number(whole.sum(c), merged.sum(c), 1e-15));
      }
    }
  }
}

TEST_CASE("shifting every token shifts the value and leaves the standard error, to 1e-12") {
  const auto plain = sample(16, 1000, 0.0, 3);
  clustered_sums a{16}, b{16};
  for (const token& t : plain) {
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(t.value, 20)), -20);  // exact after the shift
    a.add(t.cluster, rounded);
    b.add(t.cluster, rounded + 1e8);
  }
  CHECK(b.estimate().se == Approx(a.estimate().se).epsilon(1e-12));
  CHECK(b.estimate().value - 1e8 == Approx(a.estimate().value).margin(1e-8));
}

TEST_CASE("below six clusters there is a standard error and no interval; empty clusters do not count") {
  for (index_t used = 0; used <= 17; ++used) {
    clustered_sums a{40};
    for (index_t c = 0; c < used; ++c) {
      a.add(2 * c, static_cast<double>(c * c));
      a.add(2 * c, 1.0);
    }
    const estimate e = a.estimate();
    CHECK(e.n_clusters == used);
    CHECK(e.has_interval() == (used >= 6));
    CHECK(std::isnan(e.lo) == (used < 6));
    CHECK(std::isnan(e.se) == (used < 2));
    CHECK(std::isnan(e.value) == (used < 1));
    CHECK(reliability_of(e) == (used < 6 ? reliability::none : used < 16 ? reliability::marked : reliability::full));
  }
}

TEST_CASE("what cannot be averaged is not: NaN, infinity and cluster ids outside the range") {
  const auto filled = [] {
    clustered_sums a{8};
    for (index_t c = 0; c < 8; ++c) a.add(c, 1.0 + static_cast<double>(c));
    return a;
  };
  clustered_sums with_nan = filled();
  with_nan.add(3, std::nan(""));
  CHECK(std::isnan(with_nan.estimate().value));
  CHECK_FALSE(with_nan.estimate().has_interval());
  clustered_sums with_inf = filled();
  with_inf.add(3, std::numeric_limits<double>::infinity());
  CHECK(with_inf.estimate().value == std::numeric_limits<double>::infinity());
  CHECK_FALSE(with_inf.estimate().has_interval());
  for (const index_t bad :
       {index_t{-1}, index_t{8}, std::numeric_limits<index_t>::max(), std::numeric_limits<index_t>::min()}) {
    clustered_sums a = filled();
    a.add(bad, 1.0);
    CHECK(a.rejected() == 1);
    CHECK(std::isnan(a.estimate().value));
    clustered_sums b = filled();
    CHECK(b.merge(a));
    CHECK(std::isnan(b.estimate().value));
  }
}

TEST_CASE("merging accumulators of different shapes is an error that changes nothing") {
  clustered_sums a{8}, b{9};
  a.add(0, 1.0);
  b.add(8, 2.0);
  const auto s = a.merge(b);
  REQUIRE_FALSE(s);
  CHECK(s.error().code == resect::errc::shape_mismatch);
  CHECK(a.total_count() == 1);
  CHECK(a.sum(0) == 1.0);
}

TEST_CASE("the cluster-by-cluster difference of two quantities is the paired estimate") {
  draws d{6};
  clustered_sums a{12}, b{12}, paired{12};
  for (int i = 0; i < 800; ++i) {
    const index_t c = d.below(12);
    const double common = 5 * d.gauss(), x = common + 0.1 * d.gauss(), y = common;
    a.add(c, x);
    b.add(c, y);
    paired.add(c, x - y);
  }
  const auto difference = clustered_sums::difference(a, b);
  REQUIRE(difference);
  CHECK(tests::same_estimate(difference->estimate(), paired.estimate(), 1e-9));
  CHECK(difference->estimate().se < 0.2 * a.estimate().se);
  b.add(3, 0.0);
  CHECK(clustered_sums::difference(a, b).error().code == resect::errc::shape_mismatch);
  CHECK(clustered_sums::difference(a, clustered_sums{11}).error().code == resect::errc::shape_mismatch);

  // A token outside the clusters is one that cannot be paired, on either side.
  clustered_sums outside{2}, whole{2};
  outside.add(2, 1.0);
  CHECK(clustered_sums::difference(outside, whole).error().code == resect::errc::invalid_argument);
  CHECK(clustered_sums::difference(whole, outside).error().operand.view() == "tokens outside the clusters");
  CHECK(clustered_sums::difference(whole, whole));
}

TEST_CASE("sums read from a file give the estimate back") {
  const auto tokens = sample(10, 700, 2.5, 9);
  clustered_sums a{10}, stored{10};
  for (const token& t : tokens) a.add(t.cluster, t.value);
  for (index_t c = 0; c < 10; ++c) stored.add_sum(c, a.sum(c), a.count(c));
  CHECK(tests::same_estimate(a.estimate(), stored.estimate(), 1e-12));
}

TEST_CASE("map_exp maps the ends and scales the standard error") {
  const estimate e = map_exp({1.0, 0.1, 0.8, 1.2, 50, 20});
  CHECK(e.value == std::exp(1.0));
  CHECK(e.se == Approx(0.1 * std::exp(1.0)).epsilon(1e-15));
  CHECK(e.lo == std::exp(0.8));
  CHECK(e.hi == std::exp(1.2));
  CHECK(e.n == 50);
  CHECK(e.n_clusters == 20);
  CHECK_FALSE(map_exp({1.0, 0.1, resect::metrics::nan, resect::metrics::nan, 50, 4}).has_interval());
}

}  // namespace tests
