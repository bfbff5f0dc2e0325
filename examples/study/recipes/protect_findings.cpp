// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/protect.hpp>

#include <algorithm>
#include <cmath>

#include <resect/study/goodhart/json_lines.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
using resect::index_t;
using resect::io::to_json;

// The places of a set among the chosen layers as layers of the model.
std::string layers_of(const study::layer_set& set, const std::vector<int>& layers) {
  study::layer_set named(layers.empty() ? 0 : layers.back() + 1);
  for (const index_t place : set.members()) named.insert(layers[static_cast<std::size_t>(place)]);
  if (set.size() == set.layers()) return "all";
  return named.words();
}
nlohmann::ordered_json layer_list(const study::layer_set& set, const std::vector<int>& layers) {
  auto out = nlohmann::ordered_json::array();
  for (const index_t place : set.members()) out.push_back(layers[static_cast<std::size_t>(place)]);
  return out;
}

std::string with_se(const study::layer_effect& e) { return fixed(e.gain, 3) + " ± " + fixed(1.96 * e.se, 3); }
std::string shown(const estimate& e) {
  if (!std::isfinite(e.value)) return "N/A";
  return fixed(e.value, 3) + (e.has_interval() ? " [" + fixed(e.lo, 3) + ", " + fixed(e.hi, 3) + "]" : "");
}

void add_layers(study_record& to, const protect_results& found) {
  plain_table table{
      "layers",
      "S and R on KL, nats; on execution, search items: what the layer loses alone, and what sparing it alone gains",
      {"layer", "S (KL)", "R (KL)", "E: lost alone", "E: gained, spared"},
      {}};
  panel_record panel{"Sensitivity by layer", "layer", "KL, nats", true, {{"altered alone: S", {}}, {"spared: R", {}}}};
  for (std::size_t i = 0; i < found.kl.rows.size(); ++i) {
    const auto& row = found.kl.rows[i];
    const estimate s = row.alone.mean.kl, r = row.causal.restored;
    const int l = found.layers[i];
    table.cells.push_back({std::to_string(l), with_interval(s), found.kl.saturated ? "saturated" : with_interval(r),
                           with_se(found.alone[i]), with_se(found.spared[i])});
    panel.curves[0].points.emplace_back(l, s);
    if (!found.kl.saturated) panel.curves[1].points.emplace_back(l, r);
    to.report.sections["layers"].push_back({{"layer", l},
                                            {"alone_kl", to_json(s)},
                                            {"restored_kl", to_json(r)},
                                            {"alone_execution", found.alone[i].gain},
                                            {"alone_execution_se", found.alone[i].se},
                                            {"spared_execution", found.spared[i].gain},
                                            {"spared_execution_se", found.spared[i].se}});
  }
  to.extras.push_back(std::move(table));
  to.panels.push_back(std::move(panel));
}

