// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/cosine.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

std::vector<float> row(int n, std::uint64_t seed, double sd = 1) {
  std::vector<float> x(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(x, seed, 0, 0, sd);
  return x;
}

}  // namespace

TEST_CASE("cosine: equal rows 1, opposite −1, orthogonal 0, scale free, symmetric") {
  for (const int n : {1, 7, 8, 9, 576, 4096}) {
    const auto a = row(n, 3), b = row(n, 4);
    auto minus = a, scaled = a;
    for (float& v : minus) v = -v;
    for (float& v : scaled) v *= 1024;
    CHECK(cosine(a, a) == 1);
    CHECK(cosine(a, minus) == -1);
    CHECK(cosine(scaled, b) == cosine(a, b));
    CHECK(cosine(a, b) == cosine(b, a));
    CHECK(std::fabs(cosine(a, b)) <= 1);
  }
  CHECK(cosine(std::vector<float>{1, 0}, std::vector<float>{0, 3}) == 0);
  CHECK(cosine(std::vector<float>{1, 1}, std::vector<float>{1, 0}) == Approx(std::sqrt(0.5)).epsilon(1e-15));
  CHECK(cosine(std::vector<float>{3e38f, 3e38f}, std::vector<float>{3e38f, 0}) ==
        Approx(std::sqrt(0.5)).epsilon(1e-15));
  CHECK(cosine(std::vector<float>{1e-45f, 1e-45f}, std::vector<float>{1e-45f, 0}) ==
        Approx(std::sqrt(0.5)).epsilon(1e-15));
}

TEST_CASE("zero rows: two are equal (1), one is unlike anything (0); NaN and unequal lengths are NaN") {
  const std::vector<float> zero(5), a = row(5, 5), bad{1, 2, std::numeric_limits<float>::quiet_NaN(), 4, 5};
  CHECK(cosine(zero, zero) == 1);
  CHECK(cosine(zero, a) == 0);
  CHECK(cosine(a, zero) == 0);
  CHECK(cosine(std::vector<float>{}, std::vector<float>{}) == 1);
  CHECK(std::isnan(cosine(bad, a)));
  CHECK(std::isnan(cosine(a, bad)));
  CHECK(std::isnan(cosine(zero, bad)));
  CHECK(std::isnan(cosine(bad, zero)));
  CHECK(std::isnan(cosine(a, row(6, 5))));
}

TEST_CASE("the mean cosine is the mean over rows, not the pooled cosine, and merges to one pass") {
  mean_cosine m{6};
  // One long row at cosine 0, five short ones at 1: the mean is 5/6, the pooled cosine near 0.
  m.add(0, std::vector<float>{1000, 0}, std::vector<float>{0, 1000});
  for (index_t c = 1; c < 6; ++c) m.add(c, std::vector<float>{1, 0}, std::vector<float>{2, 0});
  CHECK(m.estimate().value == Approx(5.0 / 6).epsilon(1e-15));
  CHECK(m.estimate().has_interval());

  const auto feed = [&](mean_cosine& a, index_t i) {
    a.add(i % 9, row(64, 100 + static_cast<std::uint64_t>(i)), row(64, 1000 + static_cast<std::uint64_t>(i % 50)));
  };
  const auto whole = tests::one_pass(300, [] { return mean_cosine{9}; }, feed);
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    CHECK(tests::same_estimate(
        tests::merged_from_parts(seed, 5, 300, [] { return mean_cosine{9}; }, feed).estimate(), whole.estimate()));
}

}  // namespace tests
