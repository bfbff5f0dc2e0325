// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/kl_profile.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

TEST_CASE("quantiles of KL are those of the sorted values to 1/64, the maximum exact, the mean that of kl_divergence") {
  kl_profile p{16};
  kl_divergence mean{16};
  std::vector<double> values;
  draws d{1};
  for (index_t i = 0; i < 5000; ++i) {
    const double kl = d.lognormal(2) * 1e-3;
    p.add(i % 16, kl);
    mean.add(i % 16, kl);
    values.push_back(kl);
  }
  std::sort(values.begin(), values.end());
  const auto sorted = [&](double share) {
    return values[static_cast<std::size_t>(std::ceil(share * 5000 - 1e-9)) - 1];
  };
  CHECK(same_estimate(p.estimate(), mean.estimate(), 0));
  CHECK(p.median() == Approx(sorted(0.5)).epsilon(1.0 / 64));
  CHECK(p.p90() == Approx(sorted(0.9)).epsilon(1.0 / 64));
  CHECK(p.p95() == Approx(sorted(0.95)).epsilon(1.0 / 64));
  CHECK(p.p99() == Approx(sorted(0.99)).epsilon(1.0 / 64));
  CHECK(p.p999() == Approx(sorted(0.999)).epsilon(1.0 / 64));
  CHECK(p.max() == values.back());
  CHECK(p.median() < p.p90());
  CHECK(p.p99() < p.p999());
}

TEST_CASE("a KL profile merges exactly; NaN spoils it and infinity is its maximum") {
  const auto make = [] { return kl_profile{6}; };
  const auto feed = [](kl_profile& p, index_t i) { p.add(i % 6, draws{2, static_cast<std::uint64_t>(i)}.uniform()); };
  const auto whole = one_pass(400, make, feed);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto merged = merged_from_parts(seed, 5, 400, make, feed);
    CHECK(same_estimate(whole.estimate(), merged.estimate()));
    for (const double q : {0.0, 0.1, 0.5, 0.9, 0.999, 1.0}) CHECK(whole.quantile(q) == merged.quantile(q));
  }
  auto infinite = whole;
  infinite.add(0, std::numeric_limits<double>::infinity());
  CHECK(infinite.max() == std::numeric_limits<double>::infinity());
  CHECK(infinite.median() == whole.median());
  CHECK_FALSE(infinite.estimate().has_interval());
  auto bad = whole;
  bad.add(0, std::nan(""));
  CHECK(std::isnan(bad.median()));
  CHECK(std::isnan(bad.estimate().value));
  CHECK(std::isnan(kl_profile{6}.median()));
  CHECK(bad.merge(kl_profile{7}).error().code == resect::errc::shape_mismatch);
}

}  // namespace tests
