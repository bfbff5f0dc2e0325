// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/depth_shape.hpp>

#include <cmath>
#include <vector>

#include <metrics/merge.hpp>
#include <support/expect_error.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using resect::index_t;

namespace {

// Layers with these means, 24 clusters that have an effect in common, noise of each token.
template <class F>
depth_shape shape_of(index_t layers, F mean, double noise) {
  std::vector<resect::metrics::clustered_sums> sums;
  for (index_t l = 0; l < layers; ++l) {
    sums.emplace_back(24);
    draws common{1, 1}, own{2, static_cast<std::uint64_t>(l)};
    for (index_t c = 0; c < 24; ++c) {
      const double effect = common.gauss();
      for (int k = 0; k < 10; ++k) sums.back().add(c, mean(l) + effect + noise * own.gauss());
    }
  }
  return resect::value_or_throw(try_depth_shape(sums));
}

}  // namespace

TEST_CASE("a measure is U-shaped only where both ends are above the middle; one that falls all the way is falling") {
  const auto falling = [](index_t l) { return 0.82 * std::exp(-0.18 * static_cast<double>(l)); };
  const auto u = [](index_t l) { return 0.01 * std::pow(static_cast<double>(l) - 13.5, 2); };
  CHECK(shape_of(28, falling, 0.02).form == depth_form::falling);
  CHECK(name(shape_of(28, falling, 0.02).form) == "falling with depth");
  CHECK(shape_of(28, u, 0.1).form == depth_form::u_shaped);
  CHECK(shape_of(28, [&](index_t l) { return -u(l); }, 0.1).form == depth_form::inverted_u);
  CHECK(shape_of(28, [](index_t l) { return 0.1 * static_cast<double>(l); }, 0.1).form == depth_form::rising);
  // only one end differs
  CHECK(shape_of(28, [](index_t l) { return l < 6 ? 1.0 : 0.0; }, 0.1).form == depth_form::none_shown);
  CHECK(shape_of(28, [](index_t) { return 0.0; }, 1.0).form == depth_form::none_shown);
}

TEST_CASE("the contrasts are those of the fifths, and effects that all layers share cancel") {
  const auto s = shape_of(5, [](index_t l) { return static_cast<double>(l * l); }, 1e-9);
  CHECK(s.first_less_middle.value == Approx(-4).margin(1e-6));
  CHECK(s.last_less_middle.value == Approx(12).margin(1e-6));
  CHECK(s.last_less_middle.se < 1e-6);
  std::vector<resect::metrics::clustered_sums> four(4, resect::metrics::clustered_sums(8));
  support::expect_error(try_depth_shape(four), errc::invalid_argument, {"layers", "got 4", "5 or more"});
}

}  // namespace tests
