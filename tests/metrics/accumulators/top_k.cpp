// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/top_k.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// By a stable sort of all: larger first, equal by id.
std::vector<index_t> sorted_ids(const std::vector<float>& row) {
  std::vector<index_t> ids;
  for (std::size_t i = 0; i < row.size(); ++i) ids.push_back(static_cast<index_t>(i));
  std::stable_sort(ids.begin(), ids.end(), [&](index_t a, index_t b) {
    return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
  });
  return ids;
}

std::vector<float> few_values(index_t n, index_t distinct, std::uint64_t seed) {
  draws d{seed};
  std::vector<float> row;
  for (index_t i = 0; i < n; ++i) row.push_back(static_cast<float>(d.below(distinct)));
  return row;
}

}  // namespace

TEST_CASE("the k largest ids are those of a full stable sort, for every k, with and without equal values") {
  for (const index_t n : {1, 2, 5, 64, 200})
    for (const index_t distinct : {1, 3, 50, 1000000})
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        auto row = few_values(n, distinct, seed);
        if (seed == 1) row[0] = -std::numeric_limits<float>::infinity();
        if (seed == 2) std::sort(row.begin(), row.end());
        const auto wanted = sorted_ids(row);
        for (index_t k = 0; k <= n; k += 1 + k / 8) {
          std::vector<index_t> ids(static_cast<std::size_t>(k));
          REQUIRE(try_top_k(row, ids));
          REQUIRE(std::equal(ids.begin(), ids.end(), wanted.begin()));
        }
      }
}

TEST_CASE("the overlap is that of the two sets, and a tie is what straddles the cut") {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const index_t n = 40;
    const auto p = few_values(n, seed % 2 ? 6 : 100000, seed), q = few_values(n, 9, seed + 1000);
    for (const index_t k : {index_t{1}, index_t{3}, index_t{10}, index_t{40}}) {
      std::vector<index_t> work(static_cast<std::size_t>(2 * k));
      const auto a = sorted_ids(p), b = sorted_ids(q);
      index_t shared = 0;
      for (index_t i = 0; i < k; ++i) shared += std::count(b.begin(), b.begin() + k, a[static_cast<std::size_t>(i)]);
      const auto straddles = [&](const std::vector<float>& row, const std::vector<index_t>& ids) {
        return k < n && row[static_cast<std::size_t>(ids[static_cast<std::size_t>(k - 1)])] ==
                            row[static_cast<std::size_t>(ids[static_cast<std::size_t>(k)])];
      };
      const auto got = top_k_shared(p, q, work);
      INFO("seed " << seed << " k " << k);
      REQUIRE(got.shared == shared);
      REQUIRE(got.tie == (straddles(p, a) || straddles(q, b)));
    }
  }
}

TEST_CASE("top-k overlap: 1 with itself, k/n by chance, and it merges to one pass") {
  top_k_overlap self{6, 5};
  for (index_t c = 0; c < 6; ++c) {
    const auto row = few_values(30, 1000000, static_cast<std::uint64_t>(c));
    self.add(c, row, row);
  }
  CHECK(self.estimate().value == 1);
  CHECK(self.ties() == 0);
  CHECK(self.k() == 5);

  const auto make = [] { return top_k_overlap{12, 10}; };
  const auto feed = [](top_k_overlap& a, index_t i) {
    a.add(i % 12, few_values(100, 1 << 20, static_cast<std::uint64_t>(2 * i)),
          few_values(100, 1 << 20, static_cast<std::uint64_t>(2 * i + 1)));
  };
  const auto whole = one_pass(600, make, feed);
  CHECK(whole.estimate().lo < 0.1);
  CHECK(whole.estimate().hi > 0.1);
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    CHECK(same_estimate(merged_from_parts(seed, 4, 600, make, feed).estimate(), whole.estimate()));
}

TEST_CASE("NaN, k beyond the row, k = 0 and rows of different lengths have no answer") {
  const std::vector<float> row{3, 1, 2};
  for (std::size_t at = 0; at < 3; ++at) {
    auto bad = row;
    bad[at] = std::numeric_limits<float>::quiet_NaN();
    for (const std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
      std::vector<index_t> ids(k), work(2 * k);
      CHECK(try_top_k(bad, ids).error().code == resect::errc::not_finite);
      CHECK(top_k_shared(row, bad, work).shared == -1);
      CHECK(top_k_shared(bad, row, work).shared == -1);
    }
  }
  std::vector<index_t> four(4), eight(8), three(3), two(2);
  CHECK(try_top_k(row, four).error().code == resect::errc::shape_mismatch);
  CHECK_THROWS_AS(top_k(row, four), resect::exception);
  CHECK(top_k_shared(row, row, eight).shared == -1);
  CHECK(top_k_shared(row, row, three).shared == -1);
  CHECK(top_k_shared(row, std::vector<float>{1, 2}, two).shared == -1);
  top_k_overlap none{6, 0}, wide{6, 4}, ok{6, 2};
  none.add(0, row, row);
  wide.add(0, row, row);
  ok.add(0, row, row);
  CHECK(std::isnan(none.estimate().value));
  CHECK(std::isnan(wide.estimate().value));
  CHECK(ok.estimate().value == 1);
  CHECK(ok.merge(wide).error().code == resect::errc::shape_mismatch);
  CHECK(ok.merge(top_k_overlap{7, 2}).error().code == resect::errc::shape_mismatch);
}

}  // namespace tests
