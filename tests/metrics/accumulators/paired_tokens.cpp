// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/paired_tokens.hpp>

#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

struct token {
  double intact, edited;
};

std::vector<token> sample(int n) {
  draws d{1};
  std::vector<token> out;
  for (int i = 0; i < n; ++i) {
    const double x = 0.2 + 2 * d.lognormal(0.8);
    out.push_back({x, std::fabs(x + 0.1 + 0.4 * d.gauss())});
  }
  return out;
}

void feed(paired_tokens& a, const std::vector<token>& t, index_t clusters) {
  for (std::size_t i = 0; i < t.size(); ++i) a.add(static_cast<index_t>(i) % clusters, t[i].intact, t[i].edited);
}

// Sums as llama.cpp keeps them, in long double.
struct plain_sums {
  using real = long double;
  real n = 0, a = 0, b = 0, aa = 0, bb = 0, ab = 0, p = 0, pp = 0, pppp = 0;
  explicit plain_sums(const std::vector<token>& tokens) {
    for (const token& t : tokens) {
      const real x = t.intact, y = t.edited, d = std::exp(-y) - std::exp(-x);
      n += 1;
      a += x;
      b += y;
      aa += x * x;
      bb += y * y;
      ab += x * y;
      p += d;
      pp += d * d;
      pppp += d * d * d * d;
    }
  }
  real se(real sum, real squares) const { return std::sqrt((squares / n - sum / n * (sum / n)) / (n - 1)); }
  real covariance() const { return (ab / n - a / n * (b / n)) / (n - 1); }
};

bool near(double x, long double y) { return std::fabs(x / static_cast<double>(y) - 1) <= 1e-11; }

}  // namespace

TEST_CASE("log ratio, ratio, difference, correlation and changes of p are llama.cpp's formulas") {
  const auto tokens = sample(700);
  paired_tokens a(14);
  feed(a, tokens, 14);
  const plain_sums s(tokens);
  const auto sa = s.se(s.a, s.aa), sb = s.se(s.b, s.bb), cov = s.covariance();
  const auto ln = (s.b - s.a) / s.n, ln_se = std::sqrt(sa * sa + sb * sb - 2 * cov);
  CHECK(near(a.log_ratio_tokens().value, ln));
  CHECK(near(a.log_ratio_tokens().se, ln_se));
  CHECK(near(a.ratio_tokens().value, std::exp(ln)));
  CHECK(near(a.ratio_tokens().se, std::exp(ln) * ln_se));
  const auto pa = std::exp(s.a / s.n), pb = std::exp(s.b / s.n);
  const auto difference_se = std::sqrt(pa * sa * pa * sa + pb * sb * pb * sb - 2 * pa * pb * cov);
  CHECK(near(a.difference_tokens().value, pb - pa));
  CHECK(near(a.difference_tokens().se, difference_se));
  CHECK(near(a.correlation(), cov / (sa * sb)));
  CHECK(a.correlation() > 0.9);
  CHECK(near(a.mean_delta_p_tokens().value, s.p / s.n));
  CHECK(near(a.mean_delta_p_tokens().se, s.se(s.p, s.pp)));
  const auto rms = std::sqrt(s.pp / s.n);
  CHECK(near(a.rms_delta_p_tokens().value, rms));
  CHECK(near(a.rms_delta_p_tokens().se, 0.5L / rms * s.se(s.pp, s.pppp)));
  CHECK(a.rms_delta_p_tokens().n_clusters == 700);
  CHECK(a.difference_tokens().lo == Approx(a.difference_tokens().value - 1.959963984540054 * a.difference_tokens().se));
}

TEST_CASE("the pairing keeps its precision where two models hardly differ") {
  paired_tokens a(8);
  draws d{3};
  for (int i = 0; i < 400; ++i) {
    const double x = 3 + 2 * d.uniform();
    a.add(i % 8, x, x + (i % 2 ? 1e-7 : -1e-7) + 1e-8);
  }
  CHECK(a.log_ratio_tokens().value == Approx(1e-8).epsilon(1e-6));
  CHECK(a.log_ratio_tokens().se == Approx(1e-7 / std::sqrt(399.0)).epsilon(1e-6));
  CHECK(a.difference_tokens().se == Approx(std::exp(a.intact().mean()) * 1e-7 / std::sqrt(399.0)).epsilon(1e-2));
  CHECK(a.correlation() == Approx(1).epsilon(1e-12));
}

