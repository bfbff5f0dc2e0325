// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/accumulators/kl.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>

#include <cmath>
#include <type_traits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

TEST_CASE("token-iid standard error of llama.cpp, by hand on twelve tokens") {
  // n = 12, Σx = 18, Σx² = 34.5: f = 1.5, s = √((34.5/12 − 2.25)/11) = √(0.625/11).
  const double x[12] = {1, 2, 0.5, 2.5, 1, 2, 0.5, 2.5, 1, 2, 0.5, 2.5};
  perplexity p{3};
  double sum = 0, squares = 0;
  for (int i = 0; i < 12; ++i) {
    p.add(i / 4, x[i]);
    sum += x[i];
    squares += x[i] * x[i];
  }
  REQUIRE(sum == 18);
  REQUIRE(squares == 34.5);
  const double s = std::sqrt(0.625 / 11);
  CHECK(p.mean_nll_tokens().value == 1.5);
  CHECK(p.mean_nll_tokens().se == Approx(s).epsilon(1e-15));
  CHECK(p.estimate_tokens().value == std::exp(1.5));
  CHECK(p.estimate_tokens().se == Approx(std::exp(1.5) * s).epsilon(1e-15));
  CHECK(p.estimate_tokens().n == 12);
  CHECK(p.estimate_tokens().lo == Approx(std::exp(1.5 - 1.959963984540054 * s)).epsilon(1e-14));
  // Three clusters: a clustered standard error (zero here, the clusters are equal), but no interval.
  CHECK(p.mean_nll().value == 1.5);
  CHECK(p.mean_nll().se == 0);
  CHECK_FALSE(p.estimate().has_interval());
}

TEST_CASE("up to ten tokens the token-iid standard error is forced to 0, as llama.cpp does") {
  perplexity p{20};
  for (index_t i = 0; i < 11; ++i) {
    p.add(i, static_cast<double>(i));
    CHECK(p.estimate_tokens().has_interval() == (i >= 10));
    if (i < 10) CHECK(p.estimate_tokens().se == 0);
  }
  CHECK(p.mean_nll_tokens().se == Approx(std::sqrt((385.0 / 11 - 25) / 10)).epsilon(1e-14));
  CHECK(std::isnan(perplexity{4}.estimate_tokens().value));
  CHECK(std::isnan(perplexity{4}.estimate().value));
}

TEST_CASE("token-iid standard error equals the naive formula in long double, without its cancellation") {
  for (const double offset : {0.0, 3.0, 1e8}) {
    draws d{1};
    perplexity p{8};
    long double s = 0, s2 = 0;
    constexpr int n = 5000;
    for (int i = 0; i < n; ++i) {
      const double v = offset + d.lognormal(1);
      p.add(i % 8, v);
      s += v - static_cast<long double>(offset);
      s2 += (v - static_cast<long double>(offset)) * (v - static_cast<long double>(offset));
    }
    const long double f = s / n;
    CHECK(p.mean_nll_tokens().se == Approx(static_cast<double>(std::sqrt((s2 / n - f * f) / (n - 1)))).epsilon(1e-12));
  }
}

TEST_CASE("perplexity: the clustered estimate is exp of the mean and of the interval's ends") {
  draws d{2};
  perplexity p{20};
  for (int i = 0; i < 2000; ++i) p.add(d.below(20), 2 + d.gauss());
  const estimate nll = p.mean_nll(), ppl = p.estimate();
  CHECK(ppl.value == std::exp(nll.value));
  CHECK(ppl.lo == std::exp(nll.lo));
  CHECK(ppl.hi == std::exp(nll.hi));
  CHECK(ppl.se == ppl.value * nll.se);
  CHECK(ppl.n_clusters == 20);
  CHECK(tests::same_estimate(p.mean_nll(), p.sums().estimate(), 0));
}

namespace {

template <class Make, class Feed, class Same>
void merge_law(index_t n, Make make, Feed feed, Same same) {
  const auto whole = tests::one_pass(n, make, feed);
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    const auto merged = tests::merged_from_parts(seed, 2 + static_cast<int>(seed % 9), n, make, feed);
    CHECK(same(whole, merged));
  }
}

}  // namespace

