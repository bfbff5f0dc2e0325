// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <resect/metrics/verdicts/marks.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <study/report/stored_report.hpp>

// What report.json says against what the sums in clusters.npz give.
namespace studies::detail {

inline void check_number(const fields& f, const char* key, double wanted) {
  if (!std::isfinite(wanted)) {
    if (!f.at(key).is_null()) f.refuse(key, f.at(key).dump(), "null, as clusters.npz gives no such number");
    return;
  }
  const double got = f.number(key);
  if (!(std::abs(got - wanted) <= 1e-9 * std::max(1.0, std::abs(wanted))))
    f.refuse(key, resect::text(got).view(), resect::text(wanted, ", which clusters.npz gives").view());
}

inline void check_integer(const fields& f, const char* key, std::int64_t wanted) {
  if (const auto got = f.integer(key, 0, whole); got != wanted)
    f.refuse(key, resect::text(got).view(), resect::text(wanted, ", which clusters.npz gives").view());
}

inline void check_estimate(const fields& f, const estimate& wanted) {
  check_number(f, "value", wanted.value);
  check_number(f, "se", wanted.se);
  check_number(f, "lo", wanted.lo);
  check_number(f, "hi", wanted.hi);
  check_integer(f, "n", wanted.n);
  check_integer(f, "n_clusters", wanted.n_clusters);
}

constexpr std::size_t top1 = 1;  // the measure that is a rate

inline estimate of_measure(const estimate& e, std::size_t measure) {
  return measure == top1 ? resect::metrics::rate_interval(e) : e;
}

// A measure over all runs of a row, with the variance of seeds and clusters where there are seeds.
inline resect::metrics::seeded_estimate over_runs(const stored_row& row, std::size_t measure) {
  resect::metrics::seeded_estimate out;
  std::vector<resect::metrics::clustered_sums> all;
  for (const run_sums& one : row.runs) all.push_back(one[measure]);
  if (all.size() == 1) out.mean = all.front().estimate();
  else out = need(resect::metrics::try_two_way(all));
  out.mean = of_measure(out.mean, measure);
  return out;
}

// Older reports gave a rate of exactly 0 or 1 an interval of no width.
inline void check_measure(const fields& f, estimate wanted, std::size_t measure) {
  const bool certain = measure == top1 && wanted.has_interval() && (wanted.value == 0 || wanted.value == 1);
  if (certain && f.at("lo") == wanted.value && f.at("hi") == wanted.value) wanted.lo = wanted.hi = wanted.value;
  check_estimate(f, wanted);
}

// Of every row of a table, as a study marks them.
inline std::vector<std::string> marks_of(const stored_table& table) {
  std::vector<estimate> deltas;
  double degrees = 0;
  for (const stored_row& row : table.rows) {
    const auto dlnppl = over_runs(row, 2);
    deltas.push_back(dlnppl.mean);
    if (row.runs.size() > 1) degrees = dlnppl.degrees;
  }
  std::vector<std::string> out;
  for (const auto& m : resect::metrics::assign_marks(deltas, {.degrees = degrees}))
    out.emplace_back(resect::metrics::name(m.verdict));
  return out;
}

// A layer's place by KL; of layers with the same KL any of their places. The interval is drawn, and is not drawn again
// here: it has to hold the place.
inline void check_rank(const fields& row, const stored_table& table, const stored_row& of) {
  const auto kl = [](const stored_row& r) {
    double sum = 0, n = 0;
    for (const run_sums& one : r.runs) {
      const auto e = one.front().estimate();
      sum += e.value * static_cast<double>(e.n);
      n += static_cast<double>(e.n);
    }
    return sum / n;
  };
  std::int64_t above = 0, level = 0;
  const double own = kl(of), close = 1e-12 * std::abs(own);
  for (const stored_row& other : table.rows) {
    const double x = kl(other);
    above += x > own + close;
    level += std::abs(x - own) <= close;
  }
  const auto layers = static_cast<std::int64_t>(table.rows.size());
  const fields rank = row.object("rank");
  if (rank.at("value").is_null()) return;
  const std::int64_t value = rank.integer("value", above + 1, above + level);
  if (rank.at("lo").is_null() && rank.at("hi").is_null()) return;
  rank.integer("lo", 1, value);
  rank.integer("hi", value, layers);
}

// Every row of report.json is one of clusters.npz, and no more and no fewer.
inline void check_rows(const nlohmann::json& rows, const std::vector<stored_table>& tables) {
  std::size_t expected = 0;
  std::vector<std::vector<std::string>> marks;
  for (const auto& t : tables) {
    marks.push_back(marks_of(t));
    for (const auto& row : t.rows) expected += 1 + row.seeds.size();
  }
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
    std::size_t t = 0, r = 0;
    const stored_row* row = nullptr;
    for (std::size_t j = 0; j < tables.size(); ++j)
      for (std::size_t k = 0; k < tables[j].rows.size(); ++k)
        if (tables[j].alteration == name && tables[j].rows[k].layer == layer) row = &tables[t = j].rows[r = k];
    if (!row) f.refuse("", resect::text(name, " of layer ", layer).view(), "a row that clusters.npz has");
    const auto at = std::find(row->seeds.begin(), row->seeds.end(), seed);
    if (!all_seeds && at == row->seeds.end()) f.refuse("seed", std::to_string(seed), "a seed that clusters.npz has");
    seen.push_back(name + " " + std::to_string(layer) + " " + std::to_string(seed));
    const fields metrics = f.object("metrics");
    for (std::size_t m = 0; m < n_measures; ++m) {
      const fields shown = metrics.object(measure_names[m]);
      const auto run = static_cast<std::size_t>(at - row->seeds.begin());
      check_measure(shown, all_seeds ? over_runs(*row, m).mean : of_measure(row->runs[run][m].estimate(), m), m);
    }
    if (!all_seeds) continue;
    const std::string mark = f.at("mark").is_null() ? std::string() : f.text("mark");
    if (mark != marks[t][r])
      f.refuse("mark", mark, resect::text("'", marks[t][r], "', which clusters.npz gives").view());
    check_rank(f, tables[t], *row);
    if (row->seeds.empty()) continue;
    const fields sd = f.object("seed_sd");
    check_number(sd, "kl", over_runs(*row, 0).seed_sd);
    check_number(sd, "dlnppl", over_runs(*row, 2).seed_sd);
  }
  std::sort(seen.begin(), seen.end());
  if (const auto twice = std::adjacent_find(seen.begin(), seen.end()); twice != seen.end())
    fail({resect::errc::malformed, "report.rows", resect::text("two of ", *twice), "each row once"});
}

