// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/perplexity.hpp>

#include <cmath>
#include <cstdio>

#include <metrics/merge.hpp>
#include <resect/metrics/verdicts/goodhart.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

constexpr int simulations = 3000;
constexpr int tokens = 64;

struct coverage {
  double clustered = 0;
  double token_iid = 0;
};

// How often the intervals hold the true mean (0) over seeded simulations of G clusters of 64 tokens. `effect(d)` draws
// what a cluster has in common, `token(d, effect)` one token.
template <class Effect, class Token>
coverage simulate(const char* what, index_t clusters, std::uint64_t seed, Effect effect, Token token) {
  coverage out;
  for (int i = 0; i < simulations; ++i) {
    tests::draws d{seed, static_cast<std::uint64_t>(i * 100 + clusters)};
    perplexity p{clusters};
    for (index_t c = 0; c < clusters; ++c) {
      const double e = effect(d);
      for (int k = 0; k < tokens; ++k) p.add(c, token(d, e));
    }
    const estimate ours = p.mean_nll(), iid = p.mean_nll_tokens();
    out.clustered += (ours.lo <= 0 && 0 <= ours.hi) / double{simulations};
    out.token_iid += (iid.lo <= 0 && 0 <= iid.hi) / double{simulations};
  }
  std::printf("coverage, %2d clusters, %s: clustered %.3f, tokens as iid %.3f\n", static_cast<int>(clusters), what,
              out.clustered, out.token_iid);
  return out;
}

}  // namespace

// With 3,000 simulations one standard error of a coverage of 95 % is 0.4 %.
TEST_CASE(
    "the clustered interval covers 95 +- 1.5 % with heavy-tailed tokens; taking tokens for independent does not") {
  for (const index_t clusters : {16, 32}) {
    const auto normal = [](tests::draws& d) { return 0.5 * d.gauss(); };
    const auto heavy = [](tests::draws& d) { return 0.5 * d.t3(); };
    const coverage a = simulate("Student-t(3) tokens, normal clusters", clusters, 1, normal,
                                [](tests::draws& d, double e) { return e + d.t3(); });
    const coverage b = simulate("Student-t(3) tokens, Student-t(3) clusters", clusters, 2, heavy,
                                [](tests::draws& d, double e) { return e + d.t3(); });
    const coverage c = simulate("lognormal(1) tokens, normal clusters", clusters, 3, normal,
                                [](tests::draws& d, double e) { return e + d.lognormal(1) - std::exp(0.5); });
    for (const coverage& x : {a, b, c}) {
      CHECK(x.clustered >= 0.935);
      CHECK(x.clustered <= 0.965);
      CHECK(x.token_iid <= 0.75);
    }
  }
}

TEST_CASE("without a cluster effect both intervals cover, so the simulation does not favour one") {
  const coverage x = simulate(
      "Student-t(3) tokens, no cluster effect", 32, 4, [](tests::draws&) { return 0.0; },
      [](tests::draws& d, double) { return d.t3(); });
  CHECK(x.clustered >= 0.935);
  CHECK(x.token_iid >= 0.935);
}

// Known limit of any t interval on few skewed cluster means: the miss is stated in docs and bounded here.
TEST_CASE("skewed cluster means (KL-like tokens, lognormal times lognormal) cover a little less than 95 %") {
  for (const index_t clusters : {16, 32}) {
    const coverage x = simulate(
        "lognormal(1) tokens times lognormal(0.5) clusters", clusters, 5,
        [](tests::draws& d) { return std::exp(0.5 * d.gauss() - 0.125); },
        [](tests::draws& d, double e) { return e * std::exp(d.gauss() - 0.5) - 1; });
    CHECK(x.clustered >= 0.90);
    CHECK(x.clustered <= 0.95);
    CHECK(x.token_iid <= 0.60);
  }
}

namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// E f(Z), Z standard normal.
template <class F>
double gaussian_mean(F f) {
  double sum = 0, weight = 0;
  for (int i = -400; i <= 400; ++i) {
    const double z = 0.02 * i, w = std::exp(-z * z / 2);
    sum += w * f(z);
    weight += w;
  }
  return sum / weight;
}

// The share of seeded simulations whose interval holds the truth; `estimate_of(draws)` makes the clusters and the interval.
template <class F>
double held(const char* what, index_t clusters, std::uint64_t seed, double truth, F estimate_of) {
  constexpr int runs = 2000;
  int inside = 0;
  for (int i = 0; i < runs; ++i) {
    tests::draws d{seed, static_cast<std::uint64_t>(i * 100 + clusters)};
    const estimate e = estimate_of(d);
    inside += e.lo <= truth && truth <= e.hi;
  }
  std::printf("coverage, %2d clusters, %s: %.3f\n", static_cast<int>(clusters), what, inside / double{runs});
  return inside / double{runs};
}

}  // namespace

