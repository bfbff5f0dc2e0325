// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the recipe `inject` found, as curves.
#include <study/recipes/inject.hpp>

#include <algorithm>

#include <study/io/input.hpp>

namespace studies {

namespace {

namespace study = resect::study;
using namespace inject_detail;

estimate kl_at(const place& p) { return p.kl(); }
estimate dlnppl_at(const place& p) { return p.dlnppl(); }

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

}  // namespace

void inject_detail::add_curves(study_record& to, const inject_settings& o, const inject_results& found,
                               const std::vector<place>& all) {
  const auto single = [](const char* table) {
    return [table](const place& p) { return p.table->name == table && p.span.last - p.span.first == 1; };
  };
  panel_record layers{"one layer", "layer", "KL(intact ‖ altered), nats", true, {}};
  for (const char* table : {"skip", "mean_delta", "resample_delta", "affine"})
    add_curve(layers, curve_of(table, all, single(table), first_layer, kl_at));
  panel_record doses{"doses: h + g·Δ of one layer", "g", "KL(intact ‖ altered), nats", true, {}};
  for (const int l : o.dose_layers) {
    if (doses.curves.size() == 8) break;
    curve_record c{"layer " + std::to_string(l), {}};
    if (const place* p = find_place(all, "skip", {l, l + 1})) c.points.emplace_back(0.0, p->kl());
    std::size_t i = 0;
    for (const auto& p : all)
      if (p.table->name == "dose" && p.span.first == l && i < o.doses.size())
        c.points.emplace_back(static_cast<double>(o.doses[i++]), p.kl());
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
  add_curve(injection, curve_of("affine map", all, is_injected, depth_of, kl_at));
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
    add_curve(maps, curve_of("skip", all, of("skip"), first_layer, dlnppl_at));
    for (const auto& name : map_names) add_curve(maps, curve_of(name, all, of(name), first_layer, dlnppl_at));
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

}  // namespace studies
