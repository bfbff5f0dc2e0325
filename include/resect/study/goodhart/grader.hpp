// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/verdicts/paired_items.hpp>
#include <resect/study/goodhart/item.hpp>
#include <resect/study/goodhart/reply_text.hpp>

namespace RESECT_NAMESPACE::study {

// A function that grades a reply. The id names it with a revision, which is raised where grades change: arms graded by
// different ids are not compared.
struct grader {
  std::string id;
  std::function<metrics::grade(std::string_view reply, const item_question&)> grade;
};

namespace detail {
inline metrics::grade pass_if(bool right) noexcept { return right ? metrics::grade::pass : metrics::grade::fail; }
}  // namespace detail

// Passes a reply whose last number is the answer's last number, exactly: 15 is not 1, 15.4 is not 15.
inline grader final_number_grader() {
  return {"resect.final_number/1", [](std::string_view reply, const item_question& q) {
            const std::string wanted = last_number(q.answer);
            return detail::pass_if(!wanted.empty() && last_number(reply) == wanted);
          }};
}
// Passes a reply whose last time of day is the answer's.
inline grader clock_time_grader() {
  return {"resect.clock_time/1", [](std::string_view reply, const item_question& q) {
            const int wanted = last_clock_time(q.answer);
            return detail::pass_if(wanted >= 0 && last_clock_time(reply) == wanted);
          }};
}
// Passes a reply that is the answer's words in their order, and no other word (reply_words).
inline grader exact_words_grader() {
  return {"resect.exact_words/1", [](std::string_view reply, const item_question& q) {
            const auto wanted = reply_words(q.answer);
            return detail::pass_if(!wanted.empty() && reply_words(reply) == wanted);
          }};
}

// Wrong replies near the answer of a question, for graders to be tested on: of a number its neighbours, its first figure, and
// the number behind another one; of a time an hour later; of several words the list without its last one, with its first
// two exchanged, and with one more.
inline std::vector<std::string> near_misses_of(std::string_view answer) {
  std::vector<std::string> out;
  if (const int minutes = last_clock_time(answer); minutes >= 0) {
    const auto shown = [](int m) {
      const int hour = m / 60 % 12 == 0 ? 12 : m / 60 % 12;
      return std::to_string(hour) + (m % 60 < 10 ? ":0" : ":") + std::to_string(m % 60) + (m / 60 < 12 ? " AM" : " PM");
    };
    return {shown((minutes + 60) % 1440), shown((minutes + 720) % 1440),
            shown(minutes) + ", no, " + shown((minutes + 30) % 1440)};
  }
  const auto words = reply_words(answer);
  if (const std::string number = last_number(answer); !number.empty() && words.size() <= 2) {
    const std::size_t point = number.find('.');
    const std::string sign = number[0] == '-' ? "-" : "", part = point == std::string::npos ? "" : number.substr(point);
    const std::string figures = number.substr(sign.size(), number.size() - part.size() - sign.size());
    if (figures.size() > 1) out.push_back(sign + figures.substr(0, 1));
    out.push_back(sign + "1" + figures + part);
    out.push_back(number + (part.empty() ? ".4" : "4"));
    out.push_back(number + ", or rather " + sign + figures + "7" + part);
    return out;
  }
  const auto joined = [](const std::vector<std::string>& list) {
    std::string s;
    for (const auto& w : list) s += (s.empty() ? "" : " ") + w;
    return s;
  };
  if (words.size() > 1) {
    out.push_back(joined({words.begin(), words.end() - 1}));
    if (words[0] != words[1]) {
      auto swapped = words;
      std::swap(swapped[0], swapped[1]);
      out.push_back(joined(swapped));
    }
  }
  auto longer = words;
  longer.push_back("else");
  out.push_back(joined(longer));
  return out;
}

// A grader that passed its self-test on every item of a set; made by try_check_grader alone, and the only kind that judges.
class checked_grader {
 public:
  const std::string& id() const noexcept { return grader_.id; }
  question asks() const noexcept { return question_; }
  // The items that it was tested on.
  std::uint64_t items() const noexcept { return items_; }
  metrics::grade grade(std::string_view reply, const item_question& q) const { return grader_.grade(reply, q); }

 private:
  friend result<checked_grader> try_check_grader(const grader&, question, const item_set&);
  checked_grader(const grader& g, question q, std::uint64_t items) : grader_(g), question_(q), items_(items) {}
  grader grader_;
  question question_;
  std::uint64_t items_;
};

// Tests a grader on one question of every item: the echo of the prompt, an empty reply, "I do not know", every near miss (the
// item's, and those of near_misses_of) must fail; the answer, with and without a full stop, must pass. An error says which
// reply of which item was graded otherwise, and no arm can be judged. A prompt whose echo passes is a fault of the item, and
// is found alike.
// Errors: invalid_argument for a grader without id or function; conflict for a reply that is graded otherwise than declared.
inline result<checked_grader> try_check_grader(const grader& g, question q, const item_set& items) {
  using metrics::grade;
  if (g.id.empty() || !g.grade) return error{errc::invalid_argument, "grader", "no id or no function", "both"};
  for (const study_item& item : items.items()) {
    const item_question& x = item.of(q);
    const auto graded = [&](std::string_view what, std::string_view reply, grade wanted) -> status {
      if (g.grade(reply, x) == wanted) return {};
      const auto word = [](grade v) { return v == grade::pass ? "pass" : "fail"; };
      return error{errc::conflict, text("grader ", g.id, ", item ", item.id, ", ", name(q)),
                   text(what, " \"", reply, "\" graded ", word(wanted == grade::pass ? grade::fail : grade::pass)),
                   text(word(wanted), ", as declared")};
    };
    if (auto s = graded("an empty reply", "", grade::fail); !s) return s.error();
    if (auto s = graded("the reply", "I do not know", grade::fail); !s) return s.error();
    if (auto s = graded("the answer", x.answer, grade::pass); !s) return s.error();
    if (auto s = graded("the answer", x.answer + " .", grade::pass); !s) return s.error();
    for (const std::string& miss : x.near_misses)
      if (auto s = graded("the near miss", miss, grade::fail); !s) return s.error();
    for (const std::string& miss : near_misses_of(x.answer))
      if (auto s = graded("the near miss", miss, grade::fail); !s) return s.error();
    if (auto s = graded("the echo of the prompt", x.prompt, grade::fail); !s) return s.error();
  }
  return checked_grader(g, q, items.fingerprint() ^ items.prompt_fingerprint());
}

}  // namespace RESECT_NAMESPACE::study
