// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/table.hpp>

namespace studies {

std::size_t display_width(std::string_view s) {
  return static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(std::string s, std::size_t width, align a) {
  const std::size_t have = display_width(s);
  if (have >= width) return s;
  const std::string blanks(width - have, ' ');
  return a == align::right ? blanks + s : s + blanks;
}

std::string rank_cell(const resect::io::report_rank& r) {
  if (r.value == 0) return "–";
  if (r.hi == 0) return std::to_string(r.value) + " [–]";
  return std::to_string(r.value) + " [" + std::to_string(r.lo) + "–" + std::to_string(r.hi) + "]";
}

std::string floor_text(const study_record& r) {
  if (!r.floor) return "";
  const auto& f = *r.floor;
  if (f.max == 0) return "floor of KL: 0 (the intact model has the same bits however it is run)";
  const auto largest =
      std::max_element(f.passes.begin(), f.passes.end(), [](const auto& a, const auto& b) { return a.mean < b.mean; });
  return "floor of KL: mean " + scientific(f.mean) + ", maximum " + scientific(f.max) + " nats (the intact model run " +
         std::string(largest->by) + ")";
}

namespace detail {

std::string parameter_cell(const report_row& row, const std::string& name) {
  if (name == "matrix") return row.matrix;
  const auto* found = resect::io::find_named(row.parameters, name);
  return found ? value_text(*found) : "";
}

std::string seeds_text(const row_list& rows) {
  const auto& seeds = rows.front()->seeds;
  if (seeds.empty()) return "";
  return ", seeds " + std::to_string(seeds.front()) + (seeds.size() > 1 ? "–" + std::to_string(seeds.back()) : "");
}

// The columns that say which row it is.
void add_places(text_table& t, const table_record& record, const row_list& rows) {
  if (shows_layers(record, rows)) t.add(place_title(rows), cells(rows, place_cell));
  for (const auto& name : record.varying)
    t.add(name, cells(rows, [&](const report_row& x) { return parameter_cell(x, name); }));
}

std::string arms_table(const study_record& r, const table_record& record) {
  const auto rows = rows_of(r, record);
  if (rows.empty()) return "";
  text_table t;
  add_places(t, record, rows);
  t.add("KL, nats", cells(rows, [](const report_row& x) { return split(kl_of(x)); }));
  if (rows.front()->seeds.size() > 1)
    t.add("seed sd", cells(rows, [](const report_row& x) {
            const double sd = number_of(x.seed_sd, "kl");
            return fixed(sd, decimals_for(sd));
          }));
  t.add("rank", cells(rows, [](const report_row& x) { return rank_cell(verdict_of(x).rank); }));
  t.add("top-1, %", cells(rows, [](const report_row& x) { return split(measures_of(x).top1, 100); }));
  t.add("Δln PPL", cells(rows, [](const report_row& x) { return split(measures_of(x).dlnppl, 1, sign::always); }));
  t.add("cosine", cells(rows, [](const report_row& x) { return split(measures_of(x).cosine); }));
  t.add("mark",
        cells(rows,
              [](const report_row& x) {
                const auto mark = verdict_of(x).mark;
                return mark == "better than intact" ? "better" : mark;
              }),
        align::left);
  const std::string floor = floor_text(r);
  return record.name + ": " + record.says + seeds_text(rows) + "\n" + t.text() +
         (floor.empty() ? "" : "  " + floor + "\n") + "\n";
}

// What the recipe gives beside the measures.
std::string further_table(const study_record& r, const table_record& record) {
  const auto rows = rows_of(r, record);
  if (rows.empty() || record.columns.empty()) return "";
  text_table t;
  add_places(t, record, rows);
  for (const auto& c : record.columns) {
    if (find_measure(*rows.front(), c.name))
      t.add(c.title, cells(rows, [&](const report_row& x) {
              return split(*find_measure(x, c.name), 1, c.with_sign ? sign::always : sign::when_negative);
            }));
    else t.add(c.title, cells(rows, [&](const report_row& x) { return plain(number_of(x.numbers, c.name)); }));
  }
  return record.headline + "\n" + t.text() + "\n";
}

std::string norm_cell(const quantiles& q) {
  if (q.n == 0) return "–";
  return plain(q.p50) + " [" + plain(q.p1) + ", " + plain(q.p99) + "]";
}

std::string profile_table(const study_record& r) {
  if (r.profile.empty()) return "";
  std::vector<std::string> layer, norm, first;
  std::vector<value_and_half> influence, relative;
  for (const auto& l : r.profile) {
    const bool is_head = l.layer == r.model().layers;
    layer.push_back(is_head ? "head" : std::to_string(l.layer));
    norm.push_back(norm_cell(l.norm));
    first.push_back(norm_cell(l.first_norm));
    if (is_head) continue;
    relative.push_back(split(l.relative_delta));
    influence.push_back(split(l.influence));
  }
  relative.push_back({"", ""});
  influence.push_back({"", ""});
  text_table t;
  t.add("layer", layer);
  t.add("norm read [p1, p99]", norm);
  t.add("first token [p1, p99]", first);
  t.add("|Δ|/|h|", relative);
  t.add("block influence", influence);
  return "intact model: the stream that each layer reads (median norm), what the layer adds, how much it turns\n" +
         t.text() + "\n";
}

std::string wrapped(const std::string& text, const std::string& first, const std::string& rest) {
  std::string out, line = first;
  bool fresh = true;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!fresh && display_width(line) + 1 + display_width(word) > 98) {
      out += line + "\n";
      line = rest;
      fresh = true;
    }
    line += (fresh ? "" : " ") + word;
    fresh = false;
    at = end + 1;
  }
  return out + line + "\n";
}

std::string extra_table(const plain_table& of) {
  text_table t;
  for (std::size_t c = 0; c < of.titles.size(); ++c) {
    std::vector<std::string> column;
    for (const auto& row : of.cells) column.push_back(row[c]);
    t.add(of.titles[c], std::move(column));
  }
  return wrapped(of.name + ": " + of.says, "", "") + t.text() + "\n";
}

}  // namespace detail

