// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <hosts/json.hpp>
#include <resect/metrics/clustered.hpp>
#include <resect/metrics/two_way.hpp>
#include <study/input.hpp>
#include <study/read_npz.hpp>
#include <study/record.hpp>

// A study read back: report.json says what was run on what, clusters.npz beside it holds the sums. Neither is taken
// on trust: every field is checked, and every value of report.json has to be what the sums give.
namespace app {

constexpr const char* measure_names[] = {"kl", "top1_agreement", "dlnppl", "cosine_head_norm"};
constexpr std::size_t n_measures = 4;

// One altered model: the sums of its four measures, in the order of measure_names.
using run_sums = std::vector<resect::metrics::clustered_sums>;

struct stored_row {
  int layer = 0;
  std::vector<std::int64_t> seeds;  // empty where nothing is drawn
  std::vector<run_sums> runs;       // one a seed, or one
};

struct stored_table {
  std::string alteration;
  std::vector<stored_row> rows;  // by layer
};

struct stored_report {
  std::string path;
  std::string command;
  model_record model;
  text_record text;
  windows_record evaluation, calibration;
  std::string cluster;  // "document" or "window"
  std::uint64_t seed = 0;
  std::int64_t bootstrap = 0;
  std::string reinit;                   // gains and standard deviation, as they stand in the report
  resect::metrics::clustered_sums nll;  // of the intact model
  std::vector<std::int64_t> cluster_ids, window_starts;
  std::vector<stored_table> tables;
};

namespace detail {

// The fields of a JSON object by name; what is missing or of another type is an error that says where.
class fields {
 public:
  using json = nlohmann::json;

  fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) refuse("", object.type_name(), "an object");
  }

  const json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) refuse(key, "nothing", "a value");
    return *found;
  }
  fields object(const char* key) const { return {at(key), where_ + "." + key}; }
  const json& array(const char* key) const {
    const json& v = at(key);
    if (!v.is_array()) refuse(key, v.type_name(), "an array");
    return v;
  }
  std::string text(const char* key) const {
    const json& v = at(key);
    if (!v.is_string()) refuse(key, v.type_name(), "a string");
    return v.get<std::string>();
  }
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const {
    const json& v = at(key);
    if (!v.is_number_integer()) refuse(key, v.is_number() ? "a number with a fraction" : v.type_name(), "an integer");
    const bool too_large = v.is_number_unsigned() && v.get<std::uint64_t>() > static_cast<std::uint64_t>(high);
    const std::int64_t value = too_large ? high : v.get<std::int64_t>();
    if (too_large || value < low || value > high) refuse(key, v.dump(), resect::text(low, " to ", high).view());
    return value;
  }
  double number(const char* key) const {
    const json& v = at(key);
    if (!v.is_number()) refuse(key, v.type_name(), "a number");
    return v.get<double>();
  }

  [[noreturn]] void refuse(std::string_view key, std::string_view got, std::string_view wanted) const {
    fail(
        {resect::errc::malformed, resect::text(where_, key.empty() ? "" : ".", key), hosts::shown(got).view(), wanted});
  }

 private:
  const json& object_;
  std::string where_;
};

constexpr std::int64_t whole = std::int64_t{1} << 53;  // above, a JSON number is not exact everywhere

inline windows_record read_windows(const fields& f) {
  return {f.text("sha256"), f.integer("windows", 0, whole), f.integer("context", 0, whole),
          f.integer("clusters", 0, whole)};
}

template <resect::io::npy_element T>
stored_array<T> read_array(const npz_file& npz, const std::string& name, const std::vector<resect::index>& shape) {
  auto out = need(npz.try_read<T>(name));
  if (out.shape == shape) return out;
  resect::short_text<120> got, wanted;
  for (const auto extent : out.shape) got.append(got.empty() ? "" : " x ").append(extent);
  for (const auto extent : shape) wanted.append(wanted.empty() ? "" : " x ").append(extent);
  fail({resect::errc::shape_mismatch, resect::text("clusters.npz: '", name, "'"), got, wanted});
}

// Sums and counts of `runs` quantities over the clusters.
inline std::vector<resect::metrics::clustered_sums> read_sums(const npz_file& npz, const std::string& name,
                                                              const std::vector<resect::index>& shape) {
  const auto sums = read_array<double>(npz, name + "_sum", shape);
  const auto counts = read_array<std::int64_t>(npz, name + "_count", shape);
  const std::size_t clusters = static_cast<std::size_t>(shape.back());
  std::vector<resect::metrics::clustered_sums> out;
  for (std::size_t i = 0; i < sums.values.size(); ++i) {
    if (i % clusters == 0) out.emplace_back(shape.back());
    const auto refuse = [&](resect::short_text<120> got, const char* wanted) {
      fail({resect::errc::malformed, resect::text("clusters.npz: '", name, "'"), got, wanted});
    };
    const std::int64_t count = counts.values[i];
    if (!std::isfinite(sums.values[i])) refuse("a sum that is not finite", "finite sums");
    if (count < 0 || count > whole) refuse(resect::text("a count of ", count), "0 or more");
    if (count == 0 && sums.values[i] != 0) refuse("a sum over no tokens", "counts that belong to the sums");
    out.back().add_sum(static_cast<resect::index>(i % clusters), sums.values[i], count);
  }
  return out;
}

