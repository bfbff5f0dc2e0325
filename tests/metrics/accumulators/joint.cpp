// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/joint.hpp>

#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

TEST_CASE("a ratio to the count is the clustered mean, standard error and interval included") {
  joint_sums<2> j{20};
  clustered_sums s{20};
  draws d{1};
  for (int i = 0; i < 900; ++i) {
    const index_t c = d.below(17);
    const double v = 5 + d.gauss() + 0.2 * static_cast<double>(c);
    j.add(c, v, 1);
    s.add(c, v);
  }
  CHECK(same_estimate(j.estimate(ratio_of_totals{}), s.estimate(), 1e-11));
  CHECK(j.estimate(ratio_of_totals{}, 0.8).hi == Approx(s.estimate(0.8).hi).epsilon(1e-11));
}

TEST_CASE("a function of three totals: the delta method agrees with the jackknife over clusters") {
  joint_sums<3> j{60};
  draws d{2};
  for (index_t c = 0; c < 60; ++c)
    for (int i = 0; i < 20; ++i) {
      const double x = d.gauss() + 0.3 * static_cast<double>(c % 4), y = 0.8 * x + 0.5 * d.gauss();
      j.add(c, x * y, x * x, y * y);
    }
  const auto cosine = [](const double(&t)[3], double(&g)[3]) {
    const double size = std::sqrt(t[1] * t[2]), v = t[0] / size;
    g[0] = 1 / size;
    g[1] = -v / (2 * t[1]);
    g[2] = -v / (2 * t[2]);
    return v;
  };
  double sum = 0, squares = 0;
  for (index_t left = 0; left < 60; ++left) {
    double t[3] = {}, g[3];
    for (index_t c = 0; c < 60; ++c)
      for (std::size_t k = 0; k < 3; ++k) t[k] += c == left ? 0 : j.sum(c, k);
    const double v = cosine(t, g);
    sum += v;
    squares += v * v;
  }
  const double jackknife = std::sqrt(59.0 / 60 * (squares - sum * sum / 60));
  CHECK(j.estimate(cosine).se == Approx(jackknife).epsilon(0.03));
}

TEST_CASE("a total, which is no ratio, has the standard error of a sum of clusters about their mean") {
  joint_sums<1> j{10};
  double sum = 0, squares = 0;
  for (index_t c = 0; c < 8; ++c) {  // the two empty clusters are none
    const double v = 100 + static_cast<double>(c * c);
    j.add(c, v);
    sum += v;
    squares += v * v;
  }
  const estimate e = j.estimate([](const double(&t)[1], double(&g)[1]) {
    g[0] = 1;
    return t[0];
  });
  CHECK(e.value == sum);
  CHECK(e.se == Approx(std::sqrt(8.0 / 7 * (squares - sum * sum / 8))).epsilon(1e-12));
}

TEST_CASE("joint sums merge to one pass over any partition of the observations, and clusters may be split") {
  const auto make = [] { return joint_sums<3>{7}; };
  const auto feed = [](joint_sums<3>& a, index_t i) {
    draws d{3, static_cast<std::uint64_t>(i)};
    const double x = 1e6 + d.gauss();
    a.add(d.below(7), x, 1 + d.uniform(), 1e-6 * d.gauss());
  };
  const auto f = [](const double(&t)[3], double(&g)[3]) {
    g[0] = 1 / t[1];
    g[1] = -t[0] / (t[1] * t[1]);
    g[2] = 1;
    return t[0] / t[1] + t[2];
  };
  const auto whole = one_pass(500, make, feed);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto merged = merged_from_parts(seed, 4, 500, make, feed);
    CHECK(same_estimate(whole.estimate(f), merged.estimate(f)));
  }
}

TEST_CASE("no interval below six clusters, none at all with a rejected one, NaN where the function is undefined") {
  for (index_t g = 0; g < 9; ++g) {
    joint_sums<2> j{9};
    for (index_t c = 0; c < g; ++c) j.add(c, static_cast<double>(c), 2);
    const estimate e = j.estimate(ratio_of_totals{});
    CHECK(e.n_clusters == g);
    CHECK(e.has_interval() == (g >= 6));
    CHECK(std::isnan(e.value) == (g == 0));
    CHECK(std::isnan(e.se) == (g < 2));
  }
  joint_sums<2> zero{8}, outside{8};
  for (index_t c = 0; c < 8; ++c) {
    zero.add(c, 1, 0);
    outside.add(c, 1, 1);
  }
  CHECK(std::isnan(zero.estimate(ratio_of_totals{}).value));
  for (const index_t bad : {index_t{-1}, index_t{8}}) outside.add(bad, 1, 1);
  CHECK(outside.rejected() == 2);
  CHECK(std::isnan(outside.estimate(ratio_of_totals{}).value));
  CHECK(zero.merge(joint_sums<2>{7}).error().code == resect::errc::shape_mismatch);
}

}  // namespace tests
