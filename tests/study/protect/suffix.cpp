// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/protect/suffix.hpp>

#include <cmath>
#include <cstdio>

#include <support/expect_error.hpp>
#include <support/planted_landscape.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using support::expect_error;

namespace {

// How often a search among suffixes calls a kind of landscape unsound.
double unsound(landscape_kind kind, suffix_method method, int runs) {
  double said = 0, evaluations = 0;
  for (int run = 0; run < runs; ++run) {
    const planted_landscape planted({.kind = kind}, static_cast<std::uint64_t>(run));
    const auto found = resect::value_or_throw(
        try_suffix_search(planted.objective(), 80, {.search = {.budget = 1000, .tolerance = 0.15}, .method = method}));
    REQUIRE(found.verdict != search_verdict::unchecked);
    REQUIRE(found.evaluations <= 1000);
    said += found.verdict == search_verdict::unsound;
    evaluations += static_cast<double>(found.evaluations);
  }
  std::printf("suffix %s, %s: unsound in %.3f of %d runs, %.0f evaluations\n",
              method == suffix_method::scan ? "scan" : "binary search",
              kind == landscape_kind::not_monotone ? "not monotone" : "monotone", said / runs, runs,
              evaluations / runs);
  return said / runs;
}

}  // namespace

TEST_CASE("searches among suffixes say that they are unsound where the landscape is not monotone, and only there") {
  for (const auto method : {suffix_method::scan, suffix_method::binary}) {
    CHECK(unsound(landscape_kind::not_monotone, method, 300) >= 0.95);
    CHECK(unsound(landscape_kind::additive, method, 300) <= 0.05);
  }
}

TEST_CASE("what makes a search unsound is named: the layer, the fall and its p") {
  int named = 0;
  for (std::uint64_t run = 0; run < 20; ++run) {
    const planted_landscape planted({.kind = landscape_kind::not_monotone}, run);
    const auto found = resect::value_or_throw(
        try_suffix_search(planted.objective(), 80, {.search = {.budget = 1000, .tolerance = 0.15}}));
    if (found.verdict != search_verdict::unsound) continue;
    REQUIRE(found.harmful.size() == 1);
    for (const index_t l : planted.harmful()) named += std::abs(static_cast<int>(l - found.harmful[0])) <= 1;
    CHECK(found.note.find("as the suffix grows to layer") != std::string::npos);
  }
  CHECK(named >= 17);
  CHECK(name(search_verdict::unsound) == "unsound: the landscape is not monotone");
}

TEST_CASE("on a monotone landscape both find the shortest suffix that is enough; a small budget leaves it unchecked") {
  int right[2] = {}, unchecked = 0;
  constexpr int runs = 40;
  for (std::uint64_t run = 0; run < runs; ++run) {
    const planted_landscape planted({}, run);
    const index_t truth = 80 - planted.critical().members().front();
    for (const auto method : {suffix_method::scan, suffix_method::binary}) {
      const auto found = resect::value_or_throw(try_suffix_search(
          planted.objective(), 80, {.search = {.budget = 1000, .tolerance = 0.15}, .method = method}));
      right[method == suffix_method::binary] += std::abs(static_cast<int>(found.named.size() - truth)) <= 1;
    }
    const auto few = resect::value_or_throw(
        try_suffix_search(planted.objective(), 80, {.search = {.budget = 120, .tolerance = 0.15}}));
    CHECK(few.named.size() >= 1);
    CHECK(few.evaluations <= 120);
    unchecked += few.verdict == search_verdict::unchecked;
  }
  CHECK(right[0] >= 0.9 * runs);
  CHECK(right[1] >= 0.9 * runs);
  CHECK(unchecked == runs);
}

TEST_CASE("the isotonic fit pools what falls") {
  std::vector<detail::pooled> curve;
  for (const double x : {1.0, 3.0, 2.0, 2.0, 5.0, 4.0}) curve.push_back({1, x, 1});
  const auto fit = detail::monotone_fit(curve);
  const double wanted[] = {1, 7.0 / 3, 7.0 / 3, 7.0 / 3, 4.5, 4.5};
  for (std::size_t i = 0; i < 6; ++i) CHECK(fit[i] == Approx(wanted[i]));
}

TEST_CASE("a search among suffixes refuses what it cannot do") {
  const planted_landscape planted({}, 1);
  expect_error(try_suffix_search(planted.objective(), 80, {.search = {.budget = 10}}), errc::invalid_argument,
               {"budget"});
  expect_error(try_suffix_search(planted.objective(), 80, {.scan_rounds = 0}), errc::invalid_argument, {"scan_rounds"});
}

}  // namespace tests
