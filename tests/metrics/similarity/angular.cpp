// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/angular.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

std::vector<float> row(int n, std::uint64_t seed) {
  std::vector<float> x(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(x, seed, 21);
  return x;
}

}  // namespace

TEST_CASE("known angles: equal 0, opposite 1, orthogonal one half, sixty degrees one third; scale does not count") {
  for (const int n : {1, 7, 8, 9, 576}) {
    const auto a = row(n, 1);
    auto minus = a, longer = a;
    for (float& v : minus) v = -v;
    for (float& v : longer) v *= 4;
    CHECK(angular_distance(a, a) == 0);
    CHECK(angular_distance(a, longer) == 0);
    CHECK(angular_distance(a, minus) == 1);
    CHECK(angular_distance(a, row(n, 2)) == angular_distance(row(n, 2), a));
  }
  CHECK(angular_distance(std::vector<float>{1, 0}, std::vector<float>{0, 3}) == Approx(0.5).epsilon(1e-15));
  CHECK(angular_distance(std::vector<float>{1, 0, 1}, std::vector<float>{0, 2, 2}) == Approx(1.0 / 3).epsilon(1e-15));
}

TEST_CASE("small angles are kept where the arccos of a cosine has lost them") {
  constexpr double pi = 3.14159265358979323846;
  for (const float small : {1e-3f, 1e-6f, 6e-10f, 1e-14f}) {
    const std::vector<float> a{1, 0, 0}, b{1, small, 0};
    CHECK(angular_distance(a, b) == Approx(std::atan(static_cast<double>(small)) / pi).epsilon(1e-12));
    const std::vector<float> opposite{-1, small, 0};
    CHECK(1 - angular_distance(a, opposite) == Approx(static_cast<double>(small) / pi).epsilon(1e-6).margin(3e-16));
  }
}

TEST_CASE("zero rows, NaN and unequal lengths") {
  const std::vector<float> zero(5), a = row(5, 3), bad{1, 2, std::numeric_limits<float>::quiet_NaN(), 4, 5};
  CHECK(angular_distance(zero, zero) == 0);
  CHECK(angular_distance(zero, a) == 0.5);
  CHECK(angular_distance(a, zero) == 0.5);
  CHECK(std::isnan(angular_distance(bad, a)));
  CHECK(std::isnan(angular_distance(zero, bad)));
  CHECK(std::isnan(angular_distance(bad, zero)));
  CHECK(std::isnan(angular_distance(a, row(6, 3))));
  const std::vector<float> infinite{std::numeric_limits<float>::infinity(), 0, 0, 0, 0};
  CHECK(std::isnan(angular_distance(a, infinite)));
}

TEST_CASE("the last row of every sequence is taken, rows that do not count are passed over, split sequences refused") {
  const auto taken = [](const std::vector<index_t>& sequence) {
    std::vector<index_t> rows;
    const auto s = for_last_rows(sequence, [&](index_t r) { rows.push_back(r); });
    if (!s) {
      CHECK(s.error().code == resect::errc::invalid_argument);
      CHECK(rows.empty());
      rows = {-7};
    }
    return rows;
  };
  using rows = std::vector<index_t>;
  CHECK(taken({5, 5, 5, 2, 2, 9}) == rows{2, 4, 5});
  CHECK(taken({-1, 5, 5, -1, -1, 2, -1}) == rows{2, 5});
  CHECK(taken({5, -1, 5, 2}) == rows{2, 3});
  CHECK(taken({}) == rows{});
  CHECK(taken({-1, -1}) == rows{});
  CHECK(taken({5, 5, 2, 5}) == rows{-7});
  CHECK(taken({1, 2, 3, 1, 4}) == rows{-7});
}

TEST_CASE("the mean angular distance merges to one pass") {
  const auto make = [] { return mean_angular_distance{7}; };
  const auto feed = [](mean_angular_distance& m, index_t i) {
    m.add(i % 7, row(16, static_cast<std::uint64_t>(i)), row(16, static_cast<std::uint64_t>(i + 1)));
  };
  const auto whole = one_pass(100, make, feed);
  CHECK(whole.estimate().value == Approx(0.5).margin(0.03));
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    CHECK(same_estimate(merged_from_parts(seed, 3, 100, make, feed).estimate(), whole.estimate()));
}

}  // namespace tests