// The name of an alteration goes into names of arrays and onto the terminal.
inline void check_name(const std::string& name) {
  const bool plain = !name.empty() && name.size() <= 64 &&
                     name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-") == name.npos;
  if (!plain)
    fail({resect::errc::malformed, "report.options.alterations", hosts::shown(name).view(), "a name as skip"});
}

inline stored_table read_table(const npz_file& npz, const std::string& name, resect::index clusters, int n_layers) {
  check_name(name);
  stored_table out{name, {}};
  const auto layers = need(npz.try_read<std::int64_t>(name + "_layer"));
  const auto runs = static_cast<resect::index>(layers.values.size());
  const auto seeds = read_array<std::int64_t>(npz, name + "_seed", {runs});
  const auto refuse = [&](resect::short_text<120> got, const char* wanted) {
    fail({resect::errc::malformed, resect::text("clusters.npz: ", name), got, wanted});
  };
  std::vector<std::vector<resect::metrics::clustered_sums>> measured;
  for (const char* m : measure_names) measured.push_back(read_sums(npz, name + "_" + m, {runs, clusters}));
  for (std::size_t i = 0; i < layers.values.size(); ++i) {
    const std::int64_t layer = layers.values[i], seed = seeds.values[i];
    if (layer < 0 || layer >= n_layers) refuse(resect::text("layer ", layer), "layers of the model");
    if (seed < -1) refuse(resect::text("seed ", seed), "-1 or a seed");
    const bool next = out.rows.empty() || layer != out.rows.back().layer;
    if (next && !out.rows.empty() && layer < out.rows.back().layer)
      refuse(resect::text("layer ", layer, " after ", out.rows.back().layer), "ascending layers");
    if (next) out.rows.push_back({static_cast<int>(layer), {}, {}});
    stored_row& row = out.rows.back();
    const bool again = std::find(row.seeds.begin(), row.seeds.end(), seed) != row.seeds.end();
    if (again || (!row.runs.empty() && (seed < 0 || row.seeds.empty())))
      refuse(resect::text("layer ", layer, " with seed ", seed, " twice"), "each once");
    if (seed >= 0) row.seeds.push_back(seed);
    run_sums one;
    for (auto& m : measured) one.push_back(std::move(m[i]));
    row.runs.push_back(std::move(one));
  }
  if (out.rows.empty()) refuse("no layer", "one at least");
  for (const stored_row& row : out.rows)
    if (row.seeds != out.rows.front().seeds)
      refuse(resect::text("other seeds in layer ", row.layer), "the same seeds in every layer");
  return out;
}

// The value that report.json has to show for a measure of a row, over all seeds or of one.
inline double value_of(const stored_row& row, std::size_t measure, std::ptrdiff_t run) {
  if (run >= 0) return row.runs[static_cast<std::size_t>(run)][measure].estimate().value;
  std::vector<resect::metrics::clustered_sums> all;
  for (const run_sums& one : row.runs) all.push_back(one[measure]);
  return all.size() == 1 ? all.front().estimate().value : need(resect::metrics::try_two_way(all)).mean.value;
}

inline void check_value(const fields& estimate, double wanted) {
  const double got = estimate.number("value");
  if (!(std::abs(got - wanted) <= 1e-9 * std::max(1.0, std::abs(wanted))))
    estimate.refuse("value", resect::text(got).view(), resect::text(wanted, ", which clusters.npz gives").view());
}

