// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the recipe `inject` found, in sentences.
#include <study/recipes/inject.hpp>

#include <algorithm>

#include <resect/metrics/accumulators/contrast.hpp>
#include <study/io/input.hpp>
#include <study/recipes/sums_ratio.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace student = resect::student;
using namespace inject_detail;
using resect::metrics::clustered_sums;

void say(study_record& to, const char* kind, const char* table, std::string text, std::vector<int> layers = {}) {
  to.said.push_back({kind, table, std::move(text), std::move(layers)});
}

void say_splices(study_record& to, const std::vector<place>& all) {
  int n = 0, same = 0;
  for (const auto& p : all) {
    if (p.table->name != "splice") continue;
    ++n;
    same += p.kl().value == 0 && p.row->effects.estimate().top1.value == 1;
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
    if (const place* p = find_place(all, "skip", {l, l + 1})) kl.push_back(p->kl().value);
    for (const auto& p : all)
      if (p.table->name == "dose" && p.span.first == l) kl.push_back(p.kl().value);
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
  std::string text = "An affine map of the embedding gives KL " + with_interval(shallow->kl()) + " at layer " +
                     std::to_string(shallow->span.last) + " and " + with_interval(deep->kl()) + " at layer " +
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
        if (!best || p->dlnppl().value < best->dlnppl().value) best = p;
    if (!skip || !best) continue;
    const auto& a = best->row->effects.dlnppl.sums();
    const auto& b = skip->row->effects.dlnppl.sums();
    const auto ratio = ratio_of(a, b);
    const auto difference =
        need(resect::metrics::try_contrast(std::vector<clustered_sums>{a, b}, std::vector<double>{1, -1}));
    to.report.sections["least_angular"].push_back({{"layers", {s.first, s.last}},
                                                   {"best_map", best->table->name},
                                                   {"dlnppl_map", resect::io::to_json(best->dlnppl())},
                                                   {"dlnppl_skip", resect::io::to_json(skip->dlnppl())},
                                                   {"ratio", resect::io::to_json(ratio)},
                                                   {"difference", resect::io::to_json(difference)}});
    std::string text = "At " + span_words(s) +
                       ", the span of its length with the least angular distance on the "
                       "calibration text, the best closed form is " +
                       best->table->name + ": Δln PPL " + with_interval(best->dlnppl(), 1, sign::always) + " beside " +
                       with_interval(skip->dlnppl(), 1, sign::always) + " of leaving it out, × " +
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

void inject_detail::add_sentences(study_record& to, const inject_settings& o, const inject_results& found,
                                  const std::vector<place>& all) {
  say_splices(to, all);
  say_control(to, all, "mean_delta", "The layer's mean delta");
  say_control(to, all, "resample_delta", "The layer's delta of another text");
  say_doses(to, o, all);
  say_injection(to, o, all);
  say_maps(to, found, all);
  add_student_sentences(to, found, all);
  say_probe(to, found, all);
}

}  // namespace studies
