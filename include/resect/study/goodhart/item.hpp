// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::study {

// The two questions of an item: what is to be done, and the doing.
enum class question : std::uint8_t { understanding, execution };

// The word for a question in messages and files.
constexpr std::string_view name(question q) noexcept {
  return q == question::understanding ? "understanding" : "execution";
}

// One question, asked in a context of its own.
struct item_question {
  std::string prompt;
  std::string answer;
  std::vector<std::string> choices = {};      // of a forced choice, the answer among them; empty: none
  std::vector<std::string> near_misses = {};  // wrong replies that a careless grader passes
  std::vector<std::pair<std::string, std::string>> guesses =
      {};  // {"start alone", "17"}: what a short cut would answer
};

// An item: one problem with a question about what to do and one about the result.
struct study_item {
  std::string id;
  std::string cluster;  // the template that the item was made from; empty: the item is its own cluster
  std::string category = {};
  item_question understanding, execution;

  const item_question& of(question q) const noexcept {
    return q == question::understanding ? understanding : execution;
  }
};

// Items that were checked, in ascending order of their ids. An item counts once, however often it was listed.
class item_set {
 public:
  // Errors: invalid_argument for no item, an item without id, prompt or answer, a near miss that is the answer, choices
  // without the answer or with one twice; conflict for an id that two items have. Each names item and question.
  static result<item_set> try_make(std::vector<study_item> items) {
    if (items.empty()) return error{errc::invalid_argument, "items", "none", "1 or more"};
    std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    item_set out;
    std::set<std::string> clusters;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].id.empty()) return error{errc::invalid_argument, "an item", "no id", "an id"};
      if (i > 0 && items[i].id == items[i - 1].id)
        return error{errc::conflict, text("item ", items[i].id), "twice", "each id once"};
      for (const question q : {question::understanding, question::execution})
        if (auto s = check(items[i], q); !s) return s.error();
      if (items[i].cluster.empty()) items[i].cluster = "item " + items[i].id;
      clusters.insert(items[i].cluster);
    }
    for (const study_item& item : items)
      out.cluster_.push_back(std::distance(clusters.begin(), clusters.find(item.cluster)));
    out.n_clusters_ = static_cast<index_t>(clusters.size());
    out.items_ = std::move(items);
    return out;
  }

  const std::vector<study_item>& items() const noexcept { return items_; }
  index_t size() const noexcept { return static_cast<index_t>(items_.size()); }
  index_t n_clusters() const noexcept { return n_clusters_; }
  index_t cluster(index_t item) const noexcept { return cluster_[static_cast<std::size_t>(item)]; }
  // The place of an id, or −1.
  index_t find(std::string_view id) const noexcept {
    const auto at = std::lower_bound(items_.begin(), items_.end(), id,
                                     [](const study_item& item, std::string_view wanted) { return item.id < wanted; });
    return at != items_.end() && at->id == id ? at - items_.begin() : -1;
  }

  // What arms must share to be compared: ids, clusters and answers (with their choices), and apart the prompts.
  std::uint64_t fingerprint() const {
    resect::fingerprint f;
    for (const study_item& item : items_) {
      f.add(item.id).add(item.cluster);
      for (const question q : {question::understanding, question::execution}) {
        f.add(item.of(q).answer);
        for (const std::string& choice : item.of(q).choices) f.add(choice);
      }
    }
    return f.value();
  }
  std::uint64_t prompt_fingerprint() const {
    resect::fingerprint f;
    for (const study_item& item : items_) f.add(item.understanding.prompt).add(item.execution.prompt);
    return f.value();
  }

 private:
  static status check(const study_item& item, question q) {
    const item_question& x = item.of(q);
    const auto bad = [&](std::string_view got, std::string_view wanted) {
      return error{errc::invalid_argument, text("item ", item.id, ", ", name(q)), got, wanted};
    };
    if (x.prompt.empty()) return bad("no prompt", "a prompt");
    if (x.answer.empty()) return bad("no answer", "an answer");
    for (const std::string& miss : x.near_misses)
      if (miss == x.answer) return bad(text("the near miss ", miss).view(), "another reply than the answer");
    if (x.choices.empty()) return {};
    if (std::find(x.choices.begin(), x.choices.end(), x.answer) == x.choices.end())
      return bad("choices without the answer", "the answer among them");
    if (std::set<std::string>(x.choices.begin(), x.choices.end()).size() != x.choices.size())
      return bad("a choice twice", "each choice once");
    return {};
  }

  std::vector<study_item> items_;
  std::vector<index_t> cluster_;
  index_t n_clusters_ = 0;
};

}  // namespace RESECT_NAMESPACE::study
