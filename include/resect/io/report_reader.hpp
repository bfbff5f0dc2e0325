// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/io/json.hpp>
#include <resect/io/json_place.hpp>
#include <resect/io/report.hpp>

// Reads a report.json that nobody vouches for. Needs nlohmann-json.
namespace RESECT_NAMESPACE::io {

namespace detail {

inline std::vector<named<metrics::estimate>> read_estimates(const json_place& at) {
  std::vector<named<metrics::estimate>> out;
  for (const auto& [name, one] : at.members()) out.push_back({name, one.estimate()});
  return out;
}

inline constexpr int most_layers = 1 << 20;

inline std::vector<int> read_layers(const json_place& at) {
  std::vector<int> out;
  for (const auto& one : at.elements()) out.push_back(static_cast<int>(one.integer(0, most_layers)));
  return out;
}

inline report_rank read_rank(const json_place& at) {
  const auto place = [](const json_place& p) {
    return p.is_null() ? index_t{0} : static_cast<index_t>(p.integer(1, json_exact));
  };
  return {place(at["value"]), place(at["lo"]), place(at["hi"])};
}

// Layers ascend; first and last say the same as they do, or are null where a span cannot say it.
inline void read_place(const json_place& at, report_row& to) {
  to.layers = read_layers(at["layers"]);
  for (std::size_t i = 1; i < to.layers.size(); ++i)
    if (to.layers[i] <= to.layers[i - 1])
      at["layers"].refuse(text(to.layers[i], " after ", to.layers[i - 1]).view(), "ascending layers, each once");
  const bool span = is_span(to.layers);
  const auto agrees = [&](const char* key, std::int64_t wanted) {
    const json_place end = at[key];
    const bool right = span ? !end.is_null() && end.integer(0, most_layers) == wanted : end.is_null();
    if (right) return;
    if (span) end.refuse(end.shown_value(), text(wanted, ", as in layers").view());
    else end.refuse(end.shown_value(), "null, as these layers are no span");
  };
  agrees("first", span ? to.layers.front() : 0);
  agrees("last", span ? to.layers.back() + 1 : 0);
}

inline report_row read_row(const json_place& at) {
  report_row out;
  out.arm = at["arm"].text();
  if (out.arm.empty()) at["arm"].refuse("nothing", "a name that no other row has");
  out.operation = at["operator"].text();
  read_place(at, out);
  out.matrix = at["matrix"].text_or_null();
  if (!at["seed"].is_null()) out.seed = static_cast<std::uint64_t>(at["seed"].count());
  for (const auto& [name, value] : at["parameters"].members()) {
    if (value.is_text()) out.parameters.push_back({name, {0, value.text()}});
    else out.parameters.push_back({name, {value.number_or_null(), {}}});
  }
  out.metrics = read_estimates(at["metrics"]);
  if (at.has("rank"))
    out.verdict =
        report_verdict{at["table"].text(), at["mark"].text_or_null(), read_rank(at["rank"]), at["control"].boolean()};
  if (at.has("seeds"))
    for (const auto& one : at["seeds"].elements()) out.seeds.push_back(static_cast<std::uint64_t>(one.count()));
  if (at.has("seed_sd"))
    for (const auto& [name, one] : at["seed_sd"].members()) out.seed_sd.push_back({name, one.number_or_null()});
  for (const auto& [name, one] : at.members()) {
    if (is_one_of(row_members, name)) continue;
    if (one.is_object()) out.estimates.push_back({name, one.estimate()});
    else out.numbers.push_back({name, one.number_or_null()});
  }
  return out;
}

inline report_model read_model(const json_place& at) {
  return {at["name"].text(), at["fingerprint"].text(), static_cast<int>(at["layers"].integer(1, most_layers)),
          static_cast<int>(at["d_model"].integer(1, 1 << 30)), static_cast<int>(at["vocabulary"].integer(1, 1 << 30))};
}

inline report_text read_text(const json_place& at) {
  report_text out{at["name"].text(),
                  at["sha256"].text(),
                  at["ids_sha256"].text(),
                  at["tokens"].count(),
                  at["sequences"].count(),
                  at["context"].count(),
                  {}};
  if (at.has("parts"))
    for (const auto& one : at["parts"].elements())
      out.parts.push_back({one["name"].text(), one["sha256"].text(), one["tokens"].count()});
  return out;
}

inline report_set read_set(const json_place& at) {
  return {at["name"].text(),     at["sha256"].text(),    at["windows"].count(),
          at["context"].count(), at["clusters"].count(), at["tokens"].count()};
}

inline report_rules read_rules(const json_place& at) {
  report_rules out;
  out.interval = at["interval"].text();
  const json_place bos = at["bos"];
  if (!bos["id"].is_null()) out.bos = static_cast<int>(bos["id"].integer(0, (std::int64_t{1} << 31) - 1));
  out.bos_rule = bos["rule"].text();
  return out;
}

inline void read_whole(const json_place& at, report& out) {
  if (const auto schema = at["schema"]; schema.count() != report_schema)
    schema.refuse(schema.shown_value(), text(report_schema).view());
  if (at.failed()) return;  // of another schema nothing else can be said
  out.command = at["command"].text();
  out.recipe = at["recipe"].text();
  out.seed = static_cast<std::uint64_t>(at["seed"].count());
  if (at.has("models"))
    for (const auto& one : at["models"].elements()) out.models.push_back(read_model(one));
  else out.models.push_back(read_model(at["model"]));
  out.text = read_text(at["text"]);
  for (const auto role : report_roles)
    if (const std::string key{role}; key == "evaluation" || at.has(key.c_str()))
      out.sets.push_back({key, read_set(at[key.c_str()])});
  out.baseline = read_estimates(at["baseline"]);
  out.rules = read_rules(at["rules"]);
  if (const auto floor = at["floor"]; !floor.is_null()) out.floor = floor.number();
  for (const auto& one : at["rows"].elements()) out.rows.push_back(read_row(one));
  for (const auto& one : at["findings"].elements())
    out.findings.push_back(
        {one["kind"].text(), one["operator"].text_or_null(), one["text"].text(), read_layers(one["layers"])});
  out.clusters = at["clusters"].text_or_null();
  for (const auto& [key, section] : at.members())
    if (!is_one_of(report_members, key)) out.sections[key] = section.value();
}

}  // namespace detail

// The report that a JSON object holds. Members that the schema does not know become `sections`, and in rows `estimates`
// and `numbers`.
// Errors: malformed (a member that is missing, of another type or out of range; `layers` and `first`, `last` that do not
// agree), conflict (a second row with one arm). The operand says where: report.rows[3].metrics.kl.value.
inline result<report> try_report_of(const nlohmann::json& json) {
  error failure;
  report out;
  detail::read_whole({&json, "report", failure}, out);
  if (!failure.operand.empty()) return failure;
  if (auto s = detail::check_arms(out.rows); !s) return s.error();
  return result<report>{std::move(out)};
}

// The same from the bytes of a file, which errors call `operand` where they are no JSON object.
// Errors: those of try_parse_json and try_report_of.
inline result<report> try_read_report(std::string_view bytes, std::string_view operand) {
  const auto json = try_parse_json(bytes, operand);
  if (!json) return json.error();
  return try_report_of(*json);
}

#if RESECT_EXCEPTIONS
inline report report_of(const nlohmann::json& json) { return value_or_throw(try_report_of(json)); }
inline report read_report(std::string_view bytes, std::string_view operand) {
  return value_or_throw(try_read_report(bytes, operand));
}
#endif

}  // namespace RESECT_NAMESPACE::io
