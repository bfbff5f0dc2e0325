// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/accumulators/norm_profile.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;

namespace {

std::vector<float> along(float x, float y) { return {x, y, 0, 0}; }

// Row i of a made-up layer: 24 sequences of 40 positions, first positions fifty times as long.
void feed(norm_profile& p, index_t i) {
  std::vector<float> h(48), out(48);
  const index_t position = i % 40;
  resect::random::fill_gaussian(h, 1, static_cast<std::uint64_t>(i), 0, position == 0 ? 50 : 1);
  resect::random::fill_gaussian(out, 2, static_cast<std::uint64_t>(i), 0, 0.3);
  for (std::size_t k = 0; k < h.size(); ++k) out[k] += h[k];
  p.add(i / 40, position, h, out);
}

}  // namespace

TEST_CASE("ratio, direction and influence of planted deltas are what geometry says") {
  norm_profile p{6};
  for (index_t c = 0; c < 6; ++c)
    for (index_t t = 1; t < 5; ++t) p.add(c, t, along(3, 4), along(6, 8));  // Δ = h: ratio 1, direction 1, influence 0
  CHECK(p.rest().mean_norm().value == 5);
  CHECK(p.rest().delta_ratio().value == 1);
  CHECK(p.rest().delta_cosine().value == Approx(1).epsilon(1e-15));
  CHECK(p.influence().estimate().value == 0);
  norm_profile q{6};
  for (index_t c = 0; c < 6; ++c)
    for (index_t t = 1; t < 5; ++t) q.add(c, t, along(2, 0), along(2, 2));  // Δ ⟂ h, equally long
  CHECK(q.rest().delta_ratio().value == 1);
  CHECK(q.rest().delta_cosine().value == Approx(0).margin(1e-15));
  CHECK(q.influence().estimate().value == Approx(1 - std::sqrt(0.5)).epsilon(1e-14));
  norm_profile identity{6};
  for (index_t c = 0; c < 6; ++c) identity.add(c, 1, along(2, 1), along(2, 1));
  CHECK(identity.influence().estimate().value == 0);
  CHECK(identity.rest().delta_ratio().value == 0);
  CHECK(identity.rest().delta_cosine().value == 0);
}

TEST_CASE("first positions are kept apart and still count in the block influence") {
  norm_profile p{24};
  for (index_t i = 0; i < 960; ++i) feed(p, i);
  CHECK(p.first().mean_norm().n == 24);
  CHECK(p.rest().mean_norm().n == 936);
  CHECK(p.influence().estimate().n == 960);
  CHECK(p.first().mean_norm().value > 40 * p.rest().mean_norm().value);
  CHECK(p.rest().max_norm() < p.first().median_norm());
  CHECK(p.rest().median_norm() == Approx(std::sqrt(48.0)).epsilon(0.03));
  CHECK(p.rest().median_norm() < p.rest().p99_norm());
  CHECK(p.rest().p99_norm() <= p.rest().max_norm());
  CHECK(p.rest().delta_ratio().value == Approx(0.3).epsilon(0.05));
  CHECK(p.rest().mean_norm().has_interval());
  CHECK(p.rest().delta_ratio().has_interval());
  CHECK(p.influence().estimate().has_interval());
}

TEST_CASE("a profile merged over any partition equals one pass") {
  const auto make = [] { return norm_profile{24}; };
  const auto whole = tests::one_pass(960, make, feed);
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const auto merged = tests::merged_from_parts(seed, 4, 960, make, feed);
    for (const bool first : {false, true}) {
      const row_profile &a = first ? merged.first() : merged.rest(), &b = first ? whole.first() : whole.rest();
      CHECK(tests::same_estimate(a.mean_norm(), b.mean_norm()));
      CHECK(tests::same_estimate(a.delta_ratio(), b.delta_ratio()));
      CHECK(tests::same_estimate(a.delta_cosine(), b.delta_cosine(),
                                 1e-10));  // near 0: a relative bound of 1e-12 of the terms
      CHECK(a.median_norm() == b.median_norm());
      CHECK(a.p99_norm() == b.p99_norm());
      CHECK(a.max_norm() == b.max_norm());
    }
    CHECK(tests::same_estimate(merged.influence().estimate(), whole.influence().estimate()));
  }
  norm_profile other{23};
  CHECK_FALSE(other.merge(whole));
}

TEST_CASE("zero rows have no ratio, NaN rows make the profile NaN") {
  norm_profile p{6};
  for (index_t c = 0; c < 6; ++c) p.add(c, 1, along(1, 0), along(1, 1));
  p.add(0, 1, along(0, 0), along(1, 1));
  CHECK(p.rest().zero_rows() == 1);
  CHECK(p.rest().mean_norm().n == 7);
  CHECK(p.rest().delta_ratio().n == 6);
  CHECK(p.rest().delta_ratio().value == 1);
  p.add(1, 1, along(std::nanf(""), 0), along(1, 1));
  CHECK(std::isnan(p.rest().mean_norm().value));
  CHECK(std::isnan(p.rest().median_norm()));
  CHECK(std::isnan(p.rest().max_norm()));
  CHECK(std::isnan(p.influence().estimate().value));
  norm_profile q{6};
  q.add(0, 1, along(1, 0), std::vector<float>(3));
  CHECK(std::isnan(q.rest().mean_norm().value));
}

TEST_CASE("max to median: a planted outlier in normal elements, apart for first positions, zeros and NaN") {
  norm_profile p{6};
  std::vector<double> all;
  for (index_t i = 0; i < 60; ++i) {
    std::vector<float> h(301);
    resect::random::fill_gaussian(h, 3, static_cast<std::uint64_t>(i));
    if (i == 17) h[100] = -700;
    if (i % 10 == 0) h[5] = 5e4F;  // in every first row
    p.add(i / 10, i % 10, h, h);
    if (i % 10 > 0)
      for (const float x : h) all.push_back(std::fabs(static_cast<double>(x)));
  }
  std::sort(all.begin(), all.end());
  CHECK(p.rest().max_to_median() == Approx(700 / all[(all.size() + 1) / 2 - 1]).epsilon(1.0 / 64));
  CHECK(p.rest().max_to_median() == Approx(700 / 0.6745).epsilon(0.03));
  CHECK(p.rest().elements().max() == 700);
  CHECK(p.rest().elements().count() == 54 * 301);
  CHECK(p.first().max_to_median() > 5e4);
  norm_profile sparse{6};
  sparse.add(0, 1, along(1, 0), along(1, 0));
  CHECK(sparse.rest().max_to_median() == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(sparse.first().max_to_median()));
  sparse.add(0, 0, along(0, 0), along(1, 0));
  CHECK(std::isnan(sparse.first().max_to_median()));
  sparse.add(0, 1, along(1, std::nanf("")), along(1, 0));
  CHECK(std::isnan(sparse.rest().max_to_median()));
}

TEST_CASE("max to median merges exactly over any partition") {
  const auto make = [] { return norm_profile{24}; };
  const double whole = tests::one_pass(960, make, feed).rest().max_to_median();
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    CHECK(tests::merged_from_parts(seed, 5, 960, make, feed).rest().max_to_median() == whole);
}

}  // namespace tests
