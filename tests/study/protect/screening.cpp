// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/protect/greedy.hpp>
#include <resect/study/protect/screening.hpp>

#include <cstdio>

#include <support/expect_error.hpp>
#include <support/planted_landscape.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using support::expect_error;

namespace {

struct shares {
  double exact = 0, enough = 0, outside = 0, evaluations = 0;
};

template <class Search>
shares over_runs(const char* what, const landscape_options& landscape, int runs, Search search) {
  shares out;
  for (int run = 0; run < runs; ++run) {
    const planted_landscape planted(landscape, static_cast<std::uint64_t>(run));
    const protection_search found = resect::value_or_throw(search(planted));
    const bool outside = planted.names_outside(found.named);
    out.exact += found.named == planted.critical();
    out.outside += outside;
    out.enough += !outside && planted.truth(found.named) > planted.truth(layer_set::all(landscape.layers)) - 0.15;
    out.evaluations += static_cast<double>(found.evaluations);
  }
  for (double* x : {&out.exact, &out.enough, &out.outside, &out.evaluations}) *x /= runs;
  std::printf("%s: exactly the critical layers %.3f, enough %.3f, a layer outside %.3f, %.0f evaluations\n", what,
              out.exact, out.enough, out.outside, out.evaluations);
  return out;
}

}  // namespace

TEST_CASE("both screenings find five critical layers of 80 with 230 evaluations, and with 100 claim nothing false") {
  for (const auto kind : {screening_kind::leave_one_in, screening_kind::leave_one_out}) {
    const auto screened = [kind](index_t budget) {
      return [=](const planted_landscape& p) { return try_screening(p.objective(), 80, kind, {.budget = budget}); };
    };
    const shares enough = over_runs("screening", {}, 200, screened(230)),
                 few = over_runs("screening", {}, 200, screened(100));
    CHECK(enough.exact >= 0.93);
    CHECK(enough.outside <= 0.05);
    CHECK(enough.evaluations <= 230);
    CHECK(few.outside <= 0.07);
    CHECK(few.exact < 0.5);  // one look at each layer is not enough for an effect of 3 standard errors
  }
}

TEST_CASE("leave-one-in sees neither layer of a redundant pair, leave-one-out sees both") {
  const landscape_options redundant{.kind = landscape_kind::redundant_pair};
  const auto in = over_runs("leave-one-in, redundant pair", redundant, 60, [](const planted_landscape& p) {
    const auto found = try_screening(p.objective(), 80, screening_kind::leave_one_in, {.budget = 230});
    if (found) CHECK_FALSE((found->named.contains(p.pair().first) || found->named.contains(p.pair().second)));
    return found;
  });
  const auto out = over_runs("leave-one-out, redundant pair", redundant, 60, [](const planted_landscape& p) {
    return try_screening(p.objective(), 80, screening_kind::leave_one_out, {.budget = 230});
  });
  CHECK(in.exact == 0);
  CHECK(out.exact >= 0.9);
}

TEST_CASE("lazy greedy protects enough layers and none outside, one of a redundant pair") {
  const auto greedy = [](const planted_landscape& p) {
    return try_lazy_greedy(p.objective(), 80, {.budget = 600, .tolerance = 0.15});
  };
  const shares plain = over_runs("lazy greedy", {}, 200, greedy);
  CHECK(plain.enough >= 0.9);
  CHECK(plain.outside <= 0.05);
  const shares pair = over_runs("lazy greedy, redundant pair", {.kind = landscape_kind::redundant_pair}, 100, greedy);
  CHECK(pair.enough >= 0.9);
  CHECK(pair.exact <= 0.05);
}

TEST_CASE("with a fixed pool no set is evaluated twice, and the intact model's evaluations are counted") {
  const planted_landscape planted({.layers = 12, .critical = 2, .kind = landscape_kind::fixed_pool}, 1);
  std::set<std::string> seen;
  index_t calls = 0;
  const auto counted = [&](const layer_set& p, index_t draw) {
    CHECK(draw == calls++);
    CHECK(seen.insert(p.words()).second);
    return planted.objective()(p, draw);
  };
  const auto found =
      try_screening(counted, 12, screening_kind::leave_one_in, {.budget = 500, .noise = noise_kind::shared});
  REQUIRE(found);
  CHECK(found->evaluations == 13);
  CHECK(calls == 13);
  CHECK(found->intact.n == 1);
  CHECK(found->verdict == search_verdict::found);
  seen.clear();
  calls = 0;
  const auto greedy = try_lazy_greedy(counted, 12, {.budget = 500, .noise = noise_kind::shared});
  REQUIRE(greedy);
  CHECK(greedy->evaluations == calls);
}

TEST_CASE("a budget that cannot carry one pass is an error that says what it takes") {
  const planted_landscape planted({}, 1);
  expect_error(try_screening(planted.objective(), 80, screening_kind::leave_one_in, {.budget = 88}),
               errc::invalid_argument, {"budget", "88 evaluations", "at least 89"});
  expect_error(try_lazy_greedy(planted.objective(), 80, {.budget = 97}), errc::invalid_argument, {"at least 98"});
}

}  // namespace tests
