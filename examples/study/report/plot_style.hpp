// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>

// How gnuplot scripts are written, and what all pictures have in common.
namespace studies {

namespace detail {

struct series {
  const char* table;
  const char* colour;  // Okabe & Ito's, told apart by colour-blind readers
  int hollow, filled;  // gnuplot's point types
  double size;
};
inline constexpr series all_series[] = {
    {"skip", "0072B2", 6, 7, 1.4},       {"mean_delta", "E69F00", 4, 5, 1.3}, {"reinit", "009E73", 8, 9, 1.6},
    {"quantize", "CC79A7", 10, 11, 1.5}, {"low_rank", "56B4E9", 12, 13, 1.6}, {"zero_stream", "7F7F7F", 2, 2, 1.1},
};

// The look of a table: its own, or that of its place in the report.
inline const series& series_of(const std::string& table, std::size_t place) {
  for (const series& s : all_series)
    if (table == s.table) return s;
  return all_series[place % (std::size(all_series) - 1)];
}

std::string number(double x);

// A text between single quotes, as gnuplot reads it.
std::string in_quotes(std::string_view text);

// clang-format off
std::string style(int height, const std::string& file, const std::string& title);
// clang-format on

std::string y_range(double low, double high);

// More labels than the powers of ten where few of those are in sight.
std::string log_ticks(double low, double high);

// What an axis shows, at the same place whatever its numbers are.
std::string y_title(const char* text, double middle);

// Whole numbers below one another, not too many.
std::string layer_ticks(int first, int last);

}  // namespace detail

}  // namespace studies
