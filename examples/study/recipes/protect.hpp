// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <hosts/vocabulary.hpp>
#include <resect/residual/plan.hpp>
#include <resect/study/compression.hpp>
#include <resect/study/goodhart.hpp>
#include <resect/study/protect.hpp>
#include <study/recipes/bench.hpp>
#include <study/recipes/compress.hpp>

// The recipe `protect`: which layers must stay intact when all others are stored with few bytes, asked of the model's own
// answers.
namespace studies {

// --- items ------------------------------------------------------------------------------------------------------------

// The items of a model with a plain vocabulary, split into halves, and the ids of their prompts.
struct item_bench {
  hosts::vocabulary words;
  std::int32_t stop = -1;  // the word that ends a reply
  resect::study::item_set all;
  resect::study::item_halves halves;
  resect::study::item_set search, confirmation;         // the items of each half
  resect::study::checked_grader understands, executes;  // tested on the confirmation items
  resect::study::checked_grader executes_search;
};

// Reads items from a file of JSON lines and takes `search` and `confirm` of them, evenly over their order; items of one
// template and length are a cluster. Fails for a model folder without vocab.txt and for words that the vocabulary lacks.
item_bench read_items(const std::string& path, const std::string& model, int search, int confirm, std::uint64_t seed);

// What the model under a plan replies to one question of each item, greedily; words joined by spaces.
std::vector<std::string> replies_of(bench& b, const item_bench& items, const resect::study::item_set& of,
                                    resect::study::question q, const resect::residual::plan& plan);

// Replies to both questions of the confirmation items, judged.
resect::study::judged_arm judge_arm(bench& b, const item_bench& items, const std::string& name,
                                    const resect::residual::plan& plan, bool altered);

// Grades of the execution of the items of a half: 1 or 0 each.
std::vector<double> executions(bench& b, const item_bench& items, const resect::study::item_set& of,
                               const resect::study::checked_grader& grader, const resect::residual::plan& plan);

// --- what was found ---------------------------------------------------------------------------------------------------

// A protected set beside the bytes that it takes.
struct set_result {
  std::string name;  // "named by the search", "last 1", "random 1"
  resect::study::layer_set set;
  double bits = 0;                                             // a weight, over the matrices of the chosen layers
  estimate kl = {};                                            // on the evaluated windows
  std::optional<resect::study::confirmed_set> confirmed = {};  // of those that are judged
  estimate loss = {};                                          // E(intact) − E, confirmation items
  double equal_bits = 0;                                       // of uniform storage with at most these bytes
  estimate equal_loss = {}, equal_kl = {};
  estimate advantage = {};  // E of the set − E of uniform storage, paired by item
};

struct protect_results {
  double width = 0;  // bits a weight of the altered layers
  std::vector<int> layers;
  resect::study::compression_report kl;
  resect::study::protection_search search;
  std::vector<resect::study::layer_effect> alone,
      spared;  // on E, search items: loss of one altered, gain of one spared
  std::vector<set_result> sets;
  std::vector<resect::study::judged_arm> arms;  // intact first
  std::vector<double> arm_bits;                 // a weight; 0: as the model is
};

// Adds to the record: layers, sets, the Goodhart table of every arm, item by item; panels; findings.
void add_protection(study_record& to, const item_bench& items, const protect_results& found);

}  // namespace studies
