// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/range.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/explained_variance.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/similarity/cosine.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

estimate with_interval(double value, double se, index_t clusters, mean_range range, double skewness) {
  estimate e;
  e.value = value;
  e.se = se;
  e.n = e.n_clusters = clusters;
  set_interval(e, range, skewness);
  return e;
}

struct rates {
  double t = 0, hall = 0;
};

// How often both intervals hold the mean 1 of G clusters whose means draw(d) makes.
template <class Draw>
rates coverage(index_t clusters, std::uint64_t seed, Draw draw) {
  constexpr int replications = 4000;
  rates out;
  for (int i = 0; i < replications; ++i) {
    draws d{seed, static_cast<std::uint64_t>(i * 100 + clusters)};
    clustered_sums sums(clusters);
    for (index_t c = 0; c < clusters; ++c) sums.add_sum(c, 64 * draw(d), 64);
    const auto holds = [](const estimate& e) { return (e.lo <= 1 && 1 <= e.hi) / double{replications}; };
    out.t += holds(sums.estimate());
    out.hall += holds(sums.estimate(0.95, mean_range::nonnegative));
  }
  return out;
}

}  // namespace

// Lognormal(σ) has skewness (w + 2)√(w − 1), w = e^σ²: σ = 0.552, 0.833 and 0.989 give 2, 4 and 6. One standard error of
// 4,000 replications is 0.34 points.
TEST_CASE("the interval of a mean that cannot be negative covers 95 % of skewed clusters better than plain t") {
  for (const auto& [sigma, skewness] : {std::pair{0.552, 2}, {0.833, 4}, {0.989, 6}})
    for (const index_t clusters : {16, 32}) {
      const rates x = coverage(clusters, 7, [s = sigma](draws& d) { return std::exp(s * d.gauss() - s * s / 2); });
      std::printf("coverage, %2d clusters, lognormal of skewness %d: t %.3f, Hall %.3f\n", static_cast<int>(clusters),
                  skewness, x.t, x.hall);
      INFO("skewness " << skewness << ", " << clusters << " clusters");
      if (skewness == 2) CHECK(x.hall >= (clusters == 32 ? 0.935 : 0.92));
      if (skewness == 2) CHECK(x.hall <= 0.965);
      if (skewness == 4) CHECK(x.hall >= x.t + 0.02);
      if (skewness == 6) CHECK(x.hall >= x.t + 0.03);
    }
}

// The sample's skewness moves with its mean by the excess kurtosis κ of the clusters: the transformed T is about
// T + κ(T³/3 + T/6)/G. Light tails (κ = −1.2 of a uniform, −2 of two equal halves) make the interval cover more than it
// says, heavy ones less; both vanish as 1/G.
TEST_CASE("without skewness the interval of a mean that cannot be negative covers too much with light tails, by 1/G") {
  const auto uniform = [](draws& d) { return 2 * d.uniform(); };
  const auto gamma = [](draws& d) {  // of shape 2: skewness 1.4, κ = 3
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
      const double z = d.gauss();
      sum += z * z / 4;
    }
    return sum;
  };
  for (const index_t clusters : {16, 32}) {
    const rates light = coverage(clusters, 8, uniform), skewed = coverage(clusters, 9, gamma);
    std::printf("coverage, %2d clusters: uniform t %.3f, Hall %.3f; gamma of shape 2 t %.3f, Hall %.3f\n",
                static_cast<int>(clusters), light.t, light.hall, skewed.t, skewed.hall);
    const double most = clusters == 32 ? 0.965 : 0.98, least = clusters == 32 ? 0.935 : 0.92;
    for (const double hall : {light.hall, skewed.hall}) {
      CHECK(hall >= least);
      CHECK(hall <= most);
    }
    CHECK(light.hall > light.t);
  }
}

