// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/intervals/resample.hpp>

#include <vector>

#include <resect/metrics/intervals/estimate.hpp>

#include <support/catch.hpp>

namespace tests {

using resect::index_t;
namespace detail = resect::metrics::detail;

TEST_CASE("the replicate that stands for a share is the ceiling of share times n, whatever 0.025 rounds to") {
  CHECK(detail::replicate_at(0.5 - 0.95 / 2, 1000) == 25);
  CHECK(detail::replicate_at(0.5 + 0.95 / 2, 1000) == 975);
  CHECK(detail::replicate_at(0.5 - 0.95 / 2, 200) == 5);
  CHECK(detail::replicate_at(0.0251, 1000) == 26);
  CHECK(detail::replicate_at(0, 1000) == 1);
  CHECK(detail::replicate_at(1, 1000) == 1000);
  CHECK(detail::replicate_at(0.99999, 3) == 3);
  CHECK(detail::replicate_at(0.1, 1) == 1);
}

TEST_CASE("counts of a replicate are its draws, sum to the clusters, and every cluster comes equally often") {
  constexpr index_t g = 9, replicates = 4000;
  const resect::random::philox_stream stream{3, 1};
  std::vector<index_t> times(9), total(9);
  for (index_t b = 0; b < replicates; ++b) {
    detail::resample_counts(stream, b, times);
    std::vector<index_t> drawn(9);
    for (index_t d = 0; d < g; ++d) ++drawn[static_cast<std::size_t>(detail::resampled(stream, b, d, g, g))];
    REQUIRE(drawn == times);
    index_t sum = 0;
    for (std::size_t c = 0; c < 9; ++c) {
      sum += times[c];
      total[c] += times[c];
    }
    REQUIRE(sum == g);
  }
  for (const index_t t : total) CHECK(t == Approx(4000.0).margin(5 * 60));  // sd √(36000·(1/9)·(8/9)) = 60
}

TEST_CASE("numbers of replicates and levels that are none are refused") {
  const auto bad = resect::errc::invalid_argument;
  CHECK(detail::check_resampling(1, 0.95));
  CHECK(detail::check_resampling(0, 0.95).error().code == bad);
  for (const double level : {0.0, 1.0, -1.0, resect::metrics::nan})
    CHECK(detail::check_resampling(10, level).error().code == bad);
}

}  // namespace tests
