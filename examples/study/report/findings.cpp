// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/findings.hpp>

namespace studies {

std::vector<std::string> paragraphs(const std::vector<finding>& findings) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const auto& f = findings[i];
    if (i > 0 && !f.operation.empty() && f.operation == findings[i - 1].operation) out.back() += " " + f.text;
    else out.push_back(f.operation.empty() ? f.text : f.operation + ": " + f.text);
  }
  return out;
}

row_list rows_marked(const row_list& rows, std::string_view mark) {
  row_list out;
  for (const auto* row : rows)
    if (row->verdict && row->verdict->mark == mark) out.push_back(row);
  return out;
}

double saturation_level(const study_record& r) {
  const double level = (r.baseline("unigram_nll").value - r.baseline("nll").value) / 2;
  return level > 0 ? level : std::nan("");
}

namespace detail {

std::string rank_text(const report_row& row, std::size_t of) {
  if (!row.verdict || row.verdict->rank.value == 0) return "";
  const auto& r = row.verdict->rank;
  const std::string interval =  // of too few clusters there is none
      r.lo == 0 ? "[no interval]" : "[" + std::to_string(r.lo) + "–" + std::to_string(r.hi) + "]";
  return ", rank " + std::to_string(r.value) + " " + interval + " of " + std::to_string(of);
}

// Rows whose outputs are the intact model's, all of them.
bool changes_nothing(const row_list& rows) {
  return std::all_of(rows.begin(), rows.end(),
                     [](const auto* row) { return kl_of(*row).value == 0 && measures_of(*row).dlnppl.value == 0; });
}

finding unchanged(const subject& s) {
  return s.say("unchanged",
               "The outputs are the intact model's in " + s.text(s.rows) +
                   ": nothing was altered, or nothing that matters, and there is no order among these " +
                   (s.by_layer() ? "layers." : "arms."),
               s.rows);
}

finding most_critical(const subject& s) {
  const report_row& top = largest_kl(s.rows);
  std::string text = with_capital(place_text(s.t, top)) + (top.layers.size() > 1 ? " matter" : " matters") +
                     " most, KL " + with_interval(kl_of(top)) + " nats" + rank_text(top, s.rows.size()) + ".";
  row_list rivals;
  for (const auto* row : s.rows)
    if (row != &top && row->verdict && row->verdict->rank.lo == 1) rivals.push_back(row);
  if (!rivals.empty()) text += " Not told apart from " + s.text(rivals) + ".";
  return s.say("most_critical", std::move(text), {&top});
}

void add_marks(const subject& s, std::vector<finding>& out) {
  const auto critical = rows_marked(s.rows, "critical");
  const auto negligible = rows_marked(s.rows, "negligible");
  const auto better = rows_marked(s.rows, "better than intact");
  const bool all = critical.size() == s.rows.size();
  const std::string every = s.by_layer() ? "Every altered layer is" : "Every arm is";
  out.push_back(s.say(
      "critical", (all && s.rows.size() > 1 ? every : s.are(critical)) + " critical (Δln PPL above 0.1).", critical));
  if (!all) out.push_back(s.say("negligible", s.are(negligible) + " negligible (Δln PPL within ±0.01).", negligible));
  if (!better.empty())
    out.push_back(
        s.say("better",
              (s.by_layer() ? "The model is better than intact without " : "The model is better than intact with ") +
                  s.text(better) + (s.by_layer() ? "" : " altered") +
                  " (Δln PPL below 0): confirm on another text before acting on it.",
              better));
}

void add_saturation(const subject& s, double level, std::vector<finding>& out) {
  row_list saturated;
  for (const auto* row : s.rows)
    if (measures_of(*row).dlnppl.lo > level) saturated.push_back(row);
  if (saturated.empty()) return;
  out.push_back(s.say("saturated",
                      s.are(saturated) + " saturated: Δln PPL above " + plain(level) +
                          ", half of what knowing word frequencies alone would cost. How far above says little.",
                      saturated));
}

// Random weights that write little beside the stream do what leaving the layer out does.
void add_faint_reinit(const study_record& r, std::vector<finding>& out) {
  const auto skip = rows_of(r, "skip"), reinit = rows_of(r, "reinit");
  if (skip.size() != reinit.size()) return;
  std::vector<int> layers;
  for (std::size_t i = 0; i < skip.size(); ++i)
    if (std::abs(kl_of(*reinit[i]).value - kl_of(*skip[i]).value) < 0.02 * kl_of(*skip[i]).value)
      layers.insert(layers.end(), skip[i]->layers.begin(), skip[i]->layers.end());
  if (2 * layers.size() < skip.size() || layers.empty()) return;
  out.push_back({"faint_reinit", "",
                 "reinit does what skip does in " + layers_text(layers) +
                     " (KL within 2 %): what random weights write there is small beside the stream.",
                 layers});
}

void add_norm_growth(const study_record& r, std::vector<finding>& out) {
  if (r.profile.size() < 2) return;
  const auto shown = [&](const layer_record& l) {
    return plain(l.norm.p50) + " before " +
           (l.layer < r.model().layers ? "layer " + std::to_string(l.layer) : std::string("the head")) + " (p1–p99 " +
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
    if (l.layer < r.model().layers && l.first_norm.p50 / l.norm.p50 > largest) {
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

finding control(const subject& s) {
  const auto [low, high] = std::minmax_element(
      s.rows.begin(), s.rows.end(), [](const auto* a, const auto* b) { return kl_of(*a).value < kl_of(*b).value; });
  const auto least = kl_of(**low), most = kl_of(**high);
  std::string text = "A control, not a sensitivity: the stream of all layers so far is lost. KL ";
  if (most.value - least.value < 1e-6 * most.value)
    text += with_interval(most) + (s.rows.size() > 1 ? ", the same for every layer." : ".");
  else
    text += "from " + with_interval(least) + " (" + place_text(s.t, **low) + ") to " + with_interval(most) + " (" +
            place_text(s.t, **high) + ").";
  return s.say("control", std::move(text), {});
}

// Layers that cost more among altered layers than alone, and weights that a quantizer finds where it puts them.
void add_compressions(const study_record& r, std::vector<finding>& out) {
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
      out.push_back({"saturated_together",
                     c.name,
                     "All layers together cost KL " + with_interval(c.all.kl) +
                         " nats, more than half of what knowing "
                         "word frequencies alone would cost (" +
                         with_interval(c.unigram_kl) + "): what sparing one layer brings back is not given.",
                     {}});
      continue;
    }
    const subject s{r, *find_table(r, c.name), rows_of(r, c.name)};
    row_list synergy;
    for (const auto* row : s.rows)
      if (find_estimate(row->estimates, "interaction_kl").lo > 0) synergy.push_back(row);
    if (!synergy.empty())
      out.push_back(s.say("interaction",
                          s.are(synergy) + " worth more among altered layers than alone (interval of R − S above 0).",
                          synergy));
  }
}

// Which layer comes first in each table of single layers.
void add_agreement(const study_record& r, std::vector<finding>& out) {
  std::vector<std::string> says;
  std::vector<int> tops;
  for (const auto& t : r.tables) {
    const auto rows = rows_of(r, t);
    if (t.control || rows.size() < 2 || !is_by_layer(rows) || changes_nothing(rows)) continue;
    tops.push_back(largest_kl(rows).layers.front());
    says.push_back(t.name + " says " + std::to_string(tops.back()));
  }
  if (says.size() < 2) return;
  const bool same = std::all_of(tops.begin(), tops.end(), [&](int l) { return l == tops.front(); });
  std::string text = "The alterations disagree on which layer comes first: ";
  for (std::size_t i = 0; i < says.size(); ++i) text += (i ? ", " : "") + says[i];
  text += ".";
  if (same) text = "All alterations but the control put layer " + std::to_string(tops.front()) + " first.";
  out.push_back({same ? "agreement" : "disagreement", "", text, tops});
}

}  // namespace detail

std::vector<finding> find(const study_record& r) {
  std::vector<finding> out;
  const auto clusters = r.evaluation().clusters;
  const auto reliability = resect::metrics::reliability_of(clusters);
  if (reliability == resect::metrics::reliability::none)
    out.push_back({"too_few_clusters",
                   "",
                   "Too few clusters (" + std::to_string(clusters) +
                       ", 6 are needed): no intervals, no marks; nothing here can be told from chance.",
                   {}});
  if (r.baseline("nll").value > r.baseline("unigram_nll").value)
    out.push_back({"unfit_text",
                   "",
                   "The intact model predicts this text worse than word frequencies alone do (" +
                       with_interval(r.baseline("nll")) + " against " + with_interval(r.baseline("unigram_nll")) +
                       " nats a token): text, token ids and model do not fit, and nothing below means anything.",
                   {}});
  for (const auto& t : r.tables) {
    const detail::subject s{r, t, rows_of(r, t)};
    if (s.rows.empty() || t.control || t.compared) continue;
    if (detail::changes_nothing(s.rows)) {
      out.push_back(detail::unchanged(s));
      continue;
    }
    if (s.rows.size() > 1) out.push_back(detail::most_critical(s));
    if (reliability == resect::metrics::reliability::none) continue;
    detail::add_marks(s, out);
    detail::add_saturation(s, saturation_level(r), out);
  }
  out.insert(out.end(), r.said.begin(), r.said.end());
  detail::add_compressions(r, out);
  detail::add_agreement(r, out);
  detail::add_faint_reinit(r, out);
  detail::add_norm_growth(r, out);
  for (const auto& t : r.tables)
    if (const detail::subject s{r, t, rows_of(r, t)}; t.control && !t.compared && !s.rows.empty())
      out.push_back(detail::control(s));
  return out;
}

}  // namespace studies
