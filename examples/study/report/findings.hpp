// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <study/report/numbers.hpp>
#include <study/report/record.hpp>

// What a study's numbers say, in sentences. Each comes from a rule that the reader can check in the table.
namespace studies {

struct finding {
  std::string kind;   // for programs
  std::string about;  // the alteration, or nothing
  std::string text;   // for people
  std::vector<int> layers;
};

// The findings as paragraphs: those about one alteration together, under its name.
inline std::vector<std::string> paragraphs(const std::vector<finding>& findings) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const auto& f = findings[i];
    if (i > 0 && !f.about.empty() && f.about == findings[i - 1].about) out.back() += " " + f.text;
    else out.push_back(f.about.empty() ? f.text : f.about + ": " + f.text);
  }
  return out;
}

using row_list = std::vector<const row_record*>;

inline row_list rows_of(const study_record& r, const std::string& alteration) {
  row_list out;
  for (const auto& row : r.rows)
    if (row.alteration == alteration) out.push_back(&row);
  return out;
}

inline std::vector<int> layers_marked(const row_list& rows, const std::string& mark) {
  std::vector<int> out;
  for (const auto* row : rows)
    if (row->mark == mark) out.push_back(row->layer);
  return out;
}

// "layer 3", "layers 0–2 and 7", "no layer"
inline std::string layers_text(const std::vector<int>& layers) {
  if (layers.empty()) return "no layer";
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t j = i;
    while (j + 1 < layers.size() && layers[j + 1] == layers[j] + 1) ++j;
    if (j > i + 1) parts.push_back(std::to_string(layers[i]) + "–" + std::to_string(layers[j]));
    else
      for (std::size_t k = i; k <= j; ++k) parts.push_back(std::to_string(layers[k]));
    i = j + 1;
  }
  std::string out = layers.size() == 1 ? "layer " : "layers ";
  for (std::size_t i = 0; i < parts.size(); ++i)
    out += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return out;
}

