// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <study/io/gnuplot.hpp>
#include <study/io/output.hpp>
#include <study/report/findings.hpp>
#include <study/report/plot_style.hpp>
#include <study/report/record.hpp>
#include <study/report/table.hpp>

// The pictures of a study: norms.png and effects.png. Everything that a script holds is written here or is a number; texts
// from outside (names of models, tables and places) are quoted and stripped.
namespace studies {

std::string norms_data(const study_record& r);

// clang-format off
std::string norms_script(const study_record& r);
// clang-format on

namespace detail {

// A bar's ends, or the value itself where there is no interval.
inline double low_end(const estimate& e) { return e.has_interval() ? e.lo : e.value; }
inline double high_end(const estimate& e) { return e.has_interval() ? e.hi : e.value; }

struct axis {
  double low = 0, high = 1;
  bool curved = false;  // logarithmic, or linear about 0 and logarithmic beyond
};

// Calls f(table, row) for everything that is drawn.
template <class F>
void for_drawn(const study_record& r, F f) {
  for (const auto& t : r.tables)
    for (const auto* row : rows_of(r, t)) f(t, *row);
}

inline constexpr double linear_below = 0.01;  // of the axis of Δln PPL

// Where rows stand from left to right: at their layer (the middle of a span), where every table has one row a place; else
// in the order of the table, under their names.
struct row_places {
  bool by_layer = true;
  double first = 0, last = 0;
  std::string title = "layer", ticks;  // of the lower picture
  std::string upper_ticks;             // the same without names, where these are long

  double operator()(const report_row& row, std::size_t i) const {
    return by_layer ? 0.5 * (row.layers.front() + row.layers.back()) : static_cast<double>(i);
  }
};

}  // namespace detail

// The rows of one table; a gap between places breaks the line.
std::string effects_data(const study_record& r, const table_record& t);

// clang-format off
std::string effects_script(const study_record& r);
// clang-format on

// Draws both pictures into `folder`; what gnuplot needs lies in a folder beside them meanwhile.
resect::status try_draw_plots(const study_record& r, const std::filesystem::path& folder);

}  // namespace studies
