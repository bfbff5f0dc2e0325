// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/perplexity.hpp>

#include <cmath>
#include <cstdio>

#include <metrics/merge.hpp>
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

}  // namespace tests
