// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <resect/version.hpp>
#include <study/report/findings.hpp>
#include <study/report/numbers.hpp>
#include <study/report/record.hpp>
#include <study/report/table.hpp>

// report.html: the study on one page, beside its two pictures.
namespace studies {

// Text as HTML shows it, inside elements and quoted attributes. Control characters become blanks.
inline std::string escaped(std::string_view text) {
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

inline constexpr const char* page_head = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
)";

inline constexpr const char* page_style = R"(<style>
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --line: #d9dee3; --paper: #ffffff; --card: #f5f7f9;
  --red: #b3261e; --green: #1a7f4b; --blue: #0b66b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4af; --line: #343b43; --paper: #14171a;
  --card: #1d2125; --red: #ff8a80; --green: #63d297; --blue: #7cbcff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; } h3 span { color: var(--soft); font-weight: normal; }
p.facts, figcaption, p.note { color: var(--soft); } figcaption, p.note { font-size: .9rem; }
ul.findings { background: var(--card); border-radius: .5rem; padding: 1rem 1.25rem 1rem 2.25rem; margin: 1.25rem 0; }
ul.findings li { margin: .35rem 0; }
p.warning { border-left: .25rem solid var(--red); padding-left: .75rem; }
figure { margin: 1.5rem 0; } figure img { width: 100%; height: auto; background: #fff; border-radius: .5rem;
  border: 1px solid var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td.mark, th.mark { text-align: left; } td small { color: var(--soft); }
.critical { color: var(--red); } .negligible { color: var(--blue); } .better { color: var(--green); }
dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0 0 0 1.25rem; }
pre { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap:
  anywhere; }
code { overflow-wrap: anywhere; }
</style>
)";

inline std::string cell(const std::string& text) { return "<td>" + text + "</td>"; }

// "0.512 [0.482, 0.542]" with what is in brackets in small print
inline std::string small_print(const std::string& text) {
  const auto bracket = text.find(" [");
  if (bracket == text.npos) return cell(escaped(text));
  return cell(escaped(text.substr(0, bracket)) + " <small>" + escaped(text.substr(bracket + 1)) + "</small>");
}

inline std::string interval_cell(const estimate& e, double scale = 1, sign s = sign::when_negative) {
  return small_print(with_interval(e, scale, s));
}

inline std::string mark_cell(const std::string& mark) {
  const std::string colour = mark == "better than intact" ? "better" : mark;
  return mark.empty() ? "<td class=\"mark\"></td>" : "<td class=\"mark " + colour + "\">" + mark + "</td>";
}

inline std::string header_cells(const std::vector<std::string>& titles) {
  std::string out;
  for (const auto& title : titles) out += "<th>" + escaped(title) + "</th>";
  return out;
}

// The cells that say which row it is.
inline std::string place_headers(const table_record& t, const row_list& rows) {
  return (shows_layers(t, rows) ? header_cells({place_title(rows)}) : "") + header_cells(t.varying);
}
inline std::string place_cells(const table_record& t, const row_list& rows, const report_row& row) {
  std::string out = shows_layers(t, rows) ? cell(escaped(place_cell(row))) : "";
  for (const auto& name : t.varying) out += cell(escaped(parameter_cell(row, name)));
  return out;
}

