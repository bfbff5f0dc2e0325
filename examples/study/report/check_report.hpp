// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <resect/metrics/intervals/range.hpp>
#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/intervals/wilson.hpp>
#include <resect/metrics/verdicts/marks.hpp>
#include <study/report/places.hpp>
#include <study/report/stored_report.hpp>

// What report.json says against what the sums in clusters.npz give.
namespace studies::detail {

void check_estimate(const std::string& where, const estimate& got, const estimate& wanted);

// The rule that rules.interval names: an interval is computed again by the rule of its own report.
enum class interval_rule : std::uint8_t {
  by_range,  // metrics::set_interval
  plain_t,   // of reports before it: μ ± t·se for every measure, Wilson's for a rate of 0 or 1
};

interval_rule rule_of(const stored_report& r);

// Of the measures, in the order of measure_names.
inline constexpr std::array measure_ranges{resect::metrics::mean_range::nonnegative, resect::metrics::mean_range::rate,
                                           resect::metrics::mean_range::any, resect::metrics::mean_range::at_most_one};
static_assert(measure_ranges.size() == n_measures);

// A measure over runs, one a seed, with the variance of seeds and clusters where there are several.
resect::metrics::seeded_estimate estimate_of(const std::vector<resect::metrics::clustered_sums>& runs,
                                             std::size_t measure, interval_rule rule);

std::vector<resect::metrics::clustered_sums> runs_of(const stored_report& r, const stored_row& row,
                                                     std::size_t measure);

// Whether a row's KL is at the floor that the report names.
bool is_at_floor(const stored_report& r, const stored_row& row);

// A row's place by KL; of rows with the same KL any of their places. The interval is drawn, and is not drawn again here:
// it has to hold the place.
void check_rank(const stored_report& r, const stored_table& table, const stored_row& of);

// Every row of report.json against the sums of its runs.
void check_rows(const stored_report& r);

// What sparing a compressed layer brings back: R = KL(all) − KL(all but this one), I = R − S.
void check_compression(const stored_report& r, const stored_table& table, const estimate& all, bool saturated,
                       const std::string& where);

}  // namespace studies::detail