// What a compression's sums give beside its rows: all layers altered, and what sparing one brings back.
struct compression_sums {
  resect::metrics::clustered_sums all;
  std::vector<resect::metrics::clustered_sums> all_but_one;  // by row
};

inline void check_compression(const fields& f, const nlohmann::json& rows, const stored_table& table,
                              const compression_sums& sums) {
  check_estimate(f.object("all").object("kl"), sums.all.estimate());
  const auto& saturated = f.at("saturated");
  if (!saturated.is_boolean()) f.refuse("saturated", saturated.type_name(), "true or false");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const fields row{rows[i], "report.rows[" + std::to_string(i) + "]"};
    if (row.text("operator") != table.alteration) continue;
    for (std::size_t k = 0; k < table.rows.size(); ++k) {
      if (table.rows[k].layer != row.integer("first", 0, whole)) continue;
      const auto& alone = table.rows[k].runs.front().front();
      const auto restored = need(resect::metrics::clustered_sums::difference(sums.all, sums.all_but_one[k]));
      const auto interaction = need(resect::metrics::clustered_sums::difference(restored, alone));
      estimate none;
      none.n = alone.estimate().n;
      none.n_clusters = alone.estimate().n_clusters;
      const bool given = !saturated.get<bool>();
      check_estimate(row.object("restored_kl"), given ? restored.estimate() : none);
      check_estimate(row.object("interaction_kl"), given ? interaction.estimate() : none);
    }
  }
}

}  // namespace studies::detail
