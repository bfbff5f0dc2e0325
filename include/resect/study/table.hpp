// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/metrics/verdicts/marks.hpp>
#include <resect/metrics/verdicts/rank.hpp>
#include <resect/study/arm.hpp>
#include <resect/study/at_floor.hpp>
#include <resect/study/effect.hpp>

// Turns the measurements of arms into table rows: seeds together, marks after Holm, ranks with intervals.
namespace RESECT_NAMESPACE::study {

// A table row: one arm over its seeds.
struct table_row {
  arm_identity id;                   // of the first seed; its key is the group's where there are seeds
  std::string label;                 // shown in tables
  std::vector<std::uint64_t> seeds;  // empty for an arm without random draws
  std::vector<effect_sums> runs;     // one a seed, or one
  effect mean;                       // over seeds
  std::vector<effect> per_run;
  metrics::mark mark = metrics::mark::none;
  metrics::rank_interval
      rank;               // by KL among the rows of its table that are above the floor, 1 = largest; 0 at the floor
  bool at_floor = false;  // KL cannot be distinguished from the floor (is_at_floor)

  // The first layer that the arm changes.
  int layer() const noexcept { return id.layers.empty() ? -1 : id.layers.front(); }
};

// The rows that form one table: Holm's correction and ranks are computed within a table.
enum class table_of : std::uint8_t {
  each_family,  // arms that differ in their layers alone (a sensitivity study has a table an operator)
  all_arms,     // one table of everything
};

// Options of a table: grouping, marks, bootstrap, floor.
struct table_options {
  table_of tables = table_of::each_family;
  std::uint64_t seed = 1;    // seed of the bootstrap
  index_t bootstrap = 1000;  // resamples for the intervals of ranks
  double floor = 0;          // kl_floor::mean of the same windows; rows at it are not ranked. 0: none is
};

namespace detail {

// KL of all runs of a row together. Runs of one study have the same clusters, so that merging cannot fail.
template <class = void>
metrics::clustered_sums kl_over_runs(const table_row& row) {
  metrics::clustered_sums kl = row.runs.front().kl.sums();
  for (std::size_t run = 1; run < row.runs.size(); ++run) (void)kl.merge(row.runs[run].kl.sums());
  return kl;
}

// The same as the mean over runs, so rows of different numbers of runs have the same tokens.
template <class = void>
metrics::clustered_sums kl_of_mean_run(const table_row& row) {
  const metrics::clustered_sums all = kl_over_runs(row);
  const auto runs = static_cast<index_t>(row.runs.size());
  metrics::clustered_sums mean(all.clusters());
  for (index_t c = 0; c < all.clusters(); ++c)
    mean.add_sum(c, all.sum(c) / static_cast<double>(runs), all.count(c) / runs);
  return mean;
}

// Degrees of freedom of the row with the fewest, which serve the whole table; 0 where no row has seeds.
template <class = void>
double fewest_degrees(std::span<table_row* const> table) noexcept {
  double fewest = 0;
  for (const table_row* row : table)
    if (row->mean.degrees > 0 && (fewest == 0 || row->mean.degrees < fewest)) fewest = row->mean.degrees;
  return fewest;
}

// Marks and ranks of one table.
template <class = void>
status mark_and_rank(std::span<table_row* const> table, const table_options& o) {
  array<metrics::estimate> deltas;
  array<metrics::clustered_sums> kl;
  array<table_row*> ranked;
  const auto has_other_runs = [&](const table_row* row) { return row->runs.size() != table.front()->runs.size(); };
  const bool same_runs = algo::find_if(table.begin(), table.end(), has_other_runs) == table.end();
  for (table_row* row : table) {
    deltas.push_back(row->mean.dlnppl);
    row->at_floor = is_at_floor(row->mean.kl, o.floor);
    if (row->at_floor) continue;
    ranked.push_back(row);
    kl.push_back(same_runs ? kl_over_runs(*row) : kl_of_mean_run(*row));
  }
  const auto marks = metrics::assign_marks(deltas.span(), {.degrees = fewest_degrees(table)});
  const auto ranks = metrics::try_rank_intervals(kl.span(), {.seed = o.seed, .resamples = o.bootstrap});
  if (!ranks) return ranks.error();
  for (std::size_t i = 0; i < table.size(); ++i) table[i]->mark = marks[static_cast<index_t>(i)].verdict;
  for (index_t i = 0; i < ranked.size(); ++i) ranked[i]->rank = (*ranks)[i];
  return {};
}

template <class = void>
std::vector<table_row> rows_by_group(std::span<const arm> arms, std::span<const effect_sums> measured) {
  std::vector<table_row> rows;
  for (std::size_t i = 0; i < arms.size(); ++i) {
    arm_identity id = identity_of(arms[i].plan);
    auto row = algo::find_if(rows.begin(), rows.end(),
                             [&](const table_row& r) { return id.seed && !r.seeds.empty() && r.id.group == id.group; });
    if (row == rows.end()) {
      rows.emplace_back();
      row = rows.end() - 1;
    }
    if (id.seed) row->seeds.push_back(*id.seed);
    row->runs.push_back(measured[i]);
    row->per_run.push_back(measured[i].estimate());
    if (row->runs.size() > 1) continue;
    id.key = id.group;
    row->label = arms[i].label.empty() ? id.group : arms[i].label;
    row->id = std::move(id);
  }
  return rows;
}

// Row numbers of every table, in the order in which tables begin.
template <class = void>
array<array<std::size_t>> tables_of(std::span<const table_row> rows, table_of rule) {
  array<array<std::size_t>> out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto to = algo::find_if(out.begin(), out.end(), [&](const array<std::size_t>& t) {
      return rule == table_of::all_arms || rows[t.front()].id.family == rows[i].id.family;
    });
    if (to != out.end()) to->push_back(i);
    else out.push_back({i});
  }
  return out;
}

}  // namespace detail

// Computes the rows of all arms, table after table, within a table in the order of `arms`; measured[i] belongs to
// arms[i]. Arms that differ in their seed alone become one row: its mean is over seeds, with a variance clustered by
// seed and cluster.
// Errors: shape_mismatch where the lists differ in length; what metrics::try_two_way and try_rank_intervals report.
template <class = void>
result<std::vector<table_row>> try_tabulate(std::span<const arm> arms, std::span<const effect_sums> measured,
                                            const table_options& options = {}) {
  if (arms.size() != measured.size())
    return error{errc::shape_mismatch, "measured arms", text(measured.size()), text(arms.size())};
  std::vector<table_row> rows = detail::rows_by_group(arms, measured);
  for (table_row& row : rows) {
    auto mean = try_mean_effect(row.runs);
    if (!mean) return mean.error();
    row.mean = *mean;
  }
  std::vector<table_row> out;
  for (const auto& numbers : detail::tables_of(rows, options.tables)) {
    array<table_row*> table;
    for (const std::size_t i : numbers) table.push_back(&rows[i]);
    if (auto s = detail::mark_and_rank(table.span(), options); !s) return s.error();
    for (table_row* row : table) out.push_back(std::move(*row));
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::study
