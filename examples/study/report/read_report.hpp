// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <study/report/check_report.hpp>
#include <study/io/read_npz.hpp>
#include <study/report/stored_report.hpp>

// A study read back: report.json says what was run on what, clusters.npz beside it holds the sums. Neither is taken on
// trust: every field that is used is checked, and what the sums give has to stand in report.json: the estimates of the
// rows and of the intact model, marks, places by KL, what sparing a compressed layer brings back. Not given by the sums,
// and not checked: norm profiles, bits, errors of weights, the intervals of ranks, estimates by tokens.
namespace studies {

namespace detail {

inline windows_record read_windows(const fields& f) {
  return {f.text("sha256"), f.integer("windows", 0, whole), f.integer("context", 0, whole),
          f.integer("clusters", 0, whole)};
}

template <resect::io::npy_element T>
stored_array<T> read_array(const npz_file& npz, const std::string& name, const std::vector<resect::index_t>& shape) {
  auto out = need(npz.try_read<T>(name));
  if (out.shape == shape) return out;
  resect::short_text<120> got, wanted;
  for (const auto extent : out.shape) got.append(got.empty() ? "" : " x ").append(extent);
  for (const auto extent : shape) wanted.append(wanted.empty() ? "" : " x ").append(extent);
  fail({resect::errc::shape_mismatch, resect::text("clusters.npz: '", name, "'"), got, wanted});
}

// Sums and counts of `runs` quantities over the clusters.
inline std::vector<resect::metrics::clustered_sums> read_sums(const npz_file& npz, const std::string& name,
                                                              const std::vector<resect::index_t>& shape) {
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
    out.back().add_sum(static_cast<resect::index_t>(i % clusters), sums.values[i], count);
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

inline stored_table read_table(const npz_file& npz, const std::string& name, resect::index_t clusters, int n_layers) {
  check_name(name);
  stored_table out{name, {}};
  const auto layers = need(npz.try_read<std::int64_t>(name + "_layer"));
  const auto runs = static_cast<resect::index_t>(layers.values.size());
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

// The compressions of a report, checked against their sums; reports without any have no such field.
inline std::vector<stored_method> read_methods(const fields& report, const npz_file& npz,
                                               const std::vector<stored_table>& tables, resect::index_t clusters) {
  std::vector<stored_method> out;
  if (!report.has("compressions")) return out;
  const auto& list = report.array("compressions");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const fields f{list[i], "report.compressions[" + std::to_string(i) + "]"};
    stored_method m{f.text("operator"), f.text("description"), "", ""};
    if (f.has("fingerprint")) m.fingerprint = f.text("fingerprint");
    if (f.has("options")) m.options = f.at("options").dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const auto table =
        std::find_if(tables.begin(), tables.end(), [&](const auto& t) { return t.alteration == m.alteration; });
    if (table == tables.end()) f.refuse("operator", m.alteration, "an alteration of the report");
    const auto layers = static_cast<resect::index_t>(table->rows.size());
    compression_sums sums{std::move(read_sums(npz, m.alteration + "_all_kl", {clusters}).front()),
                          read_sums(npz, m.alteration + "_all_but_one_kl", {layers, clusters})};
    check_compression(f, report.array("rows"), *table, sums);
    out.push_back(std::move(m));
  }
  return out;
}

// Every number of a report but those that only name it.
inline nlohmann::json numbers_of(const nlohmann::json& report) {
  nlohmann::json out = nlohmann::json::object();
  const auto flat = report.flatten();
  for (const auto& [place, value] : flat.items())
    if (!value.is_string() && place != "/findings" && !place.starts_with("/findings/")) out[place] = value;
  return out;
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
  if (options.number("level") != 0.95) options.refuse("level", options.at("level").dump(), "0.95");
  out.bootstrap = options.integer("bootstrap_resamples", 1, 1 << 20);
  const auto reinit = options.object("reinit");
  const auto& std = reinit.at("std");
  out.reinit = "gains " + reinit.text("norm_gains") + ", std " + (std.is_number() ? std.dump() : reinit.text("std"));

  const std::string name = report.text("clusters");
  if (name.empty() || name.find_first_of("/\\") != name.npos || name == "..")
    report.refuse("clusters", name, "the name of a file beside it");
  out.clusters = (fs::path(out.path).parent_path() / name).string();
  const auto npz = need(npz_file::try_parse(read_file(out.clusters, "clusters of the report"), "clusters.npz"));
  const resect::index_t clusters = out.evaluation.clusters;
  if (clusters < 1) report.refuse("evaluation.clusters", "0", "1 or more");
  out.cluster_ids = detail::read_array<std::int64_t>(npz, "cluster_id", {clusters}).values;
  out.window_starts = detail::read_array<std::int64_t>(npz, "window_first_id", {out.evaluation.windows}).values;
  out.nll = std::move(detail::read_sums(npz, "baseline_nll", {clusters}).front());
  const auto baseline = report.object("baseline");
  detail::check_estimate(baseline.object("nll"), out.nll.estimate());
  detail::check_estimate(baseline.object("perplexity"), resect::metrics::map_exp(out.nll.estimate()));
  for (const auto& alteration : options.array("alterations")) {
    if (!alteration.is_string()) report.refuse("options.alterations", alteration.type_name(), "names");
    out.tables.push_back(detail::read_table(npz, alteration.get<std::string>(), clusters, out.model.layers));
    for (std::size_t i = 0; i + 1 < out.tables.size(); ++i)
      if (out.tables[i].alteration == out.tables.back().alteration)
        report.refuse("options.alterations", out.tables.back().alteration, "each once");
  }
  detail::check_rows(report.array("rows"), out.tables);
  out.methods = detail::read_methods(report, npz, out.tables, clusters);
  out.numbers = detail::numbers_of(parsed);
  return out;
}

}  // namespace studies