inline std::string html_extra(const plain_table& t) {
  std::string out = "<h3>" + escaped(t.name) + " <span>" + escaped(t.says) + "</span></h3>\n<div class=\"scroll\"><table>\n<tr>" +
                    header_cells(t.titles) + "</tr>\n";
  for (const auto& row : t.cells) {
    out += "<tr>";
    for (const auto& text : row) out += small_print(text);
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

inline std::string html_arms(const study_record& r, const table_record& t) {
  const auto rows = rows_of(r, t);
  if (rows.empty()) return "";
  const std::size_t seeds = rows.front()->seeds.size();
  std::string out = "<h3>" + escaped(t.name) + " <span>" + escaped(t.says);
  if (seeds > 0) out += "; mean over " + std::to_string(seeds) + (seeds == 1 ? " seed" : " seeds");
  out += "</span></h3>\n<div class=\"scroll\"><table>\n<tr>" + place_headers(t, rows) +
         "<th>KL, nats</th>";
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

inline std::string html_further(const study_record& r, const table_record& t) {
  if (t.columns.empty()) return "";
  const auto rows = rows_of(r, t);
  std::string out =
      "<p>" + escaped(t.headline) + ".</p>\n<div class=\"scroll\"><table>\n<tr>" + place_headers(t, rows);
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

inline std::string html_profile(const study_record& r) {
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

inline std::string html_reliability(const study_record& r) {
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

inline constexpr const char* html_columns = R"(<h2>What the columns mean</h2>
<dl>
<dt>KL</dt><dd>Mean over tokens of KL(intact ‖ altered), the divergence of the altered model's next-token
distribution from the intact model's, in nats. The rows of a table are ranked by it.</dd>
<dt>rank</dt><dd>1 is the alteration that changes the output most; in brackets a bootstrap interval over clusters. Rows
whose intervals overlap are not told apart.</dd>
<dt>seed sd</dt><dd>Standard deviation of KL between seeds of the random weights. Intervals of seeded rows are
clustered by seed and by text.</dd>
<dt>top-1</dt><dd>Share of tokens whose most likely successor is the same in both models. It is agreement with the
intact model, not accuracy.</dd>
<dt>Δln PPL</dt><dd>Mean over tokens of the altered model's negative log-likelihood minus the intact model's on the
same token: the logarithm of the ratio of perplexities. Below 0 the altered model is better.</dd>
<dt>cosine</dt><dd>Mean cosine between what the output matrix reads in both models.</dd>
<dt>S, R</dt><dd>Of a way to store matrices with fewer bytes. S: KL where this layer alone is altered. R: what sparing
it alone brings back where all layers are altered, KL(all) − KL(all but this one). R − S is how much the damages of layers
hang together.</dd>
<dt>norm read</dt><dd>Median norm of the residual stream that the layer reads, with 1st and 99th percentile; first
tokens of a window apart, because many models carry a massive activation there.</dd>
<dt>|Δ|/|h|, cos(Δ, h)</dt><dd>How large what the layer adds is beside the stream, and in which direction it points;
first tokens left out.</dd>
<dt>block influence</dt><dd>1 − mean cosine between the stream before and after the layer: how much the layer turns
it.</dd>
</dl>
<h2>What the marks mean</h2>
<dl>
<dt class="critical">critical</dt><dd>Δln PPL is above 0.1.</dd>
<dt class="negligible">negligible</dt><dd>Δln PPL is within ± 0.01.</dd>
<dt>at the floor</dt><dd>The interval of KL begins below 3 times the floor, which is the KL of the intact model with
itself, run in another way: what the order of additions does. Such a row has no rank.</dd>
<dt class="better">better than intact</dt><dd>Δln PPL is below 0. Confirm on another text before acting on it.</dd>
</dl>
<p class="note">A mark is given only where the bounds of the interval say so after Holm's correction over all rows
of the table, so that all marks of a kind hold together with 97.5 % confidence. No mark means that nothing of this
kind can be claimed, not that nothing happens.</p>
)";

inline std::string html_provenance(const study_record& r) {
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
inline std::string html_facts(const study_record& r) {
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

inline constexpr const char* html_pictures = R"(<figure>
<img src="effects.png" alt="KL and Δln PPL of each altered model, with intervals">
<figcaption>Above: how far the output moves under each alteration. Below: what that costs in perplexity; filled
symbols are critical, crosses negligible, diamonds better than intact. Bars are 95 % intervals.</figcaption>
</figure>
<figure>
<img src="norms.png" alt="Norm of the residual stream and block influence by layer">
<figcaption>Above: the norm of the stream that each layer reads (logarithmic). Below: how much each layer turns
it.</figcaption>
</figure>
)";

}  // namespace detail

inline std::string report_html(const study_record& r, const std::vector<finding>& findings) {
  const std::string title = "Study of " + escaped(r.model().name) + ": " + escaped(r.report.recipe);
  std::string out = detail::page_head;
  out += "<title>" + title + "</title>\n" + detail::page_style + "</head>\n<body>\n<main>\n<h1>" + title + "</h1>\n" +
         detail::html_facts(r) + "<ul class=\"findings\">\n";
  for (const auto& text : paragraphs(findings)) out += "<li>" + escaped(text) + "</li>\n";
  out += "</ul>\n";
  out += detail::html_pictures;
  out += "<h2>What was altered</h2>\n";
  for (const auto& t : r.tables) out += detail::html_arms(r, t) + detail::html_further(r, t);
  for (const auto& t : r.extras) out += detail::html_extra(t);
  out += "<h2>The intact model</h2>\n" + detail::html_profile(r) + detail::html_columns + detail::html_provenance(r);
  return out + "</main>\n</body>\n</html>\n";
}

}  // namespace studies
