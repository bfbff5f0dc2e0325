// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <study/report/diff_record.hpp>
#include <study/report/findings.hpp>
#include <study/report/numbers.hpp>
#include <study/report/places.hpp>
#include <study/report/table.hpp>

// A comparison of two reports as text for a terminal, at most 100 columns wide.
namespace studies {

constexpr const char* measure_titles[] = {"KL", "top-1", "Δln PPL", "cosine"};

namespace detail {

bool compares_single_layers(const table_difference& t);

}  // namespace detail

// What the numbers carry, a sentence a table.
std::vector<std::string> diff_findings(const stored_report& a, const report_difference& d);

std::string diff_table(const stored_report& a, const stored_report& b, const report_difference& d);

}  // namespace studies
