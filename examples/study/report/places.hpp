// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <study/report/numbers.hpp>
#include <study/report/record.hpp>

// Where arms altered a model, in words.
namespace studies {

namespace detail {

// "a", "a and b", "a, b and c"
std::string and_list(const std::vector<std::string>& parts);

// {0, 1, 2, 7} → "0–2", "7"
std::vector<std::string> layer_runs(const std::vector<int>& layers);

}  // namespace detail

// "layer 3", "layers 0–2 and 7", "no layer"
std::string layers_text(const std::vector<int>& layers);

// A parameter as tables show it: "0.5", "symmetric".
std::string value_text(const resect::io::report_value& v);

// The first column of a table, "3" or "2–3": what the row altered, in few characters.
std::string place_cell(const report_row& row);

// Whether every row is of one layer alone, and the layers say which row it is.
bool is_by_layer(const row_list& rows);

// One row of a table, "layer 3" or "layers 2–3 (factor 0.5)": with the parameters that the table's rows do not share.
std::string place_text(const table_record& t, const report_row& row);

std::vector<int> layers_of(const row_list& rows);

// Some rows of a table: "layers 0–2 and 7", "layers 0–1 and layers 2–3", "no layer" (`none` where rows are no layers).
std::string places_text(const study_record& r, const table_record& t, const row_list& rows);

std::string with_capital(std::string text);

// The same at the beginning of a sentence, with its verb: "Layers 0 and 1 are", "No layer is"
std::string places_are(const study_record& r, const table_record& t, const row_list& rows);

}  // namespace studies
