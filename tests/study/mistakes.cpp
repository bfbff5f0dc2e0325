// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/goodhart.hpp>
#include <resect/study/protect.hpp>

#include <cmath>
#include <cstdio>
#include <string>
#include <type_traits>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/metrics/intervals/clopper_pearson.hpp>
#include <resect/metrics/verdicts/recovery.hpp>
#include <resect/study/depth_shape.hpp>
#include <support/expect_error.hpp>
#include <support/planted_landscape.hpp>

// The mistakes of a study of layer sensitivity and "Goodhart gaps" on 7 items, each made again: what the library says.
// docs/goodhart.md lists them with these tests.
namespace tests {

using namespace resect::study;
using resect::errc;
using resect::index_t;
using resect::metrics::grade;
using support::expect_error;

namespace {

item_set timed_item() {
  study_item item{"time_duration",
                  "",
                  "time",
                  {"Which steps?", "add the minutes, carry the hour"},
                  {"It is 2:45 PM now. What time is it in 90 minutes?", "4:15 PM"}};
  return resect::value_or_throw(item_set::try_make({item}));
}

// The seven items of the study's table, each in a template of its own.
std::vector<study_item> seven() {
  std::vector<study_item> out;
  for (const char* id : {"discount_coupon", "time_duration", "financial_compound", "recipe_scale", "unit_chain",
                         "transitive_order", "task_schedule"})
    out.push_back(
        {id, "", "", {std::string("Plan of ") + id + "?", "first then"}, {std::string("Result of ") + id + "?", "15"}});
  return out;
}

struct study_setting {
  item_set items;
  checked_grader u, e;
};
study_setting with(std::vector<study_item> list) {
  auto items = resect::value_or_throw(item_set::try_make(std::move(list)));
  auto u = resect::value_or_throw(try_check_grader(exact_words_grader(), question::understanding, items));
  auto e = resect::value_or_throw(try_check_grader(final_number_grader(), question::execution, items));
  return {std::move(items), std::move(u), std::move(e)};
}

// An arm of which the first `understood` items are understood, `executed` of those executed, one run.
arm_replies replies_of(const study_setting& s, const char* name, index_t understood, index_t executed,
                       const char* model = "7B") {
  arm_replies out{name, model, "", {}, {}};
  for (index_t i = 0; i < s.items.size(); ++i) {
    const study_item& item = s.items.items()[static_cast<std::size_t>(i)];
    out.replies.push_back({item.id, question::understanding, 0, i < understood ? item.understanding.answer : "no", {}});
    out.replies.push_back({item.id, question::execution, 0, i < executed ? item.execution.answer : "no", {}});
  }
  return out;
}
judged_arm judged(const study_setting& s, const arm_replies& a) {
  return resect::value_or_throw(try_judge(s.items, s.u, s.e, a));
}

// The study's graders, as its script had them.
grader first_time_of_day() {
  return {"script.time/1", [](std::string_view reply, const item_question& q) {
            const auto first = [](std::string_view s) {
              const auto at = s.find(':');
              return at == s.npos || at == 0 ? std::string() : std::string(s.substr(at - 1, 4));
            };
            return !first(reply).empty() && first(reply) == first(q.answer) ? grade::pass : grade::fail;
          }};
}
grader substring_either_way() {
  return {"script.substring/1", [](std::string_view reply, const item_question& q) {
            return q.answer.find(reply) != std::string::npos || reply.find(q.answer) != std::string_view::npos
                       ? grade::pass
                       : grade::fail;
          }};
}
grader within_half() {
  return {"script.half/1", [](std::string_view reply, const item_question& q) {
            const std::string a = last_number(reply), b = last_number(q.answer);
            return !a.empty() && std::fabs(std::stod(a) - std::stod(b)) <= 0.5 ? grade::pass : grade::fail;
          }};
}
grader half_of_the_keywords() {
  return {"script.keywords/1", [](std::string_view reply, const item_question& q) {
            const auto words = reply_words(q.answer);
            std::size_t there = 0;
            for (const auto& w : words) there += reply.find(w) != reply.npos;
            return 2 * there >= words.size() && !reply.empty() ? grade::pass : grade::fail;
          }};
}

}  // namespace

TEST_CASE("mistake a: recoverability falls in an unaltered model, its name says what it is, and a fall is not a U") {
  // a stream that drifts from the embeddings, no layer altered
  constexpr index_t vocabulary = 64, width = 32, rows = 40;
  std::vector<float> embedding(vocabulary * width), noise(width);
  resect::random::fill_gaussian(embedding, 1, 0);
  const resect::matrix_view<const float> e{embedding.data(), vocabulary, width, width, 1};
  std::vector<resect::metrics::clustered_sums> layers;
  std::vector<double> rate;
  for (int l = 0; l < 10; ++l) {
    resect::metrics::input_recoverability recovered(rows);
    for (index_t r = 0; r < rows; ++r) {
      resect::random::fill_gaussian(noise, 2, static_cast<std::uint64_t>(r), 0, 0.4 * l);
      std::vector<float> row(e.row(r).data, e.row(r).data + width);
      for (std::size_t c = 0; c < row.size(); ++c) row[c] += noise[c];
      recovered.add(r, resect::metrics::recover_input(row, e, r, {.seed = 1, .sequence = r, .position = l}));
    }
    rate.push_back(recovered.estimate().value);
    layers.push_back(recovered.sums());
  }
  CHECK(rate.front() == 1);
  CHECK(rate.back() < 0.7);  // no layer was altered: this says nothing of how much a layer matters
  CHECK(resect::metrics::input_recoverability::chance == 1.0 / 32);
  CHECK(resect::value_or_throw(try_depth_shape(layers)).form != depth_form::u_shaped);
}

TEST_CASE("mistake b: artifacts of another model are refused before a reply is judged") {
  const auto s = with(seven());
  auto a = replies_of(s, "uniform 3 bits", 5, 2, "Qwen2-72B");
  a.artifact_source = "Qwen2.5-72B";
  expect_error(try_judge(s.items, s.u, s.e, a), errc::conflict,
               {"artifacts of arm uniform 3 bits", "made from model Qwen2.5-72B", "wanted made from model Qwen2-72B"});
}

TEST_CASE("mistake c: 3 of 7 beside 2 of 7 is undecidable, with the number of items that it takes") {
  const auto s = with(seven());
  const auto intact = judged(s, replies_of(s, "intact", 6, 3)), uniform = judged(s, replies_of(s, "uniform", 5, 2));
  const auto c = resect::value_or_throw(try_compare_arms(s.items, intact, uniform));
  CHECK(c.execution.p() == 1);
  CHECK(c.verdict == resect::metrics::paired_verdict::undecidable);
  CHECK((c.execution_change.lo < 0 && c.execution_change.hi > 0));
  CHECK(c.items_needed > 900);
  CHECK_FALSE(c.enough_items);
  const auto seven_items = resect::metrics::clopper_pearson(3, 7);
  CHECK((seven_items.lo < 0.10 && seven_items.hi > 0.81));
}

TEST_CASE("mistake d: lists, tables and rates of an arm come from one object, and changed answers are other items") {
  const auto s = with(seven());
  const auto protect70 = judged(s, replies_of(s, "protect 70-79", 5, 4));
  index_t pass = 0;
  for (index_t i = 0; i < 7; ++i) pass += protect70.word(i) == "PASS";
  CHECK(static_cast<double>(pass) == protect70.table(s.items).both());  // four PASS cannot be 3/7
  CHECK(protect70.table(s.items).execution().value == Approx(4.0 / 7));
  auto changed = seven();
  changed[3].execution.answer = "6";  // recipe_scale: 3 in one table, 6 in the script
  const auto t = with(changed);
  expect_error(try_compare_arms(s.items, protect70, judged(t, replies_of(t, "protect 75-79", 5, 4))), errc::conflict,
               {"items of protect 75-79", "those of protect 70-79"});
}

TEST_CASE("mistake e: the study's graders fail their self-test, each by the reply that it mis-reads") {
  const auto items = timed_item();
  expect_error(try_check_grader(first_time_of_day(), question::execution, items), errc::conflict,
               {"grader script.time/1, item time_duration, execution", "graded pass", "wanted fail"});
  expect_error(try_check_grader(substring_either_way(), question::execution, with(seven()).items), errc::conflict,
               {"grader script.substring/1", "an empty reply", "graded pass"});
  expect_error(try_check_grader(within_half(), question::execution, with(seven()).items), errc::conflict,
               {"grader script.half/1", "near miss \"15.4\"", "graded pass"});
  auto told = seven();
  for (auto& item : told) item.understanding = {"First peel, then cut. Which steps are there?", "peel cut"};
  expect_error(try_check_grader(half_of_the_keywords(), question::understanding,
                                resect::value_or_throw(item_set::try_make(told))),
               errc::conflict, {"grader script.keywords/1", "graded pass"});
  // the baseline's recorded failure: a reply that restates the start is read right
  CHECK(clock_time_grader().grade("It is 2:45 PM now, so in 90 minutes it is 4:15 PM.", items.items()[0].execution) ==
        grade::pass);
}

TEST_CASE(
    "mistake f: on the study's own curve (1 layer 3/7, 3 layers 2/7, 5 layers 3/7) a search among suffixes is "
    "unsound") {
  const auto half = planted_landscape::halves().search;
  const auto quality = [&](const layer_set& p, index_t draw) {
    const index_t n = p.size();
    resect::metrics::estimate e;
    e.se = 0.05;  // seven items have 0.19, which shows nothing at all: see below
    e.value = (n == 0  ? 2
               : n < 3 ? 3
               : n < 5 ? 2
                       : 3) /
                  7.0 +
              e.se * resect::random::gaussian(4, 0, static_cast<std::uint64_t>(draw));
    return half.estimate(e);
  };
  const auto found =
      resect::value_or_throw(try_suffix_search(quality, 16, {.search = {.budget = 1000, .tolerance = 0.07}}));
  CHECK(found.verdict == search_verdict::unsound);
  CHECK(found.harmful == std::vector<index_t>{13});
  INFO(found.note);
  CHECK(found.note.find("falls by 0.1") != std::string::npos);
  const auto few =
      resect::value_or_throw(try_suffix_search(quality, 16, {.search = {.budget = 40, .tolerance = 0.07}}));
  CHECK(few.verdict == search_verdict::unchecked);  // what a plain binary search does is never called found
}

TEST_CASE("mistake g: an arm of a 72B model beside one of a 7B model is refused") {
  const auto s = with(seven());
  const auto small = judged(s, replies_of(s, "7B, uniform 4 bits", 5, 2, "7B")),
             large = judged(s, replies_of(s, "72B, selective 3 bits", 5, 3, "72B"));
  expect_error(try_compare_arms(s.items, small, large), errc::conflict,
               {"model of 72B, selective 3 bits: got 72B, wanted 7B, that of 7B, uniform 4 bits"});
}

TEST_CASE(
    "mistake h: 29 gaps of 67 understood beside 27 of 70 in 100 runs of 20 items is no benefit, and 5 runs are not 5 "
    "items") {
  // 20 items x 5 runs; understood and executed as in the table of the larger run
  std::vector<study_item> list;
  for (int i = 0; i < 20; ++i)
    list.push_back({"task " + std::to_string(10 + i), "", "", {"Plan?", "first then"}, {"Result?", "15"}});
  const auto s = with(list);
  const auto arm = [&](const char* name, index_t understood, index_t gaps) {
    arm_replies out{name, "72B", "", {0.7, 64, ""}, {}};
    for (index_t k = 0; k < 100;
         ++k) {  // the first items are understood in all runs, as runs of one item resemble each other
      const study_item& item = s.items.items()[static_cast<std::size_t>(k / 5)];
      out.replies.push_back({item.id, question::understanding, k % 5, k < understood ? "first then" : "no", {}});
      out.replies.push_back({item.id, question::execution, k % 5, k >= gaps && k < understood ? "15" : "no", {}});
    }
    return judged(s, out);
  };
  const auto baseline = arm("intact", 70, 27), selective = arm("selective", 67, 29);
  const auto a = baseline.table(s.items).conditional_gap(), b = selective.table(s.items).conditional_gap();
  CHECK(a.value == Approx(27.0 / 70));
  CHECK(b.value == Approx(29.0 / 67));
  CHECK((b.lo < a.value && a.value < b.hi));
  CHECK(a.n_clusters == 20);
  CHECK(b.hi - b.lo > 2 * 1.96 * 0.06);  // wider than 67 independent items would be
  const auto c = resect::value_or_throw(try_compare_arms(s.items, baseline, selective));
  CHECK(c.verdict == resect::metrics::paired_verdict::undecidable);  // five runs of fewer than six items differ
  CHECK((c.execution_change.lo <= 0 && c.execution_change.hi >= 0));
}

TEST_CASE("made impossible: no rate without an interval, no gap without a denominator, no grader without its test") {
  const auto s = with(seven());
  const auto uniform =
      judged(s, replies_of(s, "uniform 3 bits", 0, 1)).table(s.items);  // "0/7 gaps" of nothing understood
  CHECK(uniform.gap().value == 0);
  CHECK(std::isnan(uniform.conditional_gap().value));
  CHECK_FALSE(uniform.conditional_gap().has_interval());
  CHECK(uniform.gap().hi > 0.3);  // no gap in seven items is compatible with a third
  CHECK(uniform.execution().has_interval());
  static_assert(!std::is_constructible_v<checked_grader, grader> && !std::is_default_constructible_v<checked_grader>);
  static_assert(!std::is_convertible_v<grader, checked_grader>);
}

TEST_CASE("made impossible: the winner's curse, for what chose a set cannot confirm it") {
  // the best of 40 sets that all do nothing, each judged on 20 items: its own half praises it, the other half does not
  double praised = 0, truth = 0;
  for (std::uint64_t run = 0; run < 200; ++run) {
    double best = -1;
    for (std::uint64_t set = 0; set < 40; ++set) best = std::fmax(best, 0.1 * resect::random::gaussian(run, 1, set));
    praised += best / 200;
    truth += 0.1 * resect::random::gaussian(run, 2, 0) / 200;
  }
  CHECK(praised > 0.15);  // the pilot's 15 points
  CHECK(std::fabs(truth) < 0.03);
  using searched = half_estimate<search_half>;
  const auto passes_on = [](const layer_set&) -> searched { throw 0; };
  static_assert(!confirmation_objective<decltype(passes_on)>);
}

}  // namespace tests
