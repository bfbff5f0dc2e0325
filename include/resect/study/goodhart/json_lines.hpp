// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/io/json.hpp>
#include <resect/study/goodhart/item.hpp>
#include <resect/study/goodhart/judge.hpp>

// Items and replies from JSON lines, one object a line, so that what another harness asked and logged can be judged. Needs
// nlohmann-json.
namespace RESECT_NAMESPACE::study {

// The names of the fields of a log of replies.
struct reply_fields {
  std::string item = "id";
  std::string question = "question";  // "U", "E", "understanding" or "execution"
  std::string reply = "reply";
  std::string run = "run";          // 0 where it is missing
  std::string prompt = "prompt";    // where it is there, it must be the item's
  std::string choices = "choices";  // where it is there, an object of choice and log-likelihood, or a list of these
};

namespace detail {

// Calls f(object, "line N of NAME") → status for each line that is not empty.
template <class F>
status for_json_lines(std::string_view text_, std::string_view what, F f) {
  index_t line = 0;
  while (!text_.empty()) {
    ++line;
    const std::size_t end = text_.find('\n');
    std::string_view one = text_.substr(0, end);
    text_.remove_prefix(end == text_.npos ? text_.size() : end + 1);
    if (!one.empty() && one.back() == '\r') one.remove_suffix(1);
    if (one.find_first_not_of(" \t") == one.npos) continue;
    const auto where = text("line ", line, " of ", what);
    const auto object = io::try_parse_json(one, where.view());
    if (!object) return object.error();
    if (auto s = f(*object, where.view()); !s) return s;
  }
  return {};
}

// A field as text: a string, or a number or boolean as it is written. Missing or null: empty.
inline std::string text_field(const nlohmann::json& object, const std::string& name) {
  const auto at = object.find(name);
  if (at == object.end() || at->is_null() || at->is_structured()) return {};
  return at->is_string() ? at->get<std::string>() : at->dump();
}

inline result<question> try_question(const std::string& word, std::string_view where) {
  if (word == "U" || word == "understanding") return question::understanding;
  if (word == "E" || word == "execution") return question::execution;
  return error{errc::malformed, text(where, ", question"), word.empty() ? "none" : std::string_view(word),
               "U, E, understanding or execution"};
}

inline result<item_question> try_item_question(const nlohmann::json& object, std::string_view where) {
  item_question out;
  out.prompt = text_field(object, "prompt");
  out.answer = text_field(object, "answer");
  for (const auto& [name, list] : {std::pair{"choices", &out.choices}, std::pair{"near_misses", &out.near_misses}}) {
    const auto at = object.find(name);
    if (at == object.end() || at->is_null()) continue;
    if (!at->is_array()) return error{errc::malformed, text(where, ", ", name), at->type_name(), "a list of texts"};
    for (const auto& x : *at) {
      if (!x.is_string()) return error{errc::malformed, text(where, ", ", name), x.type_name(), "a text"};
      list->push_back(x.template get<std::string>());
    }
  }
  if (const auto at = object.find("guesses"); at != object.end() && at->is_object())
    for (const auto& [what, guess] : at->items())
      if (guess.is_string()) out.guesses.emplace_back(what, guess.template get<std::string>());
  return out;
}

}  // namespace detail

// Reads items. A line is a whole item,
//   {"id": "7", "template": "sale", "category": "money", "understanding": {"prompt": …, "answer": …}, "execution": {…}}
// or one of its questions, the other on another line with the same id,
//   {"id": "7", "template": 2, "kind": "U", "prompt": …, "answer": …}
// A question may have "choices", "near_misses" (lists of texts) and "guesses" (an object of names and texts); other fields are
// left. Errors: malformed names the line and the field; conflict for a question that comes twice; what item_set::try_make
// reports (an item of which one question is missing has no prompt).
inline result<item_set> try_read_items(std::string_view lines, std::string_view what = "items") {
  std::map<std::string, study_item> found;
  std::map<std::string, int> seen;  // bit 0: understanding, bit 1: execution
  const auto take = [&](const nlohmann::json& object, std::string_view where) -> status {
    const std::string id = detail::text_field(object, "id");
    if (id.empty()) return error{errc::malformed, text(where, ", id"), "none", "a text or a number"};
    study_item& item = found[id];
    item.id = id;
    if (const auto t = detail::text_field(object, "template"); !t.empty()) item.cluster = t;
    if (const auto c = detail::text_field(object, "category"); !c.empty()) item.category = c;
    const auto put = [&](question q, const nlohmann::json& from) -> status {
      const int bit = q == question::understanding ? 1 : 2;
      if (seen[id] & bit)
        return error{errc::conflict, text(where, ": item ", id), text(name(q), " twice"), "each question once"};
      seen[id] |= bit;
      auto read = detail::try_item_question(from, where);
      if (!read) return read.error();
      (bit == 1 ? item.understanding : item.execution) = std::move(*read);
      return {};
    };
    if (object.contains("kind")) {
      const auto q = detail::try_question(detail::text_field(object, "kind"), where);
      return q ? put(*q, object) : status(q.error());
    }
    for (const question q : {question::understanding, question::execution}) {
      const auto at = object.find(std::string(name(q)));
      if (at == object.end() || !at->is_object())
        return error{errc::malformed, text(where, ", ", name(q)), "none", "an object with prompt and answer"};
      if (auto s = put(q, *at); !s) return s;
    }
    return {};
  };
  if (auto s = detail::for_json_lines(lines, what, take); !s) return s.error();
  std::vector<study_item> items;
  for (auto& [id, item] : found) items.push_back(std::move(item));
  return item_set::try_make(std::move(items));
}

// Reads the replies of an arm into `arm.replies` (name, model and decoding are the caller's). Errors, nothing is read:
// malformed names the line and the field; invalid_argument for an item that the set does not have; conflict for a prompt that
// is not the item's.
inline status try_read_replies(const item_set& items, std::string_view lines, arm_replies& arm,
                               const reply_fields& fields = {}, std::string_view what = "replies") {
  std::vector<item_reply> out;
  const auto take = [&](const nlohmann::json& object, std::string_view where) -> status {
    item_reply r;
    r.item = detail::text_field(object, fields.item);
    const index_t at = items.find(r.item);
    if (at < 0)
      return error{errc::invalid_argument, text(where, ", ", fields.item), text("item ", r.item),
                   "an item of the study"};
    const auto q = detail::try_question(detail::text_field(object, fields.question), where);
    if (!q) return q.error();
    r.asked = *q;
    const item_question& asked = items.items()[static_cast<std::size_t>(at)].of(r.asked);
    if (const auto reply = object.find(fields.reply); reply == object.end() || !reply->is_string())
      return error{errc::malformed, text(where, ", ", fields.reply),
                   reply == object.end() ? "none" : reply->type_name(), "a text"};
    r.text = object.find(fields.reply)->get<std::string>();
    if (const auto run = object.find(fields.run); run != object.end()) {
      if (!run->is_number_integer() || run->get<std::int64_t>() < 0)
        return error{errc::malformed, text(where, ", ", fields.run), text(run->dump()), "a whole number, 0 or more"};
      r.run = run->get<std::int64_t>();
    }
    if (const auto prompt = object.find(fields.prompt); prompt != object.end() && prompt->is_string())
      if (prompt->get<std::string>() != asked.prompt)
        return error{errc::conflict, text(where, ", ", fields.prompt), "another prompt", text("that of item ", r.item)};
    if (const auto choices = object.find(fields.choices); choices != object.end() && !choices->is_null())
      for (std::size_t k = 0; k < asked.choices.size(); ++k) {
        const bool named = choices->is_object();
        const bool there = named ? choices->contains(asked.choices[k])
                                 : choices->is_array() && choices->size() == asked.choices.size();
        const auto* x = !there ? nullptr : named ? &choices->at(asked.choices[k]) : &choices->at(k);
        if (x == nullptr || !x->is_number())
          return error{errc::malformed, text(where, ", ", fields.choices), text("no number for ", asked.choices[k]),
                       "a log-likelihood"};
        r.choice_log_likelihoods.push_back(x->get<double>());
      }
    out.push_back(std::move(r));
    return {};
  };
  if (auto s = detail::for_json_lines(lines, what, take); !s) return s;
  arm.replies = std::move(out);
  return {};
}

// The raw replies of a judged arm with their grades as JSON lines, which try_read_replies reads again.
inline std::string replies_as_json_lines(const judged_arm& arm) {
  std::string out;
  for (std::size_t i = 0; i < arm.replies.size(); ++i) {
    const item_reply& r = arm.replies[i];
    nlohmann::ordered_json line{
        {"arm", arm.arm}, {"id", r.item},    {"question", std::string(name(r.asked))},
        {"run", r.run},   {"reply", r.text}, {"grade", arm.grades[i] == metrics::grade::pass ? "pass" : "fail"}};
    if (!r.choice_log_likelihoods.empty()) line["choices"] = r.choice_log_likelihoods;
    out += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