TEST_CASE("without skewness Hall's interval is the t interval shifted by nothing, and skewness moves both ends up") {
  const auto t = with_interval(1, 0.1, 32, mean_range::any, 3),
             plain = with_interval(1, 0.1, 32, mean_range::nonnegative, 0);
  CHECK(plain.lo == Approx(t.lo).epsilon(1e-12));
  CHECK(plain.hi == Approx(t.hi).epsilon(1e-12));
  const auto tiny = with_interval(1, 0.1, 32, mean_range::nonnegative, 1e-7),
             small = with_interval(1, 0.1, 32, mean_range::nonnegative, 1e-5);
  CHECK(tiny.hi == Approx(t.hi).epsilon(1e-8));
  CHECK(small.hi == Approx(t.hi).epsilon(1e-5));
  const auto skewed = with_interval(1, 0.1, 32, mean_range::nonnegative, 2);
  CHECK((skewed.lo > t.lo && skewed.hi > t.hi && skewed.lo < 1 && 1 < skewed.hi));
}

TEST_CASE("Hall's transformation and its inverse undo each other") {
  for (const double skewness : {-3.0, -0.5, 0.01, 1.0, 6.0})
    for (const double t : {-4.0, -2.0, 0.0, 0.3, 2.0, 3.0}) {
      const double g = 16, a = skewness / (3 * std::sqrt(g));
      CHECK(detail::hall_inverse(t + a * t * t + a * a * t * t * t / 3 + a / 2, skewness, g) == Approx(t).margin(1e-9));
    }
}

TEST_CASE("no end lies where the mean cannot") {
  CHECK(with_interval(0.01, 0.1, 8, mean_range::nonnegative, 1).lo == 0);
  CHECK(with_interval(0.01, 0.1, 8, mean_range::skewed, 1).lo < 0);
  CHECK(with_interval(0.99, 0.1, 8, mean_range::at_most_one, -1).hi == 1);
  const auto zero = with_interval(0, 0, 8, mean_range::nonnegative, 0);
  CHECK((zero.lo == 0 && zero.hi == 0));
  const auto half = with_interval(0.5, 0.3, 8, mean_range::rate, 0);
  CHECK((half.lo > 0 && half.hi < 1 && half.lo + half.hi == Approx(1)));
  const auto all = with_interval(1, 0, 20, mean_range::rate, 0);
  CHECK((all.lo == Approx(wilson(20, 20).lo) && all.hi == 1));
  CHECK_FALSE(with_interval(1, 0.1, 5, mean_range::nonnegative, 0).has_interval());
}

TEST_CASE("a cosine has 1 minus the interval of 1 - cosine") {
  mean_cosine cosine(12);
  clustered_sums missing(12);
  draws d{3, 1};
  for (index_t c = 0; c < 12; ++c)
    for (int k = 0; k < 5; ++k) {
      const double x = 0.02 * std::exp(d.gauss());
      cosine.add(c, 1 - x);
      missing.add(c, x);
    }
  const estimate a = cosine.estimate(), b = missing.estimate(0.95, mean_range::nonnegative);
  CHECK(a.lo == Approx(1 - b.hi).epsilon(1e-9));
  CHECK(a.hi == Approx(1 - b.lo).epsilon(1e-9));
}

TEST_CASE("measures have the interval of their range, over one run and over seeds") {
  kl_divergence kl(8);
  paired_delta delta(8);
  for (index_t c = 0; c < 8; ++c) {
    kl.add(c, c == 0 ? 4.0 : 0.01);
    delta.add(c, 0.0, c == 0 ? 4.0 : 0.01);
  }
  CHECK(kl.estimate().lo >= 0);
  CHECK(delta.estimate().lo < 0);
  std::vector<clustered_sums> seeds(5, kl.sums());
  CHECK(two_way(seeds).mean.lo < 0);
  CHECK(two_way(seeds, 0.95, kl_divergence::range()).mean.lo >= 0);
  top1_agreement top(8);
  for (index_t c = 0; c < 8; ++c)
    for (index_t k = 0; k < 4; ++k) top.add(c, 1, c == 0 && k == 0 ? index_t{2} : index_t{1});
  const estimate rate = top.estimate();
  CHECK((rate.lo > 0 && rate.hi < 1));
}

}  // namespace tests
