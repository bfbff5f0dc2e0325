// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/rank.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/core/hash.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index;

namespace {

// `layers` quantities of the same tokens: a shared cluster effect, a mean per layer and noise of their own.
std::vector<clustered_sums> table(const std::vector<double>& mean, index clusters, double noise, std::uint64_t seed) {
  std::vector<clustered_sums> out(mean.size(), clustered_sums{clusters});
  tests::draws d{seed};
  for (index c = 0; c < clusters; ++c) {
    const double shared = d.gauss();
    for (int k = 0; k < 12 + static_cast<int>(c % 5); ++k)
      for (std::size_t l = 0; l < mean.size(); ++l) out[l].add(c, mean[l] + shared + noise * d.gauss());
  }
  return out;
}

}  // namespace

TEST_CASE("layers far apart have certain ranks although they share a large cluster effect") {
  const auto t = table({0.1, 3.0, 0.5, 2.0}, 20, 0.05, 1);
  const auto r = rank_intervals(t);
  const index expected[] = {4, 1, 3, 2};
  for (std::size_t l = 0; l < 4; ++l) {
    CHECK(r[l].rank == expected[l]);
    CHECK(r[l].lo == expected[l]);
    CHECK(r[l].hi == expected[l]);
  }
}

TEST_CASE("layers with equal means have wide rank intervals around their rank") {
  const auto r = rank_intervals(table(std::vector<double>(8, 1.0), 16, 1.0, 2));
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
  auto r = rank_intervals(t);
  CHECK(r[3].rank == 1);
  CHECK(r[1].rank == 2);
  CHECK(r[2].rank == 2);
  CHECK(r[0].rank == 4);
  CHECK(r[2].lo == 2);
  CHECK(r[2].hi == 2);
  t[3].add_sum(0, std::nan(""), 0);
  r = rank_intervals(t);
  CHECK(r[3].rank == 0);
  CHECK(r[3].lo == 0);
  CHECK(r[3].hi == 0);
  CHECK(r[1].rank == 1);
  CHECK(r[0].rank == 3);
}

TEST_CASE("rank intervals depend on the seed and on nothing else: not on the order of layers, nor on empty clusters") {
  const auto t = table({1, 1.1, 1.2, 0.9, 1.05, 1.0}, 16, 1.5, 4);
  const auto r = rank_intervals(t, {.seed = 5});
  std::vector<clustered_sums> reversed(t.rbegin(), t.rend());
  const auto back = rank_intervals(reversed, {.seed = 5});
  for (std::size_t l = 0; l < t.size(); ++l) {
    CHECK(back[t.size() - 1 - l].lo == r[l].lo);
    CHECK(back[t.size() - 1 - l].hi == r[l].hi);
  }
  std::vector<clustered_sums> spread(t.size(), clustered_sums{33});
  for (std::size_t l = 0; l < t.size(); ++l)
    for (index c = 0; c < 16; ++c) spread[l].add_sum(2 * c + 1, t[l].sum(c), t[l].count(c));
  const auto again = rank_intervals(spread, {.seed = 5});
  resect::fingerprint here, there, other;
  const auto elsewhere = rank_intervals(t, {.seed = 6});
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
  const auto t = table({1, 1.2, 0.8}, 9, 2.0, 6);
  constexpr index resamples = 200;
  std::vector<std::vector<index>> ranks(3);
  const resect::random::philox_stream stream{17, detail::rank_stream};
  for (index b = 0; b < resamples; ++b) {
    long double sum[3] = {};
    for (index g = 0; g < 9; ++g) {
      const auto c =
          static_cast<index>(resect::random::integer_below(stream, static_cast<std::uint64_t>(b * 9 + g), 9));
      for (std::size_t l = 0; l < 3; ++l) sum[l] += t[l].sum(c);
    }
    for (std::size_t l = 0; l < 3; ++l) {
      index rank = 1;
      for (std::size_t k = 0; k < 3; ++k) rank += sum[k] > sum[l];
      ranks[l].push_back(rank);
    }
  }
  const auto r = rank_intervals(t, {.seed = 17, .resamples = resamples});
  for (std::size_t l = 0; l < 3; ++l) {
    std::sort(ranks[l].begin(), ranks[l].end());
    CHECK(r[l].lo == ranks[l][4]);    // the 5th of 200: 2.5 %
    CHECK(r[l].hi == ranks[l][194]);  // the 195th: 97.5 %
  }
}

TEST_CASE("five clusters give ranks without intervals; layers of different tokens and bad options are errors") {
  const auto few = rank_intervals(table({1, 2, 3}, 5, 0.1, 7));
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
