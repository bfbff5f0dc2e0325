// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the recipe `inject` found: rows of report.json and tables.
#include <study/recipes/inject.hpp>

#include <algorithm>
#include <cmath>

#include <resect/study/table.hpp>
#include <study/io/input.hpp>
#include <study/report/make_record.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace inject_detail {

const std::vector<std::string> map_names{"identity",     "scalar", "channel", "linear_patch",
                                         "reduced_rank", "affine", "cosine"};

std::string span_cell(layer_range s) {
  return std::to_string(s.first) + (s.last - s.first > 1 ? "–" + std::to_string(s.last - 1) : "");
}
std::string span_words(layer_range s) { return (s.last - s.first > 1 ? "layers " : "layer ") + span_cell(s); }

std::vector<place> places_of(const inject_results& r) {
  std::vector<place> out;
  std::size_t i = 0;
  for (const auto& t : r.tables)
    for (const auto& a : t.arms) {
      layer_range span{1 << 30, 0};
      for (const auto& s : a.arm.plan.steps())
        span = {std::min(span.first, s.range.first), std::max(span.last, s.range.last)};
      out.push_back({&t, &a, &r.rows[i++], span});
    }
  return out;
}

const place* find_place(const std::vector<place>& all, std::string_view table, layer_range span) {
  for (const auto& p : all)
    if (p.table->name == table && p.span == span) return &p;
  return nullptr;
}

}  // namespace inject_detail

