// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <study/report/findings.hpp>
#include <study/report/numbers.hpp>
#include <study/report/record.hpp>

// A study as text for a terminal, at most 100 columns wide.
namespace studies {

// Characters that a terminal shows for UTF-8 text without combining or wide ones.
std::size_t display_width(std::string_view s);

enum class align { left, right };

std::string padded(std::string s, std::size_t width, align a);

// Columns side by side, two blanks between them; no blanks at the ends of lines.
class text_table {
 public:
  void add(std::string header, std::vector<std::string> cells, align a = align::right) {
    std::size_t width = display_width(header);
    for (const auto& cell : cells) width = std::max(width, display_width(cell));
    columns_.push_back({std::move(header), std::move(cells), width, a});
  }

  // A column of values with the half-widths of their intervals, aligned at the ±.
  void add(std::string header, const std::vector<value_and_half>& cells) {
    std::size_t left = 0, right = 0;
    for (const auto& c : cells) {
      left = std::max(left, display_width(c.value));
      right = std::max(right, display_width(c.half));
    }
    std::vector<std::string> joined;
    for (const auto& c : cells)
      joined.push_back(
          c.value.empty() ? "" : padded(c.value, left, align::right) + " ± " + padded(c.half, right, align::left));
    add(std::move(header), std::move(joined));
  }

  std::string text() const {
    std::string out = line([](const column& c) { return c.header; });
    const std::size_t rows = columns_.empty() ? 0 : columns_.front().cells.size();
    for (std::size_t i = 0; i < rows; ++i) out += line([i](const column& c) { return c.cells[i]; });
    return out;
  }

 private:
  struct column {
    std::string header;
    std::vector<std::string> cells;
    std::size_t width;
    align alignment;
  };

  template <class F>
  std::string line(F cell) const {
    std::string out;
    for (const column& c : columns_) out += "  " + padded(cell(c), c.width, c.alignment);
    out.erase(out.find_last_not_of(' ') + 1);
    return out + "\n";
  }

  std::vector<column> columns_;
};

// "1 [1–2]"
std::string rank_cell(const resect::io::report_rank& r);

// The floor of a table's KL in words; nothing where it was not measured.
std::string floor_text(const study_record& r);

namespace detail {

template <class F>
auto cells(const row_list& rows, F f) {
  std::vector<decltype(f(*rows.front()))> out;
  for (const auto* row : rows) out.push_back(f(*row));
  return out;
}

// "layer", or what stands at the head of the places of a table whose rows are no single layers.
inline const char* place_title(const row_list& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const auto* row) { return row->layers.size() == 1; }) ? "layer"
                                                                                                        : "layers";
}

// Whether the layers tell rows of a table apart; where they do not, other parameters do.
inline bool shows_layers(const table_record& record, const row_list& rows) {
  return record.varying.empty() ||
         std::any_of(rows.begin(), rows.end(), [&](const auto* row) { return row->layers != rows.front()->layers; });
}

std::string parameter_cell(const report_row& row, const std::string& name);

inline resect::io::report_verdict verdict_of(const report_row& row) {
  return row.verdict ? *row.verdict : resect::io::report_verdict{};
}

std::string norm_cell(const quantiles& q);

// A sentence in lines of at most 98 columns.
std::string wrapped(const std::string& text, const std::string& first, const std::string& rest);

}  // namespace detail

std::string baseline_text(const study_record& r);

// What the columns are and how far the intervals reach.
std::string legend_text(const study_record& r);

std::string findings_text(const std::vector<finding>& findings);

std::string study_table(const study_record& r);

}  // namespace studies