TEST_CASE("every named accumulator merges over any partition to one pass, 1e-12 (KL: 1e-12 nats)") {
  constexpr index_t n = 2000;
  draws d{3};
  std::vector<double> a, b;
  for (index_t i = 0; i < n; ++i) {
    a.push_back(d.lognormal(1.2));
    b.push_back(a.back() + 0.01 * d.t3());
  }
  const auto at = [](const std::vector<double>& v, index_t i) { return v[static_cast<std::size_t>(i)]; };
  merge_law(
      n, [] { return perplexity{13}; }, [&](perplexity& p, index_t i) { p.add(i % 13, at(a, i)); },
      [](const perplexity& x, const perplexity& y) {
        return tests::same_estimate(x.estimate(), y.estimate()) &&
               tests::same_estimate(x.estimate_tokens(), y.estimate_tokens());
      });
  merge_law(
      n, [] { return paired_delta{13}; }, [&](paired_delta& p, index_t i) { p.add(i % 13, at(a, i), at(b, i)); },
      [](const paired_delta& x, const paired_delta& y) { return tests::same_estimate(x.estimate(), y.estimate()); });
  merge_law(
      n, [] { return kl_divergence{13}; }, [&](kl_divergence& p, index_t i) { p.add(i % 13, at(a, i)); },
      [](const kl_divergence& x, const kl_divergence& y) {
        const estimate e = x.estimate(), f = y.estimate();
        return std::fabs(e.value - f.value) <= 1e-12 && std::fabs(e.lo - f.lo) <= 1e-12 &&
               std::fabs(e.hi - f.hi) <= 1e-12 && std::fabs(e.se - f.se) <= 1e-12;
      });
  merge_law(
      n, [] { return top1_agreement{13}; },
      [&](top1_agreement& p, index_t i) { p.add(i % 13, i % 7, at(a, i) > 1 ? i % 7 : 9, i % 11 == 0); },
      [](const top1_agreement& x, const top1_agreement& y) {
        return tests::same_estimate(x.estimate(), y.estimate()) && x.ties() == y.ties() && x.ties() == 182;
      });
}

TEST_CASE("the paired difference has the sign edited minus intact and the error of the difference") {
  draws d{4};
  paired_delta delta{16};
  perplexity intact{16}, edited{16};
  for (int i = 0; i < 1600; ++i) {
    const double base = 3 + 2 * d.gauss(), worse = base + 0.05 + 0.01 * d.gauss();
    delta.add(i % 16, base, worse);
    intact.add(i % 16, base);
    edited.add(i % 16, worse);
  }
  const estimate e = delta.estimate();
  CHECK(e.value == Approx(0.05).margin(0.002));
  CHECK(e.value == Approx(edited.mean_nll().value - intact.mean_nll().value).epsilon(1e-12));
  CHECK(e.se < 0.02 * std::hypot(edited.mean_nll().se, intact.mean_nll().se));
  CHECK(map_exp(e).value == Approx(edited.estimate().value / intact.estimate().value).epsilon(1e-12));
}

TEST_CASE("top-1 agreement is a clustered rate; ties are counted and a missing argmax makes it NaN") {
  top1_agreement t{6};
  for (index_t i = 0; i < 60; ++i) t.add(i / 10, 4, i % 10 < 8 ? 4 : 5, i == 7);
  CHECK(t.estimate().value == Approx(0.8).epsilon(1e-15));
  CHECK(t.estimate().se == Approx(0).margin(1e-15));
  CHECK(t.estimate().n_clusters == 6);
  CHECK(t.ties() == 1);
  t.add(0, -1, -1);
  CHECK(std::isnan(t.estimate().value));
  CHECK(std::isnan(t.estimate_tokens().value));
}

TEST_CASE("top-1 agreement: the token-iid standard error is Wald's, as llama.cpp prints it") {
  top1_agreement t{3};
  CHECK(std::isnan(t.estimate_tokens().value));
  t.add(0, 1, 1);
  CHECK(t.estimate_tokens().value == 1);
  CHECK_FALSE(t.estimate_tokens().has_interval());
  for (index_t i = 1; i < 10; ++i) t.add(i % 3, 1, i < 7 ? 1 : 2);
  const estimate e = t.estimate_tokens();
  CHECK(e.value == Approx(0.7).epsilon(1e-15));
  CHECK(e.se == Approx(std::sqrt(0.7 * 0.3 / 9)).epsilon(1e-14));
  CHECK(e.lo == Approx(0.7 - 1.959963984540054 * e.se).epsilon(1e-14));
  CHECK(e.hi == Approx(0.7 + 1.959963984540054 * e.se).epsilon(1e-14));
  CHECK((e.n == 10 && e.n_clusters == 10));
  t.add(3, 1, 1);  // no such cluster
  CHECK(std::isnan(t.estimate_tokens().value));
}

