// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <resect/metrics/intervals/two_way.hpp>
#include <resect/metrics/verdicts/multiple.hpp>
#include <resect/metrics/verdicts/rank.hpp>
#include <study/report/read_report.hpp>
#include <study/report/record.hpp>

// Two studies of the same tokens, compared in pairs: every difference is taken cluster by cluster, B − A, before
// anything is averaged, so what both models find hard in a document drops out of the interval.
namespace studies {

// One measure of one arm. `difference` is of the measure itself: of Δln PPL, a difference of two Δln PPL.
struct measure_difference {
  estimate a, b, difference;
  double p = resect::metrics::nan;       // two-sided, of no difference
  double p_holm = resect::metrics::nan;  // over the rows of the table
  bool differs = false;                  // p_holm ≤ 0.05
};

// One arm that both reports have.
struct row_difference {
  report_row a, b;                                      // without their metrics
  std::array<measure_difference, n_measures> measures;  // in the order of measure_names
  resect::io::report_rank rank_a, rank_b;               // by KL, among the rows above the floor of both reports
  bool rank_differs = false;                            // both have intervals, and these do not meet
};

// The rows of one table of A; a table without a name holds what stands in none.
struct table_difference {
  std::string name;
  std::string says_a, says_b;                   // what its arms do, as the reports say it
  std::vector<std::uint64_t> seeds_a, seeds_b;  // empty where nothing is drawn
  std::vector<row_difference> rows;
  std::vector<report_row> only_a, only_b;  // that the other report has not
};

struct report_difference {
  estimate perplexity_a, perplexity_b;
  estimate nll;               // of the intact models, B − A, nats a token
  estimate perplexity_ratio;  // its exp: B / A
  double nll_p = resect::metrics::nan;
  std::vector<table_difference> tables;
  std::vector<std::string> only_a, only_b;  // tables
  std::vector<std::string> notes;           // what else is not the same in both
  std::vector<std::string> other_numbers;   // places of numbers that differ, where the sums are the same in both
};

constexpr double diff_alpha = 0.05;  // two-sided, family-wise over the rows of a table, for each measure

namespace detail {

std::string_view start_of(const std::string& hash);

resect::metrics::clustered_sums minus(const resect::metrics::clustered_sums& b,
                                      const resect::metrics::clustered_sums& a);

struct mean_and_degrees {
  estimate mean;
  double degrees = 0;  // of freedom; 0: clusters − 1
};

// Of differences, μ ± t·se by either rule: over the seeds with a variance clustered both ways, or of the one run there is.
mean_and_degrees mean_of(const std::vector<resect::metrics::clustered_sums>& runs);

// Seed by seed where both have the same ones. Seeds that share nothing are paired in their order, which any order of
// independent draws allows; where only some are shared the pairs would depend on each other.
void check_seeds(const report_row& a, const report_row& b);

// Where one row of A found its like in B.
struct row_pair {
  const stored_row *a = nullptr, *b = nullptr;
};

inline const stored_table* table_named(const stored_report& r, const std::string& name) {
  for (const auto& t : r.tables)
    if (t.name == name) return &t;
  return nullptr;
}

// The one row of a table that `fits`; nothing where there is none, or more than one.
template <class F>
const stored_row* only_row(const stored_table& t, F fits) {
  const stored_row* found = nullptr;
  for (const stored_row& row : t.rows)
    if (fits(row)) {
      if (found) return nullptr;
      found = &row;
    }
  return found;
}

}  // namespace detail

// Compares what both reports have. Fails where they are not of the same text, windows and clusters, where seeds
// cannot be paired, or where no arm is in both.
report_difference compare_reports(const stored_report& a, const stored_report& b);

}  // namespace studies
