// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/core/result.hpp>
#include <resect/io/bytes.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/version.hpp>

// report.json, schema 1: what a study found, for programs that read it later. This header writes it, report_reader.hpp
// reads it. It knows plain numbers, texts and estimates, and no type of a model or a study, so that any harness can
// write the file. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {

// The schema that try_report_json writes and try_read_report accepts.
inline constexpr int report_schema = 1;

// A value and the name that it has in the file.
template <class T>
struct named {
  std::string name;
  T value{};

  friend bool operator==(const named&, const named&) = default;
};

// The value of that name, or a null pointer.
template <class T>
const T* find_named(const std::vector<named<T>>& list, std::string_view name) noexcept {
  for (const named<T>& one : list)
    if (one.name == name) return &one.value;
  return nullptr;
}

// A number, or a text where `text` is not empty: what an operator was given (bits 4, zero "integer").
struct report_value {
  double number = 0;
  std::string text = {};
};

// The place of an arm among those of its table, 1 = largest, with the interval of the place. 0 stands for a number that
// does not exist, null in the file.
struct report_rank {
  index_t value = 0, lo = 0, hi = 0;
};

// What is claimed of an arm among the others of its table: marks hold for all rows of a table together, and ranks are
// places among them.
struct report_verdict {
  std::string table;
  std::string mark;  // "critical", "negligible", "better than intact", or nothing
  report_rank rank;
  bool control = false;  // the arm checks the study, and is no result of it
};

// One altered model: where it was altered and how, and what that did. `arm` names it within the report and across
// reports: two reports that hold the same arm can be compared in pairs.
//   seeds, seed_sd      of an arm over seeds: the seeds, and the standard deviations of measures between them
//   estimates, numbers  what a recipe gives beside the metrics (restored_kl, weight_error)
// In the file `layers` stands beside `first` and `last` (exclusive), which are null unless the layers follow one another.
struct report_row {
  std::string arm;
  std::string operation;    // "operator" in the file: "skip"
  std::vector<int> layers;  // ascending
  std::string matrix;       // the one matrix of the layers that is altered; null in the file where empty
  std::optional<std::uint64_t> seed;
  std::vector<named<report_value>> parameters;
  std::vector<named<metrics::estimate>> metrics;
  std::optional<report_verdict> verdict;
  std::vector<std::uint64_t> seeds;
  std::vector<named<double>> seed_sd;
  std::vector<named<metrics::estimate>> estimates;
  std::vector<named<double>> numbers;
};

// The model that was altered.
struct report_model {
  std::string name;
  std::string fingerprint;  // of its weights as stored, hexadecimal
  int layers = 0, d_model = 0, vocabulary = 0;
};

// One of several texts that were evaluated as one.
struct report_text_part {
  std::string name;
  std::string sha256;  // of its bytes
  std::int64_t tokens = 0;
};

// The text that was evaluated. `sequences` windows of `context` tokens were asked for.
struct report_text {
  std::string name;
  std::string sha256;      // of its bytes
  std::string ids_sha256;  // of its token ids as int32, little-endian
  std::int64_t tokens = 0, sequences = 0, context = 0;
  std::vector<report_text_part> parts = {};  // where it was put together from several; else empty
};

// Windows of a text in one role: evaluation, calibration, selection, train.
struct report_set {
  std::string name;    // of the text
  std::string sha256;  // of the windows' ids, window after window, as int32, little-endian
  std::int64_t windows = 0, context = 0, clusters = 0;
  std::int64_t tokens = 0;  // of all of the text in this role, of which the windows are a part
};

// How intervals were made, and which id, if any, begins each window.
struct report_rules {
  std::string interval;
  std::optional<int> bos;  // the id, or none
  std::string bos_rule;
};

// A sentence about the numbers. `operation` is the operator that it is about, or empty.
struct report_finding {
  std::string kind, operation, text;
  std::vector<int> layers;
};

