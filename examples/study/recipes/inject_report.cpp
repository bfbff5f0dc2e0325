// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the recipe `inject` found, as tables, curves and sentences.
#include <study/recipes/inject.hpp>

#include <cmath>

#include <resect/metrics/accumulators/contrast.hpp>
#include <resect/metrics/accumulators/joint.hpp>
#include <resect/study/table.hpp>
#include <study/report/make_record.hpp>
#include <study/report/numbers.hpp>
#include <study/report/places.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace student = resect::student;
using resect::metrics::clustered_sums;

std::string span_cell(layer_range s) {
  return std::to_string(s.first) + (s.last - s.first > 1 ? "–" + std::to_string(s.last - 1) : "");
}
std::string span_words(layer_range s) { return (s.last - s.first > 1 ? "layers " : "layer ") + span_cell(s); }

// One arm with where it stands.
struct place {
  const inject_table* table;
  const study::spliced_arm* arm;
  const inject_row* row;
  layer_range span;  // layers that the plan touches
};

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

estimate kl_of_place(const place& p) { return p.row->effects.estimate().kl; }
estimate dlnppl_of_place(const place& p) { return p.row->effects.estimate().dlnppl; }

const place* find_place(const std::vector<place>& all, std::string_view table, layer_range span) {
  for (const auto& p : all)
    if (p.table->name == table && p.span == span) return &p;
  return nullptr;
}

const std::vector<std::string> map_names{"identity",     "scalar", "channel", "linear_patch",
                                         "reduced_rank", "affine", "cosine"};

// Σ of one over Σ of the other, over the same tokens, with the interval of the delta method.
estimate ratio_of(const clustered_sums& a, const clustered_sums& b) {
  resect::metrics::joint_sums<2> both(a.clusters());
  for (resect::index_t c = 0; c < a.clusters(); ++c)
    if (a.count(c) > 0) both.add_sums(c, {a.sum(c), b.sum(c)}, a.count(c));
  return both.estimate(resect::metrics::ratio_of_totals{});
}

void say(study_record& to, const char* kind, const char* table, std::string text, std::vector<int> layers = {}) {
  to.said.push_back({kind, table, std::move(text), std::move(layers)});
}

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
        const auto shown = p ? split(dlnppl_of_place(*p), 1, sign::always) : value_and_half{};
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

// --- curves ---------------------------------------------------------------------------------------------------------

using point_list = std::vector<std::pair<double, estimate>>;