std::string baseline_text(const study_record& r) {
  const auto perplexity = r.baseline("perplexity");
  return "intact model: perplexity " + with_interval(perplexity) + ", " + grouped(perplexity.n) + " tokens in " +
         std::to_string(perplexity.n_clusters) + " " + (r.documents ? "documents" : "windows") +
         ";\n  standard error " + plain(perplexity.se) + ", with tokens taken as independent " +
         plain(r.baseline("perplexity_tokens_independent").se) + "\n";
}

std::string legend_text(const study_record& r) {
  const std::string unit = r.documents ? "document" : "window";
  std::string out;
  switch (resect::metrics::reliability_of(r.evaluation().clusters)) {
    case resect::metrics::reliability::none:
      out +=
          "Too few clusters (" + std::to_string(r.evaluation().clusters) + ", 6 are needed): no intervals, no marks.\n";
      break;
    case resect::metrics::reliability::marked:
      out += "* only " + std::to_string(r.evaluation().clusters) +
             " clusters: take these intervals with care (16 make a full one).\n";
      break;
    case resect::metrics::reliability::full: break;
  }
  return out + detail::wrapped("± is half of the 95 % interval, clustered by " + unit +
                                   " (and seed). KL(intact‖altered) and Δln PPL in nats a "
                                   "token; top-1: tokens whose most likely successor stays the same; cosine: of what "
                                   "the output matrix reads. Ranks by KL, with bootstrap intervals. Marks hold for all "
                                   "rows of a table together (Holm): critical Δln PPL > 0.1, negligible within ±0.01, "
                                   "better below 0. At the floor: the interval of KL begins below 3 times the floor, "
                                   "so the row has no rank.",
                               "", "");
}

std::string findings_text(const std::vector<finding>& findings) {
  std::string out = "Findings\n";
  for (const auto& text : paragraphs(findings)) out += detail::wrapped(text, "  - ", "    ");
  return out;
}

std::string study_table(const study_record& r) {
  std::string out = baseline_text(r) + "\n" + detail::profile_table(r);
  for (const auto& t : r.tables) out += detail::arms_table(r, t) + detail::further_table(r, t);
  for (const auto& t : r.extras) out += detail::extra_table(t);
  return out + legend_text(r);
}

}  // namespace studies