// With 2,000 simulations one standard error of a coverage of 95 % is 0.5 %.
TEST_CASE(
    "every clustered interval covers 93 to 97 % under Gaussian clusters, with 16 and with 64; skewed ones are "
    "printed") {
  constexpr index_t per_cluster = 10;
  for (const index_t clusters : {16, 64}) {
    const auto mean_of = [clusters](mean_range range, auto cluster, auto token) {
      return [=](tests::draws& d) {
        clustered_sums sums(clusters);
        for (index_t c = 0; c < clusters; ++c) {
          const double effect = cluster(d);
          for (index_t k = 0; k < per_cluster; ++k) sums.add(c, token(d, effect));
        }
        return sums.estimate(0.95, range);
      };
    };
    const auto gauss = [](tests::draws& d) { return d.gauss(); };
    const auto around = [](double centre, double spread) {
      return [=](tests::draws& d, double e) { return centre + spread * (e + d.gauss()); };
    };
    const auto coin = [](tests::draws& d, double e) { return d.uniform() < logistic(1 + 0.7 * e) ? 1.0 : 0.0; };
    const double rate = gaussian_mean([](double z) { return logistic(1 + 0.7 * z); });
    // understanding and execution of the items of a template, which share one effect
    const auto u = [](double z) { return logistic(1 + 0.7 * z); };
    const auto e = [](double z) { return logistic(0.5 + 0.7 * z); };
    const double gap = gaussian_mean([&](double z) { return u(z) * (1 - e(z)); });
    const double conditional = gap / gaussian_mean(u);
    const auto table = [&, clusters](auto measure) {
      return [=](tests::draws& d) {
        goodhart_table t(clusters);
        for (index_t c = 0; c < clusters; ++c) {
          const double z = d.gauss();
          for (index_t k = 0; k < per_cluster; ++k)
            t.add(c, d.uniform() < u(z) ? grade::pass : grade::fail, d.uniform() < e(z) ? grade::pass : grade::fail);
        }
        return measure(t);
      };
    };
    const auto delta = [clusters](tests::draws& d) {
      goodhart_arms arms(clusters);
      for (index_t c = 0; c < clusters; ++c) {
        const double z = 0.3 * d.gauss();
        for (index_t k = 0; k < per_cluster; ++k) {
          const bool before = d.uniform() < 0.6, after = before ? d.uniform() < logistic(2 + z) : d.uniform() < 0.1;
          arms.add(c, {grade::pass, before ? grade::pass : grade::fail},
                   {grade::pass, after ? grade::pass : grade::fail});
        }
      }
      return arms.execution_change();
    };
    const double change = 0.6 * gaussian_mean([](double z) { return logistic(2 + 0.3 * z); }) + 0.4 * 0.1 - 0.6;
    for (const double x :
         {held("a difference (t)", clusters, 21, 0, mean_of(mean_range::any, gauss, around(0, 1))),
          held("a mean that is not negative (Hall)", clusters, 22, 9,
               mean_of(mean_range::nonnegative, gauss, around(9, 1))),
          held("a mean of at most 1 (Hall)", clusters, 23, 0, mean_of(mean_range::at_most_one, gauss, around(0, 0.1))),
          held("a rate (logit)", clusters, 24, rate, mean_of(mean_range::rate, gauss, coin)),
          held("the gap", clusters, 25, gap, table([](const goodhart_table& t) { return t.gap(); })),
          held("the conditional gap", clusters, 26, conditional,
               table([](const goodhart_table& t) { return t.conditional_gap(); })),
          held("the change of execution", clusters, 27, change, delta)}) {
      CHECK(x >= 0.93);
      CHECK(x <= 0.97);
    }
    const auto skewed = [](tests::draws& d) { return std::exp(1.2 * d.gauss() - 0.72); };
    const auto times = [](tests::draws& d, double effect) { return effect * std::exp(d.gauss() - 0.5); };
    held("lognormal(1.2) clusters, t", clusters, 28, 1, mean_of(mean_range::any, skewed, times));
    held("lognormal(1.2) clusters, Hall", clusters, 28, 1, mean_of(mean_range::nonnegative, skewed, times));
  }
}

}  // namespace tests
