// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/two_way.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// Tokens of `clusters` sequences under `seeds` seeds: effects of the sequence, the seed, the pair, and the token.
std::vector<clustered_sums> runs(index_t clusters, int seeds, double by_cluster, double by_seed, double by_cell,
                                 double noise, tests::draws& d, double offset = 0) {
  std::vector<double> cluster_effect(static_cast<std::size_t>(clusters));
  for (double& e : cluster_effect) e = by_cluster * d.gauss();
  std::vector<clustered_sums> out;
  for (int r = 0; r < seeds; ++r) {
    out.emplace_back(clusters);
    const double seed_effect = by_seed * d.gauss();
    for (index_t c = 0; c < clusters; ++c) {
      const double cell = by_cell * d.gauss();
      for (int k = 0; k < 4 + static_cast<int>(c % 3); ++k)
        out.back().add(c,
                       offset + cluster_effect[static_cast<std::size_t>(c)] + seed_effect + cell + noise * d.gauss());
    }
  }
  return out;
}

}  // namespace

TEST_CASE("two-way variance is cluster + seed - cell of the token-level sandwich, each with its own G/(G-1)") {
  tests::draws d{1};
  const auto seeds = runs(9, 5, 1.0, 0.7, 0.3, 0.5, d);
  // Written out over cells with long double sums of residuals.
  long double total = 0, n = 0;
  for (const auto& s : seeds)
    for (index_t c = 0; c < 9; ++c) {
      total += s.sum(c);
      n += static_cast<long double>(s.count(c));
    }
  const long double mu = total / n;
  long double cluster = 0, seed = 0, cell = 0;
  for (index_t c = 0; c < 9; ++c) {
    long double u = 0;
    for (const auto& s : seeds) u += s.sum(c) - mu * static_cast<long double>(s.count(c));
    cluster += u * u;
  }
  long double mean_sd = 0;
  for (const auto& s : seeds) {
    long double u = 0, count = 0;
    for (index_t c = 0; c < 9; ++c) {
      const long double r = s.sum(c) - mu * static_cast<long double>(s.count(c));
      u += r;
      count += static_cast<long double>(s.count(c));
      cell += r * r;
    }
    seed += u * u;
    mean_sd += (u / count) * (u / count) / 4;
  }
  const long double v = 9.0L / 8 * cluster / (n * n) + 5.0L / 4 * seed / (n * n) - 45.0L / 44 * cell / (n * n);
  const seeded_estimate e = two_way(seeds);
  CHECK(e.mean.value == Approx(static_cast<double>(mu)).epsilon(1e-14));
  CHECK(e.mean.se == Approx(static_cast<double>(std::sqrt(v))).epsilon(1e-12));
  CHECK(e.se_cluster == Approx(static_cast<double>(std::sqrt(9.0L / 8 * cluster) / n)).epsilon(1e-12));
  CHECK(e.se_seed == Approx(static_cast<double>(std::sqrt(5.0L / 4 * seed) / n)).epsilon(1e-12));
  CHECK(e.seed_sd == Approx(static_cast<double>(std::sqrt(mean_sd))).epsilon(1e-12));
  CHECK(e.seeds == 5);
  CHECK(e.degrees == 4);
  CHECK(e.mean.n_clusters == 9);
  CHECK(e.mean.n == static_cast<index_t>(n));
  CHECK(e.mean.hi - e.mean.value == Approx(student_t_quantile(0.975, 4) * e.mean.se).epsilon(1e-12));
  CHECK(static_cast<double>(v) > static_cast<double>(9.0L / 8 * cluster / (n * n)));
}

TEST_CASE("the two-way variance is never below either one-way variance") {
  for (std::uint64_t i = 0; i < 200; ++i) {
    tests::draws d{2, i};
    // Interactions only: cluster + seed − cell is often below both.
    const seeded_estimate e = two_way(runs(8, 5, 0, 0, 1, 0.1, d));
    CHECK(e.mean.se >= e.se_cluster);
    CHECK(e.mean.se >= e.se_seed);
  }
}

TEST_CASE("seeds that agree leave the clustered standard error of one run") {
  tests::draws d{3};
  const auto one = runs(12, 1, 1, 0, 0.2, 0.4, d)[0];
  const seeded_estimate e = two_way(std::vector<clustered_sums>(5, one));
  CHECK(e.mean.value == Approx(one.estimate().value).epsilon(1e-14));
  CHECK(e.seed_sd == Approx(0).margin(1e-15));
  CHECK(e.se_cluster == Approx(one.estimate().se).epsilon(1e-12));
  CHECK(e.mean.se == e.se_cluster);
}

TEST_CASE("a common offset of 1e8 changes the value only") {
  tests::draws d{4}, same{4};
  const auto plain = two_way(runs(10, 6, 1, 1, 0.5, 1, d));
  const auto shifted = two_way(runs(10, 6, 1, 1, 0.5, 1, same, 1e8));
  CHECK(shifted.mean.se == Approx(plain.mean.se).epsilon(1e-6));  // the tokens themselves are rounded at 1e8
  CHECK(shifted.mean.value - 1e8 == Approx(plain.mean.value).margin(1e-6));
}

TEST_CASE("no interval below six clusters or two seeds; different tokens are an error") {
  tests::draws d{5};
  CHECK_FALSE(two_way(runs(5, 5, 1, 1, 1, 1, d)).mean.has_interval());
  CHECK(two_way(runs(6, 2, 1, 1, 1, 1, d)).mean.has_interval());
  CHECK(two_way(runs(2, 2, 1, 1, 1, 1, d)).mean.se > 0);  // two clusters differ already
  CHECK(std::isnan(two_way(runs(1, 5, 1, 1, 1, 1, d)).mean.se));
  const seeded_estimate single = two_way(runs(20, 1, 1, 1, 1, 1, d));
  CHECK_FALSE(single.mean.has_interval());
  CHECK(std::isfinite(single.mean.value));
  CHECK(std::isnan(single.seed_sd));
  CHECK(std::isnan(two_way({}).mean.value));
  auto broken = runs(8, 3, 1, 1, 1, 1, d);
  broken[2].add(0, 1.0);
  CHECK(try_two_way(broken).error().code == resect::errc::shape_mismatch);
  broken[2] = clustered_sums{9};
  CHECK(try_two_way(broken).error().code == resect::errc::shape_mismatch);
  CHECK_THROWS_AS(two_way(broken), resect::exception);
}

TEST_CASE("two-way intervals cover where seeds matter; clustering by sequence alone does not") {
  constexpr int simulations = 2000;
  int covered = 0, one_way = 0;
  for (int i = 0; i < simulations; ++i) {
    tests::draws d{6, static_cast<std::uint64_t>(i)};
    const seeded_estimate e = two_way(runs(16, 5, 0.5, 0.5, 0.3, 1, d));
    covered += e.mean.lo <= 0 && 0 <= e.mean.hi;
    const double half = student_t_quantile(0.975, 15) * e.se_cluster;
    one_way += std::fabs(e.mean.value) <= half;
  }
  std::printf("two-way coverage: %.3f, by sequence alone %.3f\n", covered / double{simulations},
              one_way / double{simulations});
  CHECK(covered >= simulations * 0.93);
  CHECK(one_way < simulations * 0.75);
}

}  // namespace tests