// The same at the beginning of a sentence, with its verb: "Layers 0 and 1 are", "No layer is"
inline std::string layers_are(const std::vector<int>& layers) {
  std::string out = layers_text(layers) + (layers.size() > 1 ? " are" : " is");
  out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

// When an altered model is so broken that the size of the damage says little more: half of what knowing
// word frequencies alone would cost. NaN where that is not known.
inline double saturation_level(const study_record& r) {
  const double level = (r.baseline.unigram_nll.value - r.baseline.nll.value) / 2;
  return level > 0 ? level : std::nan("");
}

namespace detail {

inline const row_record& largest_kl(const row_list& rows) {
  return **std::max_element(rows.begin(), rows.end(),
                            [](const auto* a, const auto* b) { return a->mean.kl.value < b->mean.kl.value; });
}

inline std::string rank_text(const rank_record& r, std::size_t of) {
  if (r.value == 0) return "";
  return ", rank " + std::to_string(r.value) + " [" + std::to_string(r.lo) + "–" + std::to_string(r.hi) + "] of " +
         std::to_string(of);
}

// Rows whose outputs are the intact model's, in every layer.
inline bool changes_nothing(const row_list& rows) {
  return std::all_of(rows.begin(), rows.end(),
                     [](const auto* row) { return row->mean.kl.value == 0 && row->mean.dlnppl.value == 0; });
}

inline finding unchanged(const std::string& name, const row_list& rows) {
  std::vector<int> layers;
  for (const auto* row : rows) layers.push_back(row->layer);
  return {"unchanged", name,
          "The outputs are the intact model's in " + layers_text(layers) +
              ": nothing was altered, or nothing that matters, and there is no order among these layers.",
          layers};
}

inline finding most_critical(const std::string& name, const row_list& rows) {
  const row_record& top = largest_kl(rows);
  std::string text = "Layer " + std::to_string(top.layer) + " matters most, KL " + with_interval(top.mean.kl) +
                     " nats" + rank_text(top.rank, rows.size()) + ".";
  std::vector<int> rivals;
  for (const auto* row : rows)
    if (row != &top && row->rank.lo == 1) rivals.push_back(row->layer);
  if (!rivals.empty()) text += " Not told apart from " + layers_text(rivals) + ".";
  return {"most_critical", name, text, {top.layer}};
}

inline void add_marks(const std::string& name, const row_list& rows, std::vector<finding>& out) {
  const auto critical = layers_marked(rows, "critical");
  const auto negligible = layers_marked(rows, "negligible");
  const auto better = layers_marked(rows, "better than intact");
  const bool all = critical.size() == rows.size();
  out.push_back(
      {"critical", name,
       (all && rows.size() > 1 ? "Every altered layer is" : layers_are(critical)) + " critical (Δln PPL above 0.1).",
       critical});
  if (!all)
    out.push_back({"negligible", name, layers_are(negligible) + " negligible (Δln PPL within ±0.01).", negligible});
  if (!better.empty())
    out.push_back({"better", name,
                   "The model is better than intact without " + layers_text(better) +
                       " (Δln PPL below 0): confirm on another text before acting on it.",
                   better});
}

inline void add_saturation(const std::string& name, const row_list& rows, double level, std::vector<finding>& out) {
  std::vector<int> layers;
  for (const auto* row : rows)
    if (row->mean.dlnppl.lo > level) layers.push_back(row->layer);
  if (layers.empty()) return;
  out.push_back({"saturated", name,
                 layers_are(layers) + " saturated: Δln PPL above " + plain(level) +
                     ", half of what knowing word frequencies alone would cost. How far above says little.",
                 layers});
}

// Random weights that write little beside the stream do what leaving the layer out does.
inline void add_faint_reinit(const study_record& r, std::vector<finding>& out) {
  const auto skip = rows_of(r, "skip"), reinit = rows_of(r, "reinit");
  if (skip.size() != reinit.size()) return;
  std::vector<int> layers;
  for (std::size_t i = 0; i < skip.size(); ++i)
    if (std::abs(reinit[i]->mean.kl.value - skip[i]->mean.kl.value) < 0.02 * skip[i]->mean.kl.value)
      layers.push_back(skip[i]->layer);
  if (2 * layers.size() < skip.size() || layers.empty()) return;
  out.push_back({"faint_reinit", "",
                 "reinit does what skip does in " + layers_text(layers) +
                     " (KL within 2 %): what random weights write there is small beside the stream.",
                 layers});
}

inline void add_norm_growth(const study_record& r, std::vector<finding>& out) {
  if (r.profile.size() < 2) return;
  const auto shown = [&](const layer_record& l) {
    return plain(l.norm.p50) + " before " +
           (l.layer < r.model.layers ? "layer " + std::to_string(l.layer) : std::string("the head")) + " (p1–p99 " +
           plain(l.norm.p1) + "–" + plain(l.norm.p99) + ")";
  };
  const layer_record& first = r.profile.front();
  const layer_record& last = r.profile.back();
  out.push_back({"norm_growth",
                 "",
                 "The stream's median norm is " + shown(first) + " and " + shown(last) + ", × " +
                     plain(last.norm.p50 / first.norm.p50) + ".",
                 {}});
  const layer_record* heaviest = nullptr;
  double largest = 5;  // times the other tokens' norm, for a finding
  for (const auto& l : r.profile)
    if (l.layer < r.model.layers && l.first_norm.p50 / l.norm.p50 > largest) {
      heaviest = &l;
      largest = l.first_norm.p50 / l.norm.p50;
    }
  if (heaviest)
    out.push_back({"massive_first",
                   "",
                   "First tokens of a window carry a massive activation: their median norm is up to × " +
                       plain(largest) + " that of other tokens (before layer " + std::to_string(heaviest->layer) + ").",
                   {heaviest->layer}});
}

inline finding control(const std::string& name, const row_list& rows) {
  const auto [low, high] = std::minmax_element(
      rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->mean.kl.value < b->mean.kl.value; });
  const auto& least = (*low)->mean.kl;
  const auto& most = (*high)->mean.kl;
  std::string text = "A control, not a sensitivity: the stream of all layers so far is lost. KL ";
  if (most.value - least.value < 1e-6 * most.value)
    text += with_interval(most) + (rows.size() > 1 ? ", the same for every layer." : ".");
  else
    text += "from " + with_interval(least) + " (layer " + std::to_string((*low)->layer) + ") to " +
            with_interval(most) + " (layer " + std::to_string((*high)->layer) + ").";
  return {"control", name, text, {}};
}

// Layers that cost more among altered layers than alone, and weights that a quantizer finds where it puts them.
inline void add_compressions(const study_record& r, std::vector<finding>& out) {
  if (r.grid.on_grid > 0)
    out.push_back({"on_grid",
                   "",
                   std::to_string(r.grid.on_grid) + " of " + std::to_string(r.grid.matrices) +
                       " matrices lie on a grid of " + std::to_string(r.grid.bits) + " bits in groups of " +
                       std::to_string(r.grid.group) + " already (" + r.grid.kind +
                       "), as this model was stored: a quantizer that meets the grid makes no error there, so that "
                       "its rows say nothing of what quantizing costs.",
                   {}});
  for (const auto& c : r.compressions) {
    if (c.saturated) {
      out.push_back({"saturated_together", c.name,
                     "All layers together cost KL " + with_interval(c.all.kl) + " nats, more than half of what knowing "
                     "word frequencies alone would cost (" + with_interval(c.unigram_kl) +
                     "): what sparing one layer brings back is not given.",
                     {}});
      continue;
    }
    std::vector<int> synergy;
    for (const auto* row : rows_of(r, c.name))
      if (row->interaction.lo > 0) synergy.push_back(row->layer);
    if (!synergy.empty())
      out.push_back({"interaction", c.name,
                     layers_are(synergy) + " worth more among altered layers than alone (interval of R − S above 0).",
                     synergy});
  }
}

inline void add_agreement(const study_record& r, std::vector<finding>& out) {
  std::vector<std::string> names;
  std::vector<int> tops;
  for (const auto& name : r.options.alterations) {
    const auto rows = rows_of(r, name);
    if (is_control(name) || rows.size() < 2 || changes_nothing(rows)) continue;
    names.push_back(name);
    tops.push_back(largest_kl(rows).layer);
  }
  if (names.size() < 2) return;
  const bool same = std::all_of(tops.begin(), tops.end(), [&](int l) { return l == tops.front(); });
  std::string text;
  if (same) {
    text = "All alterations but the control put layer " + std::to_string(tops.front()) + " first.";
  } else {
    text = "The alterations disagree on which layer comes first: ";
    for (std::size_t i = 0; i < names.size(); ++i)
      text += (i ? ", " : "") + names[i] + " says " + std::to_string(tops[i]);
    text += ".";
  }
  out.push_back({same ? "agreement" : "disagreement", "", text, tops});
}

}  // namespace detail

