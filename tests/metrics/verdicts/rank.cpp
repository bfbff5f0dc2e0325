// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/verdicts/rank.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/core/hash.hpp>
#include <support/catch.hpp>
#include <support/listed.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// `layers` quantities of the same tokens: a shared cluster effect, a mean per layer and noise of their own.
std::vector<clustered_sums> table(const std::vector<double>& mean, index_t clusters, double noise, std::uint64_t seed) {
  std::vector<clustered_sums> out(mean.size(), clustered_sums{clusters});
  tests::draws d{seed};
  for (index_t c = 0; c < clusters; ++c) {
    const double shared = d.gauss();
    for (int k = 0; k < 12 + static_cast<int>(c % 5); ++k)
      for (std::size_t l = 0; l < mean.size(); ++l) out[l].add(c, mean[l] + shared + noise * d.gauss());
  }
  return out;
}

}  // namespace

TEST_CASE("layers far apart have certain ranks although they share a large cluster effect") {
  const auto t = table({0.1, 3.0, 0.5, 2.0}, 20, 0.05, 1);
  const auto r = support::listed(rank_intervals(t));
  const index_t expected[] = {4, 1, 3, 2};
  for (std::size_t l = 0; l < 4; ++l) {
    CHECK(r[l].rank == expected[l]);
    CHECK(r[l].lo == expected[l]);
    CHECK(r[l].hi == expected[l]);
  }
}

TEST_CASE("layers with equal means have wide rank intervals around their rank") {
  const auto r = support::listed(rank_intervals(table(std::vector<double>(8, 1.0), 16, 1.0, 2)));
  double width = 0;
  for (const rank_interval& i : r) {
    CHECK((1 <= i.lo && i.lo <= i.rank && i.rank <= i.hi && i.hi <= 8));
    width += static_cast<double>(i.hi - i.lo);
  }
  CHECK(width / 8 >= 4);
}

TEST_CASE("equal values share the lowest rank; a layer without a value has rank 0 and takes none") {
  auto t = table({1, 2, 2, 3}, 10, 0.0, 3);
  t[2] = t[1];
  auto r = support::listed(rank_intervals(t));
  CHECK(r[3].rank == 1);
  CHECK(r[1].rank == 2);
  CHECK(r[2].rank == 2);
  CHECK(r[0].rank == 4);
  CHECK(r[2].lo == 2);
  CHECK(r[2].hi == 2);
  t[3].add_sum(0, std::nan(""), 0);
  r = support::listed(rank_intervals(t));
  CHECK(r[3].rank == 0);
  CHECK(r[3].lo == 0);
  CHECK(r[3].hi == 0);
  CHECK(r[1].rank == 1);
  CHECK(r[0].rank == 3);
}

TEST_CASE("rank intervals depend on the seed and on nothing else: not on the order of layers, nor on empty clusters") {
  const auto t = table({1, 1.1, 1.2, 0.9, 1.05, 1.0}, 16, 1.5, 4);
  const auto r = support::listed(rank_intervals(t, {.seed = 5}));
  std::vector<clustered_sums> reversed(t.rbegin(), t.rend());
  const auto back = support::listed(rank_intervals(reversed, {.seed = 5}));
  for (std::size_t l = 0; l < t.size(); ++l) {
    CHECK(back[t.size() - 1 - l].lo == r[l].lo);
    CHECK(back[t.size() - 1 - l].hi == r[l].hi);
  }
  std::vector<clustered_sums> spread(t.size(), clustered_sums{33});
  for (std::size_t l = 0; l < t.size(); ++l)
    for (index_t c = 0; c < 16; ++c) spread[l].add_sum(2 * c + 1, t[l].sum(c), t[l].count(c));
  const auto again = support::listed(rank_intervals(spread, {.seed = 5}));
  resect::fingerprint here, there, other;
  const auto elsewhere = support::listed(rank_intervals(t, {.seed = 6}));
  for (std::size_t l = 0; l < t.size(); ++l) {
    here.add(static_cast<std::uint64_t>(r[l].lo * 100 + r[l].hi));
    there.add(static_cast<std::uint64_t>(again[l].lo * 100 + again[l].hi));
    other.add(static_cast<std::uint64_t>(elsewhere[l].rank * 100));
  }
  CHECK(here.value() == there.value());
  resect::fingerprint ranks;
  for (const rank_interval& i : r) ranks.add(static_cast<std::uint64_t>(i.rank * 100));
  CHECK(other.value() == ranks.value());
}

TEST_CASE("rank intervals equal a bootstrap written out differently") {
  constexpr index_t resamples = 200;
  constexpr std::size_t layers = 8;
  for (std::uint64_t seed = 17; seed < 20; ++seed) {
    const auto t = table({1, 1.2, 0.8, 1.4, 0.6, 1.1, 0.9, 1.0}, 9, 1.0, seed);
    std::vector<std::vector<index_t>> ranks(layers);
    const resect::random::philox_stream stream{seed, detail::rank_stream};
    for (index_t b = 0; b < resamples; ++b) {
      long double sum[layers] = {};
      for (index_t g = 0; g < 9; ++g) {
        const std::uint64_t c = resect::random::integer_below(stream, static_cast<std::uint64_t>(b * 9 + g), 9);
        for (std::size_t l = 0; l < layers; ++l) sum[l] += t[l].sum(static_cast<index_t>(c));
      }
      for (std::size_t l = 0; l < layers; ++l) {
        index_t rank = 1;
        for (std::size_t k = 0; k < layers; ++k) rank += sum[k] > sum[l];
        ranks[l].push_back(rank);
      }
    }
    for (auto& r : ranks) std::sort(r.begin(), r.end());
    const auto check = [&](double level, std::size_t low, std::size_t high) {
      const auto r = support::listed(rank_intervals(t, {.seed = seed, .resamples = resamples, .level = level}));
      for (std::size_t l = 0; l < layers; ++l) {
        CHECK(r[l].lo == ranks[l][low]);
        CHECK(r[l].hi == ranks[l][high]);
      }
    };
    check(0.95, 4, 194);  // the 5th and the 195th of 200: 2.5 % and 97.5 %
    check(0.75, 24, 174);
    check(0.5, 49, 149);
  }
}

TEST_CASE("five clusters give ranks without intervals; layers of different tokens and bad options are errors") {
  const auto few = support::listed(rank_intervals(table({1, 2, 3}, 5, 0.1, 7)));
  CHECK(few[2].rank == 1);
  CHECK(few[2].lo == 0);
  CHECK(few[2].hi == 0);
  auto t = table({1, 2}, 8, 0.1, 8);
  CHECK(try_rank_intervals(t, {.resamples = 0}).error().code == resect::errc::invalid_argument);
  CHECK(try_rank_intervals(t, {.level = 1.0}).error().code == resect::errc::invalid_argument);
  t[1].add(3, 0.0);
  CHECK(try_rank_intervals(t).error().code == resect::errc::shape_mismatch);
  CHECK_THROWS_AS(rank_intervals(t), resect::exception);
  CHECK(rank_intervals({}).empty());
}

}  // namespace tests