// A whole report. `sets` begins with "evaluation"; `sections` are further members of the file, which belong to a recipe
// ("profile", "compressions"). `clusters` names the file beside the report that holds the sums of every cluster.
struct report {
  std::string command, recipe;
  std::uint64_t seed = 0;
  std::vector<report_model> models;  // the file has "model", and "models" where there are several
  report_text text;
  std::vector<named<report_set>> sets;
  std::vector<named<metrics::estimate>> baseline;  // of the intact model
  report_rules rules;
  std::optional<double> floor;
  std::vector<report_row> rows;
  std::vector<report_finding> findings;
  std::string clusters;
  nlohmann::ordered_json sections = nlohmann::ordered_json::object();
};

// Whether the layers follow one another, so that [first, last) says all of them.
inline bool is_span(const std::vector<int>& layers) noexcept {
  for (std::size_t i = 1; i < layers.size(); ++i)
    if (layers[i] != layers[i - 1] + 1) return false;
  return !layers.empty();
}

// A number as JSON; null where it is not finite, as JSON has no such number.
inline nlohmann::ordered_json to_json(double x) {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json();
}

// {value, se, lo, hi, n, n_clusters}
inline nlohmann::ordered_json to_json(const metrics::estimate& e) {
  return {{"value", to_json(e.value)}, {"se", to_json(e.se)}, {"lo", to_json(e.lo)}, {"hi", to_json(e.hi)}, {"n", e.n},
          {"n_clusters", e.n_clusters}};
}

// {value, lo, hi}
inline nlohmann::ordered_json to_json(const report_rank& r) {
  const auto place = [](index_t x) { return x > 0 ? nlohmann::ordered_json(x) : nlohmann::ordered_json(); };
  return {{"value", place(r.value)}, {"lo", place(r.lo)}, {"hi", place(r.hi)}};
}

// A number as JSON, whole ones without a fraction; or the text.
inline nlohmann::ordered_json to_json(const report_value& v) {
  if (!v.text.empty()) return v.text;
  if (v.number == std::floor(v.number) && std::abs(v.number) < 1e15) return static_cast<std::int64_t>(v.number);
  return to_json(v.number);
}

// An object with a member for each value of a list, in its order.
template <class T>
nlohmann::ordered_json to_json(const std::vector<named<T>>& list) {
  auto out = nlohmann::ordered_json::object();
  for (const auto& one : list) out[one.name] = to_json(one.value);
  return out;
}

