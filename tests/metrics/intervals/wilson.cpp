// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/agreement.hpp>
#include <resect/metrics/accumulators/delta_nll.hpp>
#include <resect/metrics/intervals/wilson.hpp>

#include <cmath>
#include <vector>

#include <resect/metrics/accumulators/accuracy.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/accumulators/top_k.hpp>
#include <resect/metrics/verdicts/goodhart.hpp>
#include <resect/metrics/verdicts/recovery.hpp>
#include <support/catch.hpp>

// The known values of wilson itself stand in student_t.cpp, beside the quantiles that it uses.
namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

// Every rate among tokens, with `right` of the tokens of each cluster right.
struct rates {
  explicit rates(index_t clusters)
      : top1(clusters), accuracy(clusters), overlap(clusters, 2), recovered(clusters), table(clusters) {}
  void add(index_t cluster, bool right) {
    top1.add(cluster, 3, right ? 3 : 4);
    accuracy.add(cluster, 3, right ? 3 : 4);
    overlap.add(cluster, top_k_comparison{right ? 2 : 0, false});
    recovered.add(cluster, recovery{right ? 1.0 : 0.0, 0.1, false});
    table.add(cluster, right ? grade::pass : grade::fail, grade::pass);
  }
  std::vector<estimate> estimates(double level = 0.95) const {
    return {top1.estimate(level), accuracy.estimate(level), overlap.estimate(level), recovered.estimate(level),
            table.understanding(level)};
  }
  top1_agreement top1;
  token_accuracy accuracy;
  top_k_overlap overlap;
  input_recoverability recovered;
  goodhart_table table;
};

rates uniform(index_t clusters, index_t tokens, bool right) {
  rates r(clusters);
  for (index_t i = 0; i < clusters * tokens; ++i) r.add(i / tokens, right);
  return r;
}

}  // namespace

TEST_CASE("a rate of 0 or 1 among clustered tokens is not certain: its interval is Wilson's of the clusters") {
  for (const index_t clusters : {6, 8, 20, 64})
    for (const double level : {0.9, 0.95}) {
      for (const estimate& e : uniform(clusters, 5, true).estimates(level)) {
        CHECK(e.value == 1);
        CHECK(e.hi == 1);
        CHECK(e.lo == wilson(clusters, clusters, level).lo);
        CHECK(e.n == 5 * clusters);
        CHECK(e.n_clusters == clusters);
      }
      for (const estimate& e : uniform(clusters, 5, false).estimates(level)) {
        CHECK(e.value == 0);
        CHECK(e.lo == 0);
        CHECK(e.hi == wilson(0, clusters, level).hi);
      }
    }
  CHECK(uniform(20, 5, true).top1.estimate().lo == Approx(0.84).margin(5e-3));
}

TEST_CASE("clusters without tokens do not narrow the interval of a rate of 1, and below 6 there is none") {
  rates r(50);
  for (index_t c = 0; c < 8; ++c) r.add(3 * c, true);
  for (const estimate& e : r.estimates()) CHECK(e.lo == wilson(8, 8).lo);
  for (const estimate& e : uniform(5, 40, true).estimates()) {
    CHECK(e.value == 1);
    CHECK_FALSE(e.has_interval());
  }
}

TEST_CASE("a rate between 0 and 1 has the interval of its logit, the mean of a difference keeps the t interval") {
  rates r(10);
  for (index_t i = 0; i < 100; ++i) r.add(i % 10, i > 0);
  for (const estimate& e : r.estimates()) {
    CHECK(e.value == Approx(0.99));
    CHECK(e.se == Approx(0.01));
    const double half = student_t_quantile(0.975, 9) * e.se / (e.value * (1 - e.value)), logit = std::log(99.0);
    CHECK(e.hi == Approx(1 / (1 + std::exp(-logit - half))));
    CHECK(e.lo == Approx(1 / (1 + std::exp(-logit + half))));
  }
  CHECK(r.recovered.margin().lo == Approx(0.1));
  paired_delta unchanged(8);
  for (index_t c = 0; c < 8; ++c) unchanged.add(c, 2.5, 2.5);
  CHECK(unchanged.estimate().lo == 0);
  CHECK(unchanged.estimate().hi == 0);
}

}  // namespace tests
