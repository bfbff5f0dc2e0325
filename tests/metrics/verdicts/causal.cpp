// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/rows/unigrams.hpp>
#include <resect/metrics/verdicts/causal.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

struct runs_of_kl {
  clustered_sums one, all, but_one, unigram;
};

// A shared cluster effect in all runs; S = 0.2, R = 0.5, so I = 0.3.
runs_of_kl planted(index_t clusters, double noise, std::uint64_t seed, double unigram = 6) {
  runs_of_kl r{clustered_sums{clusters}, clustered_sums{clusters}, clustered_sums{clusters}, clustered_sums{clusters}};
  draws d{seed};
  for (index_t c = 0; c < clusters; ++c) {
    const double shared = 0.5 * d.gauss();
    for (index_t k = 0; k < 20 + c % 4; ++k) {
      r.one.add(c, 0.2 + noise * d.gauss());
      r.all.add(c, 1.5 + shared + noise * d.gauss());
      r.but_one.add(c, 1.0 + shared + noise * d.gauss());
      r.unigram.add(c, unigram);
    }
  }
  return r;
}

}  // namespace

TEST_CASE("S, R and I are the means of paired differences, with the standard error of the differences") {
  const auto r = planted(20, 0.05, 1);
  const causal_effect e = causal_effect_of(r.one, r.all, r.but_one, r.unigram);
  CHECK_FALSE(e.saturated);
  CHECK(same_estimate(e.alone, r.one.estimate(0.95, mean_range::nonnegative), 0));
  CHECK(e.restored.value == Approx(r.all.estimate().value - r.but_one.estimate().value).epsilon(1e-12));
  CHECK(e.interaction.value == Approx(e.restored.value - e.alone.value).epsilon(1e-12));
  CHECK(e.restored.value == Approx(0.5).margin(0.02));
  CHECK(e.interaction.value == Approx(0.3).margin(0.02));
  // The shared effect of the clusters is gone from the difference.
  CHECK(e.restored.se < 0.1 * r.all.estimate().se);
  clustered_sums by_token{20};
  for (index_t c = 0; c < 20; ++c) by_token.add_sum(c, r.all.sum(c) - r.but_one.sum(c) - r.one.sum(c), r.all.count(c));
  CHECK(same_estimate(e.interaction, by_token.estimate(), 1e-10));
}

TEST_CASE("the interval of the interaction covers the planted one in 95 % of simulations") {
  int covered = 0;
  constexpr int runs = 1000;
  for (int i = 0; i < runs; ++i) {
    const auto r = planted(16, 1, 100 + static_cast<std::uint64_t>(i));
    const estimate e = causal_effect_of(r.one, r.all, r.but_one, r.unigram).interaction;
    covered += e.lo <= 0.3 && 0.3 <= e.hi;
  }
  std::printf("coverage of the interaction, 16 clusters: %.3f\n", covered / double{runs});
  CHECK(covered >= 0.93 * runs);
  CHECK(covered <= 0.97 * runs);
}

TEST_CASE("beyond half the distance of the unigram distribution there is no R and no I, but an S") {
  const auto at = planted(8, 0, 2);
  const double mean = at.all.estimate().value;
  for (const bool beyond : {false, true}) {
    const auto r = planted(8, 0, 2, 2 * mean * (beyond ? 0.999 : 1.001));
    const causal_effect e = causal_effect_of(r.one, r.all, r.but_one, r.unigram);
    CHECK(e.saturated == beyond);
    CHECK(std::isnan(e.restored.value) == beyond);
    CHECK(std::isnan(e.interaction.value) == beyond);
    CHECK(e.restored.has_interval() != beyond);
    CHECK(e.alone.value == Approx(0.2));
    CHECK(e.restored.n == e.alone.n);
  }
}

TEST_CASE("runs over different tokens are refused") {
  auto r = planted(8, 0.1, 3);
  for (clustered_sums* s : {&r.one, &r.but_one, &r.unigram}) {
    const clustered_sums kept = *s;
    s->add(2, 0.0);
    CHECK(try_causal_effect(r.one, r.all, r.but_one, r.unigram).error().code == resect::errc::shape_mismatch);
    CHECK_THROWS_AS(causal_effect_of(r.one, r.all, r.but_one, r.unigram), resect::exception);
    *s = kept;
  }
  CHECK(try_causal_effect(clustered_sums{9}, r.all, r.but_one, r.unigram).error().code == resect::errc::shape_mismatch);
}

TEST_CASE("unigram logits are smoothed counts, at a finite KL from any model") {
  const std::vector<std::int32_t> ids{2, 2, 0, 2, 0};
  std::vector<float> out(4, -1.0f);
  REQUIRE(try_unigram_logits(ids, out));
  const double z = log_sum_exp(out);
  CHECK(std::exp(static_cast<double>(out[2]) - z) == Approx(4.0 / 9).epsilon(1e-6));
  CHECK(std::exp(static_cast<double>(out[1]) - z) == Approx(1.0 / 9).epsilon(1e-6));
  CHECK(std::isfinite(compare_logits(std::vector<float>{0, 30, 0, 0}, out).kl));
  const std::vector<float> before = out;
  for (const std::int32_t bad : {-1, 4}) {
    const std::vector<std::int32_t> with{0, bad};
    CHECK(try_unigram_logits(with, out).error().code == resect::errc::invalid_argument);
    CHECK(out == before);
    CHECK(try_unigram_logits(std::vector<id_count>{{0, 1}, {bad, 1}}, out).error().operand == "id");
  }
  CHECK(try_unigram_logits(std::vector<id_count>{{3, -2}}, out).error().message() ==
        "invalid argument: count of id 3: got -2, wanted 0 or more");
  CHECK(try_unigram_logits(std::vector<std::int32_t>{}, out).error().operand == "text of the unigrams");
  CHECK(try_unigram_logits(std::vector<id_count>{}, out).error().operand == "text of the unigrams");
  CHECK(out == before);
}

TEST_CASE("unigram logits of counts are those of the ids counted one by one") {
  const std::vector<std::int32_t> ids{2, 2, 0, 2, 0};
  std::vector<float> one_by_one(4), counted(4);
  REQUIRE(try_unigram_logits(ids, one_by_one));
  REQUIRE(try_unigram_logits(std::vector<id_count>{{2, 1}, {0, 2}, {2, 2}}, counted));
  CHECK(one_by_one == counted);
}

}  // namespace tests
