// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/halves.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <support/expect_error.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using resect::index_t;
using support::expect_error;

namespace {

std::vector<std::string> numbered(int n) {
  std::vector<std::string> out;
  for (int i = 0; i < n; ++i) out.push_back("item " + std::to_string(i));
  return out;
}

// No way leads from an estimate of one half to the other, and none from a plain estimate to either.
using found = half_estimate<search_half>;
using confirmed = half_estimate<confirmation_half>;
static_assert(!std::is_convertible_v<found, confirmed> && !std::is_convertible_v<confirmed, found>);
static_assert(!std::is_constructible_v<found, confirmed> && !std::is_constructible_v<confirmed, found>);
static_assert(!std::is_constructible_v<found, resect::metrics::estimate> && !std::is_default_constructible_v<found>);
static_assert(!std::is_assignable_v<item_half<search_half>&, item_half<confirmation_half>>);

}  // namespace

TEST_CASE("a split puts each item into one half, depends on ids and seed alone, and keeps items of one key together") {
  const auto ids = numbered(101);
  const auto halves = resect::value_or_throw(try_split_items(ids, {}, {.seed = 3}));
  CHECK(halves.search.size() == 51);
  CHECK(halves.confirmation.size() == 50);
  for (const auto& id : ids) CHECK(halves.search.contains(id) != halves.confirmation.contains(id));
  auto reversed = ids;
  std::reverse(reversed.begin(), reversed.end());
  const auto again = resect::value_or_throw(try_split_items(reversed, {}, {.seed = 3}));
  CHECK(std::equal(again.search.ids().begin(), again.search.ids().end(), halves.search.ids().begin(),
                   halves.search.ids().end()));
  const auto other = resect::value_or_throw(try_split_items(ids, {}, {.seed = 4}));
  CHECK_FALSE(std::equal(other.search.ids().begin(), other.search.ids().end(), halves.search.ids().begin(),
                         halves.search.ids().end()));

  std::vector<std::string> keys;
  for (std::size_t i = 0; i < ids.size(); ++i) keys.push_back("template " + std::to_string(i % 8));
  const auto by_template = resect::value_or_throw(try_split_items(ids, keys, {.search_share = 0.25}));
  std::set<std::string> used[2];
  for (std::size_t i = 0; i < ids.size(); ++i) used[by_template.search.contains(ids[i]) ? 0 : 1].insert(keys[i]);
  CHECK(used[0].size() == 2);
  CHECK(used[1].size() == 6);
}

TEST_CASE("halves that share an item, and items twice or without an id, are errors that name the item") {
  const std::vector<std::string> a{"x", "y"}, b{"z", "y"}, twice{"u", "v", "u"}, empty{"", "w"}, none;
  expect_error(try_halves(a, b), errc::conflict,
               {"item y", "in the search half and in the confirmation half", "each item in one of them"});
  expect_error(try_halves(a, twice), errc::conflict, {"item u", "twice in the confirmation half"});
  expect_error(try_halves(empty, a), errc::invalid_argument, {"an item of the search half", "no id"});
  expect_error(try_halves(none, a), errc::invalid_argument, {"search half", "no item"});
  expect_error(try_split_items(a, none, {.search_share = 1}), errc::invalid_argument, {"search_share"});
  expect_error(try_split_items(a, std::vector<std::string>{"k"}), errc::shape_mismatch, {"keys"});
  expect_error(try_split_items(twice), errc::conflict, {"item u"});
}

}  // namespace tests