inline std::vector<finding> find(const study_record& r) {
  std::vector<finding> out;
  const auto reliability = resect::metrics::reliability_of(r.evaluation.clusters);
  if (reliability == resect::metrics::reliability::none)
    out.push_back({"too_few_clusters",
                   "",
                   "Too few clusters (" + std::to_string(r.evaluation.clusters) +
                       ", 6 are needed): no intervals, no marks; nothing here can be told from chance.",
                   {}});
  if (r.baseline.nll.value > r.baseline.unigram_nll.value)
    out.push_back({"unfit_text",
                   "",
                   "The intact model predicts this text worse than word frequencies alone do (" +
                       with_interval(r.baseline.nll) + " against " + with_interval(r.baseline.unigram_nll) +
                       " nats a token): text, token ids and model do not fit, and nothing below means anything.",
                   {}});
  for (const auto& name : r.options.alterations) {
    const auto rows = rows_of(r, name);
    if (rows.empty() || is_control(name)) continue;
    if (detail::changes_nothing(rows)) {
      out.push_back(detail::unchanged(name, rows));
      continue;
    }
    if (rows.size() > 1) out.push_back(detail::most_critical(name, rows));
    if (reliability == resect::metrics::reliability::none) continue;
    detail::add_marks(name, rows, out);
    detail::add_saturation(name, rows, saturation_level(r), out);
  }
  detail::add_compressions(r, out);
  detail::add_agreement(r, out);
  detail::add_faint_reinit(r, out);
  detail::add_norm_growth(r, out);
  for (const auto& name : r.options.alterations)
    if (const auto rows = rows_of(r, name); is_control(name) && !rows.empty())
      out.push_back(detail::control(name, rows));
  return out;
}

}  // namespace studies
