// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <study/report/numbers.hpp>
#include <study/report/places.hpp>
#include <study/report/record.hpp>

// What a study's numbers say, in sentences. Each comes from a rule that the reader can check in the table.
namespace studies {

using finding = resect::io::report_finding;

// The findings as paragraphs: those about one table together, under its name.
std::vector<std::string> paragraphs(const std::vector<finding>& findings);

row_list rows_marked(const row_list& rows, std::string_view mark);

// When an altered model is so broken that the size of the damage says little more: half of what knowing
// word frequencies alone would cost. NaN where that is not known.
double saturation_level(const study_record& r);

namespace detail {

inline const report_row& largest_kl(const row_list& rows) {
  return **std::max_element(rows.begin(), rows.end(),
                            [](const auto* a, const auto* b) { return kl_of(*a).value < kl_of(*b).value; });
}

// A table as the rules below read it.
struct subject {
  const study_record& r;
  const table_record& t;
  row_list rows;

  finding say(const char* kind, std::string text, const row_list& about) const {
    return {kind, t.name, std::move(text), layers_of(about)};
  }
  std::string are(const row_list& some) const { return places_are(r, t, some); }
  std::string text(const row_list& some) const { return places_text(r, t, some); }
  bool by_layer() const { return is_by_layer(rows); }
};

finding unchanged(const subject& s);

finding most_critical(const subject& s);

finding control(const subject& s);

}  // namespace detail

std::vector<finding> find(const study_record& r);

}  // namespace studies
