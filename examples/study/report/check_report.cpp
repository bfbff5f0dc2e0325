// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/check_report.hpp>

namespace studies::detail {

std::string shown_number(double x) {
  return std::isfinite(x) ? "'" + std::string(resect::text(x).view()) + "'" : std::string("null");
}

void check_number(const std::string& where, double got, double wanted) {
  const bool known = std::isfinite(wanted);
  if (known ? std::abs(got - wanted) <= 1e-9 * std::max(1.0, std::abs(wanted)) : !std::isfinite(got)) return;
  refuse_report(where, shown_number(got),
                known ? resect::text(wanted, ", which clusters.npz gives").view()
                      : std::string_view("null, as clusters.npz gives no such number"));
}

void check_count(const std::string& where, std::int64_t got, std::int64_t wanted) {
  if (got != wanted)
    refuse_report(where, "'" + std::to_string(got) + "'", resect::text(wanted, ", which clusters.npz gives").view());
}

void check_estimate(const std::string& where, const estimate& got, const estimate& wanted) {
  check_number(where + ".value", got.value, wanted.value);
  check_number(where + ".se", got.se, wanted.se);
  check_number(where + ".lo", got.lo, wanted.lo);
  check_number(where + ".hi", got.hi, wanted.hi);
  check_count(where + ".n", got.n, wanted.n);
  check_count(where + ".n_clusters", got.n_clusters, wanted.n_clusters);
}

interval_rule rule_of(const stored_report& r) {
  const std::string& named = r.report.rules.interval;
  if (named.find(resect::metrics::interval_rule) != named.npos) return interval_rule::by_range;
  if (named.find("t over clusters; Wilson of the clusters for rates at 0 or 1") != named.npos)
    return interval_rule::plain_t;
  refuse_report("report.rules.interval", hosts::shown(named).view(),
                std::string("a text with '").append(resect::metrics::interval_rule) + "'");
}

resect::metrics::seeded_estimate estimate_of(const std::vector<resect::metrics::clustered_sums>& runs,
                                             std::size_t measure, interval_rule rule) {
  using resect::metrics::mean_range;
  const mean_range own = measure_ranges[measure], range = rule == interval_rule::by_range ? own : mean_range::any;
  resect::metrics::seeded_estimate out;
  if (runs.size() == 1) out.mean = runs.front().estimate(0.95, range);
  else out = need(resect::metrics::try_two_way(runs, 0.95, range));
  if (rule == interval_rule::plain_t && own == mean_range::rate) out.mean = resect::metrics::rate_interval(out.mean);
  return out;
}

std::vector<resect::metrics::clustered_sums> runs_of(const stored_report& r, const stored_row& row,
                                                     std::size_t measure) {
  std::vector<resect::metrics::clustered_sums> out;
  for (std::size_t i = 0; i < row.runs.size(); ++i) out.push_back(r.run(row, i)[measure]);
  return out;
}

// A measure over all runs of a row.
resect::metrics::seeded_estimate over_runs(const stored_report& r, const stored_row& row, std::size_t measure) {
  return estimate_of(runs_of(r, row, measure), measure, rule_of(r));
}

bool is_at_floor(const stored_report& r, const stored_row& row) {
  return resect::study::is_at_floor(over_runs(r, row, 0).mean, r.report.floor.value_or(0));
}

// Of every row of a table, as a study marks them.
std::vector<std::string> marks_of(const stored_report& r, const stored_table& table) {
  std::vector<estimate> deltas;
  double degrees = 0;
  for (const stored_row& row : table.rows) {
    const auto dlnppl = over_runs(r, row, 2);
    deltas.push_back(dlnppl.mean);
    if (row.runs.size() > 1) degrees = dlnppl.degrees;
  }
  std::vector<std::string> out;
  for (const auto& m : resect::metrics::assign_marks(deltas, {.degrees = degrees}))
    out.emplace_back(resect::metrics::name(m.verdict));
  for (std::size_t i = 0; i < out.size(); ++i)
    if (is_at_floor(r, table.rows[i])) out[i] = at_floor_mark;
  return out;
}

double mean_kl(const stored_report& r, const stored_row& row) {
  double sum = 0, n = 0;
  for (std::size_t i = 0; i < row.runs.size(); ++i) {
    const auto e = r.run(row, i).front().estimate();
    sum += e.value * static_cast<double>(e.n);
    n += static_cast<double>(e.n);
  }
  return sum / n;
}

void check_rank(const stored_report& r, const stored_table& table, const stored_row& of) {
  const auto& rank = r.row(of).verdict->rank;
  const std::string where = row_place(of.row) + ".rank";
  const auto within = [&](const char* end, std::int64_t x, std::int64_t low, std::int64_t high) {
    if (x < low || x > high)
      refuse_report(where + end, "'" + std::to_string(x) + "'", resect::text(low, " to ", high).view());
  };
  std::int64_t above = 0, level = 0;
  const double own = mean_kl(r, of), close = 1e-12 * std::abs(own);
  for (const stored_row& other : table.rows) {
    if (is_at_floor(r, other)) continue;  // it has no rank
    const double x = mean_kl(r, other);
    above += x > own + close;
    level += std::abs(x - own) <= close;
  }
  if (is_at_floor(r, of)) within(".value", rank.value, 0, 0);
  if (rank.value == 0) return;
  within(".value", rank.value, above + 1, above + level);
  if (rank.lo == 0 && rank.hi == 0) return;
  within(".lo", rank.lo, 1, rank.value);
  within(".hi", rank.hi, rank.value, static_cast<std::int64_t>(table.rows.size()));
}

void check_verdict(const stored_report& r, const stored_table& table, const stored_row& of, const std::string& mark) {
  const report_row& row = r.row(of);
  if (!row.verdict) return;
  if (row.verdict->mark != mark)
    refuse_report(row_place(of.row) + ".mark", "'" + row.verdict->mark + "'",
                  resect::text("'", mark, "', which clusters.npz gives").view());
  check_rank(r, table, of);
}

void check_metrics(const std::string& where, const report_row& row, std::size_t measure, const estimate& wanted) {
  const auto* got = resect::io::find_named(row.metrics, measure_names[measure]);
  const std::string place = where + ".metrics." + measure_names[measure];
  if (!got) refuse_report(place, "'nothing'", "a value");
  check_estimate(place, *got, wanted);
}

void check_rows(const stored_report& r) {
  for (const stored_table& table : r.tables) {
    const auto marks = marks_of(r, table);
    for (std::size_t t = 0; t < table.rows.size(); ++t) {
      const stored_row& of = table.rows[t];
      const report_row& row = r.row(of);
      for (std::size_t m = 0; m < n_measures; ++m) {
        check_metrics(row_place(of.row), row, m, over_runs(r, of, m).mean);
        for (std::size_t k = 0; k < row.seeds.size(); ++k)
          check_metrics(row_place(of.row + 1 + k), r.report.rows[of.row + 1 + k], m,
                        estimate_of({r.run(of, k)[m]}, m, rule_of(r)).mean);
      }
      check_verdict(r, table, of, marks[t]);
      if (row.seeds.empty()) continue;
      check_number(row_place(of.row) + ".seed_sd.kl", number_of(row.seed_sd, "kl"), over_runs(r, of, 0).seed_sd);
      check_number(row_place(of.row) + ".seed_sd.dlnppl", number_of(row.seed_sd, "dlnppl"),
                   over_runs(r, of, 2).seed_sd);
    }
  }
}

// KL of the arm that does to other layers what a row does to its own; of no layers 0.
resect::metrics::clustered_sums kl_of_layers(const stored_report& r, const stored_row& like,
                                             const std::vector<int>& layers, const std::string& where) {
  const auto& own = r.run(like, 0).front();
  if (layers.empty()) return need(resect::metrics::clustered_sums::difference(own, own));
  report_row wanted = r.row(like);
  wanted.layers = layers;
  for (const stored_table& table : r.tables)
    for (const stored_row& row : table.rows)
      if (r.row(row).seeds.empty() && same_arm(r.row(row), wanted)) return r.run(row, 0).front();
  refuse_report(where, "no row of " + layers_text(layers), "all layers together, and all but each");
}

void check_compression(const stored_report& r, const stored_table& table, const estimate& all, bool saturated,
                       const std::string& where) {
  std::vector<int> layers;
  for (const stored_row& row : table.rows)
    layers.insert(layers.end(), r.row(row).layers.begin(), r.row(row).layers.end());
  const auto together = kl_of_layers(r, table.rows.front(), layers, where);
  check_estimate(where + ".all.kl", all, estimate_of({together}, 0, rule_of(r)).mean);
  for (const stored_row& of : table.rows) {
    std::vector<int> others = layers;
    std::erase(others, r.row(of).layers.front());
    const auto& alone = r.run(of, 0).front();
    const auto without = kl_of_layers(r, of, others, where);
    const auto restored = need(resect::metrics::clustered_sums::difference(together, without));
    const auto interaction = need(resect::metrics::clustered_sums::difference(restored, alone));
    estimate none;
    none.n = alone.estimate().n;
    none.n_clusters = alone.estimate().n_clusters;
    const std::string place = row_place(of.row);
    check_estimate(place + ".restored_kl", find_estimate(r.row(of).estimates, "restored_kl"),
                   saturated ? none : restored.estimate());
    check_estimate(place + ".interaction_kl", find_estimate(r.row(of).estimates, "interaction_kl"),
                   saturated ? none : interaction.estimate());
  }
}

}  // namespace studies::detail
