// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/diff_text.hpp>

namespace studies {

namespace detail {

// Text from a file as a terminal may show it.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

bool is_exactly_zero(const estimate& e) { return e.value == 0 && !(e.se > 0); }

value_and_half difference_cell(const estimate& e, double scale = 1) {
  if (is_exactly_zero(e)) return {"0", e.has_interval() ? "0" : "–"};
  return split(e, scale, sign::always);
}

std::string rank_change(const row_difference& row) {
  const auto shown = [](const resect::io::report_rank& r) {
    return r.value == 0 ? std::string("–") : std::to_string(r.value);
  };
  return shown(row.rank_a) + " → " + shown(row.rank_b);
}

std::string what_differs(const row_difference& row) {
  std::string out;
  for (std::size_t m = 0; m < n_measures; ++m)
    if (row.measures[m].differs) out += (out.empty() ? "" : ", ") + std::string(measure_titles[m]);
  if (row.rank_differs) out += out.empty() ? "rank" : ", rank";
  return out;
}

bool is_same(const table_difference& t) {
  return std::all_of(t.rows.begin(), t.rows.end(), [](const row_difference& row) {
    return std::all_of(row.measures.begin(), row.measures.end(),
                       [](const measure_difference& m) { return is_exactly_zero(m.difference); });
  });
}

// What stands in no table has no name there.
std::string shown_table(const std::string& name) { return name.empty() ? "in no table" : name; }

bool compares_single_layers(const table_difference& t) {
  row_list rows;
  for (const auto& row : t.rows) rows.push_back(&row.a);
  return studies::is_by_layer(rows);
}

std::string arms_only(const std::vector<report_row>& rows, const char* where) {
  if (rows.empty()) return "";
  row_list list;
  std::vector<std::string> arms;
  for (const auto& row : rows) {
    list.push_back(&row);
    arms.push_back(printable(row.arm));
  }
  return "  only in " + std::string(where) + ": " +
         (studies::is_by_layer(list) ? layers_text(layers_of(list)) : and_list(arms)) + "\n";
}

// The floors of KL of both reports; a difference of KL below them says nothing.
std::string floors_text(const stored_report& a, const stored_report& b) {
  const auto shown = [](const std::optional<double>& floor) {
    return !floor ? std::string("not measured") : *floor == 0 ? std::string("0") : scientific(*floor);
  };
  return "  floor of KL, nats: " + shown(a.report.floor) + " in A, " + shown(b.report.floor) + " in B\n";
}

std::string difference_table(const table_difference& t, const std::string& floors) {
  std::string what = printable(t.says_a);
  if (t.says_a != t.says_b) what = printable(t.says_b) + " in B, " + what + " in A";
  std::string out = printable(shown_table(t.name)) + (what.empty() ? "" : ": " + what) + "; B − A\n";
  const auto measure = [&](std::size_t m, double scale = 1) {
    std::vector<value_and_half> out_cells;
    for (const auto& row : t.rows) out_cells.push_back(difference_cell(row.measures[m].difference, scale));
    return out_cells;
  };
  const auto column = [&](auto f) {
    std::vector<std::string> out_cells;
    for (const auto& row : t.rows) out_cells.push_back(f(row));
    return out_cells;
  };
  text_table table;
  if (compares_single_layers(t)) table.add("layer", column([](const auto& row) { return place_cell(row.a); }));
  else table.add("arm", column([](const auto& row) { return printable(row.a.arm); }), align::left);
  table.add("KL, nats", measure(0));
  table.add("top-1, %", measure(1, 100));
  table.add("Δln PPL", measure(2));
  table.add("cosine", measure(3));
  if (!t.name.empty()) table.add("rank", column([](const auto& row) { return rank_change(row); }), align::left);
  table.add("differs", column([](const auto& row) { return what_differs(row); }), align::left);
  if (!t.rows.empty()) out += table.text() + floors;
  return out + arms_only(t.only_a, "A") + arms_only(t.only_b, "B") + "\n";
}

std::string model_line(const char* letter, const stored_report& r) {
  std::string models;
  for (const auto& m : r.report.models)
    models += (models.empty() ? "" : ", ") + printable(m.name) + " " + printable(m.fingerprint);
  return std::string(letter) + "  " + printable(r.path) + "\n     model " + models + ", seed " +
         std::to_string(r.report.seed) + "\n     " + printable(r.report.command) + "\n";
}

// "KL in layers 0–2 and 7; cosine in layer 1"
std::string differing_rows(const table_difference& t) {
  std::string out;
  const bool by_layer = compares_single_layers(t);
  const auto add = [&](const char* what, auto differs) {
    row_list rows;
    std::vector<std::string> arms;
    for (const auto& row : t.rows)
      if (differs(row)) {
        rows.push_back(&row.a);
        arms.push_back(printable(row.a.arm));
      }
    if (!rows.empty())
      out += (out.empty() ? "" : "; ") + std::string(what) + " in " +
             (by_layer ? layers_text(layers_of(rows)) : and_list(arms));
  };
  for (std::size_t m = 0; m < n_measures; ++m)
    add(measure_titles[m], [m](const row_difference& row) { return row.measures[m].differs; });
  add("rank", [](const row_difference& row) { return row.rank_differs; });
  return out;
}

}  // namespace detail

std::vector<std::string> diff_findings(const stored_report& a, const report_difference& d) {
  std::vector<std::string> out;
  const bool no_intervals =
      resect::metrics::reliability_of(a.evaluation().clusters) == resect::metrics::reliability::none;
  if (no_intervals)
    out.push_back("Too few clusters (" + std::to_string(a.evaluation().clusters) +
                  ", 6 are needed): no intervals; nothing here can be told from chance.");
  const bool same_intact = detail::is_exactly_zero(d.nll);
  const bool all_same = same_intact && d.only_a.empty() && d.only_b.empty() &&
                        std::all_of(d.tables.begin(), d.tables.end(), [](const table_difference& t) {
                          return detail::is_same(t) && t.only_a.empty() && t.only_b.empty();
                        });
  if (all_same && !d.other_numbers.empty()) {
    const auto more = d.other_numbers.size() - 1;
    out.push_back(
        "No difference in what the altered models do to any cluster of tokens; but other numbers of the "
        "reports differ: " +
        detail::printable(d.other_numbers.front()) + (more > 0 ? " and " + std::to_string(more) + " more" : "") + ".");
    return out;
  }
  if (all_same) {
    out.push_back("No difference: every number is the same in both.");
    return out;
  }
  if (same_intact) out.push_back("intact models: no difference.");
  else if (d.nll_p <= diff_alpha)
    out.push_back(std::string("intact models: B's perplexity is ") + (d.nll.value > 0 ? "higher" : "lower") + ", × " +
                  with_interval(d.perplexity_ratio) + ".");
  else if (!no_intervals)
    out.push_back("intact models: no difference shown, B's perplexity × " + with_interval(d.perplexity_ratio) + ".");
  for (const auto& t : d.tables) {
    if (t.rows.empty()) continue;
    const std::string where = detail::differing_rows(t), name = detail::printable(detail::shown_table(t.name));
    if (detail::is_same(t)) out.push_back(name + ": no difference.");
    else if (!where.empty()) out.push_back(name + " differs: " + where + ".");
    else if (!no_intervals) out.push_back(name + ": no difference shown (which is not to say that there is none).");
  }
  return out;
}

std::string diff_table(const stored_report& a, const stored_report& b, const report_difference& d) {
  const std::string unit = a.cluster == "document" ? "document" : "window";
  std::string out = detail::model_line("A", a) + detail::model_line("B", b);
  out += "text " + detail::printable(a.report.text.name) + ": the same " + grouped(a.evaluation().windows) +
         " windows of " + grouped(a.evaluation().context) + " in both, in " + std::to_string(a.evaluation().clusters) +
         " " + unit + (a.evaluation().clusters == 1 ? "" : "s") + "\n\n";
  for (const auto& note : d.notes) out += detail::wrapped(detail::printable(note), "note: ", "      ");
  for (const auto& name : d.only_a) out += "note: " + detail::printable(detail::shown_table(name)) + " is in A alone\n";
  for (const auto& name : d.only_b) out += "note: " + detail::printable(detail::shown_table(name)) + " is in B alone\n";
  if (!d.notes.empty() || !d.only_a.empty() || !d.only_b.empty()) out += "\n";
  out += "intact perplexity  A " + with_interval(d.perplexity_a) + ", B " + with_interval(d.perplexity_b) + "\n" +
         "                   B / A " + (detail::is_exactly_zero(d.nll) ? "1" : with_interval(d.perplexity_ratio)) +
         "\n\n";
  const std::string floors = detail::floors_text(a, b);
  for (const auto& t : d.tables) out += detail::difference_table(t, floors);
  out += detail::wrapped(
      "Differences are B − A of what each altered model does to its own intact model, taken " + unit + " by " + unit +
          " and so paired; ± is half of the 95 % interval. Rank: of the row by KL, in A → in B; it differs where the "
          "two bootstrap intervals do not meet. Other entries under \"differs\" hold for all rows of a table together "
          "(Holm, 5 % two-sided, for each measure).",
      "", "");
  if (resect::metrics::reliability_of(a.evaluation().clusters) == resect::metrics::reliability::marked)
    out += "* only " + std::to_string(a.evaluation().clusters) +
           " clusters: take these intervals with care (16 make a full one).\n";
  out += "\n";
  for (const auto& text : diff_findings(a, d)) out += detail::wrapped(text, "  - ", "    ");
  return out;
}

}  // namespace studies
