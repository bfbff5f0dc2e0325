// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/goodhart.hpp>
#include <resect/study/goodhart/json_lines.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <support/expect_error.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using resect::index_t;
using resect::metrics::grade;
using support::expect_error;

namespace {

// n items in n/4 templates: which of two steps come first, and a sum.
std::vector<study_item> sums(index_t n) {
  std::vector<study_item> out;
  for (index_t i = 0; i < n; ++i) {
    const std::string a = std::to_string(20 + i), total = std::to_string(27 + i);
    study_item item{"item " + std::to_string(100 + i),
                    "template " + std::to_string(i / 4),
                    "arithmetic",
                    {"What is to be done with " + a + " apples and seven more?", "count add"},
                    {"How many are " + a + " and seven?", total}};
    item.execution.choices = {std::to_string(26 + i), total, std::to_string(28 + i)};
    item.understanding.choices = {"add count", "count add"};
    item.execution.guesses = {{"first number", a}};
    out.push_back(item);
  }
  return out;
}

struct setting {
  item_set items;
  checked_grader u, e;
};
setting make(std::vector<study_item> list) {
  auto items = resect::value_or_throw(item_set::try_make(std::move(list)));
  auto u = resect::value_or_throw(try_check_grader(exact_words_grader(), question::understanding, items));
  auto e = resect::value_or_throw(try_check_grader(final_number_grader(), question::execution, items));
  return {std::move(items), std::move(u), std::move(e)};
}

// Replies of an arm: right(item, question, run) says whether a reply is right.
arm_replies arm(const setting& s, std::string name, const std::function<bool(index_t, question, index_t)>& right,
                index_t runs = 1) {
  arm_replies out{std::move(name), "model 1", "", {runs > 1 ? 1.0 : 0.0, 64, "plain"}, {}};
  for (index_t i = 0; i < s.items.size(); ++i)
    for (index_t r = 0; r < runs; ++r)
      for (const question q : {question::execution, question::understanding}) {
        const study_item& item = s.items.items()[static_cast<std::size_t>(i)];
        out.replies.push_back({item.id, q, r, right(i, q, r) ? item.of(q).answer : "I do not know", {}});
      }
  return out;
}

judged_arm judge(const setting& s, const arm_replies& a) {
  return resect::value_or_throw(try_judge(s.items, s.u, s.e, a));
}

}  // namespace

TEST_CASE("the table of an arm is what its replies are: cells, words, rates and grades are one object") {
  const auto s = make(sums(40));
  const auto judged = judge(s, arm(s, "intact", [](index_t i, question q, index_t) {
                              return q == question::understanding ? i % 5 != 0 : i % 4 != 0;
                            }));
  index_t pass = 0, gap = 0, luck = 0, fail = 0;
  for (index_t i = 0; i < 40; ++i) {
    const auto w = judged.word(i);
    pass += w == "PASS";
    gap += w == "GAP";
    luck += w == "LUCK";
    fail += w == "FAIL";
  }
  const auto t = judged.table(s.items);
  CHECK((t.both() == static_cast<double>(pass) && t.only_understood() == static_cast<double>(gap)));
  CHECK((t.only_executed() == static_cast<double>(luck) && t.neither() == static_cast<double>(fail)));
  CHECK((pass == 24 && gap == 8 && luck == 6 && fail == 2));
  CHECK(t.gap().value == Approx(0.2));
  CHECK(t.conditional_gap().value == Approx(0.25));
  CHECK(judged.replies.size() == 80);
  CHECK(judged.grades.size() == 80);
  CHECK(judged.replies[1].text == "I do not know");  // the raw reply of item 100 to execution
  CHECK(t.gap().n_clusters == 10);
}

TEST_CASE("runs of one item count once, are paired run by run, and several of them need a temperature") {
  const auto s = make(sums(24));
  // understanding in even runs, execution in odd ones: the gap is in the pairs
  const auto replies = arm(
      s, "sampled", [](index_t, question q, index_t r) { return (q == question::understanding) == (r % 2 == 0); }, 4);
  const auto t = judge(s, replies).table(s.items);
  CHECK(t.gap().value == 0.5);
  CHECK(t.conditional_gap().value == 1);
  CHECK(t.understanding().value == 0.5);
  CHECK(t.gap().n == 24);
  auto greedy = replies;
  greedy.decoding.temperature = 0;
  expect_error(try_judge(s.items, s.u, s.e, greedy), errc::invalid_argument, {"sampled, runs", "4 at temperature 0"});
}

