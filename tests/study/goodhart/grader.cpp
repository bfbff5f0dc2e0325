// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/study/goodhart/grader.hpp>

#include <string>
#include <vector>

#include <support/expect_error.hpp>

namespace tests {

using namespace resect::study;
using resect::errc;
using resect::metrics::grade;
using support::expect_error;

namespace {

item_set one_item(std::string prompt, std::string answer, std::vector<std::string> near = {}) {
  study_item item{
      "i", "", "", {"which steps?", "add the half hour, then the hour"}, {std::move(prompt), std::move(answer)}};
  item.execution.near_misses = std::move(near);
  return resect::value_or_throw(item_set::try_make({item}));
}

bool passes(const grader& g, const char* reply, const char* answer) {
  return g.grade(reply, {"?", answer}) == grade::pass;
}

}  // namespace

TEST_CASE("the last number of a reply: signs, groups, decimals, units, and what is no number") {
  const std::pair<const char*, const char*> known[] = {{"it is 15", "15"},
                                                       {"$1,168.00 in all", "1168"},
                                                       {"15% of 60 is 9.", "9"},
                                                       {"-0.50", "-0.5"},
                                                       {"\xe2\x88\x92"
                                                        "3 apples",
                                                        "-3"},
                                                       {"007", "7"},
                                                       {"at 4:15 PM", ""},
                                                       {"version 1.2.3", ""},
                                                       {"x2 and B12", ""},
                                                       {"1/2", ""},
                                                       {"3 or 4kg", "4"},
                                                       {"1,2,3", "3"},
                                                       {"-0", "0"},
                                                       {"5-3", "3"},
                                                       {"no digits", ""},
                                                       {"12,345,678", "12345678"},
                                                       {"8.", "8"},
                                                       {"the answer is 6.30", "6.3"},
                                                       {"", ""},
                                                       {"12 then 4:15", "12"}};
  for (const auto& [reply, wanted] : known) {
    INFO("\"" << reply << "\"");
    CHECK(last_number(reply) == wanted);
  }
}

TEST_CASE("the last time of day of a reply, with and without halves of the day") {
  const std::pair<const char*, int> known[] = {{"4:15 PM", 975},  {"It was 2:45 PM, so it is 4:15 p.m.", 975},
                                               {"16:15", 975},    {"12:00 AM", 0},
                                               {"12:30 PM", 750}, {"9:30am", 570},
                                               {"25:00", -1},     {"13:00 PM", -1},
                                               {"4:75", -1},      {"at four", -1},
                                               {"12:34:56", -1},  {"9:30 amber", 570}};
  for (const auto& [reply, wanted] : known) {
    INFO("\"" << reply << "\"");
    CHECK(last_clock_time(reply) == wanted);
  }
}

TEST_CASE("graders pass what is right and nothing that only resembles it") {
  const auto number = final_number_grader(), clock = clock_time_grader(), words = exact_words_grader();
  CHECK(
      (passes(number, "30, halved: 15", "15") && passes(number, "15.0", "15") && passes(number, "15 dollars", "$15")));
  CHECK_FALSE((passes(number, "1", "15") || passes(number, "", "15") || passes(number, "15.4", "15") ||
               passes(number, "15 or 16", "15")));
  CHECK((passes(clock, "from 2:45 PM on, 4:15 PM", "4:15 PM") && passes(clock, "16:15", "4:15 PM")));
  CHECK_FALSE((passes(clock, "2:45 PM", "4:15 PM") || passes(clock, "4:15 PM was wrong, 4:30 PM", "4:15 PM") ||
               passes(clock, "", "4:15 PM")));
  CHECK((passes(words, "Soars, falls, climbs.", "soars falls climbs .") &&
         passes(words, "Let me see. Answer: soars falls", "soars falls")));
  CHECK_FALSE((passes(words, "falls soars", "soars falls") || passes(words, "soars falls climbs", "soars falls") ||
               passes(words, "", "soars")));
}

TEST_CASE("the library's graders pass their self-test on numbers, times and lists") {
  CHECK(try_check_grader(final_number_grader(), question::execution, one_item("Half of 30 apples?", "15")));
  CHECK(try_check_grader(final_number_grader(), question::execution, one_item("8.7 km less 2.4 km?", "6.3 km")));
  CHECK(try_check_grader(final_number_grader(), question::execution, one_item("2 less 5?", "-3")));
  CHECK(
      try_check_grader(clock_time_grader(), question::execution, one_item("It is 2:45 PM. In 90 minutes?", "4:15 PM")));
  CHECK(try_check_grader(exact_words_grader(), question::execution, one_item("Order A, B, C, D.", "D C B A")));
  CHECK(try_check_grader(exact_words_grader(), question::execution, one_item("Which one is taller?", "ann")));
}

TEST_CASE("a prompt that holds the answer as its last number is found: its echo would pass") {
  expect_error(
      try_check_grader(final_number_grader(), question::execution, one_item("Is 30 halved 15?", "15")), errc::conflict,
      {"grader resect.final_number/1, item i, execution", "the echo of the prompt", "graded pass", "wanted fail"});
}

TEST_CASE("near misses that an item declares are tested, and a grader needs an id and a function") {
  const auto loose = grader{"loose/1", [](std::string_view reply, const item_question& q) {
                              return reply.find(q.answer) != reply.npos && reply.size() < 9 ? grade::pass : grade::fail;
                            }};
  expect_error(try_check_grader(loose, question::execution, one_item("?", "ann", {"not ann"})), errc::conflict,
               {"the near miss \"not ann\" graded pass"});
  expect_error(try_check_grader({"", loose.grade}, question::execution, one_item("?", "ann")), errc::invalid_argument,
               {"grader"});
  expect_error(try_check_grader({"x/1", {}}, question::execution, one_item("?", "ann")), errc::invalid_argument,
               {"grader"});
}

}  // namespace tests
