// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/column_mean.hpp>

#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using resect::index_t;
using resect::metrics::column_mean;

TEST_CASE("the mean row is the long double mean of each column, in one pass and from any partition") {
  constexpr index_t n = 200, width = 11;
  const auto fill = [](index_t i) {
    std::vector<float> x(static_cast<std::size_t>(width));
    resect::random::fill_gaussian(x, static_cast<std::uint64_t>(i), 3);
    x[4] += 1e7f;
    return x;
  };
  long double total[width] = {};
  for (index_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < static_cast<std::size_t>(width); ++j) total[j] += fill(i)[j];
  const auto make = [] { return column_mean{width}; };
  const auto feed = [&](column_mean& m, index_t i) { m.add(fill(i)); };
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const auto m = seed == 0 ? one_pass(n, make, feed) : merged_from_parts(seed, 5, n, make, feed);
    CHECK(m.count() == n);
    for (index_t j = 0; j < width; ++j) CHECK(same_number(m[j], static_cast<double>(total[j] / n), 1e-15));
  }
}

TEST_CASE("no rows, a rejected row and other shapes give no mean") {
  column_mean m{3}, wide{4};
  CHECK(std::isnan(m[0]));
  m.add(std::vector<float>{1, 2, 3});
  CHECK(m[1] == 2);
  CHECK(m.merge(wide).error().code == resect::errc::shape_mismatch);
  std::vector<double> out(2, 7.0);
  CHECK(m.write(out).error().code == resect::errc::shape_mismatch);
  CHECK(out[0] == 7.0);
  m.add(std::vector<float>{1, 2});
  CHECK(m.rejected() == 1);
  CHECK(std::isnan(m[1]));
}

}  // namespace tests
