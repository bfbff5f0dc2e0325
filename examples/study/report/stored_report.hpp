// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <hosts/bytes.hpp>
#include <resect/io/report_reader.hpp>
#include <study/io/input.hpp>
#include <study/report/record.hpp>

// A study as read_report gives it back.
namespace studies {

// One row of a report that is over seeds or has none: where it stands in the report, and where its runs stand in the sums.
struct stored_row {
  std::size_t row = 0;
  std::vector<std::size_t> runs;  // one a seed, or one
};

// The rows of one table; those that stand in no table make one without a name.
struct stored_table {
  std::string name;
  std::string says = {};  // what its arms do
  std::vector<stored_row> rows;
};

struct stored_report {
  std::string path, clusters;  // of report.json and of clusters.npz
  resect::io::report report;
  std::string cluster;  // "document" or "window"
  std::int64_t bootstrap = 0;
  cluster_sums sums;
  std::vector<stored_table> tables;
  nlohmann::json numbers;  // every number of report.json by its place ("/rows/0/metrics/kl/value")

  const report_row& row(const stored_row& r) const { return report.rows[r.row]; }
  const run_sums& run(const stored_row& r, std::size_t i) const { return sums.runs[r.runs[i]]; }
  const resect::io::report_set& evaluation() const { return report.sets.front().value; }
};

namespace detail {

[[noreturn]] void refuse_report(const std::string& where, std::string_view got, std::string_view wanted);

std::string row_place(std::size_t i);

// Whether two rows differ in nothing but their seeds.
bool same_arm(const report_row& a, const report_row& b);

// The tables of a report. A row over seeds is followed by a row for each of them.
std::vector<stored_table> tables_of(const resect::io::report& r);

}  // namespace detail

}  // namespace studies
