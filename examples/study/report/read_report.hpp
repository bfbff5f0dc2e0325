// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <hosts/json.hpp>
#include <study/io/read_npz.hpp>
#include <study/report/check_report.hpp>
#include <study/report/stored_report.hpp>

// A study read back: report.json says what was run on what, clusters.npz beside it holds the sums. Neither is taken on
// trust: every member that is used is checked, and what the sums give has to stand in report.json: the estimates of the
// rows and of the intact model, marks, places by KL, what sparing a compressed layer brings back. Not given by the sums,
// and not checked: norm profiles, bits, errors of weights, the intervals of ranks, estimates by tokens.
namespace studies {

namespace detail {

inline constexpr std::int64_t whole = std::int64_t{1} << 53;  // above, a JSON number is not exact everywhere

template <resect::io::npy_element T>
stored_array<T> read_array(const npz_file& npz, const std::string& name, const std::vector<resect::index_t>& shape) {
  auto out = need(npz.try_read<T>(name));
  if (out.shape == shape) return out;
  resect::short_text<120> got, wanted;
  for (const auto extent : out.shape) got.append(got.empty() ? "" : " x ").append(extent);
  for (const auto extent : shape) wanted.append(wanted.empty() ? "" : " x ").append(extent);
  fail({resect::errc::shape_mismatch, resect::text("clusters.npz: '", name, "'"), got, wanted});
}

// Sums and counts of quantities over the clusters, one quantity a row of the array.
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

inline cluster_sums read_cluster_sums(const npz_file& npz, const resect::io::report& r) {
  const auto& evaluation = r.sets.front().value;
  const resect::index_t clusters = evaluation.clusters;
  if (clusters < 1) refuse_report("report.evaluation.clusters", "'0'", "1 or more");
  const auto runs = static_cast<resect::index_t>(
      std::count_if(r.rows.begin(), r.rows.end(), [](const report_row& row) { return row.seeds.empty(); }));
  if (runs < 1) refuse_report("report.rows", "no run", "one at least");
  cluster_sums out;
  out.ids = read_array<std::int64_t>(npz, "cluster_id", {clusters}).values;
  out.window_starts = read_array<std::int64_t>(npz, "window_first_id", {evaluation.windows}).values;
  out.nll = std::move(read_sums(npz, "baseline_nll", {clusters}).front());
  out.runs.resize(static_cast<std::size_t>(runs));
  for (const char* measure : measure_names) {
    auto all = read_sums(npz, measure, {runs, clusters});
    for (std::size_t i = 0; i < out.runs.size(); ++i) out.runs[i].push_back(std::move(all[i]));
  }
  return out;
}

// What the section "options" says to this reader.
inline void read_options(const resect::io::json_place& options, stored_report& to) {
  to.cluster = options["cluster"].text();
  if (options["level"].number() != 0.95) options["level"].refuse(options["level"].shown_value(), "0.95");
  to.bootstrap = options["bootstrap_resamples"].integer(1, 1 << 20);
}

inline void read_says(const resect::io::json_place& tables, stored_report& to) {
  for (const auto& one : tables.elements())
    for (stored_table& t : to.tables)
      if (t.name == one["name"].text()) t.says = one["says"].text();
}

inline void check_compressions(const stored_report& r, const resect::io::json_place& list) {
  const auto all = list.elements();
  for (std::size_t i = 0; i < all.size() && !list.failed(); ++i) {
    const std::string name = all[i]["table"].text();
    const auto table = std::find_if(r.tables.begin(), r.tables.end(), [&](const auto& t) { return t.name == name; });
    if (table == r.tables.end() || name.empty()) {
      all[i]["table"].refuse(hosts::shown(name).view(), "a table of the report");
      return;
    }
    const bool by_layer = std::all_of(table->rows.begin(), table->rows.end(), [&](const stored_row& row) {
      return r.row(row).layers.size() == 1 && r.row(row).seeds.empty();
    });
    if (!by_layer) all[i]["table"].refuse(hosts::shown(name).view(), "a table of single layers without seeds");
    const auto kl = all[i]["all"]["kl"].estimate();
    const bool saturated = all[i]["saturated"].boolean();
    if (!list.failed()) check_compression(r, *table, kl, saturated, "report.compressions[" + std::to_string(i) + "]");
  }
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
  const auto json = need(hosts::try_read_json(out.path));
  out.report = need(resect::io::try_report_of(json));
  resect::error failure;
  const resect::io::json_place root{&json, "report", failure};
  const auto stop = [&] {
    if (!failure.operand.empty()) fail(failure);
  };
  detail::read_options(root["options"], out);
  stop();

  const std::string& name = out.report.clusters;
  if (name.empty() || name.find_first_of("/\\") != name.npos || name == "..")
    detail::refuse_report("report.clusters", hosts::shown(name).view(), "the name of a file beside it");
  out.clusters = (fs::path(out.path).parent_path() / name).string();
  const auto npz = need(npz_file::try_parse(read_file(out.clusters, "clusters of the report"), "clusters.npz"));
  out.sums = detail::read_cluster_sums(npz, out.report);
  out.tables = detail::tables_of(out.report);
  detail::read_says(root["tables"], out);
  stop();

  const auto baseline = [&](const char* which, const estimate& wanted) {
    const auto* got = resect::io::find_named(out.report.baseline, which);
    if (!got) detail::refuse_report(std::string("report.baseline.") + which, "'nothing'", "a value");
    detail::check_estimate(std::string("report.baseline.") + which, *got, wanted);
  };
  baseline("nll", out.sums.nll.estimate());
  baseline("perplexity", resect::metrics::map_exp(out.sums.nll.estimate()));
  detail::check_rows(out);
  if (root.has("compressions")) detail::check_compressions(out, root["compressions"]);
  stop();
  out.numbers = detail::numbers_of(json);
  return out;
}

}  // namespace studies
