// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/report_html.hpp>

#include <study/report/bits_plot.hpp>

namespace studies {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  return out;
}

namespace detail {

std::string cell(const std::string& text) { return "<td>" + text + "</td>"; }

// "0.512 [0.482, 0.542]" with what is in brackets in small print
std::string small_print(const std::string& text) {
  const auto bracket = text.find(" [");
  if (bracket == text.npos) return cell(escaped(text));
  return cell(escaped(text.substr(0, bracket)) + " <small>" + escaped(text.substr(bracket + 1)) + "</small>");
}

std::string interval_cell(const estimate& e, double scale = 1, sign s = sign::when_negative) {
  return small_print(with_interval(e, scale, s));
}

std::string mark_cell(const std::string& mark) {
  const std::string colour = mark == "better than intact" ? "better" : mark;
  return mark.empty() ? "<td class=\"mark\"></td>" : "<td class=\"mark " + colour + "\">" + mark + "</td>";
}

std::string header_cells(const std::vector<std::string>& titles) {
  std::string out;
  for (const auto& title : titles) out += "<th>" + escaped(title) + "</th>";
  return out;
}

// The cells that say which row it is.
std::string place_headers(const table_record& t, const row_list& rows) {
  return (shows_layers(t, rows) ? header_cells({place_title(rows)}) : "") + header_cells(t.varying);
}
std::string place_cells(const table_record& t, const row_list& rows, const report_row& row) {
  std::string out = shows_layers(t, rows) ? cell(escaped(place_cell(row))) : "";
  for (const auto& name : t.varying) out += cell(escaped(parameter_cell(row, name)));
  return out;
}

std::string html_extra(const plain_table& t) {
  std::string out = "<h3>" + escaped(t.name) + " <span>" + escaped(t.says) +
                    "</span></h3>\n<div class=\"scroll\"><table>\n<tr>" + header_cells(t.titles) + "</tr>\n";
  for (const auto& row : t.cells) {
    out += "<tr>";
    for (const auto& text : row) out += small_print(text);
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string html_arms(const study_record& r, const table_record& t) {
  const auto rows = rows_of(r, t);
  if (rows.empty()) return "";
  const std::size_t seeds = rows.front()->seeds.size();
  std::string out = "<h3>" + escaped(t.name) + " <span>" + escaped(t.says);
  if (seeds > 0) out += "; mean over " + std::to_string(seeds) + (seeds == 1 ? " seed" : " seeds");
  out += "</span></h3>\n<div class=\"scroll\"><table>\n<tr>" + place_headers(t, rows) + "<th>KL, nats</th>";
  if (seeds > 1) out += "<th>seed sd</th>";
  out += "<th>rank</th><th>top-1, %</th><th>Δln PPL</th><th>cosine</th><th class=\"mark\">mark</th></tr>\n";
  for (const auto* row : rows) {
    const auto m = measures_of(*row);
    out += "<tr>" + place_cells(t, rows, *row);
    out += interval_cell(m.kl);
    if (seeds > 1) {
      const double sd = number_of(row->seed_sd, "kl");
      out += cell(fixed(sd, decimals_for(sd)));
    }
    out += cell(rank_cell(verdict_of(*row).rank)) + interval_cell(m.top1, 100) +
           interval_cell(m.dlnppl, 1, sign::always) + interval_cell(m.cosine) + mark_cell(verdict_of(*row).mark) +
           "</tr>\n";
  }
  const std::string floor = floor_text(r);
  return out + "</table></div>\n" +
         (floor.empty() ? "" : "<p class=\"note\">" + escaped(with_capital(floor)) + ".</p>\n");
}

std::string html_further(const study_record& r, const table_record& t) {
  if (t.columns.empty()) return "";
  const auto rows = rows_of(r, t);
  std::string out = "<p>" + escaped(t.headline) + ".</p>\n<div class=\"scroll\"><table>\n<tr>" + place_headers(t, rows);
  for (const auto& c : t.columns) out += header_cells({c.title});
  out += "</tr>\n";
  for (const auto* row : rows) {
    out += "<tr>" + place_cells(t, rows, *row);
    for (const auto& c : t.columns) {
      const auto* e = find_measure(*row, c.name);
      out += e ? interval_cell(*e, 1, c.with_sign ? sign::always : sign::when_negative)
               : cell(plain(number_of(row->numbers, c.name)));
    }
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string html_profile(const study_record& r) {
  std::string out =
      "<div class=\"scroll\"><table>\n<tr><th>layer</th><th>norm read <small>[p1, p99]</small></th><th>first token "
      "<small>[p1, p99]</small></th><th>|Δ|/|h|</th><th>cos(Δ, h)</th><th>block influence</th></tr>\n";
  for (const auto& l : r.profile) {
    const bool is_head = l.layer == r.model().layers;
    out += "<tr>" + cell(is_head ? "head" : std::to_string(l.layer)) + small_print(norm_cell(l.norm)) +
           small_print(norm_cell(l.first_norm));
    if (is_head) out += "<td></td><td></td><td></td>";
    else out += interval_cell(l.relative_delta) + interval_cell(l.delta_cosine) + interval_cell(l.influence);
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string html_reliability(const study_record& r) {
  const std::string clusters = std::to_string(r.evaluation().clusters);
  switch (resect::metrics::reliability_of(r.evaluation().clusters)) {
    case resect::metrics::reliability::none:
      return "<p class=\"warning\">Too few clusters (" + clusters + "; 6 are needed): no intervals, no marks.</p>\n";
    case resect::metrics::reliability::marked:
      return "<p class=\"warning\">Only " + clusters +
             " clusters: intervals are marked with * and are to be taken with care (16 make a full one).</p>\n";
    case resect::metrics::reliability::full: return "";
  }
  return "";
}

std::string html_provenance(const study_record& r) {
  const auto row = [](const std::string& what, const std::string& value) {
    return "<dt>" + escaped(what) + "</dt><dd><code>" + escaped(value) + "</code></dd>\n";
  };
  std::string out = "<h2>How to reproduce</h2>\n<pre>" + escaped(r.report.command) + "</pre>\n<dl>\n" +
                    row("resect", RESECT_VERSION) + row("model fingerprint", r.model().fingerprint) +
                    row("text, SHA-256", r.report.text.sha256) + row("token ids, SHA-256", r.report.text.ids_sha256);
  for (const auto& [role, set] : r.report.sets) out += row(role + " ids, SHA-256", set.sha256 + " (" + set.name + ")");
  for (const auto& [what, value] : r.facts) out += row(what, value);
  return out + row("intervals", r.report.rules.interval) + row("begin of text", r.report.rules.bos_rule) +
         "</dl>\n<p class=\"note\">The numbers are in <a href=\"report.json\">report.json</a>; the sums of every "
         "cluster, for paired comparisons between reports, in <a href=\"clusters.npz\">clusters.npz</a>.</p>\n";
}

// The sentences above the findings.
std::string html_facts(const study_record& r) {
  const std::string unit = r.documents ? "document" : "window";
  const auto& e = r.evaluation();
  std::string models;
  for (const auto& m : r.report.models)
    models += (r.report.models.size() > 1 ? escaped(m.name) + ": " : std::string()) + std::to_string(m.layers) +
              " layers, width " + std::to_string(m.d_model) + ", vocabulary " + grouped(m.vocabulary) + ". ";
  return "<p class=\"facts\">" + models + "Text " + escaped(r.report.text.name) + ": " + std::to_string(e.windows) +
         " windows of " + std::to_string(e.context) + " tokens from " + std::to_string(e.clusters) + " " + unit +
         "s. " + escaped(with_capital(r.title)) +
         ", and the outputs are compared with the intact model's on the same tokens. " +
         "Intervals are 95 %, clustered by " + unit + ".</p>\n" + html_reliability(r) +
         "<p>The intact model's perplexity is <strong>" + escaped(with_interval(r.baseline("perplexity"))) +
         "</strong> (" + escaped(with_interval(r.baseline("nll"))) + " nats a token, " + grouped(r.baseline("nll").n) +
         " tokens).</p>\n";
}

}  // namespace detail

std::string report_html(const study_record& r, const std::vector<finding>& findings) {
  const std::string title = "Study of " + escaped(r.model().name) + ": " + escaped(r.report.recipe);
  std::string out = detail::page_head;
  out += "<title>" + title + "</title>\n" + detail::page_style + "</head>\n<body>\n<main>\n<h1>" + title + "</h1>\n" +
         detail::html_facts(r) + "<ul class=\"findings\">\n";
  for (const auto& text : paragraphs(findings)) out += "<li>" + escaped(text) + "</li>\n";
  out += "</ul>\n";
  out += compares_bits(r) ? detail::html_bits_pictures : detail::html_pictures;
  out += "<h2>What was altered</h2>\n";
  for (const auto& t : r.tables) out += detail::html_arms(r, t) + detail::html_further(r, t);
  for (const auto& t : r.extras) out += detail::html_extra(t);
  out += "<h2>The intact model</h2>\n" + detail::html_profile(r) + detail::html_columns + detail::html_provenance(r);
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace studies
