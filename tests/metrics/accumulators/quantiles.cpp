// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/quantiles.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using resect::index_t;
using resect::metrics::log_histogram;

TEST_CASE("a quantile of the sketch is within 1/64 of the order statistic it stands for, over 250 powers of two") {
  for (const double sigma : {0.001, 0.5, 2.0, 12.0}) {
    tests::draws d{1};
    std::vector<double> x;
    log_histogram h;
    for (int i = 0; i < 5000; ++i) {
      x.push_back(d.lognormal(sigma));
      h.add(x.back());
    }
    std::sort(x.begin(), x.end());
    for (const double p : {0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(p * 5000)));
      CHECK(std::fabs(h.quantile(p) / x[rank - 1] - 1) <= 1.0 / 64);
    }
    CHECK(h.quantile(1) == x.back());
    CHECK(h.max() == x.back());
    CHECK(h.min() == x.front());
  }
}

TEST_CASE("every bin edge: a value alone is its own median, and neighbours are told apart beyond 1/32") {
  for (int e = -126; e <= 127; e += 11)
    for (int k = 0; k < 32; ++k) {
      const double lower = std::ldexp(1 + k / 32.0, e);
      log_histogram h;
      for (int i = 0; i < 9; ++i) h.add(lower);
      h.add(std::nextafter(lower, 0.0));
      h.add(2 * lower);
      CHECK(std::fabs(h.quantile(0.5) / lower - 1) <= 1.0 / 64);
      CHECK(h.quantile(0.05) < lower);
    }
}

TEST_CASE("merging sketches is exact for any partition") {
  tests::draws d{2};
  std::vector<double> x;
  for (int i = 0; i < 4000; ++i) x.push_back(i % 100 == 0 ? 0.0 : d.lognormal(3));
  const auto make = [] { return log_histogram{}; };
  const auto feed = [&](log_histogram& h, index_t i) { h.add(x[static_cast<std::size_t>(i)]); };
  const auto whole = tests::one_pass(4000, make, feed);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto merged = tests::merged_from_parts(seed, 6, 4000, make, feed);
    for (double p = 0; p <= 1; p += 0.01) REQUIRE(merged.quantile(p) == whole.quantile(p));
    CHECK(merged.count() == 4000);
    CHECK(merged.max() == whole.max());
  }
}

TEST_CASE("zeros, infinities, negative values and NaN") {
  log_histogram h;
  CHECK(std::isnan(h.quantile(0.5)));
  for (int i = 0; i < 6; ++i) h.add(0.0);
  h.add(1e-300);
  for (int i = 0; i < 4; ++i) h.add(2.0);
  CHECK(h.quantile(0.5) == 0);
  CHECK(h.quantile(0.9) == Approx(2).epsilon(1.0 / 64));
  h.add(std::numeric_limits<double>::infinity());
  CHECK(h.quantile(1) == std::numeric_limits<double>::infinity());
  CHECK(h.quantile(0.5) == 0);
  CHECK(std::isnan(h.quantile(-0.1)));
  CHECK(std::isnan(h.quantile(1.1)));
  for (const double bad : {-1.0, std::nan("")}) {
    log_histogram g = h;
    g.add(bad);
    CHECK(g.invalid() == 1);
    CHECK(std::isnan(g.quantile(0.5)));
    CHECK(std::isnan(g.max()));
    log_histogram merged = h;
    merged.merge(g);
    CHECK(std::isnan(merged.quantile(0.5)));
  }
}

TEST_CASE("a signed histogram has the quantiles of values on both sides of zero") {
  log_histogram h{log_histogram::signed_values{}};
  std::vector<double> values;
  draws d{5, 9};
  for (int i = 0; i < 4000; ++i) values.push_back(d.gauss() * 0.01 + 0.002);
  for (const double x : values) h.add(x);
  std::sort(values.begin(), values.end());
  for (const double p : {0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0}) {
    const double want = values[static_cast<std::size_t>(resect::metrics::quantile_rank(p, 4000) - 1)];
    INFO("p = " << p);
    CHECK(std::fabs(h.quantile(p) - want) <= std::fabs(want) / 64 + 1e-15);
  }
  CHECK(h.min() == values.front());
  CHECK(h.max() == values.back());
  log_histogram all{log_histogram::signed_values{}};
  all.merge(h);
  CHECK(all.quantile(0.3) == h.quantile(0.3));
  log_histogram plain;
  plain.add(-1e-9);
  CHECK(std::isnan(plain.quantile(0.5)));
  log_histogram unsigned_one;
  unsigned_one.add(1.0);
  unsigned_one.merge(h);
  CHECK(std::isnan(unsigned_one.quantile(0.5)));
}

}  // namespace tests