TEST_CASE("where the errors of two perplexities cancel to nothing, rounding makes no NaN of their difference") {
  int exact = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    // y = a·x + b with P_y·s_y = P_x·s_x: the variance of P_y − P_x is 0
    draws d{seed};
    std::vector<double> x(16);
    double mean = 0;
    for (double& v : x) mean += (v = 1 + d.uniform()) / 16;
    const double a = 1.5, b = -std::log(a) - (a - 1) * mean;
    paired_tokens t(2);
    for (std::size_t i = 0; i < x.size(); ++i) t.add(static_cast<index_t>(i % 2), x[i], a * x[i] + b);
    const double se = t.difference_tokens().se;
    CHECK(se >= 0);
    CHECK(se < 1e-6);
    exact += se == 0;
  }
  CHECK(exact > 0);  // some of the variances were below 0
}

TEST_CASE("with every token a cluster of its own the clustered errors are the tokens' ones, else they are not") {
  const auto tokens = sample(300);
  paired_tokens own(300), together(10);
  feed(own, tokens, 300);
  for (index_t i = 0; i < 300; ++i) {
    const token& t = tokens[static_cast<std::size_t>(i % 10)];  // thirty times the same ten
    together.add(i % 10, t.intact, t.edited);
  }
  CHECK(own.mean_delta_p().se == Approx(own.mean_delta_p_tokens().se).epsilon(1e-12));
  CHECK(own.rms_delta_p().value == Approx(own.rms_delta_p_tokens().value).epsilon(1e-14));
  CHECK(own.rms_delta_p().se == Approx(own.rms_delta_p_tokens().se).epsilon(1e-12));
  CHECK(together.rms_delta_p().se > 5 * together.rms_delta_p_tokens().se);
  CHECK(together.mean_delta_p().se > 5 * together.mean_delta_p_tokens().se);
  CHECK(together.rms_delta_p().n_clusters == 10);
}

TEST_CASE("merges of any partition equal one pass; known small cases; ten tokens have no error") {
  const auto tokens = sample(500);
  const auto make = [] { return paired_tokens{9}; };
  const auto one = [&](paired_tokens& a, index_t i) {
    const token& t = tokens[static_cast<std::size_t>(i)];
    a.add(i % 9, t.intact, t.edited);
  };
  const paired_tokens whole = one_pass(500, make, one);
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const paired_tokens m = merged_from_parts(seed, 5, 500, make, one);
    CHECK(same_estimate(m.mean_delta_p(), whole.mean_delta_p()));
    CHECK(same_estimate(m.rms_delta_p(), whole.rms_delta_p()));
    CHECK(same_estimate(m.log_ratio_tokens(), whole.log_ratio_tokens()));
    CHECK(same_estimate(m.difference_tokens(), whole.difference_tokens()));
    CHECK(same_estimate(m.rms_delta_p_tokens(), whole.rms_delta_p_tokens()));
    CHECK(same_number(m.correlation(), whole.correlation(), 1e-12));
  }
  paired_tokens half(6);
  for (index_t i = 0; i < 12; ++i) half.add(i / 2, std::log(4.0), std::log(2.0));  // p from 1/4 to 1/2
  CHECK(half.mean_delta_p().value == Approx(0.25).epsilon(1e-15));
  CHECK(half.rms_delta_p().value == Approx(0.25).epsilon(1e-15));
  CHECK(half.difference_tokens().value == Approx(-2).epsilon(1e-14));
  CHECK(std::isnan(half.correlation()));
  paired_tokens ten(5);
  feed(ten, sample(10), 5);
  CHECK(ten.log_ratio_tokens().se == 0);
  CHECK(ten.difference_tokens().se == 0);
  CHECK_FALSE(ten.ratio_tokens().has_interval());
  CHECK(std::isnan(ten.correlation()));
  paired_tokens same(6);
  for (index_t i = 0; i < 30; ++i) same.add(i % 6, 2.0, 2.0);
  CHECK(same.rms_delta_p().value == 0);
  CHECK(same.rms_delta_p().se == 0);
  CHECK(std::isnan(paired_tokens{6}.log_ratio_tokens().value));
  CHECK(paired_tokens{6}.merge(paired_tokens{7}).error().code == resect::errc::shape_mismatch);
}

}  // namespace tests
