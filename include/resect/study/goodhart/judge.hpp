// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/finite.hpp>
#include <resect/core/hash.hpp>
#include <resect/metrics/verdicts/goodhart.hpp>
#include <resect/study/goodhart/grader.hpp>

namespace RESECT_NAMESPACE::study {

// How replies were made: what arms must share to be compared. Seeds of runs are not part of it.
struct decoding {
  double temperature = 0;  // 0: greedy
  index_t max_new = 64;
  std::string format = {};  // of the prompts: a chat template's name, "plain"

  std::uint64_t fingerprint() const {
    return resect::fingerprint{}.add(temperature).add(static_cast<std::uint64_t>(max_new)).add(format).value();
  }
};

// One reply, as the model gave it.
struct item_reply {
  std::string item;
  question asked = question::understanding;
  index_t run = 0;
  std::string text;
  std::vector<double> choice_log_likelihoods = {};  // ln P(choice | prompt) of the question's choices; empty: not asked
};

// All replies of one arm, raw, and where they come from.
struct arm_replies {
  std::string arm;    // "intact", "uniform 3 bits"
  std::string model;  // fingerprint of the intact model
  std::string
      artifact_source{};  // fingerprint of the model that the arm's artifacts were made from; empty: no artifact
  study::decoding decoding;
  std::vector<item_reply> replies;
};

// What must agree between arms that are compared.
struct judged_hashes {
  std::uint64_t items = 0, prompts = 0, graders = 0, decoding = 0;
  std::string model;
  friend bool operator==(const judged_hashes&, const judged_hashes&) = default;
};

// A judged arm: the 2×2 table of every item is what is stored, and everything else is computed from it, so that a list of
// items, a table and a rate cannot contradict each other. The replies are kept with their grades.
struct judged_arm {
  std::string arm;
  judged_hashes hashes;
  index_t runs = 0;
  std::vector<metrics::understood_executed> cells;   // of each item, over runs
  std::vector<metrics::understood_executed> forced;  // the same by forced choice; empty where it was not asked
  std::vector<item_reply> replies;                   // by item, question and run
  std::vector<metrics::grade> grades;                // of each reply

  // The table over items, clustered by template.
  metrics::goodhart_table table(const item_set& items) const { return table_of(items, cells); }
  metrics::goodhart_table forced_table(const item_set& items) const { return table_of(items, forced); }
  // The word for an item in a matrix of items and arms: "PASS" understood and executed, "GAP" understood only, "LUCK" executed
  // only, "FAIL" neither; with several runs "3/5 gap", the runs with a gap among all.
  std::string word(index_t item) const {
    const metrics::understood_executed& c = cells[static_cast<std::size_t>(item)];
    if (runs > 1) return std::to_string(c.only_understood) + "/" + std::to_string(runs) + " gap";
    return c.both ? "PASS" : c.only_understood ? "GAP" : c.only_executed ? "LUCK" : "FAIL";
  }

