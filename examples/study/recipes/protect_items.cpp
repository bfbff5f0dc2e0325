// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/protect.hpp>

#include <algorithm>
#include <filesystem>

#include <resect/study/generate.hpp>
#include <resect/study/goodhart/json_lines.hpp>
#include <study/io/input.hpp>

namespace studies {

namespace {

namespace study = resect::study;
using resect::index_t;

constexpr std::size_t prompts_a_batch = 128;
constexpr int reply_ids = 10;

// The ids of a prompt behind the word that begins a document.
std::vector<std::int32_t> encoded(const hosts::vocabulary& words, const study::study_item& item, study::question q) {
  std::vector<std::int32_t> out{words.find(hosts::vocabulary::document_start)};
  const std::string& prompt = item.of(q).prompt;
  for (std::size_t at = 0; at < prompt.size();) {
    const std::size_t end = std::min(prompt.find(' ', at), prompt.size());
    if (end > at) {
      const std::string word = prompt.substr(at, end - at);
      out.push_back(words.find(word));
      if (out.back() < 0)
        fail({resect::errc::invalid_argument, resect::text("item ", item.id, ", ", study::name(q)),
              resect::text("the word ", hosts::shown(word).view()), "words of vocab.txt"});
    }
    at = end + 1;
  }
  return out;
}

// Every k-th item of a list, `count` of them.
study::item_set thinned(const study::item_set& all, std::span<const std::string> ids, int count) {
  std::vector<study::study_item> out;
  const auto n = std::min(ids.size(), static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < n; ++i)
    out.push_back(all.items()[static_cast<std::size_t>(all.find(ids[i * ids.size() / n]))]);
  return need(study::item_set::try_make(std::move(out)));
}

}  // namespace

item_bench read_items(const std::string& path, const std::string& model, int search, int confirm, std::uint64_t seed) {
  const auto vocabulary = std::filesystem::path(model) / "vocab.txt";
  if (!std::filesystem::exists(vocabulary))
    fail({resect::errc::unsupported, "items of this model", "a model without a plain vocabulary",
          "a folder with vocab.txt (the small model)"});
  auto words = need(hosts::vocabulary::try_open(vocabulary.string()));
  const std::string source = path.empty() ? (std::filesystem::path(model) / "items.jsonl").string() : path;
  auto list = need(study::try_read_items(read_file(source, "--items"), "--items")).items();
  std::vector<std::string> ids;
  for (study::study_item& item : list) {
    item.cluster += " of " + item.id.substr(0, item.id.find('-')) + " steps";
    ids.push_back(item.id);
  }
  auto all = need(study::item_set::try_make(std::move(list)));
  auto halves = need(study::try_split_items(ids, {}, {.seed = seed}));
  auto of_search = thinned(all, halves.search.ids(), search);
  auto of_confirmation = thinned(all, halves.confirmation.ids(), confirm);
  const auto grader = study::exact_words_grader();
  auto u = need(study::try_check_grader(grader, study::question::understanding, of_confirmation));
  auto e = need(study::try_check_grader(grader, study::question::execution, of_confirmation));
  auto e_search = need(study::try_check_grader(grader, study::question::execution, of_search));
  const std::int32_t stop = words.find(".");
  if (stop < 0) fail({resect::errc::invalid_argument, "vocab.txt", "no word .", "one to end replies with"});
  return {std::move(words),           stop,         std::move(all), std::move(halves),  std::move(of_search),
          std::move(of_confirmation), std::move(u), std::move(e),   std::move(e_search)};
}

std::vector<std::string> replies_of(bench& b, const item_bench& items, const study::item_set& of, study::question q,
                                    const resect::residual::plan& plan) {
  std::vector<std::string> out;
  const auto& list = of.items();
  for (std::size_t first = 0; first < list.size(); first += prompts_a_batch) {
    std::vector<std::vector<std::int32_t>> prompts;
    for (std::size_t i = first; i < std::min(list.size(), first + prompts_a_batch); ++i)
      prompts.push_back(encoded(items.words, list[i], q));
    const auto replies =
        need(study::try_generate(b.model(), plan, prompts, {.max_new = reply_ids, .stop_ids = {items.stop}}));
    for (const auto& reply : replies) {
      std::string text;
      for (const std::int32_t id : reply.ids) text += (text.empty() ? "" : " ") + items.words.word(id);
      out.push_back(std::move(text));
    }
  }
  return out;
}

std::vector<double> executions(bench& b, const item_bench& items, const study::item_set& of,
                               const study::checked_grader& grader, const resect::residual::plan& plan) {
  const auto replies = replies_of(b, items, of, study::question::execution, plan);
  std::vector<double> out;
  for (std::size_t i = 0; i < replies.size(); ++i)
    out.push_back(grader.grade(replies[i], of.items()[i].execution) == resect::metrics::grade::pass ? 1.0 : 0.0);
  return out;
}

study::judged_arm judge_arm(bench& b, const item_bench& items, const std::string& name,
                            const resect::residual::plan& plan, bool altered) {
  const std::string model = b.record().model().fingerprint;
  study::arm_replies arm{name, model, altered ? model : "", {0, reply_ids, "words"}, {}};
  for (const auto q : {study::question::understanding, study::question::execution}) {
    auto replies = replies_of(b, items, items.confirmation, q, plan);
    for (std::size_t i = 0; i < replies.size(); ++i)
      arm.replies.push_back({items.confirmation.items()[i].id, q, 0, std::move(replies[i]), {}});
  }
  return need(study::try_judge(items.confirmation, items.understands, items.executes, arm));
}

}  // namespace studies