TEST_CASE("perplexities under different scoring rules do not merge, and the error says which they are") {
  const scoring_rule halves{.window = 512, .skip = 256, .bos = true};
  perplexity p{2, halves};
  p.add(0, 1.5);
  CHECK(p.rule() == halves);
  CHECK(perplexity{2}.rule() == scoring_rule{});
  for (const scoring_rule& other : {scoring_rule{1024, 256, true}, {512, 0, true}, {512, 256, false}, {}}) {
    perplexity q{2, other};
    q.add(1, 2.5);
    const auto refused = p.merge(q);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == resect::errc::conflict);
    CHECK(p.tokens().count() == 1);
    CHECK(p.sums().total_count() == 1);
  }
  perplexity plain{2, {.window = 512}};
  CHECK(p.merge(plain).error().message() ==
        "conflict: scoring rule: got windows of 512 less their first 0, wanted windows of 512 less their first 256, "
        "after a BOS");
  perplexity same{2, halves};
  same.add(1, 2.5);
  REQUIRE(p.merge(same));
  CHECK(p.mean_nll().value == 2);
}

TEST_CASE("accumulators of different quantities cannot be merged with each other") {
  STATIC_REQUIRE_FALSE(std::is_same_v<paired_delta, kl_divergence>);
  STATIC_REQUIRE_FALSE(std::is_invocable_v<decltype(&kl_divergence::merge), kl_divergence&, const paired_delta&>);
  STATIC_REQUIRE(std::is_nothrow_invocable_v<decltype(&perplexity::add), perplexity&, index_t, double>);
  STATIC_REQUIRE(noexcept(paired_delta{}.add(index_t{}, 0.0, 0.0)));
  STATIC_REQUIRE(noexcept(top1_agreement{}.add(0, 0, 0)));
}

TEST_CASE("moments: known values, the merge law at an offset of 1e8, minima and maxima") {
  moments m;
  CHECK(std::isnan(m.mean()));
  CHECK(std::isnan(m.variance()));
  for (const double x : {2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}) m.add(x);
  CHECK(m.mean() == 5);
  CHECK(m.squared_deviations() == 32);
  CHECK(m.variance() == Approx(32.0 / 7).epsilon(1e-15));
  CHECK(m.min() == 2);
  CHECK(m.max() == 9);
  for (const double offset : {0.0, 1e8, -1e8}) {
    draws d{5};
    std::vector<double> x;
    long double s = 0, s2 = 0;
    for (int i = 0; i < 3000; ++i) {
      x.push_back(offset + d.gauss());
      s += x.back() - static_cast<long double>(offset);
      s2 += (x.back() - static_cast<long double>(offset)) * (x.back() - static_cast<long double>(offset));
    }
    const auto feed = [&](moments& a, index_t i) { a.add(x[static_cast<std::size_t>(i)]); };
    const moments whole = tests::one_pass(3000, [] { return moments{}; }, feed);
    CHECK(whole.squared_deviations() == Approx(static_cast<double>(s2 - s * s / 3000)).epsilon(1e-12));
    CHECK(whole.mean() == Approx(static_cast<double>(offset + s / 3000)).epsilon(1e-15));
    for (std::uint64_t seed = 0; seed < 25; ++seed) {
      const moments merged = tests::merged_from_parts(seed, 7, 3000, [] { return moments{}; }, feed);
      CHECK(tests::same_number(merged.mean(), whole.mean(), 1e-15));
      CHECK(tests::same_number(merged.squared_deviations(), whole.squared_deviations(), 1e-12));
      CHECK(merged.min() == whole.min());
      CHECK(merged.max() == whole.max());
      CHECK(merged.count() == 3000);
    }
  }
}

}  // namespace tests