TEST_CASE("forced choice stands beside free replies: the answer must be more likely than every other choice") {
  const auto s = make(sums(24));
  auto a = arm(s, "intact", [](index_t, question, index_t) { return false; });
  for (item_reply& r : a.replies) {
    const bool last = r.item > "item 115", execution = r.asked == question::execution;
    r.choice_log_likelihoods =
        execution ? std::vector<double>{-2, last ? -2.0 : -1.0, -3} : std::vector<double>{-1, -0.5};
  }
  const auto judged = judge(s, a);
  CHECK(judged.table(s.items).understanding().value == 0);
  CHECK(judged.forced_table(s.items).understanding().value == 1);
  CHECK(judged.forced_table(s.items).execution().value == Approx(16.0 / 24));  // a tie is no choice
  a.replies[3].choice_log_likelihoods.clear();
  expect_error(try_judge(s.items, s.u, s.e, a), errc::shape_mismatch,
               {"arm intact, replies with likelihoods", "47", "none, or all 48"});
  a.replies[3].choice_log_likelihoods = {-1.0};
  expect_error(try_judge(s.items, s.u, s.e, a), errc::shape_mismatch, {"choices of item item 10", "1 likelihoods"});
  a.replies[3].choice_log_likelihoods = {-1.0, std::numeric_limits<double>::quiet_NaN()};
  if (a.replies[3].asked == question::execution) a.replies[3].choice_log_likelihoods.push_back(-1);
  expect_error(try_judge(s.items, s.u, s.e, a), errc::not_finite, {"a log-likelihood of nan"});
}

TEST_CASE("two arms of the same items: delta E with its interval, among the understood, and McNemar's verdict") {
  const auto s = make(sums(80));
  const auto intact =
      judge(s, arm(s, "intact", [](index_t i, question q, index_t) { return q == question::execution || i % 4; }));
  const auto worse = judge(s, arm(s, "3 bits", [](index_t i, question q, index_t) {
                             return q == question::understanding ? i % 4 || i % 8 : i % 5 != 0;
                           }));
  const auto c = resect::value_or_throw(try_compare_arms(s.items, intact, worse));
  CHECK(c.execution_change.value == Approx(-0.2));
  CHECK(c.execution_change.hi < 0);
  CHECK(c.execution_change_understood.value == Approx(-0.2));  // 60 understood by both, 12 of them lost
  CHECK(c.execution.only_first() == 16);
  CHECK(c.verdict == resect::metrics::paired_verdict::first_better);
  CHECK(c.items_needed > 80);
  CHECK_FALSE(c.enough_items);
  const auto same = resect::value_or_throw(try_compare_arms(s.items, intact, intact));
  CHECK(same.execution_change.value == 0);
  CHECK((same.execution_change.lo < 0 && same.execution_change.hi > 0));
  CHECK(same.verdict == resect::metrics::paired_verdict::undecidable);
}

TEST_CASE(
    "with several runs the change among the understood is over pairs of runs, and a draw of one run is the plain one") {
  const auto s = make(sums(40));
  const auto draws = [](index_t salt) {
    return [salt](index_t i, question q, index_t r) {
      return (i * 7 + r * 3 + (q == question::execution ? 5 : 2) * (salt + r)) % 11 > 3 + salt;
    };
  };
  const auto a = judge(s, arm(s, "intact", draws(0), 3)), b = judge(s, arm(s, "3 bits", draws(2), 3));
  double change = 0, both = 0, executed = 0;
  for (std::size_t i = 0; i < 40; ++i)
    for (std::size_t r = 0; r < 3; ++r) {
      const auto grade_of = [&](const judged_arm& x, std::size_t run, std::size_t q) {
        return x.grades[6 * i + 3 * q + run] == grade::pass;
      };
      executed += (grade_of(b, r, 1) - grade_of(a, r, 1)) / 120.0;
      for (std::size_t t = 0; t < 3; ++t)
        if (grade_of(a, r, 0) && grade_of(b, t, 0)) {
          both += 1;
          change += grade_of(b, t, 1) - grade_of(a, r, 1);
        }
    }
  const auto c = resect::value_or_throw(try_compare_arms(s.items, a, b));
  CHECK(c.execution_change.value == Approx(executed));
  CHECK(c.execution_change_understood.value == Approx(change / both));
  CHECK(c.execution.items() == 0);
}

