// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the recipe `inject` found of trained students: tables and sentences.
#include <study/recipes/inject.hpp>

#include <algorithm>

#include <study/io/input.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

using namespace inject_detail;

// The arm of a student, which stands in the table `student` where its job stands among the jobs.
const place* arm_of(const std::vector<place>& all, const inject_results& found, std::size_t job) {
  std::size_t at = 0;
  for (const auto& p : all)
    if (p.table->name == "student" && at++ == job) return job < found.students.size() ? &p : nullptr;
  return nullptr;
}
std::string words_of(const student_job& j) {
  return std::to_string(j.blocks) + (j.blocks == 1 ? " block for " : " blocks for ") + span_words(j.span);
}

nlohmann::ordered_json to_json(const resect::student::held_out_errors& e) {
  return {{"fvu", resect::io::to_json(e.fvu)},
          {"fvu_delta", resect::io::to_json(e.fvu_delta)},
          {"cosine_delta", resect::io::to_json(e.cosine_delta)}};
}

void add_verdicts(study_record& to, const inject_results& found, const std::vector<place>& all) {
  plain_table t{"students",
                "training loss of the last batch, held-out FVU and cosine of the deltas on the evaluated windows (the "
                "student reads the intact stream), the best closed form on the same rows, and the paired difference of "
                "their FVU",
                {"layers", "blocks", "train loss", "FVU of Δ", "cos of Δ", "best map", "its FVU", "difference", "top-1",
                 "verdict"},
                {}};
  for (std::size_t i = 0; i < found.students.size(); ++i) {
    const auto& f = found.students[i];
    const auto& v = f.verdict;
    const place* arm = arm_of(all, found, i);
    const auto difference = split(v.difference, 1, sign::always);
    t.cells.push_back({span_cell(f.job.span), std::to_string(f.job.blocks), fixed(v.training_loss, 3),
                       fixed(v.student.fvu_delta.value, 3), fixed(v.student.cosine_delta.value, 3), std::string(v.map),
                       fixed(v.best_map.fvu_delta.value, 3), difference.value + " ± " + difference.half,
                       arm ? fixed(arm->row->effects.estimate().top1.value, 3) : "–",
                       v.beats_map() ? "beats the map" : "not better than the map"});
    to.report.sections["students"].push_back({{"layers", {f.job.span.first, f.job.span.last}},
                                              {"blocks", f.job.blocks},
                                              {"parameters", f.parameters},
                                              {"steps", f.step},
                                              {"best_step", f.best_step},
                                              {"rows_trained_on", f.rows},
                                              {"seconds", f.seconds},
                                              {"training_loss", v.training_loss},
                                              {"student", to_json(v.student)},
                                              {"best_map", std::string(v.map)},
                                              {"of_best_map", to_json(v.best_map)},
                                              {"difference", resect::io::to_json(v.difference)},
                                              {"beats_map", v.beats_map()}});
  }
  if (!t.cells.empty()) to.extras.push_back(std::move(t));
}

// Where the students of the chain read the intact stream, and where each reads what the one before it leaves.
void add_chain(study_record& to, const inject_settings& o, const std::vector<place>& all) {
  plain_table t{"students one after another",
                "FVU of the stream after each of the first layers: its student alone, which reads the intact stream "
                "(teacher-forced), and students for all layers up to it (free-running); KL at the outputs of both",
                {"layer", "teacher-forced", "free-running", "KL, one", "KL, all up to it"},
                {}};
  for (const auto& span : o.students.chain) {
    const place* one = find_place(all, "student", span);
    const place* chain = span.first == 0 ? one : find_place(all, "chain", {0, span.last});
    if (!one || !chain || one->row->errors.empty() || chain->row->errors.empty()) continue;
    t.cells.push_back({span_cell(span), with_interval(one->row->errors.fvu.front()),
                       with_interval(chain->row->errors.fvu.front()), with_interval(one->kl()),
                       with_interval(chain->kl())});
  }
  if (!t.cells.empty()) to.extras.push_back(std::move(t));
}

void add_panels(study_record& to, const inject_results& found, const std::vector<place>& all) {
  panel_record depth{"the first layers by one student", "layers replaced", "KL(intact ‖ altered), nats", true, {}};
  panel_record blocks{"one span by more blocks", "blocks", "KL(intact ‖ altered), nats", true, {}};
  std::vector<std::pair<int, curve_record>> by_blocks;
  std::vector<std::pair<int, curve_record>> by_span;
  const auto add_to = [](auto& list, int key, std::string name, double x, const estimate& y) {
    auto at = std::find_if(list.begin(), list.end(), [&](const auto& c) { return c.first == key; });
    if (at == list.end()) at = list.insert(list.end(), {key, {std::move(name), {}}});
    at->second.points.emplace_back(x, y);
  };
  for (std::size_t i = 0; i < found.students.size(); ++i) {
    const auto& job = found.students[i].job;
    const place* arm = arm_of(all, found, i);
    if (!arm || job.span.first != 0) continue;
    add_to(by_blocks, job.blocks, "student of " + std::to_string(job.blocks), job.span.last, arm->kl());
    add_to(by_span, job.span.last, span_words(job.span), job.blocks, arm->kl());
  }
  for (auto* list : {&by_blocks, &by_span})
    for (auto& [key, curve] : *list) {
      std::stable_sort(curve.points.begin(), curve.points.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      if (curve.points.size() > 1) (list == &by_blocks ? depth : blocks).curves.push_back(std::move(curve));
    }
  curve_record affine{"affine map", {}};
  for (const auto& p : all)
    if (p.table->name == "injected") affine.points.emplace_back(p.span.last, p.kl());
  if (!depth.curves.empty() && affine.points.size() > 1) depth.curves.push_back(std::move(affine));
  for (auto* panel : {&depth, &blocks})
    if (!panel->curves.empty()) to.panels.push_back(std::move(*panel));
}

}  // namespace

void inject_detail::add_student_tables(study_record& to, const inject_settings& o, const inject_results& found,
                                       const std::vector<place>& all) {
  add_verdicts(to, found, all);
  add_chain(to, o, all);
  add_panels(to, found, all);
}

void inject_detail::add_student_sentences(study_record& to, const inject_results& found,
                                          const std::vector<place>& all) {
  if (found.students.empty()) return;
  std::string failed;
  int better = 0;
  for (const auto& f : found.students) {
    if (f.verdict.beats_map()) ++better;
    else failed += (failed.empty() ? "" : ", ") + words_of(f.job);
  }
  std::string text =
      std::to_string(better) + " of " + std::to_string(found.students.size()) +
      " students beat the best closed form of their span on held-out rows (paired 95 % intervals of the FVU of "
      "deltas, each by itself).";
  if (!failed.empty()) text += " Not worth their parameters: " + failed + ".";
  to.said.push_back({"student", "student", std::move(text), {}});

  const place* deepest = nullptr;
  student_job job;
  for (std::size_t i = 0; i < found.students.size(); ++i)
    if (const place* arm = arm_of(all, found, i);
        arm && arm->span.first == 0 && (!deepest || arm->span.last > deepest->span.last)) {
      deepest = arm;
      job = found.students[i].job;
    }
  if (!deepest) return;
  to.said.push_back({"student_depth",
                     "student",
                     "The deepest student, " + words_of(job) +
                         ", agrees with the intact model's most likely token in " +
                         with_interval(deepest->row->effects.estimate().top1) + " of the positions, at a KL of " +
                         with_interval(deepest->kl()) + ".",
                     {}});
}

}  // namespace studies
