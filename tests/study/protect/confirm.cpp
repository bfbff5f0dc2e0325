// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/protect/confirm.hpp>
#include <resect/study/protect/screening.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <resect/metrics/verdicts/goodhart.hpp>
#include <support/expect_error.hpp>
#include <support/planted_landscape.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using support::expect_error;

namespace {

using found = half_estimate<search_half>;
using confirmed = half_estimate<confirmation_half>;
struct searches {
  found operator()(const layer_set&, index_t) const;
};
struct confirms {
  confirmed operator()(const layer_set&) const;
};
struct confirms_in_a_search {
  confirmed operator()(const layer_set&, index_t) const;
};
struct searches_in_a_confirmation {
  found operator()(const layer_set&) const;
};
// Items that chose a set cannot confirm it, and the other way round: it does not compile.
static_assert(search_objective<searches> && !search_objective<confirms_in_a_search>);
static_assert(confirmation_objective<confirms> && !confirmation_objective<searches_in_a_confirmation>);

// The loss of any set, over n items of which some were lost and some won.
auto losses(index_t n, index_t lost, index_t won) {
  return [=, half = planted_landscape::halves().confirmation](const layer_set&) {
    using namespace resect::metrics;
    goodhart_arms arms(n);
    for (index_t i = 0; i < n; ++i)
      arms.add(i, {grade::pass, i < lost || i >= lost + won ? grade::pass : grade::fail},
               {grade::pass, i >= lost ? grade::pass : grade::fail});
    estimate e = arms.execution_change();
    return half.estimate({-e.value, e.se, -e.hi, -e.lo, e.n, e.n_clusters});
  };
}

confirmed_set judged(index_t n, index_t lost, index_t won, double margin = 0.03) {
  const std::vector<layer_set> sets{layer_set::suffix(8, 2)};
  return resect::value_or_throw(try_confirm(losses(n, lost, won), sets, {.margin = margin}))[0];
}

}  // namespace

TEST_CASE("a set is confirmed only with the items that the margin needs; too few are undecidable, never a no") {
  CHECK(judged(2000, 20, 20).verdict == confirmation_verdict::protects);
  CHECK(judged(2000, 200, 20).verdict == confirmation_verdict::loses);
  CHECK(judged(2000, 70, 20).verdict == confirmation_verdict::not_shown);
  const auto few = judged(100, 10, 2);
  CHECK(few.verdict == confirmation_verdict::undecidable);
  CHECK(few.items_needed > 700);
  CHECK(few.items_needed < 900);  // 0.11 discordant, less the difference: 6.18 * 0.111 / 0.0009 = 770
  CHECK(judged(7, 0, 0).verdict == confirmation_verdict::undecidable);
  CHECK(judged(7, 1, 0).verdict == confirmation_verdict::undecidable);
  CHECK(name(confirmation_verdict::undecidable) == "undecidable at this N");
  // no item changed: what the interval leaves open decides
  CHECK(judged(60, 0, 0).verdict == confirmation_verdict::undecidable);
  CHECK(judged(400, 0, 0).verdict == confirmation_verdict::protects);
}

TEST_CASE("the verdicts of several sets are corrected by Holm") {
  const auto objective = losses(2000, 60, 25);  // loss 0.0175, one-sided p of 0.03 about 0.005
  const std::vector<layer_set> one{layer_set::suffix(8, 1)}, many(20, layer_set::suffix(8, 1));
  CHECK(resect::value_or_throw(try_confirm(objective, one))[0].verdict == confirmation_verdict::protects);
  const auto sets = resect::value_or_throw(try_confirm(objective, many));
  CHECK(sets[0].verdict != confirmation_verdict::protects);
  CHECK(sets[0].p_protects == Approx(20 * resect::value_or_throw(try_confirm(objective, one))[0].p_protects));
}

TEST_CASE("a confirmation refuses what is no number, no set and no margin") {
  const auto nan = [half = planted_landscape::halves().confirmation](const layer_set&) {
    return half.estimate(resect::metrics::estimate{});
  };
  const std::vector<layer_set> sets{layer_set::suffix(8, 2)};
  expect_error(try_confirm(nan, sets), errc::not_finite, {"loss with 6-7 protected"});
  expect_error(try_confirm(nan, {}), errc::invalid_argument, {"sets to confirm"});
  expect_error(try_confirm(nan, sets, {.margin = 0}), errc::invalid_argument, {"margin"});
  expect_error(try_confirm(nan, sets, {.alpha = 1}), errc::invalid_argument, {"alpha"});
}

}  // namespace tests
