// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/cosine_profile.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// Cosines of a run whose rows are hardly turned, some far: 1 − c from 1e-12 to 2.
std::vector<double> sample(int n) {
  draws d{1};
  std::vector<double> out;
  for (int i = 0; i < n; ++i) out.push_back(1 - std::min(2.0, 1e-5 * d.lognormal(4)));
  return out;
}

}  // namespace

TEST_CASE("a quantile of cosines is the order statistic to a 64th of its distance from 1, whichever p") {
  auto c = sample(4001);
  cosine_profile a(20);
  for (std::size_t i = 0; i < c.size(); ++i) a.add(static_cast<index_t>(i % 20), c[i]);
  std::sort(c.begin(), c.end());
  for (const double p : {0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.99, 1.0}) {
    const double wanted = c[static_cast<std::size_t>(std::max(1.0, std::ceil(p * 4001))) - 1];
    CHECK(std::fabs(a.quantile(p) - wanted) <= (1 - wanted) / 64 + 0x1p-52);
  }
  CHECK(a.min() == c.front());
  CHECK(a.max() == c.back());
  CHECK(a.quantile(0) == a.min());
  CHECK(a.quantile(1) == a.max());
  CHECK(a.p01() <= a.p05());
  CHECK(a.p05() <= a.median());
  CHECK(a.estimate().n == 4001);
  CHECK(a.estimate().value == a.mean().estimate().value);
}

TEST_CASE("the low quantile sees one bad row in fifty that the mean hides") {
  cosine_profile a(10);
  for (index_t i = 0; i < 1000; ++i) a.add(i % 10, i % 50 == 0 ? 0.1 : 0.9999);
  CHECK(a.estimate().value > 0.98);
  CHECK(a.p01() == Approx(0.1).margin(0.9 / 64));
  CHECK(a.p05() == Approx(0.9999).margin(0.0001 / 64));
}

TEST_CASE("sketches of cosines merge exactly over any partition; rows are taken as the cosine of them") {
  const auto c = sample(600);
  const auto make = [] { return cosine_profile{12}; };
  const auto feed = [&](cosine_profile& a, index_t i) { a.add(i % 12, c[static_cast<std::size_t>(i)]); };
  const cosine_profile whole = one_pass(600, make, feed);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const cosine_profile merged = merged_from_parts(seed, 6, 600, make, feed);
    CHECK(same_estimate(merged.estimate(), whole.estimate()));
    for (const double p : {0.0, 0.01, 0.5, 0.9, 1.0}) CHECK(merged.quantile(p) == whole.quantile(p));
  }
  cosine_profile rows(6);
  const std::vector<float> x{3, 4}, y{4, 3}, minus{-3, -4};
  rows.add(0, x, y);
  CHECK(rows.median() == Approx(0.96).epsilon(1e-15));
  rows.add(1, x, minus);
  CHECK(rows.min() == -1);
  rows.add(1, x, std::vector<float>{1});
  CHECK(std::isnan(rows.median()));
  CHECK(std::isnan(rows.estimate().value));
  CHECK(std::isnan(cosine_profile{6}.median()));
  CHECK(std::isnan(rows.quantile(1.5)));
  CHECK_FALSE(cosine_profile{6}.merge(cosine_profile{7}));
}

}  // namespace tests
