// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/contrast.hpp>

#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// Three quantities of the same tokens, in clusters of 2, 3, 4, … tokens.
std::vector<clustered_sums> three(index_t clusters, double shared) {
  draws d{7};
  std::vector<clustered_sums> out(3, clustered_sums(clusters));
  for (index_t c = 0; c < clusters; ++c)
    for (index_t t = 0; t < 2 + c % 5; ++t) {
      const double common = shared * std::exp(0.5 * d.gauss());
      for (std::size_t i = 0; i < 3; ++i)
        out[i].add(c, common * static_cast<double>(i + 1) + 0.1 * std::exp(0.2 * d.gauss()));
    }
  return out;
}

}  // namespace

TEST_CASE("a contrast of 1 and -1 is the paired difference") {
  const auto x = three(20, 1);
  const auto got = value_or_throw(try_contrast(std::vector{x[1], x[0]}, std::vector<double>{1, -1}));
  const auto wanted = value_or_throw(clustered_sums::difference(x[1], x[0])).estimate();
  CHECK(got.value == Approx(wanted.value).epsilon(1e-12));
  CHECK(got.se == Approx(wanted.se).epsilon(1e-10));
  CHECK(got.lo == Approx(wanted.lo).epsilon(1e-10));
  CHECK(got.hi == Approx(wanted.hi).epsilon(1e-10));
}

TEST_CASE("a contrast of logarithms is that of the delta method, leaving one cluster out agrees with it") {
  const auto x = three(200, 1);
  const std::vector<double> k{0.5, 0.5, -1};
  const auto got = value_or_throw(try_log_contrast(x, k));
  const auto value_without = [&](index_t left_out) {
    double value = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      double sum = 0, n = 0;
      for (index_t c = 0; c < 200; ++c)
        if (c != left_out) {
          sum += x[i].sum(c);
          n += static_cast<double>(x[i].count(c));
        }
      value += k[i] * std::log(sum / n);
    }
    return value;
  };
  CHECK(got.value == Approx(value_without(-1)).epsilon(1e-12));
  double squares = 0;
  for (index_t c = 0; c < 200; ++c) squares += std::pow(value_without(c) - got.value, 2);
  const double jackknife = std::sqrt(199.0 / 200.0 * squares);
  CHECK(got.se == Approx(jackknife).epsilon(0.03));
  CHECK(got.hi - got.value == Approx(student_t_quantile(0.975, 199) * got.se).epsilon(1e-9));
}

TEST_CASE("a ratio of a quantity to itself is 1 without spread; one of a mean of 0 has no value") {
  const auto x = three(12, 1);
  const auto same = map_exp(value_or_throw(try_log_contrast(std::vector{x[0], x[0]}, std::vector<double>{1, -1})));
  CHECK(same.value == 1);
  CHECK(same.hi - same.lo == Approx(0).margin(1e-12));
  clustered_sums none(12);
  for (index_t c = 0; c < 12; ++c) none.add_sum(c, 0, x[0].count(c));
  const auto of_none = value_or_throw(try_log_contrast(std::vector{x[0], none}, std::vector<double>{1, -1}));
  CHECK(std::isnan(of_none.value));
  CHECK(!of_none.has_interval());
}

TEST_CASE("a contrast refuses lists that do not fit, and other tokens") {
  const auto x = three(12, 1);
  CHECK(try_contrast({}, {}).error().code == resect::errc::shape_mismatch);
  CHECK(try_contrast(x, std::vector<double>{1, -1}).error().code == resect::errc::shape_mismatch);
  auto other = x;
  other[2].add(3, 1);
  CHECK(try_log_contrast(other, std::vector<double>{1, 1, 1}).error().code == resect::errc::shape_mismatch);
}

}  // namespace tests