TEST_CASE("arms whose items, prompts, graders, decoding or model differ are not compared, and the error says which") {
  const auto s = make(sums(24));
  const auto all = [](index_t, question, index_t) { return true; };
  const auto intact = judge(s, arm(s, "intact", all));
  const auto refused = [&](const judged_arm& other, std::initializer_list<std::string_view> texts) {
    expect_error(try_compare_arms(s.items, intact, other), errc::conflict, texts);
  };
  auto list = sums(24);
  list[3].execution.answer = list[3].execution.choices[0];  // "recipe_scale: 3" became "6" between two runs of a study
  refused(judge(make(list), arm(make(list), "3 bits", all)), {"items of 3 bits", "those of intact"});
  list = sums(24);
  list[3].understanding.prompt += " Think step by step.";
  refused(judge(make(list), arm(make(list), "3 bits", all)), {"prompts of 3 bits"});
  auto warm = arm(s, "3 bits", all);
  warm.decoding.temperature = 0.7;
  refused(judge(s, warm), {"decoding of 3 bits"});
  auto larger = arm(s, "72B, 3 bits", all);
  larger.model = "model 2";
  refused(judge(s, larger), {"model of 72B, 3 bits: got model 2, wanted model 1, that of intact"});
  const auto other_grader = grader{"resect.final_number/2", final_number_grader().grade};
  const auto e2 = resect::value_or_throw(try_check_grader(other_grader, question::execution, s.items));
  refused(resect::value_or_throw(try_judge(s.items, s.u, e2, arm(s, "3 bits", all))), {"graders of 3 bits"});
}

TEST_CASE("replies that do not fit are refused, and nothing is judged") {
  const auto s = make(sums(8));
  const auto all = [](index_t, question, index_t) { return true; };
  const auto good = arm(s, "intact", all);
  const auto judged = [&](const arm_replies& a) { return try_judge(s.items, s.u, s.e, a); };
  auto a = good;
  a.replies[2].item = "item 999";
  expect_error(judged(a), errc::invalid_argument, {"arm intact: a reply", "of item item 999", "an item of the study"});
  a = good;
  a.replies.pop_back();
  expect_error(judged(a), errc::invalid_argument, {"arm intact: item item 107, understanding, run 0", "got none"});
  a = good;
  a.replies.push_back(a.replies[5]);
  expect_error(judged(a), errc::conflict, {"item item 102, understanding, run 0", "two"});
  a = good;
  a.replies[0].run = 1;
  expect_error(judged(a), errc::invalid_argument, {"item item 100, understanding, run 1", "none"});
  a = good;
  a.artifact_source = "model 2";
  expect_error(judged(a), errc::conflict,
               {"artifacts of arm intact", "made from model model 2", "made from model model 1"});
  a = good;
  a.model.clear();
  expect_error(judged(a), errc::invalid_argument, {"arm intact, model", "no fingerprint"});
  const auto others = make(sums(7));
  expect_error(try_judge(s.items, others.u, s.e, good), errc::conflict,
               {"grader resect.exact_words/1", "on other items"});
  expect_error(try_judge(s.items, s.e, s.u, good), errc::conflict, {"grader"});
}

TEST_CASE("items without an answer, twice, or with impossible choices are refused by name") {
  const auto with = [](auto change) {
    auto list = sums(3);
    change(list);
    return item_set::try_make(list);
  };
  expect_error(with([](auto& l) { l[1].execution.answer.clear(); }), errc::invalid_argument,
               {"item item 101, execution", "no answer"});
  expect_error(with([](auto& l) { l[1].understanding.prompt.clear(); }), errc::invalid_argument,
               {"item item 101, understanding", "no prompt"});
  expect_error(with([](auto& l) { l[1].id = l[0].id; }), errc::conflict, {"item item 100", "twice"});
  expect_error(with([](auto& l) { l[1].id.clear(); }), errc::invalid_argument, {"no id"});
  expect_error(with([](auto& l) { l[2].execution.choices = {"1", "2"}; }), errc::invalid_argument,
               {"item item 102", "choices without the answer"});
  expect_error(with([](auto& l) { l[2].execution.choices.push_back("29"); }), errc::invalid_argument,
               {"a choice twice"});
  expect_error(with([](auto& l) { l[2].execution.near_misses = {"29"}; }), errc::invalid_argument,
               {"the near miss 29"});
  expect_error(item_set::try_make({}), errc::invalid_argument, {"items", "none"});
}

TEST_CASE(
    "the chance line: other items' answers, the most frequent one, short cuts; without headroom nothing is said") {
  auto list = sums(40);
  for (std::size_t i = 0; i < 10; ++i) {  // a quarter has one answer
    list[i].execution = {"What is half of " + std::to_string(i) + " plus the rest of eighty?", "40"};
    list[i].execution.guesses = {{"first number", "40"}};
  }
  for (auto& item : list) item.understanding.choices = item.execution.choices = {};
  const auto s = make(list);
  const auto judged = judge(s, arm(s, "intact", [](index_t i, question, index_t) { return i < 10; }));
  const auto line = chance_of(s.items, s.e, judged);
  CHECK(line.majority == 0.275);  // "40" is also the answer of item 113
  CHECK(line.guesses.at(0).second == Approx(0.25));
  CHECK(line.permuted > 0.02);
  CHECK(line.permuted < 0.1);
  CHECK(line.largest() == 0.275);
  CHECK_FALSE(has_headroom(judged.table(s.items).execution(), line));
  const auto able = judge(s, arm(s, "intact", [](index_t i, question, index_t) { return i % 10 != 0; }));
  CHECK(has_headroom(able.table(s.items).execution(), chance_of(s.items, s.e, able)));
}

