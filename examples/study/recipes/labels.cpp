// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/labels.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <hosts/vocabulary.hpp>
#include <nlohmann/json.hpp>
#include <study/io/input.hpp>

namespace studies {

namespace {

using nlohmann::json;

struct labelled_line {
  std::string text, label;
  std::vector<std::int32_t> ids;  // empty where the line has none
};

// The lines of a file as objects; a line that is none is refused.
std::vector<json> objects_of(const std::string& path, std::string_view operand) {
  std::vector<json> out;
  std::istringstream lines(read_file(path, operand));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto object = json::parse(line, nullptr, false);
    if (!object.is_object())
      fail({resect::errc::malformed, operand, resect::text("line ", number, ", which is no JSON object"),
            "one JSON object a line"});
    out.push_back(std::move(object));
  }
  return out;
}

std::string word(const json& object, const char* key, std::string_view operand, std::size_t line) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string())
    fail({resect::errc::malformed, operand, resect::text("object ", line + 1, " without a text \"", key, "\""),
          "\"text\" and \"label\" in each"});
  return found->get<std::string>();
}

// Ids of a text: those of its line, else by the model's plain vocabulary.
std::vector<std::int32_t> ids_of(const labelled_line& line, const std::optional<hosts::vocabulary>& words, int n_vocab,
                                 std::string_view operand) {
  std::vector<std::int32_t> ids = line.ids;
  if (ids.empty()) {
    if (!words)
      fail({resect::errc::invalid_argument, operand, "a text without \"ids\"",
            "\"ids\" in each line (./run study makes them), or a model folder with vocab.txt"});
    ids = need(words->try_encode(line.text)).ids;
  }
  for (const std::int32_t id : ids)
    if (id < 0 || id >= n_vocab)
      fail({resect::errc::invalid_argument, operand, resect::text("token id ", id),
            resect::text("an id below ", n_vocab, ", the model's vocabulary")});
  return ids;
}

// Leaves every text once; one that has two labels is refused.
void drop_repeated(std::vector<labelled_line>& lines, std::string_view operand) {
  std::map<std::string, std::string> label_of;
  std::erase_if(lines, [&](const labelled_line& l) {
    const auto [first, is_new] = label_of.emplace(l.text, l.label);
    if (first->second != l.label)
      fail({resect::errc::conflict, operand,
            resect::text("labels \"", first->second, "\" and \"", l.label, "\" of the text \"", l.text, "\""),
            "one label a text"});
    return !is_new;
  });
}

// At most `most` lines as two halves of the same classes, [half] in the order of the file: within a class the lines come in a
// seeded order, the classes one after another are taken at even distances, and every second one of these is judged. What
// stands where in the file decides nothing.
std::array<std::vector<std::size_t>, 2> halves(const std::vector<labelled_line>& lines,
                                               const std::vector<std::string>& classes, std::size_t most,
                                               std::string_view operand) {
  constexpr std::uint64_t seed = 1;
  std::vector<std::size_t> order;
  for (const auto i : resect::student::detail::permutation(static_cast<resect::index_t>(lines.size()), seed, 0))
    order.push_back(static_cast<std::size_t>(i));
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lines[a].label < lines[b].label; });
  std::array<std::vector<std::size_t>, 2> out;
  std::array<std::map<std::string, int>, 2> count;
  const std::size_t taken = std::min(most, lines.size());
  for (std::size_t i = 0; i < taken; ++i) {
    const std::size_t line = order[i * lines.size() / taken];
    out[i % 2].push_back(line);
    ++count[i % 2][lines[line].label];
  }
  for (const auto& label : classes)
    if (!count[0].contains(label) || !count[1].contains(label))
      fail({resect::errc::invalid_argument, operand,
            resect::text(count[0][label] + count[1][label], " of ", taken, " taken texts with the label \"", label,
                         "\""),
            "2 or more of each label: to fit the probe, and to judge it"});
  for (auto& half : out) std::sort(half.begin(), half.end());
  return out;
}