template <class Keep, class X, class Y>
curve_record curve_of(std::string name, const std::vector<place>& all, Keep keep, X x, Y y) {
  curve_record out{std::move(name), {}};
  for (const auto& p : all)
    if (keep(p)) out.points.emplace_back(x(p), y(p));
  std::stable_sort(out.points.begin(), out.points.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

double first_layer(const place& p) { return p.span.first; }
double depth_of(const place& p) { return p.span.last; }

void add_curve(panel_record& to, curve_record c) {
  if (!c.points.empty()) to.curves.push_back(std::move(c));
}

void add_panels(study_record& to, const inject_settings& o, const inject_results& found,
                const std::vector<place>& all) {
  const auto single = [](const char* table) {
    return [table](const place& p) { return p.table->name == table && p.span.last - p.span.first == 1; };
  };
  panel_record layers{"one layer", "layer", "KL(intact ‖ altered), nats", true, {}};
  for (const char* table : {"skip", "mean_delta", "resample_delta", "affine"})
    add_curve(layers, curve_of(table, all, single(table), first_layer, kl_of_place));
  panel_record doses{"doses: h + g·Δ of one layer", "g", "KL(intact ‖ altered), nats", true, {}};
  for (const int l : o.dose_layers) {
    if (doses.curves.size() == 8) break;
    curve_record c{"layer " + std::to_string(l), {}};
    if (const place* p = find_place(all, "skip", {l, l + 1})) c.points.emplace_back(0.0, kl_of_place(*p));
    std::size_t i = 0;
    for (const auto& p : all)
      if (p.table->name == "dose" && p.span.first == l && i < o.doses.size())
        c.points.emplace_back(static_cast<double>(o.doses[i++]), kl_of_place(p));
    add_curve(doses, std::move(c));
  }
  panel_record injection{
      "injection of the embedding", "layer of the injection", "KL(intact ‖ altered), nats", true, {}};
  for (const int own : o.own) {
    curve_record c{"untrained, through " + std::to_string(own), {}};
    for (const int k : o.untrained_depths) {
      std::vector<study::effect_sums> runs;
      const std::string label = "embedding through " + std::to_string(own) + " at layer " + std::to_string(k);
      for (const auto& p : all)
        if (p.table->name == "untrained" && p.arm->arm.label == label) runs.push_back(p.row->effects);
      if (!runs.empty())
        c.points.emplace_back(k, need(study::try_mean_effect(std::span<const study::effect_sums>(runs))).kl);
    }
    add_curve(injection, std::move(c));
  }
  const auto is_injected = [](const place& p) { return p.table->name == "injected"; };
  add_curve(injection, curve_of("affine map", all, is_injected, depth_of, kl_of_place));
  panel_record probes{"probe of what the head reads", "layer left out or replaced", "held-out accuracy", false, {}};
  const auto accuracy = [](const place& p) { return p.row->probe->accuracy; };
  for (const char* table : {"skip", "affine", "mean_delta"})
    add_curve(probes, curve_of(
                          table, all, [&](const place& p) { return single(table)(p) && p.row->probe.has_value(); },
                          first_layer, accuracy));
  for (panel_record* p : {&layers, &doses, &injection, &probes})
    if (!p->curves.empty()) to.panels.push_back(std::move(*p));

  for (const auto& s : found.least_angular) {
    const int n = s.last - s.first;
    panel_record maps{
        std::to_string(n) + (n == 1 ? " layer" : " layers") + " replaced", "first layer", "Δ ln PPL", true, {}};
    const auto of = [&](const std::string& table) {
      return [&, table](const place& p) {
        return p.table->name == table && p.span.last - p.span.first == n &&
               std::any_of(found.fits.begin(), found.fits.end(), [&](const auto& f) { return f.span == p.span; });
      };
    };
    add_curve(maps, curve_of("skip", all, of("skip"), first_layer, dlnppl_of_place));
    for (const auto& name : map_names) add_curve(maps, curve_of(name, all, of(name), first_layer, dlnppl_of_place));
    if (!maps.curves.empty()) to.panels.push_back(std::move(maps));
  }
  const inject_fit* longest =
      nullptr;  // of the longest, the first one behind layer 0: it leaves most layers to grow in
  for (const auto& f : found.fits)
    if (f.span.first > 0 && (!longest || f.span.last - f.span.first > longest->span.last - longest->span.first))
      longest = &f;
  if (!longest) return;
  const auto span = longest->span;
  panel_record growth{
      "error of the stream after " + span_words(span) + " are replaced", "before layer", "FVU", true, {}};
  const auto add = [&](const std::string& table) {
    const place* p = find_place(all, table, span);
    if (!p || p->row->errors.empty()) return;
    curve_record c{table, {}};
    for (std::size_t i = 0; i < p->row->errors.fvu.size(); ++i)
      c.points.emplace_back(p->row->errors.first + static_cast<double>(i), p->row->errors.fvu[i]);
    growth.curves.push_back(std::move(c));
  };
  add("skip");
  for (const auto& name : map_names) add(name);
  if (!growth.curves.empty()) to.panels.push_back(std::move(growth));
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

// --- sentences ------------------------------------------------------------------------------------------------------

void say_splices(study_record& to, const std::vector<place>& all) {
  int n = 0, same = 0;
  for (const auto& p : all) {
    if (p.table->name != "splice") continue;
    ++n;
    same += kl_of_place(p).value == 0 && p.row->effects.estimate().top1.value == 1;
  }
  if (n == 0) return;
  say(to, same == n ? "splice" : "splice_differs", "splice",
      std::to_string(same) + " of " + std::to_string(n) +
          " splices of the host's own layers leave the outputs as they were" +
          (same == n ? ": what follows is the effect of the surgery, not of the mechanism."
                     : ": the mechanism itself changes outputs, and no row below means what it says."));
}

// In how many layers a control is nearer to the intact model than leaving the layer out, pair by pair.
void say_control(study_record& to, const std::vector<place>& all, const char* table, const char* what) {
  int n = 0, nearer = 0, further = 0;
  for (const auto& p : all) {
    if (p.table->name != table) continue;
    const place* skip = find_place(all, "skip", p.span);
    if (!skip) continue;
    const std::vector<clustered_sums> kl{p.row->effects.kl.sums(), skip->row->effects.kl.sums()};
    const auto ratio = need(resect::metrics::try_log_contrast(kl, std::vector<double>{1, -1}));
    ++n;
    nearer += ratio.hi < 0;
    further += ratio.lo > 0;
  }
  if (n == 0) return;
  say(to, "control", table,
      std::string(what) + " is nearer to the intact model than leaving the layer out in " + std::to_string(nearer) +
          " of " + std::to_string(n) + " arms and further in " + std::to_string(further) +
          " (paired 95 % intervals of the KL ratio, each arm by itself).");
}

void say_doses(study_record& to, const inject_settings& o, const std::vector<place>& all) {
  int n = 0, falls = 0;
  for (const int l : o.dose_layers) {
    std::vector<double> kl;
    if (const place* p = find_place(all, "skip", {l, l + 1})) kl.push_back(kl_of_place(*p).value);
    for (const auto& p : all)
      if (p.table->name == "dose" && p.span.first == l) kl.push_back(kl_of_place(p).value);
    if (kl.size() < 2) continue;
    ++n;
    falls += std::is_sorted(kl.rbegin(), kl.rend());
  }
  if (n == 0) return;
  say(to, "dose", "dose",
      "KL falls with every further part of the delta that stays in " + std::to_string(falls) + " of " +
          std::to_string(n) + " layers: the effect is graded, not all or nothing.");
}

void say_injection(study_record& to, const inject_settings& o, const std::vector<place>& all) {
  const place *shallow = nullptr, *deep = nullptr;
  for (const auto& p : all) {
    if (p.table->name != "injected") continue;
    if (!shallow || p.span.last < shallow->span.last) shallow = &p;
    if (!deep || p.span.last > deep->span.last) deep = &p;
  }
  if (!deep) return;
  std::string text = "An affine map of the embedding gives KL " + with_interval(kl_of_place(*shallow)) + " at layer " +
                     std::to_string(shallow->span.last) + " and " + with_interval(kl_of_place(*deep)) + " at layer " +
                     std::to_string(deep->span.last) + ".";
  int n = 0, better = 0;
  for (const auto& p : all) {
    if (p.table->name != "injected") continue;
    for (const auto& q : all) {
      if (q.table->name != "untrained" || q.span.last != p.span.last) continue;
      if (study::identity_of(q.arm->arm.plan).seed.value_or(o.seed) != o.seed) continue;
      const std::vector<clustered_sums> kl{p.row->effects.kl.sums(), q.row->effects.kl.sums()};
      ++n;
      better += need(resect::metrics::try_log_contrast(kl, std::vector<double>{1, -1})).hi < 0;
    }
  }
  if (n > 0)
    text += " It is nearer to the intact model than an untrained injection at the same layer in " +
            std::to_string(better) + " of " + std::to_string(n) + " pairs.";
  say(to, "injection", "injected", std::move(text));
}

void say_maps(study_record& to, const inject_results& found, const std::vector<place>& all) {
  for (const auto& s : found.least_angular) {
    const place* skip = find_place(all, "skip", s);
    const place* best = nullptr;
    for (const auto& name : map_names)
      if (const place* p = find_place(all, name, s))
        if (!best || dlnppl_of_place(*p).value < dlnppl_of_place(*best).value) best = p;
    if (!skip || !best) continue;
    const auto& a = best->row->effects.dlnppl.sums();
    const auto& b = skip->row->effects.dlnppl.sums();
    const auto ratio = ratio_of(a, b);
    const auto difference =
        need(resect::metrics::try_contrast(std::vector<clustered_sums>{a, b}, std::vector<double>{1, -1}));
    to.report.sections["least_angular"].push_back({{"layers", {s.first, s.last}},
                                                   {"best_map", best->table->name},
                                                   {"dlnppl_map", resect::io::to_json(dlnppl_of_place(*best))},
                                                   {"dlnppl_skip", resect::io::to_json(dlnppl_of_place(*skip))},
                                                   {"ratio", resect::io::to_json(ratio)},
                                                   {"difference", resect::io::to_json(difference)}});
    std::string text = "At " + span_words(s) +
                       ", the span of its length with the least angular distance on the "
                       "calibration text, the best closed form is " +
                       best->table->name + ": Δln PPL " + with_interval(dlnppl_of_place(*best), 1, sign::always) +
                       " beside " + with_interval(dlnppl_of_place(*skip), 1, sign::always) + " of leaving it out, × " +
                       with_interval(ratio) + " (the best of several, on the same tokens: a little too good).";
    if (!best->row->errors.empty())
      text += " Its FVU is " + with_interval(best->row->errors.fvu.front()) + " at the splice and × " +
              with_interval(best->row->errors.amplification.back()) + " of that before the head.";
    std::vector<int> layers;
    for (int l = s.first; l < s.last; ++l) layers.push_back(l);
    say(to, "closed_form", best->table->name.c_str(), std::move(text), layers);
  }
}

void say_probe(study_record& to, const inject_results& found, const std::vector<place>& all) {
  if (!found.probe_intact) return;
  const auto shown = [](const student::probe_result& p) {
    return with_interval(p.accuracy) + (p.above_chance() ? "" : " (not told apart from chance)");
  };
  std::string text = "A linear probe of what the head reads has a held-out accuracy of " + shown(*found.probe_intact) +
                     " on the intact model (chance " + fixed(found.probe_intact->chance(), 3) +
                     "); of the embeddings alone it has " + shown(*found.probe_last) + " at the last token and " +
                     shown(*found.probe_mean) + " on their mean over the text.";
  const place* lowest = nullptr;
  for (const auto& p : all)
    if (p.table->name == "skip" && p.row->probe && p.span.last - p.span.first == 1 &&
        (!lowest || p.row->probe->accuracy.value < lowest->row->probe->accuracy.value))
      lowest = &p;
  if (lowest)
    text += " Without one layer it is lowest without layer " + std::to_string(lowest->span.first) + ", " +
            shown(*lowest->row->probe) + ".";
  say(to, "probe", "", std::move(text));
}

}  // namespace

void add_injection(study_record& to, const inject_settings& o, const inject_results& found) {
  const auto all = places_of(found);
  add_tables(to, o, found);
  add_map_tables(to, found, all);
  add_fit_table(to, found);
  add_speed_table(to, found, all);
  add_probe_table(to, found, all);
  add_amplification(to, all);
  add_panels(to, o, found, all);
  say_splices(to, all);
  say_control(to, all, "mean_delta", "The layer's mean delta");
  say_control(to, all, "resample_delta", "The layer's delta of another text");
  say_doses(to, o, all);
  say_injection(to, o, all);
  say_maps(to, found, all);
  say_probe(to, found, all);
}

}  // namespace studies
