// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <support/catch.hpp>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>

// The small model must really have learned: its figures are recomputed here, by this runtime, on a sample.
namespace {

using nlohmann::json;
using resect::model::row_meta;

const std::string folder = RESECT_SOURCE_DIR "/examples/models/tiny";

json read_json(const std::string& path) {
  std::ifstream in(path);
  REQUIRE(in);
  return json::parse(in);
}

struct item {
  std::string kind, prompt, answer;
  int steps = 0;
};

// Every `stride`-th item of each kind and number of steps.
std::map<std::pair<std::string, int>, std::vector<item>> sampled_items(int stride) {
  std::map<std::pair<std::string, int>, std::vector<item>> out;
  std::map<std::pair<std::string, int>, int> seen;
  std::ifstream in(folder + "/items.jsonl");
  REQUIRE(in);
  for (std::string line; std::getline(in, line);) {
    const json j = json::parse(line);
    const std::pair key{j["kind"].get<std::string>(), j["n"].get<int>()};
    if (seen[key]++ % stride == 0) out[key].push_back({key.first, j["prompt"], j["answer"], key.second});
  }
  return out;
}

struct tiny {
  hosts::llama_model model = resect::value_or_throw(hosts::try_load_llama(folder));
  hosts::vocabulary words = resect::value_or_throw(hosts::vocabulary::try_open(folder + "/vocab.txt"));
  resect::cpu<resect::threads> exec{resect::threads{2}};
  hosts::llama_host host{exec, model};

  // Whether greedy decoding gives the answer: after the prompt and after each word of the answer the most
  // likely next word is the answer's next.
  std::vector<bool> solve(const std::vector<item>& items, const resect::residual::plan& plan = {}) {
    std::vector<row_meta> batch;
    std::vector<std::pair<std::size_t, std::int32_t>> expected;  // item, word
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto prompt = ids(items[i].prompt), answer = ids(items[i].answer);
      auto all = prompt;
      all.insert(all.end(), answer.begin(), answer.end() - 1);
      for (std::size_t t = 0; t < all.size(); ++t) {
        const bool asked = t + 1 >= prompt.size();
        if (asked) expected.emplace_back(i, answer[t + 1 - prompt.size()]);
        batch.push_back(
            {static_cast<std::int32_t>(i), static_cast<std::int32_t>(t), all[t], asked ? row_meta::wants_logits : 0});
      }
    }
    resect::residual::forward(host, plan, batch);
    const auto logits = host.logits();
    REQUIRE(logits.rows == static_cast<resect::index_t>(expected.size()));
    std::vector<bool> right(items.size(), true);
    for (std::size_t r = 0; r < expected.size(); ++r) {
      const auto row = logits.row(static_cast<resect::index_t>(r));
      const auto top = resect::metrics::row_argmax({row.data, static_cast<std::size_t>(row.size)});
      if (top.id != expected[r].second) right[expected[r].first] = false;
    }
    return right;
  }

 private:
  // the words of one document, `<doc>` put in front of a prompt
  std::vector<std::int32_t> ids(const std::string& text) const {
    std::vector<std::int32_t> out;
    std::istringstream in(text);
    if (text.starts_with("game ")) out.push_back(words.find("<doc>"));
    for (std::string word; in >> word;) {
      out.push_back(words.find(word));
      REQUIRE(out.back() >= 0);
    }
    return out;
  }
};

double share(const std::vector<bool>& right) {
  return static_cast<double>(std::count(right.begin(), right.end(), true)) / static_cast<double>(right.size());
}

}  // namespace

TEST_CASE("the small model's recorded figures meet what is asked of it") {
  const json figures = read_json(folder + "/figures.json");
  CHECK(figures["grammar"]["gap"].get<double>() < 0.1);
  CHECK(figures["tasks"]["U"]["pooled_accuracy"].get<double>() >= 0.9);
  int understanding_inside = 0, execution_inside = 0;
  for (const std::string kind : {"U", "E"})
    for (const auto& [steps, f] : figures["tasks"][kind]["by_steps"].items()) {
      INFO(kind << " with " << steps << " steps");
      CHECK(f["n_items"].get<int>() >= 1000);
      CHECK(f["standard_errors_above_chance"].get<double>() >= 10.0);
      const double accuracy = f["accuracy"];
      understanding_inside += kind == "U" && accuracy >= 0.6 && accuracy <= 0.98;
      execution_inside += kind == "E" && accuracy >= 0.5 && accuracy <= 0.95;
    }
  CHECK(understanding_inside >= 1);
  CHECK(execution_inside >= 2);
}

TEST_CASE("this runtime solves held-out items as often as the figures say, for every number of steps") {
  tiny t;
  const json figures = read_json(folder + "/figures.json");
  const auto items = sampled_items(8);
  REQUIRE(items.size() >= 8);
  for (const auto& [key, chosen] : items) {
    const double expected = figures["tasks"][key.first]["by_steps"][std::to_string(key.second)]["accuracy"];
    const double measured = share(t.solve(chosen));
    const double se = std::sqrt(std::max(expected * (1 - expected), 0.01) / static_cast<double>(chosen.size()));
    INFO(key.first << " with " << key.second << " steps, " << chosen.size() << " items");
    CHECK(std::abs(measured - expected) <= 4 * se);
  }
}

TEST_CASE("damage shows: without its second layer the small model solves fewer items") {
  tiny t;
  const auto items = sampled_items(8);
  double intact = 0, damaged = 0;
  for (const auto& [key, chosen] : items) {
    intact += share(t.solve(chosen));
    damaged += share(t.solve(chosen, resect::residual::plan{} | resect::residual::skip(resect::residual::layer(1))));
  }
  CHECK(damaged < 0.8 * intact);
}

TEST_CASE("no held-out item is worded twice") {
  std::vector<std::string> prompts;
  std::ifstream in(folder + "/items.jsonl");
  for (std::string line; std::getline(in, line);) prompts.push_back(json::parse(line)["prompt"]);
  std::sort(prompts.begin(), prompts.end());
  CHECK(std::adjacent_find(prompts.begin(), prompts.end()) == prompts.end());
}
