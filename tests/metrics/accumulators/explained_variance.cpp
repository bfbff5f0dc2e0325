// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/explained_variance.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

struct sample {
  std::vector<std::vector<float>> x, fit;
  std::vector<index_t> cluster;
};

// Rows of `width` about an offset, with an effect of their cluster; the fit leaves `noise` of each element.
sample make_sample(index_t clusters, index_t rows, index_t width, float offset, double noise, std::uint64_t seed) {
  sample s;
  draws d{seed};
  std::vector<std::vector<double>> effect(static_cast<std::size_t>(clusters));
  for (auto& e : effect)
    for (index_t j = 0; j < width; ++j) e.push_back(0.5 * d.gauss());
  for (index_t i = 0; i < rows; ++i) {
    const index_t c = d.below(clusters);
    std::vector<float> x, fit;
    const double size = 1 + 0.5 * d.uniform();
    for (index_t j = 0; j < width; ++j) {
      const double v = effect[static_cast<std::size_t>(c)][static_cast<std::size_t>(j)] + size * d.gauss();
      x.push_back(offset + static_cast<float>(v));
      fit.push_back(x.back() + static_cast<float>(noise * d.gauss()));
    }
    s.x.push_back(x);
    s.fit.push_back(fit);
    s.cluster.push_back(c);
  }
  return s;
}

explained_variance whole(const sample& s, index_t clusters, index_t width) {
  explained_variance e{clusters, width};
  for (std::size_t i = 0; i < s.x.size(); ++i) e.add(s.cluster[i], s.x[i], s.fit[i]);
  return e;
}

double two_pass_fvu(const sample& s, index_t width) {
  long double residual = 0, total = 0;
  for (index_t k = 0; k < width; ++k) {
    const std::size_t j = static_cast<std::size_t>(k);
    long double mean = 0;
    for (const auto& x : s.x) mean += x[j];
    mean /= static_cast<long double>(s.x.size());
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      const long double v = s.x[i][j], e = v - static_cast<long double>(s.fit[i][j]);
      residual += e * e;
      total += (v - mean) * (v - mean);
    }
  }
  return static_cast<double>(residual / total);
}

}  // namespace

TEST_CASE("FVU equals two passes in long double, at every common offset of the rows") {
  for (const float offset : {0.0f, 1.0f, -300.0f, 1e5f}) {
    const sample s = make_sample(9, 300, 13, offset, 0.3, 1);
    const explained_variance e = whole(s, 9, 13);
    INFO("offset " << offset);
    CHECK(e.fvu().value == Approx(two_pass_fvu(s, 13)).epsilon(1e-12));
    CHECK(e.estimate().value == 1 - e.fvu().value);
    CHECK(e.estimate().lo == 1 - e.fvu().hi);
    CHECK(e.estimate().n == 300);
  }
}

TEST_CASE("a perfect reconstruction explains everything, the mean row nothing, and worse than that is negative") {
  const sample s = make_sample(8, 160, 5, 2, 0, 2);
  explained_variance perfect{8, 5}, mean{8, 5}, bad{8, 5};
  std::vector<double> m(5);
  for (const auto& x : s.x)
    for (std::size_t j = 0; j < 5; ++j) m[j] += static_cast<double>(x[j]) / 160;
  std::vector<float> mean_row(m.begin(), m.end()), far(5, 50.0f);
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    perfect.add(s.cluster[i], s.x[i], s.x[i]);
    mean.add(s.cluster[i], s.x[i], mean_row);
    bad.add(s.cluster[i], s.x[i], far);
  }
  CHECK(perfect.estimate().value == 1);
  CHECK(perfect.estimate().se == 0);
  CHECK(std::fabs(mean.estimate().value) < 1e-7);
  CHECK(bad.estimate().value < -1);
}

TEST_CASE("explained variance merges over any partition, split clusters included, to 1e-12") {
  for (const float offset : {0.0f, 1e4f}) {
    const sample s = make_sample(7, 400, 6, offset, 0.5, 3);
    const auto make = [] { return explained_variance{7, 6}; };
    const auto feed = [&](explained_variance& e, index_t i) {
      const std::size_t k = static_cast<std::size_t>(i);
      e.add(s.cluster[k], s.x[k], s.fit[k]);
    };
    const auto one = one_pass(400, make, feed);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto merged = merged_from_parts(seed, 1 + static_cast<int>(seed % 7), 400, make, feed);
      CHECK(same_estimate(one.fvu(), merged.fvu()));
    }
  }
}