 private:
  static metrics::goodhart_table table_of(const item_set& items, const std::vector<metrics::understood_executed>& of) {
    metrics::goodhart_table t(items.n_clusters());
    for (std::size_t i = 0; i < of.size(); ++i) t.add(items.cluster(static_cast<index_t>(i)), of[i]);
    return t;
  }
};

namespace detail {

// The grade of a forced choice: pass where the answer is more likely than every other choice.
inline metrics::grade forced_grade(const item_question& q, const std::vector<double>& log_likelihoods) noexcept {
  std::size_t own = 0;
  while (q.choices[own] != q.answer) ++own;
  for (std::size_t k = 0; k < q.choices.size(); ++k)
    if (k != own && !(log_likelihoods[own] > log_likelihoods[k])) return metrics::grade::fail;
  return metrics::grade::pass;
}

inline status check_reply(const item_set& items, const arm_replies& arm, const item_reply& r) {
  const auto bad = [&](errc code, short_text<120> operand, short_text<120> got, std::string_view wanted) {
    return error{code, operand, got, wanted}.within(text("arm ", arm.arm).view());
  };
  const index_t at = items.find(r.item);
  if (at < 0) return bad(errc::invalid_argument, "a reply", text("of item ", r.item), "an item of the study");
  if (r.run < 0) return bad(errc::invalid_argument, text("a reply of item ", r.item), text("run ", r.run), "0 or more");
  if (r.choice_log_likelihoods.empty()) return {};
  const item_question& q = items.items()[static_cast<std::size_t>(at)].of(r.asked);
  const auto where = text("choices of item ", r.item, ", ", name(r.asked));
  if (r.choice_log_likelihoods.size() != q.choices.size())
    return bad(errc::shape_mismatch, where, text(r.choice_log_likelihoods.size(), " likelihoods"),
               text(q.choices.size()).view());
  for (const double x : r.choice_log_likelihoods)
    if (x != x || x > 0) return bad(errc::not_finite, where, text("a log-likelihood of ", x), "at most 0");
  return {};
}

// Sorts replies by item, question and run, and checks that each is there once.
inline result<index_t> try_order(const item_set& items, const arm_replies& arm, std::vector<item_reply>& replies) {
  std::sort(replies.begin(), replies.end(), [](const item_reply& a, const item_reply& b) {
    return a.item != b.item ? a.item < b.item : a.asked != b.asked ? a.asked < b.asked : a.run < b.run;
  });
  index_t runs = 0;
  for (const item_reply& r : replies) runs = algo::max(runs, r.run + 1);
  const auto bad = [&](errc code, const item_reply& r, std::string_view got) {
    return error{code, text("item ", r.item, ", ", name(r.asked), ", run ", r.run), got, "one reply"}.within(
        text("arm ", arm.arm).view());
  };
  std::size_t k = 0;
  for (const study_item& item : items.items())
    for (const question q : {question::understanding, question::execution})
      for (index_t run = 0; run < algo::max<index_t>(runs, 1); ++run, ++k) {
        const item_reply wanted{item.id, q, run, {}, {}};
        if (k > 0 && k < replies.size() && replies[k].item == replies[k - 1].item &&
            replies[k].asked == replies[k - 1].asked && replies[k].run == replies[k - 1].run)
          return bad(errc::conflict, replies[k], "two");
        if (k >= replies.size() || replies[k].item != item.id || replies[k].asked != q || replies[k].run != run)
          return bad(errc::invalid_argument, wanted, "none");
      }
  if (k < replies.size()) return bad(errc::conflict, replies[k], "two");
  if (runs > 1 && !(arm.decoding.temperature > 0))
    return error{errc::invalid_argument, text("arm ", arm.arm, ", runs"), text(runs, " at temperature 0"),
                 "1, or a temperature above 0"};
  return runs;
}

}  // namespace detail

// Judges the replies of one arm: every item must have one reply to both questions in every run. The understanding and the
// execution of an item are paired run by run. Raw replies and their grades are part of the result.
//   understanding, execution   graders that passed their self-test on these items
// Errors, nothing is judged: invalid_argument for a reply of another item, a missing reply, several runs at temperature 0, a
// model without fingerprint; conflict for two replies to one question of one run, graders tested on other items or for the other
// question, artifacts that were made from another model; shape_mismatch and not_finite for likelihoods that are not those of
// the choices, and where only some replies have them.
inline result<judged_arm> try_judge(const item_set& items, const checked_grader& understanding,
                                    const checked_grader& execution, const arm_replies& arm) {
  using metrics::grade;
  if (arm.model.empty())
    return error{errc::invalid_argument, text("arm ", arm.arm, ", model"), "no fingerprint",
                 "that of the intact model"};
  if (!arm.artifact_source.empty() && arm.artifact_source != arm.model)
    return error{errc::conflict, text("artifacts of arm ", arm.arm), text("made from model ", arm.artifact_source),
                 text("made from model ", arm.model)};
  const std::uint64_t tested = items.fingerprint() ^ items.prompt_fingerprint();
  for (const auto& [g, q] :
       {std::pair{&understanding, question::understanding}, std::pair{&execution, question::execution}})
    if (g->items() != tested || g->asks() != q)
      return error{errc::conflict, text("grader ", g->id()), text("tested for ", name(g->asks()), " on other items"),
                   text("tested for ", name(q), " on these")};
  for (const item_reply& r : arm.replies)
    if (auto s = detail::check_reply(items, arm, r); !s) return s.error();
  judged_arm out;
  out.arm = arm.arm;
  out.replies = arm.replies;
  const auto runs = detail::try_order(items, arm, out.replies);
  if (!runs) return runs.error();
  out.runs = *runs;
  out.hashes = {items.fingerprint(), items.prompt_fingerprint(),
                resect::fingerprint{}.add(understanding.id()).add(execution.id()).value(), arm.decoding.fingerprint(),
                arm.model};
  const auto with_choices = std::count_if(out.replies.begin(), out.replies.end(),
                                          [](const item_reply& r) { return !r.choice_log_likelihoods.empty(); });
  if (with_choices != 0 && static_cast<std::size_t>(with_choices) != out.replies.size())
    return error{errc::shape_mismatch, text("arm ", arm.arm, ", replies with likelihoods of choices"),
                 text(with_choices), text("none, or all ", out.replies.size())};

  const auto n = static_cast<std::size_t>(out.runs);
  const auto count = [](metrics::understood_executed& c, grade u, grade e) {
    const bool knows = u == grade::pass, does = e == grade::pass;
    ++(knows ? (does ? c.both : c.only_understood) : (does ? c.only_executed : c.neither));
  };
  for (std::size_t i = 0; i < items.items().size(); ++i) {
    const study_item& item = items.items()[i];
    const std::size_t first = 2 * n * i;
    for (std::size_t k = 0; k < 2 * n; ++k)
      out.grades.push_back((k < n ? understanding : execution)
                               .grade(out.replies[first + k].text, k < n ? item.understanding : item.execution));
    metrics::understood_executed cell, by_choice;
    for (std::size_t r = 0; r < n; ++r) {
      count(cell, out.grades[first + r], out.grades[first + n + r]);
      if (with_choices > 0)
        count(by_choice, detail::forced_grade(item.understanding, out.replies[first + r].choice_log_likelihoods),
              detail::forced_grade(item.execution, out.replies[first + n + r].choice_log_likelihoods));
    }
    out.cells.push_back(cell);
    if (with_choices > 0) out.forced.push_back(by_choice);
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
