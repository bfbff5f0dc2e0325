// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/protect/random_masks.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <type_traits>
#include <vector>

#include <support/expect_error.hpp>
#include <support/planted_landscape.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using support::expect_error;

namespace {

struct outcome {
  double exact = 0, outside = 0, pair = 0;
};

outcome search_planted(const landscape_options& landscape, index_t budget, int runs) {
  outcome out;
  for (int run = 0; run < runs; ++run) {
    const planted_landscape planted(landscape, static_cast<std::uint64_t>(run));
    const auto found = resect::value_or_throw(try_random_masks(
        planted.objective(), landscape.layers,
        {.budget = budget,
         .noise = landscape.kind == landscape_kind::fixed_pool ? noise_kind::shared : noise_kind::fresh,
         .seed = static_cast<std::uint64_t>(run)}));
    REQUIRE(found.evaluations == budget);
    out.exact += found.named == planted.critical();
    out.outside += planted.names_outside(found.named);
    for (const layer_pair& p : found.pairs)
      out.pair += std::pair{p.first, p.second} == planted.pair() && p.interaction < 0;
  }
  const double n = runs;
  std::printf("random masks, %d evaluations: exactly the critical layers %.3f, a layer outside %.3f, the pair %.3f\n",
              static_cast<int>(budget), out.exact / n, out.outside / n, out.pair / n);
  return {out.exact / n, out.outside / n, out.pair / n};
}

}  // namespace

TEST_CASE("random masks find five critical layers of 80 exactly in 95 % of 1,000 runs with 60 evaluations") {
  const outcome o = search_planted({}, 60, 1000);
  CHECK(o.exact >= 0.95);
  CHECK(o.outside <= 0.05);
}

TEST_CASE("random masks find them with a fixed pool of items too, and say of a redundant pair that one is enough") {
  const outcome pool = search_planted({.kind = landscape_kind::fixed_pool}, 60, 200);
  CHECK(pool.exact >= 0.95);
  CHECK(pool.outside <= 0.05);
  const outcome pair = search_planted({.kind = landscape_kind::redundant_pair}, 100, 100);
  CHECK(pair.exact >= 0.9);
  CHECK(pair.pair >= 0.9);
}

TEST_CASE("without a critical layer nothing is named, and with noise as large as the effect claims stay below 5 %") {
  const outcome none = search_planted({.critical = 0}, 100, 200);
  CHECK(none.outside <= 0.05);
  const outcome weak = search_planted({.ratio = 1}, 100, 200);
  CHECK(weak.outside <= 0.06);  // 200 runs: one standard error is 1.5 %
}

TEST_CASE("a layer that costs when protected is called harmful, and the fit states gains in units of the objective") {
  const planted_landscape planted({.kind = landscape_kind::not_monotone}, 7);
  const auto found = resect::value_or_throw(try_random_masks(planted.objective(), 80, {.budget = 100}));
  CHECK(found.named == planted.critical());
  CHECK(std::vector<index_t>(planted.harmful().begin(), planted.harmful().end()) == found.harmful);
  for (const layer_effect& e : found.effects) {
    const double truth = planted.critical().contains(e.layer) ? 0.3 : -0.15;
    INFO("layer " << e.layer << ": " << e.gain << " +- " << e.se);
    CHECK(std::fabs(e.gain - truth) < 4 * e.se);
    CHECK(e.se < 0.04);
  }
}

TEST_CASE("with a fixed pool no set is a row twice: six layers have 20 halves, and 22 evaluations are all there are") {
  const planted_landscape planted({.layers = 6, .critical = 2, .kind = landscape_kind::fixed_pool}, 3);
  std::vector<layer_set> asked;
  const auto counted = [&](const layer_set& p, index_t draw) {
    CHECK(std::find(asked.begin(), asked.end(), p) == asked.end());
    asked.push_back(p);
    return planted.objective()(p, draw);
  };
  const auto found = resect::value_or_throw(try_random_masks(counted, 6, {.budget = 60, .noise = noise_kind::shared}));
  CHECK(found.evaluations == 22);
  CHECK(asked.size() == 22);
}

TEST_CASE("the sparse fit is least squares: known coefficients, their variances, dependent columns") {
  detail::regression_data data;
  data.columns = {{1, 2, 3, 4, 5, 6}, {1, 0, 1, 0, 0, 1}, {2, 4, 6, 8, 10, 12}};
  for (std::size_t i = 0; i < 6; ++i) data.response.push_back(7 + 2 * data.columns[0][i] - 3 * data.columns[1][i]);
  data.response[0] += 0.5;
  const auto fit = detail::fit_columns(data, {0, 1, 2});
  // normal equations on paper: Sxx = 17.5, Sxz = -0.5, Szz = 1.5 about the means; e1 moves (x, z) by 0.5(-2.5, 0.5)
  const double det = 17.5 * 1.5 - 0.25;
  CHECK(fit.coefficient[0] == Approx(2 + 0.5 * (-2.5 * 1.5 + 0.5 * 0.5) / det));
  CHECK(fit.coefficient[1] == Approx(-3 + 0.5 * (0.5 * 17.5 - 2.5 * 0.5) / det));
  CHECK(fit.unit_variance[0] == Approx(1.5 / det));
  CHECK(fit.unit_variance[1] == Approx(17.5 / det));
  CHECK((fit.coefficient[2] == 0 && std::isinf(fit.unit_variance[2])));
  const auto chosen = detail::choose_forward(data, 3);
  CHECK(chosen.size() == 2);  // the third is the first one again
}

TEST_CASE("an objective that is no number, and options out of range, are errors and no search") {
  int calls = 0;
  const auto half = planted_landscape::halves().search;
  const auto broken = [&](const layer_set& p, index_t draw) {
    resect::metrics::estimate e;
    e.value = draw == 5 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(p.size());
    e.se = 1;
    ++calls;
    return half.estimate(e);
  };
  expect_error(try_random_masks(broken, 8, {.budget = 20}), errc::not_finite,
               {"objective with", "protected, evaluation 5", "got nan", "wanted finite numbers"});
  CHECK(calls == 6);
  expect_error(try_random_masks(broken, 8, {.budget = 15}), errc::invalid_argument, {"budget", "15", "at least 16"});
  expect_error(try_random_masks(broken, 0, {}), errc::invalid_argument, {"layers"});
  expect_error(try_random_masks(broken, 8, {.alpha = 0}), errc::invalid_argument, {"alpha"});
  expect_error(try_random_masks(broken, 8, {.tolerance = -1}), errc::invalid_argument, {"tolerance"});
  CHECK(calls == 6);
  const auto refuses = [&](const layer_set&, index_t) -> resect::result<half_estimate<search_half>> {
    return resect::error{errc::io, "the host", "gone", "there"};
  };
  expect_error(try_random_masks(refuses, 8, {}), errc::io, {"the host"});
  const std::vector<index_t> missing{3, 80}, twice{3, 3};
  expect_error(layer_set::try_make(80, missing), errc::invalid_argument, {"protected layer", "got 80", "0 to 79"});
  expect_error(layer_set::try_make(80, twice), errc::conflict, {"protected layer 3"});
  CHECK(resect::value_or_throw(layer_set::try_make(80, std::vector<index_t>{7, 78, 79, 3})).words() == "3, 7, 78-79");
}

}  // namespace tests
