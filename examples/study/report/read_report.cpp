// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/read_report.hpp>

namespace studies {

namespace detail {

// Sums and counts of quantities over the clusters, one quantity a row of the array.
std::vector<resect::metrics::clustered_sums> read_sums(const npz_file& npz, const std::string& name,
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

cluster_sums read_cluster_sums(const npz_file& npz, const resect::io::report& r) {
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

// Reports from before arms had keys cannot be paired by them.
void check_age(const nlohmann::json& json) {
  const auto rows = json.find("rows");
  if (rows == json.end() || !rows->is_array() || rows->empty() || !rows->front().is_object()) return;
  if (!rows->front().contains("arm") && !json.contains("recipe"))
    refuse_report("report.rows[0].arm", "nothing, as in a report of an earlier version",
                  "a report of this one: run the study again");
}

// What the section "options" says to this reader.
void read_options(const resect::io::json_place& options, stored_report& to) {
  to.cluster = options["cluster"].text();
  if (options["level"].number() != 0.95) options["level"].refuse(options["level"].shown_value(), "0.95");
  to.bootstrap = options["bootstrap_resamples"].integer(1, 1 << 20);
}

void read_says(const resect::io::json_place& tables, stored_report& to) {
  for (const auto& one : tables.elements())
    for (stored_table& t : to.tables)
      if (t.name == one["name"].text()) t.says = one["says"].text();
}

void check_compressions(const stored_report& r, const resect::io::json_place& list) {
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

nlohmann::json numbers_of(const nlohmann::json& report) {
  nlohmann::json out = nlohmann::json::object();
  const auto flat = report.flatten();
  for (const auto& [place, value] : flat.items())
    if (!value.is_string() && place != "/findings" && !place.starts_with("/findings/")) out[place] = value;
  return out;
}

}  // namespace detail

stored_report read_report(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  stored_report out;
  out.path = fs::is_directory(path, ignored) ? (fs::path(path) / "report.json").string() : path;
  const auto json = need(hosts::try_read_json(out.path));
  detail::check_age(json);
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
