// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <resect/metrics/verdicts/goodhart.hpp>
#include <resect/metrics/verdicts/paired_items.hpp>
#include <resect/metrics/verdicts/power.hpp>
#include <resect/study/goodhart/judge.hpp>

namespace RESECT_NAMESPACE::study {

// An altered arm beside the intact one on the same items, asked, decoded and graded alike.
struct arms_comparison {
  metrics::estimate execution_change;             // ΔE, altered − intact, over all items: the endpoint
  metrics::estimate execution_change_understood;  // over pairs of runs in which both arms understand
  metrics::estimate gap_change;
  metrics::paired_items execution;  // first: intact, second: altered; one run an item, else empty
  metrics::paired_verdict verdict = metrics::paired_verdict::undecidable;
  index_t items_needed = 0;  // for 80 % power to show that a loss of execution is below the margin, spread as measured
  bool enough_items = false;
};

// Compares two judged arms, paired by item, clustered by template. With one run an item the verdict is McNemar's exact test,
// "undecidable" below six discordant items; with several runs it is "undecidable" below six clusters or six items whose rate
// of execution differs, else what the interval of ΔE says.
// Errors, nothing is compared: conflict where items, prompts, graders, decoding or the intact model differ, with the name and
// both hashes; shape_mismatch where the runs do.
inline result<arms_comparison> try_compare_arms(const item_set& items, const judged_arm& intact,
                                                const judged_arm& altered, double margin = 0.03) {
  const auto differ = [&](std::string_view what, std::string_view a, std::string_view b) {
    return error{errc::conflict, text(what, " of ", altered.arm), b, text(a, ", those of ", intact.arm)};
  };
  const judged_hashes &a = intact.hashes, &b = altered.hashes;
  if (a.model != b.model)
    return error{errc::conflict, text("model of ", altered.arm), text(b.model),
                 text(a.model, ", that of ", intact.arm)};
  for (const auto& [what, x, y] :
       {std::tuple{"items", a.items, b.items}, std::tuple{"prompts", a.prompts, b.prompts},
        std::tuple{"graders", a.graders, b.graders}, std::tuple{"decoding", a.decoding, b.decoding}})
    if (x != y) return differ(what, hexadecimal(x).view(), hexadecimal(y).view());
  if (a.items != items.fingerprint()) return differ("items", "not those handed in", hexadecimal(b.items).view());
  if (intact.runs != altered.runs)
    return error{errc::shape_mismatch, text("runs of ", altered.arm), text(altered.runs), text(intact.runs)};

  arms_comparison out;
  metrics::goodhart_arms sums(items.n_clusters());
  index_t moved = 0;
  for (std::size_t i = 0; i < intact.cells.size(); ++i) {
    const metrics::understood_executed &x = intact.cells[i], &y = altered.cells[i];
    sums.add(items.cluster(static_cast<index_t>(i)), x, y);
    const index_t before = x.both + x.only_executed, after = y.both + y.only_executed;
    moved += before != after;
    if (intact.runs == 1)
      out.execution.add(before ? metrics::grade::pass : metrics::grade::fail,
                        after ? metrics::grade::pass : metrics::grade::fail);
  }
  out.execution_change = sums.execution_change();
  out.execution_change_understood = sums.execution_change_understood();
  out.gap_change = sums.gap_change();
  const metrics::estimate& e = out.execution_change;
  if (intact.runs == 1) out.verdict = out.execution.verdict();
  else if (moved >= metrics::min_discordant && e.has_interval())
    out.verdict = e.lo > 0   ? metrics::paired_verdict::second_better
                  : e.hi < 0 ? metrics::paired_verdict::first_better
                             : metrics::paired_verdict::no_difference_shown;
  if (e.se > 0) {
    const double n = static_cast<double>(items.size());
    out.items_needed = metrics::noninferiority_items_needed(margin, std::fmin(1.0, e.se * e.se * n));
    out.enough_items = e.has_interval() && out.items_needed <= items.size();
  }
  return out;
}

// What guessing reaches on one question: the largest of these shares.
struct chance_line {
  double permuted = 0;                                  // replies graded against the answers of other items
  double majority = 0;                                  // the most frequent answer
  std::vector<std::pair<std::string, double>> guesses;  // each short cut of the items

  double largest() const noexcept {
    double out = permuted > majority ? permuted : majority;
    for (const auto& g : guesses) out = g.second > out ? g.second : out;
    return out;
  }
};

// The chance line of a question for an arm's replies. Permuted: each reply graded against the answers of 20 other items, spread
// evenly over the set. A short cut is graded like a reply. Cost: 20 grades a reply.
inline chance_line chance_of(const item_set& items, const checked_grader& grader, const judged_arm& arm) {
  chance_line out;
  const auto n = static_cast<std::size_t>(items.size()), runs = static_cast<std::size_t>(arm.runs);
  const question q = grader.asks();
  std::map<std::string, index_t> answers;
  std::map<std::string, index_t> shortcuts;
  double permuted = 0, graded = 0;
  const std::size_t others = n - 1 < 20 ? n - 1 : 20;
  for (std::size_t i = 0; i < n; ++i) {
    const item_question& own = items.items()[i].of(q);
    ++answers[own.answer];
    for (const auto& [what, guess] : own.guesses) shortcuts[what] += grader.grade(guess, own) == metrics::grade::pass;
    for (std::size_t r = 0; r < runs; ++r) {
      const item_reply& reply = arm.replies[2 * runs * i + (q == question::execution ? runs : 0) + r];
      for (std::size_t k = 1; k <= others; ++k) {
        const std::size_t j = (i + k * (n - 1) / others) % n;
        permuted += grader.grade(reply.text, items.items()[j].of(q)) == metrics::grade::pass;
        ++graded;
      }
    }
  }
  out.permuted = graded > 0 ? permuted / graded : 0.0;
  for (const auto& [answer, count] : answers)
    out.majority = std::fmax(out.majority, static_cast<double>(count) / static_cast<double>(n));
  for (const auto& [what, right] : shortcuts)
    out.guesses.emplace_back(what, static_cast<double>(right) / static_cast<double>(n));
  return out;
}

// Whether an arm answers better than guessing: the lower end of its rate is above the chance line. Without that there is no
// headroom, and a Goodhart table says nothing.
inline bool has_headroom(const metrics::estimate& rate, const chance_line& chance) noexcept {
  return rate.has_interval() && rate.lo > chance.largest();
}

}  // namespace RESECT_NAMESPACE::study
