// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/places.hpp>

namespace studies {

namespace detail {

std::string and_list(const std::vector<std::string>& parts) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i)
    out += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return out;
}

std::vector<std::string> layer_runs(const std::vector<int>& layers) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t j = i;
    while (j + 1 < layers.size() && layers[j + 1] == layers[j] + 1) ++j;
    if (j > i + 1) parts.push_back(std::to_string(layers[i]) + "–" + std::to_string(layers[j]));
    else
      for (std::size_t k = i; k <= j; ++k) parts.push_back(std::to_string(layers[k]));
    i = j + 1;
  }
  return parts;
}

}  // namespace detail

std::string layers_text(const std::vector<int>& layers) {
  if (layers.empty()) return "no layer";
  return (layers.size() == 1 ? "layer " : "layers ") + detail::and_list(detail::layer_runs(layers));
}

std::string value_text(const resect::io::report_value& v) {
  return v.text.empty() ? std::string(resect::text(v.number).view()) : v.text;
}

std::string place_cell(const report_row& row) {
  if (row.layers.empty()) return "–";
  if (!resect::io::is_span(row.layers)) {
    std::string out;
    for (const std::string& part : detail::layer_runs(row.layers)) out += (out.empty() ? "" : ",") + part;
    return out;
  }
  if (row.layers.size() == 1) return std::to_string(row.layers.front());
  return std::to_string(row.layers.front()) + "–" + std::to_string(row.layers.back());
}

bool is_by_layer(const row_list& rows) {
  std::vector<int> seen;
  for (const auto* row : rows) {
    if (row->layers.size() != 1 || std::find(seen.begin(), seen.end(), row->layers.front()) != seen.end()) return false;
    seen.push_back(row->layers.front());
  }
  return true;
}

std::string place_text(const table_record& t, const report_row& row) {
  std::string out =
      row.layers.size() == 2 && resect::io::is_span(row.layers) ? "layers " + place_cell(row) : layers_text(row.layers);
  if (!row.matrix.empty()) out = row.matrix + " of " + out;
  std::string parameters;
  for (const auto& p : row.parameters)
    if (std::find(t.varying.begin(), t.varying.end(), p.name) != t.varying.end())
      parameters += (parameters.empty() ? "" : ", ") + p.name + " " + value_text(p.value);
  return parameters.empty() ? out : out + " (" + parameters + ")";
}

std::vector<int> layers_of(const row_list& rows) {
  std::vector<int> out;
  for (const auto* row : rows) out.insert(out.end(), row->layers.begin(), row->layers.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::string places_text(const study_record& r, const table_record& t, const row_list& rows) {
  const bool by_layer = is_by_layer(rows_of(r, t));
  if (rows.empty()) return by_layer ? "no layer" : "no arm";
  if (by_layer) return layers_text(layers_of(rows));
  std::vector<std::string> parts;
  for (const auto* row : rows) parts.push_back(place_text(t, *row));
  return parts.size() == 1 ? parts.front() : detail::and_list(parts);
}

std::string with_capital(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

std::string places_are(const study_record& r, const table_record& t, const row_list& rows) {
  const bool many =
      rows.size() > 1 || (rows.size() == 1 && rows.front()->layers.size() > 1 && rows.front()->matrix.empty());
  return with_capital(places_text(r, t, rows)) + (many ? " are" : " is");
}

}  // namespace studies