TEST_CASE("the interval agrees with the jackknife that takes the mean anew without each cluster") {
  const sample s = make_sample(40, 1200, 4, 1, 0.6, 4);
  double sum = 0, squares = 0;
  for (index_t left = 0; left < 40; ++left) {
    sample rest;
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (s.cluster[i] == left) continue;
      rest.x.push_back(s.x[i]);
      rest.fit.push_back(s.fit[i]);
    }
    const double v = two_pass_fvu(rest, 4);
    sum += v;
    squares += v * v;
  }
  const double jackknife = std::sqrt(39.0 / 40 * (squares - sum * sum / 40));
  CHECK(whole(s, 40, 4).fvu().se == Approx(jackknife).epsilon(0.06));
}

TEST_CASE("the clustered interval of FVU covers the population's value in 95 % of simulations") {
  // Elements of variance 0.25 (cluster) + E[(1 + u/2)²] (token), residual 0.36: FVU = 0.36/(0.25 + 19/12).
  const double truth = 0.36 / (0.25 + 19.0 / 12);
  int covered = 0;
  constexpr int runs = 1000;
  for (int i = 0; i < runs; ++i) {
    const estimate e = whole(make_sample(24, 24 * 12, 3, 0, 0.6, 1000 + static_cast<std::uint64_t>(i)), 24, 3).fvu();
    covered += e.lo <= truth && truth <= e.hi;
  }
  std::printf("coverage of FVU, 24 clusters: %.3f\n", covered / double{runs});
  CHECK(covered >= 0.925 * runs);
  CHECK(covered <= 0.975 * runs);
}

TEST_CASE("no variance, no rows, NaN, wrong lengths and clusters outside the range are not applicable") {
  explained_variance constant{6, 2};
  const std::vector<float> x{1, 2}, y{1, 3}, longer{1, 2, 3};
  for (index_t c = 0; c < 6; ++c) constant.add(c, x, y);
  CHECK(std::isnan(constant.fvu().value));
  CHECK(std::isnan(explained_variance(6, 2).fvu().value));
  explained_variance good{6, 2};
  for (index_t c = 0; c < 6; ++c) good.add(c, std::vector<float>{static_cast<float>(c), 1}, x);
  REQUIRE(good.fvu().has_interval());
  auto length = good, outside = good, missing = good;
  length.add(0, longer, longer);
  outside.add(6, x, y);
  missing.add(0, std::vector<float>{std::nanf(""), 1}, x);
  for (const auto* e : {&length, &outside, &missing}) {
    CHECK(std::isnan(e->fvu().value));
    CHECK_FALSE(e->estimate().has_interval());
  }
  CHECK(outside.rejected() == 1);
  auto both = outside;
  REQUIRE(both.merge(outside));
  CHECK(both.rejected() == 2);
  CHECK(good.merge(explained_variance{6, 3}).error().code == resect::errc::shape_mismatch);
  CHECK(good.merge(explained_variance{5, 2}).error().code == resect::errc::shape_mismatch);
  CHECK(good.fvu().n == 6);
}

TEST_CASE("first rows that lie far from the others cost nothing: merges and the truth to 1e-12 at 262,144 rows") {
  constexpr index_t rows = 262144, clusters = 8, columns = 5;
  std::vector<float> x(rows * columns), xhat(rows * columns);
  resect::random::fill_gaussian(x, 1, 0);
  resect::random::fill_gaussian(xhat, 1, 1, 0, 0.5);
  for (std::size_t i = 0; i < clusters * columns; ++i) x[i] += 1e4F;  // the first row of each cluster
  for (std::size_t i = 0; i < x.size(); ++i) xhat[i] += x[i];
  std::vector<long double> mean(columns);
  long double squares = 0, residual = 0;
  for (std::size_t i = 0; i < x.size(); ++i) mean[i % columns] += static_cast<long double>(x[i]) / rows;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double v = static_cast<long double>(x[i]) - mean[i % columns];
    const long double e = static_cast<long double>(x[i]) - static_cast<long double>(xhat[i]);
    squares += v * v;
    residual += e * e;
  }
  const auto row = [&](const std::vector<float>& a, index_t r) {
    return std::span<const float>(a.data() + r * columns, columns);
  };
  for (const index_t g : {clusters, index_t{1}}) {  // one cluster: its first row is far off, and so are seven more
    const auto make = [&] { return explained_variance{g, columns}; };
    const auto feed = [&](explained_variance& a, index_t r) { a.add(r % g, row(x, r), row(xhat, r)); };
    const explained_variance whole = tests::one_pass(rows, make, feed);
    CHECK(std::fabs(whole.fvu().value / static_cast<double>(residual / squares) - 1) < 1e-12);
    for (const std::uint64_t seed : {1U, 2U}) {
      const explained_variance merged = tests::merged_from_parts(seed, 6, rows, make, feed);
      CHECK(tests::same_estimate(merged.fvu(), whole.fvu()));
    }
  }
}

}  // namespace tests