namespace {

namespace study = resect::study;
namespace student = resect::student;
using namespace inject_detail;

// --- rows of report.json --------------------------------------------------------------------------------------------

void add_numbers(report_row& to, const inject_row& row, double intact_flop) {
  to.numbers = {{"flop_per_token", row.flop}, {"flop_of_intact", row.flop / intact_flop}};
  if (row.tokens_per_second > 0) to.numbers.push_back({"tokens_per_second", row.tokens_per_second});
  if (row.probe) {
    to.estimates.push_back({"probe_accuracy", row.probe->accuracy});
    to.numbers.push_back({"probe_chance", row.probe->chance()});
  }
  if (row.errors.empty()) return;
  to.estimates.push_back({"fvu_splice", row.errors.fvu.front()});
  to.estimates.push_back({"fvu_head", row.errors.fvu.back()});
  to.estimates.push_back({"amplification", row.errors.amplification.back()});
}

void add_tables(study_record& to, const inject_settings& o, const inject_results& found) {
  const study::table_options options{study::table_of::all_arms, o.seed, to.bootstrap, to.floor ? to.floor->mean : 0};
  std::size_t first = 0;
  for (const auto& t : found.tables) {
    std::vector<study::arm> arms;
    std::vector<study::effect_sums> effects;
    for (std::size_t i = 0; i < t.arms.size(); ++i) {
      arms.push_back(t.arms[i].arm);
      effects.push_back(found.rows[first + i].effects);
    }
    const auto rows = need(study::try_tabulate(std::span<const study::arm>(arms), effects, options));
    table_record record{.name = t.name, .says = t.says, .control = t.control};
    record.compared = t.name != "skip" && t.name != "mean_delta";
    record.columns = {{"flop_of_intact", "FLOP ×"}, {"fvu_splice", "FVU, splice"}, {"fvu_head", "FVU, head"}};
    if (std::any_of(found.rows.begin() + static_cast<std::ptrdiff_t>(first),
                    found.rows.begin() + static_cast<std::ptrdiff_t>(first + arms.size()),
                    [](const auto& r) { return r.probe.has_value(); }))
      record.columns.push_back({"probe_accuracy", "probe"});
    add_table(to, std::move(record), rows);
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (std::size_t k = 0; k < arms.size(); ++k)
        if (study::identity_of(arms[k].plan).group == rows[i].id.group) {
          add_numbers(to.report.rows[to.tables.back().rows[i]], found.rows[first + k], found.intact_flop);
          break;
        }
    first += arms.size();
  }
}

// --- tables of texts ------------------------------------------------------------------------------------------------

// Two tables, so that a terminal is wide enough.
void add_map_tables(study_record& to, const inject_results& found, const std::vector<place>& all) {
  const auto add_table = [&](const char* name, std::vector<std::string> columns) {
    plain_table t{name, "Δln PPL with layers left out, and with a closed-form map in their place", {"layers"}, {}};
    t.titles.insert(t.titles.end(), columns.begin(), columns.end());
    for (const auto& f : found.fits) {
      std::vector<std::string> cells{span_cell(f.span)};
      for (const auto& column : columns) {
        const place* p = find_place(all, column, f.span);
        const auto shown = p ? split(p->dlnppl(), 1, sign::always) : value_and_half{};
        cells.push_back(p ? shown.value + " ± " + shown.half : "–");
      }
      t.cells.push_back(std::move(cells));
    }
    if (!t.cells.empty()) to.extras.push_back(std::move(t));
  };
  add_table("maps of few numbers", {"skip", "identity", "scalar", "channel", "linear_patch"});
  add_table("maps of many numbers", {"skip", "reduced_rank", "affine", "cosine"});
}

void add_fit_table(study_record& to, const inject_results& found) {
  plain_table t{"fits",
                "what the closed forms were fitted on: calibration rows, rows apart (first positions and norms "
                "above ten medians), the ridge penalty and its held-out FVU of the delta, what a reduced rank "
                "keeps of the fitted delta, and 1 − cos of held-out rows before and after the cosine fit",
                {"layers", "rows", "apart", "λ", "FVU of Δ", "rank", "keeps", "1 − cos", "cosine fit", "steps"},
                {}};
  for (const auto& f : found.fits) {
    const bool cosine = f.cosine_steps >= 0;
    t.cells.push_back({span_cell(f.span), grouped(f.rows), grouped(f.rows_apart), plain(f.lambda),
                       fixed(f.held_out_fvu, 3), std::to_string(f.rank), fixed(f.kept_energy, 3),
                       cosine ? fixed(f.cosine_start, 4) : "–", cosine ? fixed(f.cosine_loss, 4) : "–",
                       cosine ? std::to_string(f.cosine_steps) : "–"});
    to.report.sections["fits"].push_back({{"layers", {f.span.first, f.span.last}},
                                          {"rows", f.rows},
                                          {"rows_apart", f.rows_apart},
                                          {"lambda", f.lambda},
                                          {"held_out_fvu", f.held_out_fvu},
                                          {"rank", f.rank},
                                          {"kept_energy", f.kept_energy},
                                          {"cosine_start", f.cosine_start},
                                          {"cosine_loss", f.cosine_loss},
                                          {"cosine_steps", f.cosine_steps}});
  }
  if (!t.cells.empty()) to.extras.push_back(std::move(t));
}

void add_speed_table(study_record& to, const inject_results& found, const std::vector<place>& all) {
  plain_table t{"cost of plans",
                "operations a token, head included, and measured tokens a second of whole passes (one "
                "plan of each kind and number of layers)",
                {"plan", "layers", "MFLOP/token", "of intact", "tokens/s", "× intact"},
                {}};
  const auto add = [&](const std::string& name, const std::string& layers, double flop, double speed) {
    t.cells.push_back({name, layers, plain(flop / 1e6), fixed(flop / found.intact_flop, 3),
                       speed > 0 ? grouped(std::llround(speed)) : "–",
                       speed > 0 ? fixed(speed / found.intact_tokens_per_second, 2) : "–"});
  };
  add("intact", "–", found.intact_flop, found.intact_tokens_per_second);
  std::vector<std::pair<std::string, int>> seen;
  const auto shown = [&](const place& p) {  // the lengths of spans, and the deepest injection
    const int n = p.span.last - p.span.first;
    return n == 1 || n == static_cast<int>(to.layers.size()) ||
           std::any_of(found.fits.begin(), found.fits.end(),
                       [&](const auto& f) { return f.span.last - f.span.first == n; });
  };
  for (const auto& p : all) {
    const int n = p.span.last - p.span.first;
    if (p.table->control || p.row->tokens_per_second <= 0 || !shown(p)) continue;
    if (std::find(seen.begin(), seen.end(), std::pair{p.table->name, n}) != seen.end()) continue;
    seen.emplace_back(p.table->name, n);
    add(p.table->name, std::to_string(n), p.row->flop, p.row->tokens_per_second);
  }
  if (found.intact_tokens_per_second > 0) to.extras.push_back(std::move(t));
}

void add_probe_table(study_record& to, const inject_results& found, const std::vector<place>& all) {
  if (!found.probe_intact) return;
  plain_table t{"probe",
                "held-out accuracy of a linear probe of the label, fitted anew after each surgery on what the "
                "head reads at a text's last token, beside the same of the embeddings",
                {"rows", "layers", "accuracy", "chance"},
                {}};
  auto& section = to.report.sections["probe"];
  const auto add = [&](const std::string& name, const std::string& layers, const student::probe_result& p) {
    t.cells.push_back({name, layers, with_interval(p.accuracy), fixed(p.chance(), 3)});
  };
  const auto whole = [&](const char* key, const std::string& name, const student::probe_result& p) {
    add(name, "–", p);
    section[key] = {{"accuracy", resect::io::to_json(p.accuracy)},
                    {"majority", p.majority},
                    {"permuted", p.permuted},
                    {"classes", p.classes},
                    {"lambda", p.choice.lambda},
                    {"rows_fitted", p.choice.rows},
                    {"fewer_rows_than_inputs", p.choice.fewer_rows_than_inputs()}};
  };
  whole("intact", "head_in, intact", *found.probe_intact);
  whole("embed_out_last", "embed_out, last token", *found.probe_last);
  whole("embed_out_mean", "embed_out, mean of tokens", *found.probe_mean);
  for (const auto& p : all)
    if (p.row->probe && !p.table->control && (p.table->name == "skip" || p.table->name == "affine"))
      add("head_in, " + p.table->name, span_cell(p.span), *p.row->probe);
  to.extras.push_back(std::move(t));
}

void add_amplification(study_record& to, const std::vector<place>& all) {
  for (const auto& p : all) {
    if (p.row->errors.empty() || p.table->control) continue;
    nlohmann::ordered_json one{{"arm", study::identity_of(p.arm->arm.plan).key}, {"first", p.row->errors.first}};
    for (const auto& e : p.row->errors.fvu) one["fvu"].push_back(resect::io::to_json(e));
    for (const auto& e : p.row->errors.amplification) one["amplification"].push_back(resect::io::to_json(e));
    to.report.sections["amplification"].push_back(std::move(one));
  }
}

}  // namespace

void add_injection(study_record& to, const inject_settings& o, const inject_results& found) {
  const auto all = places_of(found);
  add_tables(to, o, found);
  add_map_tables(to, found, all);
  add_fit_table(to, found);
  add_student_tables(to, o, found, all);
  add_speed_table(to, found, all);
  add_probe_table(to, found, all);
  add_amplification(to, all);
  add_curves(to, o, found, all);
  add_sentences(to, o, found, all);
}

}  // namespace studies
