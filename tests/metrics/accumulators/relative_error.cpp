// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/relative_error.hpp>
#include <resect/metrics/rows/counted_rows.hpp>
#include <resect/metrics/similarity/centred_cosine.hpp>
#include <resect/metrics/similarity/pooled_cosine.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/accumulators/column_mean.hpp>
#include <resect/metrics/similarity/cosine.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

constexpr index_t width = 24;
constexpr double missing = resect::metrics::nan;

std::vector<float> row(std::uint64_t seed, double sd = 1) {
  std::vector<float> x(static_cast<std::size_t>(width));
  resect::random::fill_gaussian(x, seed, 5, 0, sd);
  return x;
}

struct sums {
  double dot, aa, bb, dd;
};

sums plain_sums(std::span<const float> a, std::span<const float> b) {
  sums s{0, 0, 0, 0};
  for (std::size_t j = 0; j < b.size(); ++j) {
    const double x = static_cast<double>(a[j]), y = static_cast<double>(b[j]);
    s.dot += x * y;
    s.aa += x * x;
    s.bb += y * y;
    s.dd += (x - y) * (x - y);
  }
  return s;
}

sums pair_sums(index_t i) {
  const auto b = row(static_cast<std::uint64_t>(i), 1 + static_cast<double>(i % 7)),
             noise = row(1000u + static_cast<std::uint64_t>(i), 0.3);
  sums s{0, 0, 0, 0};
  for (std::size_t j = 0; j < b.size(); ++j) {
    const double x = static_cast<double>(b[j]) * 0.9 + static_cast<double>(noise[j]), y = static_cast<double>(b[j]);
    s.dot += x * y;
    s.aa += x * x;
    s.bb += y * y;
    s.dd += (x - y) * (x - y);
  }
  return s;
}

template <class A>
void check_merge() {
  const auto make = [] { return A{9}; };
  const auto feed = [](A& a, index_t i) { a.add(i % 9, pair_sums(i)); };
  const auto whole = one_pass(300, make, feed);
  CHECK(whole.estimate().has_interval());
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    CHECK(same_estimate(merged_from_parts(seed, 2 + static_cast<int>(seed % 6), 300, make, feed).estimate(),
                        whole.estimate()));
  A other{8};
  A a = whole;
  CHECK(a.merge(other).error().code == resect::errc::shape_mismatch);
  CHECK(same_estimate(a.estimate(), whole.estimate(), 0));
}

}  // namespace

TEST_CASE("relative errors and cosines of two rows on paper: mean over rows and pooled differ") {
  // (a, b): b = (3, 4), a = (3, 0): |a−b| = 4, |b| = 5. b = (0, 100), a = (0, 99): 1/100.
  const sums first{9, 9, 25, 16}, second{9900, 9801, 10000, 1};
  mean_relative_error mean{2};
  frobenius_error frobenius{2};
  pooled_cosine pooled{2};
  index_t cluster = 0;
  for (const sums& s : {first, second}) {
    mean.add(cluster, s);
    frobenius.add(cluster, s);
    pooled.add(cluster, s);
    ++cluster;
  }
  CHECK(mean.estimate().value == Approx((0.8 + 0.01) / 2).epsilon(1e-15));
  CHECK(frobenius.estimate().value == Approx(std::sqrt(17.0 / 10025)).epsilon(1e-15));
  CHECK(pooled.estimate().value == Approx(9909 / std::sqrt(9810.0 * 10025)).epsilon(1e-15));
  CHECK(frobenius.estimate().n == 2);
  CHECK_FALSE(frobenius.estimate().has_interval());
}

TEST_CASE("a projection has cos^2 + rel^2 = 1: pooled cosine and Frobenius error are one measurement") {
  frobenius_error f{8};
  pooled_cosine c{8};
  for (index_t i = 0; i < 80; ++i) {
    auto b = row(static_cast<std::uint64_t>(i), 1 + static_cast<double>(i % 3)), a = b;
    for (std::size_t j = 10; j < a.size(); ++j) a[j] = 0;
    const auto s = plain_sums(a, b);
    f.add(i % 8, s);
    c.add(i % 8, s);
  }
  const double rel = f.estimate().value, cosine = c.estimate().value;
  CHECK(rel * rel + cosine * cosine == Approx(1).epsilon(1e-14));
  // d(rel) = −cos/rel·d(cos), so the standard errors agree as well.
  CHECK(f.estimate().se == Approx(cosine / rel * c.estimate().se).epsilon(1e-10));
}

TEST_CASE("the row measures merge to one pass and refuse other shapes") {
  check_merge<mean_relative_error>();
  check_merge<frobenius_error>();
  check_merge<pooled_cosine>();
}

TEST_CASE("zero rows: 0/0 is 0, x/0 infinite; pooled cosine of nothing is not applicable; NaN stays") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(relative_error(sums{0, 0, 0, 0}) == 0);
  CHECK(relative_error(sums{0, 4, 0, 4}) == infinity);
  CHECK(relative_error(sums{0, 0, 4, 4}) == 1);
  CHECK(std::isnan(relative_error(sums{missing, missing, missing, missing})));
  frobenius_error f{6};
  pooled_cosine c{6};
  for (index_t i = 0; i < 6; ++i) {
    f.add(i, sums{0, 0, 0, 0});
    c.add(i, sums{0, 0, 0, 0});
  }
  CHECK(f.estimate().value == 0);
  CHECK(f.estimate().se == 0);
  CHECK(std::isnan(c.estimate().value));
  f.add(0, sums{0, 4, 0, 4});
  CHECK(f.estimate().value == infinity);
  CHECK_FALSE(f.estimate().has_interval());
  f.add(1, sums{missing, missing, missing, missing});
  CHECK(std::isnan(f.estimate().value));
  pooled_cosine outside{6};
  outside.add(-1, sums{1, 1, 1, 0});
  outside.add(0, sums{1, 1, 1, 0});
  CHECK(std::isnan(outside.estimate().value));
}