labelled_file chosen(std::vector<labelled_line> lines, const std::string& model_path, int n_vocab, int bos,
                     std::size_t most, std::string_view operand) {
  drop_repeated(lines, operand);
  if (lines.size() < 4)
    fail({resect::errc::invalid_argument, operand, resect::text(lines.size(), " texts"), "4 or more that differ"});
  std::optional<hosts::vocabulary> words;
  if (const auto table = std::filesystem::path(model_path) / "vocab.txt"; std::filesystem::exists(table))
    words = need(hosts::vocabulary::try_open(table.string()));
  labelled_file out;
  std::set<std::string> labels;
  for (const auto& l : lines) labels.insert(l.label);
  out.classes.assign(labels.begin(), labels.end());
  if (out.classes.size() < 2)
    fail({resect::errc::invalid_argument, operand, resect::text("the label \"", out.classes.front(), "\" alone"),
          "2 labels or more"});
  const auto chosen_lines = halves(lines, out.classes, most, operand);
  for (const auto& half : chosen_lines)
    for (const std::size_t i : half) {
      const auto& line = lines[i];
      const auto label = std::lower_bound(out.classes.begin(), out.classes.end(), line.label) - out.classes.begin();
      need(out.texts.try_add(ids_of(line, words, n_vocab, operand), static_cast<std::int32_t>(label), bos));
    }
  out.texts.fitted = static_cast<resect::index_t>(chosen_lines[0].size());
  return out;
}

}  // namespace

labelled_file read_labels(const std::string& path, const std::string& model_path, int n_vocab, int bos,
                          std::size_t most) {
  std::vector<labelled_line> lines;
  const auto objects = objects_of(path, "--labels");
  for (std::size_t i = 0; i < objects.size(); ++i) {
    labelled_line line{word(objects[i], "text", "--labels", i), word(objects[i], "label", "--labels", i), {}};
    if (const auto ids = objects[i].find("ids"); ids != objects[i].end()) {
      if (!ids->is_array() ||
          !std::all_of(ids->begin(), ids->end(), [](const json& id) { return id.is_number_integer(); }))
        fail({resect::errc::malformed, "--labels", resect::text("\"ids\" of object ", i + 1), "an array of token ids"});
      line.ids = ids->get<std::vector<std::int32_t>>();
    }
    lines.push_back(std::move(line));
  }
  auto out = chosen(std::move(lines), model_path, n_vocab, bos, most, "--labels");
  out.name = std::filesystem::path(path).filename().string();
  out.task = "the label of the text";
  return out;
}

labelled_file read_last_steps(const std::string& model_path, int n_vocab, int bos, std::size_t most) {
  const auto objects = objects_of((std::filesystem::path(model_path) / "items.jsonl").string(), "items.jsonl");
  const auto words_of = [](const std::string& text) {
    std::istringstream in(text);
    return std::vector<std::string>(std::istream_iterator<std::string>(in), {});
  };
  std::set<std::string> steps;  // what answers to the question about steps name
  for (std::size_t i = 0; i < objects.size(); ++i)
    if (word(objects[i], "kind", "items.jsonl", i) == "U")
      for (auto& w : words_of(word(objects[i], "answer", "items.jsonl", i))) steps.insert(std::move(w));
  steps.erase(".");
  std::vector<labelled_line> lines;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (objects[i]["kind"] != "U" || objects[i].value("persons", 1) != 1) continue;
    labelled_line line;
    for (auto& w : words_of(word(objects[i], "prompt", "items.jsonl", i))) {
      if (w == "which") break;  // the question: the telling alone is the text
      line.text += (line.text.empty() ? "" : " ") + w;
      if (steps.contains(w)) line.label = std::move(w);
    }
    if (!line.label.empty()) lines.push_back(std::move(line));
  }
  auto out = chosen(std::move(lines), model_path, n_vocab, bos, most, "items.jsonl");
  out.name = "items.jsonl";
  out.task = "the step told last, at the end of the telling";
  return out;
}

}  // namespace studies