// Every row of report.json is one of clusters.npz, and no more and no fewer.
inline void check_rows(const nlohmann::json& rows, const std::vector<stored_table>& tables) {
  std::size_t expected = 0;
  for (const auto& t : tables)
    for (const auto& row : t.rows) expected += 1 + row.seeds.size();
  if (rows.size() != expected)
    fail({resect::errc::malformed, "report.rows", resect::text(rows.size()),
          resect::text(expected, ", as clusters.npz")});
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const fields f{rows[i], "report.rows[" + std::to_string(i) + "]"};
    const std::string name = f.text("operator");
    const std::int64_t layer = f.integer("first", 0, whole);
    if (f.integer("last", 0, whole) != layer + 1) f.refuse("last", "another layer", "one layer a row");
    const bool all_seeds = f.at("seed").is_null();
    const std::int64_t seed = all_seeds ? -1 : f.integer("seed", 0, whole);
    const stored_row* row = nullptr;
    for (const auto& t : tables)
      for (const auto& r : t.rows)
        if (t.alteration == name && r.layer == layer) row = &r;
    if (!row) f.refuse("", resect::text(name, " of layer ", layer).view(), "a row that clusters.npz has");
    const auto at = std::find(row->seeds.begin(), row->seeds.end(), seed);
    if (!all_seeds && at == row->seeds.end()) f.refuse("seed", std::to_string(seed), "a seed that clusters.npz has");
    seen.push_back(name + " " + std::to_string(layer) + " " + std::to_string(seed));
    const fields metrics = f.object("metrics");
    for (std::size_t m = 0; m < n_measures; ++m)
      check_value(metrics.object(measure_names[m]), value_of(*row, m, all_seeds ? -1 : at - row->seeds.begin()));
  }
  std::sort(seen.begin(), seen.end());
  if (const auto twice = std::adjacent_find(seen.begin(), seen.end()); twice != seen.end())
    fail({resect::errc::malformed, "report.rows", resect::text("two of ", *twice), "each row once"});
}

}  // namespace detail

// `path` is a report.json or the folder that holds one. Fails (as input.hpp says) with what is wrong and where.
inline stored_report read_report(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  stored_report out;
  out.path = fs::is_directory(path, ignored) ? (fs::path(path) / "report.json").string() : path;
  const auto parsed = need(hosts::try_read_json(out.path));
  const detail::fields report{parsed, "report"};
  if (const auto schema = report.integer("schema", 0, detail::whole); schema != 1)
    report.refuse("schema", std::to_string(schema), "1");
  out.command = report.text("command");
  out.seed = static_cast<std::uint64_t>(report.integer("seed", 0, detail::whole));
  const auto model = report.object("model");
  out.model.name = model.text("name");
  out.model.fingerprint = model.text("fingerprint");
  out.model.layers = static_cast<int>(model.integer("layers", 1, 1 << 20));
  out.model.d_model = static_cast<int>(model.integer("d_model", 1, 1 << 30));
  out.model.vocabulary = static_cast<int>(model.integer("vocabulary", 1, 1 << 30));
  const auto text = report.object("text");
  out.text.name = text.text("name");
  out.text.sha256 = text.text("sha256");
  out.text.ids_sha256 = text.text("ids_sha256");
  out.text.tokens = text.integer("tokens", 1, detail::whole);
  out.evaluation = detail::read_windows(report.object("evaluation"));
  out.calibration = detail::read_windows(report.object("calibration"));
  const auto options = report.object("options");
  out.cluster = options.text("cluster");
  out.text.documents = out.cluster == "document";
  out.bootstrap = options.integer("bootstrap_resamples", 1, 1 << 20);
  const auto reinit = options.object("reinit");
  const auto& std = reinit.at("std");
  out.reinit = "gains " + reinit.text("norm_gains") + ", std " + (std.is_number() ? std.dump() : reinit.text("std"));

  const std::string name = report.text("clusters");
  if (name.empty() || name.find_first_of("/\\") != name.npos || name == "..")
    report.refuse("clusters", name, "the name of a file beside it");
  const auto beside = fs::path(out.path).parent_path() / name;
  const auto npz = need(npz_file::try_parse(read_file(beside.string(), "clusters of the report"), "clusters.npz"));
  const resect::index clusters = out.evaluation.clusters;
  if (clusters < 1) report.refuse("evaluation.clusters", "0", "1 or more");
  out.cluster_ids = detail::read_array<std::int64_t>(npz, "cluster_id", {clusters}).values;
  out.window_starts = detail::read_array<std::int64_t>(npz, "window_first_id", {out.evaluation.windows}).values;
  out.nll = std::move(detail::read_sums(npz, "baseline_nll", {clusters}).front());
  detail::check_value(report.object("baseline").object("nll"), out.nll.estimate().value);
  for (const auto& alteration : options.array("alterations")) {
    if (!alteration.is_string()) report.refuse("options.alterations", alteration.type_name(), "names");
    out.tables.push_back(detail::read_table(npz, alteration.get<std::string>(), clusters, out.model.layers));
    for (std::size_t i = 0; i + 1 < out.tables.size(); ++i)
      if (out.tables[i].alteration == out.tables.back().alteration)
        report.refuse("options.alterations", out.tables.back().alteration, "each once");
  }
  detail::check_rows(report.array("rows"), out.tables);
  return out;
}

}  // namespace app