TEST_CASE("centred sums equal the plain sums of rows less the mean; without a mean row they are the plain ones") {
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{9}, std::size_t{24}}) {
    auto a = row(1), b = row(2);
    a.resize(n);
    b.resize(n);
    std::vector<double> mean(n, 0.0);
    const auto plain = plain_sums(a, b);
    const centred_sums zero = centred_products(a, b, mean);
    CHECK(zero.dot == Approx(plain.dot).epsilon(1e-13).margin(1e-300));
    CHECK(zero.dd == Approx(plain.dd).epsilon(1e-13).margin(1e-300));
    long double dot = 0, aa = 0, bb = 0, dd = 0;
    for (std::size_t j = 0; j < n; ++j) {
      mean[j] = 1.0 / static_cast<double>(j + 3);
      const long double x = static_cast<long double>(a[j]) - mean[j], y = static_cast<long double>(b[j]) - mean[j];
      dot += x * y;
      aa += x * x;
      bb += y * y;
      dd += (x - y) * (x - y);
    }
    const centred_sums s = centred_products(a, b, mean);
    CHECK(std::fabs(static_cast<double>(s.dot - dot)) <= 1e-14 * static_cast<double>(aa + bb));
    CHECK(std::fabs(static_cast<double>(s.aa - aa)) <= 1e-14 * static_cast<double>(aa));
    CHECK(std::fabs(static_cast<double>(s.bb - bb)) <= 1e-14 * static_cast<double>(bb));
    CHECK(std::fabs(static_cast<double>(s.dd - dd)) <= 1e-14 * static_cast<double>(dd));
  }
  CHECK(std::isnan(centred_products(row(1), row(2), std::vector<double>(3)).dot));
}

TEST_CASE("a massive coordinate common to all rows hides an edit from the cosine, not from the centred cosine") {
  column_mean mean{width};
  std::vector<std::vector<float>> rows;
  for (std::uint64_t i = 0; i < 64; ++i) {
    rows.push_back(row(i));
    rows.back()[3] += 1000;
    mean.add(rows.back());
  }
  std::vector<double> m(static_cast<std::size_t>(width));
  REQUIRE(mean.write(m));
  mean_cosine plain{8};
  mean_centred_cosine centred{8};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto other = row(500 + i);  // has nothing to do with the row, but for the massive coordinate
    other[3] += 1000;
    plain.add(static_cast<index_t>(i % 8), cosine(other, rows[i]));
    centred.add(static_cast<index_t>(i % 8), centred_products(other, rows[i], m));
  }
  CHECK(plain.estimate().value > 0.9999);
  CHECK(std::fabs(centred.estimate().value) < 0.15);
  mean_centred_cosine same{8};
  same.add(0, centred_products(rows[0], rows[0], m));
  CHECK(same.estimate().value == 1);
}

TEST_CASE("a centred cosine is that of the rows less their mean, whatever their norms") {
  const std::vector<float> a{5, 1, 1}, b{1, 21, 1};
  const std::vector<double> m{1, 1, 0};
  // a − m = (4, 0, 1), b − m = (0, 20, 1): 1/√(17·401)
  mean_centred_cosine c{1};
  c.add(0, centred_products(a, b, m));
  CHECK(c.estimate().value == Approx(1 / std::sqrt(17.0 * 401)).epsilon(1e-14));
  const std::vector<float> still{1, 1, 0};  // the mean itself: no direction
  const auto of = [&](const std::vector<float>& x, const std::vector<float>& y) {
    mean_centred_cosine one{1};
    one.add(0, centred_products(x, y, m));
    return one.estimate().value;
  };
  CHECK(of(still, still) == 1);
  CHECK((of(still, a) == 0 && of(a, still) == 0));
  const std::vector<float> twice{9, 1, 2};  // a − m = ½·(twice − m)
  mean_centred_cosine along{1};
  along.add(0, centred_products(a, twice, m));
  CHECK(along.estimate().value == Approx(1).epsilon(1e-14));
}

TEST_CASE("rows of cluster -1 (BOS) are left out; shapes and strides are checked before anything is taken") {
  std::vector<float> a(6 * 4, 1.0f), b(6 * 4, 1.0f);
  for (std::size_t j = 0; j < 4; ++j) a[j] = 1e6f;  // the BOS row, altered beyond recognition
  const std::vector<index_t> cluster{-1, 0, 0, 1, -1, 1};
  frobenius_error f{2};
  const resect::matrix_view<const float> va{a.data(), 6, 4, 4, 1}, vb{b.data(), 6, 4, 4, 1};
  const auto take = [&](index_t c, std::span<const float> x, std::span<const float> y) { f.add(c, plain_sums(x, y)); };
  REQUIRE(for_counted_rows(va, vb, cluster, take));
  CHECK(f.estimate().n == 4);
  CHECK(f.estimate().value == 0);
  const std::vector<index_t> five(5, 0);
  CHECK(for_counted_rows(va, vb, five, take).error().code == resect::errc::shape_mismatch);
  CHECK(for_counted_rows(va, {b.data(), 6, 3, 4, 1}, cluster, take).error().code == resect::errc::shape_mismatch);
  CHECK(for_counted_rows({a.data(), 6, 4, 1, 6}, vb, cluster, take).error().code == resect::errc::bad_stride);
  CHECK(for_counted_rows(va, {nullptr, 6, 4, 4, 1}, cluster, take).error().code == resect::errc::null_pointer);
  CHECK(f.estimate().n == 4);
}

}  // namespace tests