namespace detail {

// Seeds that JSON's numbers all hold.
inline constexpr std::uint64_t report_exact = std::uint64_t{1} << 53;

inline constexpr std::string_view report_roles[] = {"evaluation", "calibration", "selection", "train"};
// The members of a report that belong to the schema; a section may not have such a name.
inline constexpr std::string_view report_members[] = {
    "schema",      "resect",    "command", "recipe",   "seed",  "model", "models", "text",     "evaluation",
    "calibration", "selection", "train",   "baseline", "rules", "floor", "rows",   "findings", "clusters"};
// The members of a row that belong to the schema; what a recipe adds may not have such a name.
inline constexpr std::string_view row_members[] = {"arm",    "operator", "layers",     "first",   "last",
                                                   "matrix", "seed",     "parameters", "metrics", "table",
                                                   "mark",   "rank",     "control",    "seeds",   "seed_sd"};

template <std::size_t N>
bool is_one_of(const std::string_view (&names)[N], std::string_view name) noexcept {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

inline nlohmann::ordered_json text_or_null(const std::string& s) {
  return s.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(s);
}

inline nlohmann::ordered_json row_json(const report_row& row) {
  const bool span = is_span(row.layers);
  nlohmann::ordered_json out{{"arm", row.arm}, {"operator", row.operation}, {"layers", row.layers}};
  out["first"] = span ? nlohmann::ordered_json(row.layers.front()) : nlohmann::ordered_json();
  out["last"] = span ? nlohmann::ordered_json(row.layers.back() + 1) : nlohmann::ordered_json();
  out["matrix"] = text_or_null(row.matrix);
  out["seed"] = row.seed ? nlohmann::ordered_json(*row.seed) : nlohmann::ordered_json();
  out["parameters"] = to_json(row.parameters);
  out["metrics"] = to_json(row.metrics);
  if (row.verdict) {
    out["table"] = row.verdict->table;
    out["mark"] = text_or_null(row.verdict->mark);
    out["rank"] = to_json(row.verdict->rank);
    out["control"] = row.verdict->control;
  }
  if (!row.seeds.empty()) {
    out["seeds"] = row.seeds;
    out["seed_sd"] = to_json(row.seed_sd);
  }
  for (const auto& e : row.estimates) out[e.name] = to_json(e.value);
  for (const auto& x : row.numbers) out[x.name] = to_json(x.value);
  return out;
}

inline nlohmann::ordered_json model_json(const report_model& m) {
  return {{"name", m.name},
          {"fingerprint", m.fingerprint},
          {"layers", m.layers},
          {"d_model", m.d_model},
          {"vocabulary", m.vocabulary}};
}

inline nlohmann::ordered_json text_json(const report_text& t) {
  nlohmann::ordered_json out{{"name", t.name},     {"sha256", t.sha256},       {"ids_sha256", t.ids_sha256},
                             {"tokens", t.tokens}, {"sequences", t.sequences}, {"context", t.context}};
  for (const auto& p : t.parts) out["parts"].push_back({{"name", p.name}, {"sha256", p.sha256}, {"tokens", p.tokens}});
  return out;
}

inline nlohmann::ordered_json set_json(const report_set& s) {
  return {{"name", s.name},       {"sha256", s.sha256},     {"windows", s.windows},
          {"context", s.context}, {"clusters", s.clusters}, {"tokens", s.tokens}};
}

// The first name of a list that stands in it twice, or nothing.
template <class T>
std::string_view named_twice(const std::vector<named<T>>& list) noexcept {
  for (std::size_t i = 0; i < list.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (list[k].name == list[i].name) return list[i].name;
  return {};
}

// An error where two rows have one arm, or one has none.
inline status check_arms(const std::vector<report_row>& rows) {
  std::vector<std::pair<std::string_view, std::size_t>> arms;
  for (const report_row& row : rows) arms.emplace_back(row.arm, arms.size());
  std::sort(arms.begin(), arms.end());
  for (std::size_t i = 0; i < arms.size(); ++i) {
    const auto at = text("report.rows[", arms[i].second, "].arm");
    if (arms[i].first.empty()) return error{errc::invalid_argument, at, "nothing", "a name that no other row has"};
    if (i > 0 && arms[i].first == arms[i - 1].first)
      return error{errc::conflict, at, text("a second ", shown(arms[i].first).view()), "each arm once"};
  }
  return {};
}

inline status check_row(const report_row& row, std::size_t i) {
  const auto refuse = [&](std::string_view member, std::string_view got, std::string_view wanted) {
    return status{error{errc::invalid_argument, text("report.rows[", i, "].", member), got, wanted}};
  };
  for (std::size_t k = 0; k < row.layers.size(); ++k)
    if (row.layers[k] < 0 || (k > 0 && row.layers[k] <= row.layers[k - 1]))
      return refuse("layers", text("layer ", row.layers[k]).view(), "ascending layers, each once");
  if (row.seed && *row.seed > report_exact)
    return refuse("seed", text(*row.seed).view(), text("0 to ", report_exact).view());
  for (const std::uint64_t seed : row.seeds)
    if (seed > report_exact) return refuse("seeds", text(seed).view(), text("0 to ", report_exact).view());
  const auto extra = [&](const std::string& name) { return name.empty() || is_one_of(row_members, name); };
  for (const auto& e : row.estimates)
    if (extra(e.name)) return refuse("estimates", shown(e.name).view(), "a name that the schema does not use");
  for (const auto& x : row.numbers)
    if (extra(x.name) || find_named(row.estimates, x.name))
      return refuse("numbers", shown(x.name).view(), "a name that nothing else of the row has");
  for (const auto twice : {named_twice(row.parameters), named_twice(row.metrics), named_twice(row.seed_sd),
                           named_twice(row.estimates), named_twice(row.numbers)})
    if (!twice.empty()) return refuse("names", text("a second ", shown(twice).view()).view(), "each once");
  return {};
}

}  // namespace detail

// The report as JSON, members in the order of the schema. Numbers that are not finite become null.
// Errors: conflict (two rows with one arm), invalid_argument (no model; `sets` that do not begin with "evaluation"; an
// arm without a name; layers that do not ascend; seeds above 2^53, which JSON's numbers do not all hold; names that come
// twice or that the schema uses itself). The operand names the member.
inline result<nlohmann::ordered_json> try_report_json(const report& r) {
  const auto refuse = [](std::string_view member, std::string_view got, std::string_view wanted) {
    return error{errc::invalid_argument, member, got, wanted};
  };
  if (r.models.empty()) return refuse("report.models", "none", "one at least");
  if (r.sets.empty() || r.sets.front().name != "evaluation") return refuse("report.sets", "no evaluation", "it first");
  for (const auto& [role, set] : r.sets)
    if (!detail::is_one_of(detail::report_roles, role))
      return refuse("report.sets", shown(role).view(), "evaluation, calibration, selection or train");
  if (const auto twice = detail::named_twice(r.sets); !twice.empty())
    return refuse("report.sets", shown(twice).view(), "each once");
  if (r.seed > detail::report_exact)
    return refuse("report.seed", text(r.seed).view(), text("0 to ", detail::report_exact).view());
  for (std::size_t i = 0; i < r.rows.size(); ++i)
    if (auto s = detail::check_row(r.rows[i], i); !s) return s.error();
  if (auto s = detail::check_arms(r.rows); !s) return s.error();
  for (const auto& [name, section] : r.sections.items())
    if (detail::is_one_of(detail::report_members, name))
      return refuse("report.sections", shown(name).view(), "a name that the schema does not use");

  nlohmann::ordered_json out{{"schema", report_schema}, {"resect", RESECT_VERSION},
                             {"command", r.command},    {"recipe", r.recipe},
                             {"seed", r.seed},          {"model", detail::model_json(r.models.front())}};
  if (r.models.size() > 1)
    for (const report_model& m : r.models) out["models"].push_back(detail::model_json(m));
  out["text"] = detail::text_json(r.text);
  for (const auto& [role, set] : r.sets) out[role] = detail::set_json(set);
  out["baseline"] = to_json(r.baseline);
  out["rules"] = {{"interval", r.rules.interval},
                  {"bos",
                   {{"id", r.rules.bos ? nlohmann::ordered_json(*r.rules.bos) : nlohmann::ordered_json()},
                    {"rule", r.rules.bos_rule}}}};
  out["floor"] = r.floor ? to_json(*r.floor) : nlohmann::ordered_json();
  out["clusters"] = detail::text_or_null(r.clusters);
  for (const auto& [name, section] : r.sections.items()) out[name] = section;
  out["rows"] = nlohmann::ordered_json::array();
  for (const report_row& row : r.rows) out["rows"].push_back(detail::row_json(row));
  out["findings"] = nlohmann::ordered_json::array();
  for (const report_finding& f : r.findings)
    out["findings"].push_back(
        {{"kind", f.kind}, {"operator", detail::text_or_null(f.operation)}, {"text", f.text}, {"layers", f.layers}});
  return out;
}

// JSON as it stands in a file: indented by one blank, bytes that are not UTF-8 replaced, a newline at the end.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

#if RESECT_EXCEPTIONS
inline nlohmann::ordered_json report_json(const report& r) { return value_or_throw(try_report_json(r)); }
#endif

}  // namespace RESECT_NAMESPACE::io