void add_sets(study_record& to, const protect_results& found) {
  plain_table table{"protected sets",
                    "other layers at " + fixed(found.width, 2) +
                        " bits a weight, protected ones at 16; loss of execution on "
                        "confirmation items, beside uniform storage of at most the same bytes",
                    {"set", "layers", "bits/weight", "KL, nats", "loss of E", "verdict", "items needed",
                     "uniform: bits", "uniform: loss of E"},
                    {}};
  panel_record panel{"Loss of execution",
                     "bits a weight",
                     "E(intact) − E",
                     false,
                     {{"named sets", {}}, {"random sets", {}}, {"uniform", {}}}};
  for (const set_result& s : found.sets) {
    const bool random = !s.confirmed.has_value();
    panel.curves[random ? 1 : 0].points.emplace_back(s.bits, s.loss);
    if (!random) panel.curves[2].points.emplace_back(s.equal_bits, s.equal_loss);
    nlohmann::ordered_json section{{"set", s.name},
                                   {"layers", layer_list(s.set, found.layers)},
                                   {"bits_per_weight", s.bits},
                                   {"kl", to_json(s.kl)},
                                   {"execution_loss", to_json(s.loss)}};
    if (!random) {
      section["verdict"] = std::string(name(s.confirmed->verdict));
      section["items_needed"] = s.confirmed->items_needed;
      section["uniform_bits"] = s.equal_bits;
      section["uniform_kl"] = to_json(s.equal_kl);
      section["uniform_loss"] = to_json(s.equal_loss);
      section["advantage"] = to_json(s.advantage);
      table.cells.push_back({s.name, layers_of(s.set, found.layers), fixed(s.bits, 2), with_interval(s.kl),
                             shown(s.loss), std::string(name(s.confirmed->verdict)), grouped(s.confirmed->items_needed),
                             fixed(s.equal_bits, 2), shown(s.equal_loss)});
    } else {
      table.cells.push_back({s.name, layers_of(s.set, found.layers), fixed(s.bits, 2), with_interval(s.kl),
                             shown(s.loss), "", "", "", ""});
    }
    to.report.sections["sets"].push_back(section);
  }
  for (auto& curve : panel.curves)
    std::sort(curve.points.begin(), curve.points.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::erase_if(panel.curves, [](const curve_record& c) { return c.points.empty(); });
  to.extras.push_back(std::move(table));
  if (!panel.curves.empty()) to.panels.push_back(std::move(panel));
}

// One sentence on the intact model's answers beside guessing; whether a Goodhart table says anything.
bool add_headroom(study_record& to, const item_bench& items, const study::judged_arm& intact) {
  const auto table = intact.table(items.confirmation);
  bool all = true;
  std::string text = "The intact model";
  for (const auto* g : {&items.understands, &items.executes}) {
    const bool u = g->asks() == study::question::understanding;
    const auto rate = u ? table.understanding() : table.execution();
    const auto chance = study::chance_of(items.confirmation, *g, intact);
    all = all && study::has_headroom(rate, chance);
    text += std::string(u ? " understands " : " and executes ") + shown(rate) + " (guessing " +
            fixed(chance.largest(), 3) + ")";
    to.report.sections["chance"][u ? "understanding" : "execution"] = {
        {"permuted", chance.permuted}, {"majority", chance.majority}, {"rate", to_json(rate)}};
  }
  to.said.push_back(
      {"headroom", "protect", text + (all ? "." : ": no headroom, so the Goodhart table says nothing."), {}});
  return all;
}

void add_goodhart(study_record& to, const item_bench& items, const protect_results& found) {
  const auto& intact = found.arms.front();
  if (!add_headroom(to, items, intact)) return;
  plain_table table{
      "what it says and what it does",
      "understanding U, execution E, the gap among the understood; ΔE beside the intact model, paired by item",
      {"arm", "bits/weight", "U", "E", "gap", "gap of the understood", "if independent", "ΔE", "ΔE, understood by both",
       "verdict"},
      {}};
  panel_record panel{
      "Answers", "arm", "share of items", false, {{"understanding", {}}, {"execution", {}}, {"gap", {}}}};
  for (std::size_t i = 0; i < found.arms.size(); ++i) {
    const auto& arm = found.arms[i];
    const auto t = arm.table(items.confirmation);
    std::vector<std::string> cells{arm.arm,
                                   found.arm_bits[i] > 0 ? fixed(found.arm_bits[i], 2) : "",
                                   shown(t.understanding()),
                                   shown(t.execution()),
                                   shown(t.gap()),
                                   shown(t.conditional_gap()),
                                   shown(t.independent_gap())};
    nlohmann::ordered_json section{{"arm", arm.arm},
                                   {"both", t.both()},
                                   {"only_understood", t.only_understood()},
                                   {"only_executed", t.only_executed()},
                                   {"neither", t.neither()},
                                   {"gap", to_json(t.gap())},
                                   {"conditional_gap", to_json(t.conditional_gap())},
                                   {"odds_ratio", to_json(t.odds_ratio())}};
    if (i == 0) {
      cells.insert(cells.end(), {"", "", ""});
    } else {
      const auto c = need(study::try_compare_arms(items.confirmation, intact, arm));
      cells.insert(cells.end(), {shown(c.execution_change), shown(c.execution_change_understood),
                                 std::string(resect::metrics::name(c.verdict))});
      section["execution_change"] = to_json(c.execution_change);
      section["execution_change_understood"] = to_json(c.execution_change_understood);
      section["verdict"] = std::string(resect::metrics::name(c.verdict));
      to.said.push_back(
          {"execution",
           "protect",
           arm.arm + ": ΔE " + shown(c.execution_change) + ", McNemar's p " + fixed(c.execution.p(), 4) + ": " +
               (c.verdict == resect::metrics::paired_verdict::first_better    ? "it executes less than the intact model"
                : c.verdict == resect::metrics::paired_verdict::second_better ? "it executes more than the intact model"
                : c.verdict == resect::metrics::paired_verdict::undecidable   ? "undecidable at this N"
                                                                              : "no difference is shown") +
               (c.enough_items ? "." : "; showing a loss below 0.03 would take " + grouped(c.items_needed) + " items."),
           {}});
    }
    table.cells.push_back(std::move(cells));
    panel.curves[0].points.emplace_back(static_cast<double>(i), t.understanding());
    panel.curves[1].points.emplace_back(static_cast<double>(i), t.execution());
    panel.curves[2].points.emplace_back(static_cast<double>(i), t.gap());
    to.report.sections["goodhart"].push_back(section);
  }
  to.extras.push_back(std::move(table));
  to.panels.push_back(std::move(panel));
  // item by arm: the words of the matrix and the raw replies
  for (index_t k = 0; k < items.confirmation.size(); ++k) {
    const auto& item = items.confirmation.items()[static_cast<std::size_t>(k)];
    nlohmann::ordered_json line{{"id", item.id}};
    for (const auto& arm : found.arms)
      line["arms"].push_back({{"arm", arm.arm},
                              {"word", arm.word(k)},
                              {"understanding", arm.replies[static_cast<std::size_t>(2 * k)].text},
                              {"execution", arm.replies[static_cast<std::size_t>(2 * k + 1)].text}});
    to.report.sections["items"].push_back(line);
  }
}

void add_search_findings(study_record& to, const protect_results& found) {
  const auto& s = found.search;
  std::string text = "At " + fixed(found.width, 2) + " bits a weight the search (" + std::string(s.method) + ", " +
                     grouped(s.evaluations) + " evaluations on the search half) names ";
  text += s.named.size() > 0
              ? "layers " + layers_of(s.named, found.layers) + " as those whose protection raises execution"
              : "no layer";
  if (!s.harmful.empty()) {
    text += "; protecting";
    for (const index_t l : s.harmful) text += " " + std::to_string(found.layers[static_cast<std::size_t>(l)]);
    text += " lowers it";
  }
  to.said.push_back({"search", "protect", text + ".", {}});
  for (const auto& e : s.effects)
    to.report.sections["search"].push_back(
        {{"layer", found.layers[static_cast<std::size_t>(e.layer)]}, {"gain", e.gain}, {"se", e.se}, {"p", e.p}});
  for (const set_result& r : found.sets) {
    if (!r.confirmed) continue;
    const bool better = r.advantage.lo > 0, worse = r.advantage.hi < 0;
    to.said.push_back({"set",
                       "protect",
                       r.name + " (layers " + layers_of(r.set, found.layers) + "): loss of execution " + shown(r.loss) +
                           ", " + std::string(name(r.confirmed->verdict)) + "; uniform storage with " +
                           fixed(r.equal_bits, 2) + " of its " + fixed(r.bits, 2) + " bits loses " +
                           shown(r.equal_loss) + ", in pairs " + shown(r.advantage) + ": " +
                           (better  ? "protection loses less"
                            : worse ? "protection loses more"
                                    : "the two are not told apart") +
                           ".",
                       {}});
  }
}

}  // namespace

void add_protection(study_record& to, const item_bench& items, const protect_results& found) {
  add_layers(to, found);
  add_sets(to, found);
  add_goodhart(to, items, found);
  add_search_findings(to, found);
  to.said.push_back(
      {"established",
       "protect",
       "Established is what a verdict says: \"protects\", \"loses more than the margin\", a difference with its p. "
       "The search chose on other items than the verdicts were made on; \"undecidable\" and \"not told apart\" are no "
       "evidence of equality; nothing here is about other items, widths or models.",
       {}});
}

}  // namespace studies