TEST_CASE("items and replies come from JSON lines, whole or one question a line, and replies go back as they came") {
  const std::string whole =
      R"({"id": "1", "template": "sum", "understanding": {"prompt": "What?", "answer": "add"}, "execution": {"prompt": "2 and 3?", "answer": "5", "choices": ["5", "6"], "near_misses": ["50"], "guesses": {"first": "2"}}})"
      "\n\n"
      R"({"id": 2, "template": 7, "kind": "U", "prompt": "Which steps?", "answer": "a b", "start": 3})"
      "\r\n"
      R"({"id": 2, "template": 7, "kind": "E", "prompt": "4 and 4?", "answer": "8", "choices": ["8", "9"]})";
  const auto items = resect::value_or_throw(try_read_items(whole));
  REQUIRE(items.size() == 2);
  CHECK(items.items()[1].cluster == "7");
  CHECK(items.items()[0].execution.near_misses == std::vector<std::string>{"50"});
  CHECK(items.items()[0].execution.guesses.at(0).second == "2");
  arm_replies a{"log", "m", "", {}, {}};
  const std::string log = R"({"doc": 1, "what": "U", "out": "add"})"
                          "\n"
                          R"({"doc": 1, "what": "E", "out": "it is 5 \"now\"", "prompt": "2 and 3?"})"
                          "\n"
                          R"({"doc": 2, "what": "U", "out": "a b"})"
                          "\n"
                          R"({"doc": 2, "what": "E", "out": ""})";
  const reply_fields names{.item = "doc", .question = "what", .reply = "out"};
  REQUIRE(try_read_replies(items, log, a, names));
  const setting s{items, resect::value_or_throw(try_check_grader(exact_words_grader(), question::understanding, items)),
                  resect::value_or_throw(try_check_grader(final_number_grader(), question::execution, items))};
  const auto judged = judge(s, a);
  CHECK((judged.word(0) == "PASS" && judged.word(1) == "GAP"));
  arm_replies again{"log", "m", "", {}, {}};
  REQUIRE(try_read_replies(items, replies_as_json_lines(judged), again));
  CHECK(again.replies.size() == 4);
  CHECK(again.replies[1].text == "it is 5 \"now\"");
  CHECK(replies_as_json_lines(judge(s, again)) == replies_as_json_lines(judged));

  const auto refused = [&](const char* line, errc code, std::initializer_list<std::string_view> texts) {
    arm_replies b = a;
    const auto r = try_read_replies(items, log + "\n" + line, b, names, "run.jsonl");
    expect_error(r, code, texts);
    CHECK(b.replies.size() == a.replies.size());
  };
  refused("{\"doc\": 9, \"what\": \"U\", \"out\": \"\"}", errc::invalid_argument,
          {"line 5 of run.jsonl, doc", "item 9"});
  refused("{\"doc\": 1, \"what\": \"X\", \"out\": \"\"}", errc::malformed, {"line 5 of run.jsonl, question", "X"});
  refused("{\"doc\": 1, \"what\": \"U\"}", errc::malformed, {"line 5 of run.jsonl, out", "none"});
  refused("{\"doc\": 1, \"what\": \"U\", \"out\": \"\", \"run\": -1}", errc::malformed, {"run", "-1"});
  refused("{\"doc\": 1, \"what\": \"E\", \"out\": \"\", \"prompt\": \"2 and 4?\"}", errc::conflict, {"another prompt"});
  refused("{\"doc\": 1, \"what\": \"E\", \"out\": \"\", \"choices\": {\"5\": -1}}", errc::malformed,
          {"no number for 6"});
  refused("{\"doc\": 1,", errc::malformed, {"line 5 of run.jsonl"});
  expect_error(try_read_items("{\"id\": 1, \"kind\": \"U\", \"prompt\": \"?\", \"answer\": \"a\"}"),
               errc::invalid_argument, {"item 1, execution", "no prompt"});
  expect_error(try_read_items(whole + "\n{\"id\": 2, \"kind\": \"E\"}"), errc::conflict,
               {"line 5 of items: item 2", "execution twice"});
  expect_error(try_read_items("{\"kind\": \"U\"}"), errc::malformed, {"line 1 of items, id"});
  expect_error(try_read_items("{\"id\": 3}"), errc::malformed, {"line 1 of items, understanding"});
  expect_error(try_read_items("{\"id\": 3, \"kind\": \"U\", \"choices\": 4}"), errc::malformed,
               {"choices", "a list of texts"});
}

}  // namespace tests
