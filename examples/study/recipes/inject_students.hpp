// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <resect/student/trainer.hpp>
#include <resect/study/speed.hpp>
#include <study/io/input.hpp>
#include <study/recipes/inject.hpp>

// The trained arms of the recipe `inject`: students of blocks like the model's, for spans of its layers.
namespace studies {

// A block like the layers of a Llama model.
template <class Config>
resect::student::block_shape shape_of(const Config& c) {
  using resect::student::rope_layout;
  return {.width = c.d_model,
          .hidden = c.d_ff,
          .heads = c.n_heads,
          .kv_heads = c.n_kv_heads,
          .head_dim = c.head_dim,
          .rope = c.rope == decltype(c.rope)::interleaved ? rope_layout::interleaved : rope_layout::half,
          .rope_theta = static_cast<double>(c.rope_theta),
          .epsilon = static_cast<double>(c.rms_eps)};
}

// A student with what its training found.
struct trained_student {
  resect::study::span_student student;
  student_fit found;
};

namespace inject_detail {

// Whole windows, about 2,048 rows at a time.
inline std::vector<resect::model::batch_view> batches_of(const resect::study::token_windows& w) {
  const std::size_t a_window = w.rows.size() / static_cast<std::size_t>(w.n_windows);
  const std::size_t step = a_window * std::max<std::size_t>(1, 2048 / a_window);
  std::vector<resect::model::batch_view> out;
  for (std::size_t i = 0; i < w.rows.size(); i += step)
    out.push_back(std::span(w.rows).subspan(i, std::min(step, w.rows.size() - i)));
  return out;
}

// Pairs of a span over windows, documents numbered as the windows' clusters.
template <class H>
resect::student::row_pairs pairs_of(H& runtime, const resect::study::token_windows& windows, layer_range span) {
  const auto batches = batches_of(windows);
  const layer_range spans[] = {span};
  auto out = need(resect::student::try_gather_pairs(runtime, std::span<const layer_range>(spans),
                                                    std::span<const resect::model::batch_view>(batches)));
  const auto a_window = static_cast<resect::index_t>(windows.rows.size()) / windows.n_windows;
  for (resect::index_t w = 0; w < windows.n_windows; ++w) {
    resect::index_t of = 0;
    for (resect::index_t r = w * a_window; r < (w + 1) * a_window; ++r)
      of = std::max(of, windows.cluster[static_cast<std::size_t>(r)]);
    for (resect::index_t r = w * a_window; r < (w + 1) * a_window; ++r) out[0].document[r] = of;
  }
  return std::move(out[0]);
}

// About an eighth of the sequences, the last ones, judge when to stop; no document is on both sides.
inline resect::student::split_pairs split_for_stopping(const resect::student::row_pairs& all) {
  const auto sequences = resect::student::detail::sequences_of(all.batch());
  auto count = std::max<resect::index_t>(1, sequences.size() * 7 / 8);
  while (count + 1 < sequences.size() &&
         all.document[sequences[count].first] == all.document[sequences[count].first - 1])
    ++count;
  return need(resect::student::try_split(all, count));
}

// The closed forms of the rows that a student is trained on.
template <class Backend>
resect::student::closed_forms forms_of(Backend& exec, const resect::student::row_pairs& rows,
                                       const resect::student::closed_form_options& options) {
  namespace student = resect::student;
  student::gathered_span from{rows.task.span, {}, {}, {}};
  const auto sequences = student::detail::sequences_of(rows.batch());
  for (resect::index_t f = 0; f < 4; ++f) {
    const auto a = sequences.size() * f / 4, b = sequences.size() * (f + 1) / 4;
    const auto first = sequences[a].first, n = sequences[b - 1].first + sequences[b - 1].count - first;
    from.folds.push_back(need(student::span_moments::try_make(rows.x.cols, rows.task.apart)));
    need(from.folds[f].try_add(exec, rows.batch().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)),
                               rows.x.view().middle_rows(first, n), rows.y.view().middle_rows(first, n)));
  }
  return need(student::try_fit_closed_forms(exec, from, options));
}

// Trains one student; `tick` is called after every judgement.
template <class Backend, class Tick>
trained_student train_student(Backend& exec, const student_job& job, const student_settings& o, std::uint64_t seed,
                              const resect::student::split_pairs& rows, const resect::student::row_pairs& evaluated,
                              const resect::student::closed_forms& maps, Tick tick) {
  namespace student = resect::student;
  const double start = resect::study::detail::seconds_now();
  const auto a_window = student::detail::sequences_of(rows.first.batch()).front().count;
  auto batches =
      need(student::pair_batches::try_make(rows.first, std::max<resect::index_t>(1, o.batch_rows / a_window), seed));
  auto run = need(student::trainer<float>::try_make(
      need(student::try_new_student<float>(o.shape, job.blocks, rows.first, seed)), o.training, rows.first));
  double loss = 0;
  need(student::try_train(exec, run, batches, rows.rest, o.judge_every,
                          [&](const student::training_report& report, const student::batch_loss&) -> resect::status {
                            loss = report.loss;
                            tick(run.state().step);
                            return {};
                          }));
  trained_student out{{job.span, run.best(), maps.apart},
                      {job, {}, run.state().step, run.state().best_step, run.best().parameters(), run.state().rows, 0}};
  out.found.verdict = need(student::try_judge_student(exec, run.best(), loss, evaluated, maps));
  out.found.seconds = resect::study::detail::seconds_now() - start;
  return out;
}

}  // namespace inject_detail

// Trains every student on the training windows and judges it on the evaluated ones, beside closed forms of the same rows.
template <class Backend, class H>
std::vector<trained_student> train_students(Backend& exec, H& runtime, const inject_texts& texts,
                                            const inject_settings& o,
                                            const std::function<void(const std::string& step)>& show) {
  std::vector<trained_student> out;
  std::vector<layer_range> spans;
  for (const auto& job : o.students.jobs)
    if (std::find(spans.begin(), spans.end(), job.span) == spans.end()) spans.push_back(job.span);
  if (!texts.training) return out;
  for (const auto& span : spans) {
    const auto rows = inject_detail::split_for_stopping(inject_detail::pairs_of(runtime, *texts.training, span));
    const auto evaluated = inject_detail::pairs_of(runtime, texts.evaluation, span);
    const auto maps = inject_detail::forms_of(exec, rows.first, o.maps);
    show("rows of students");
    for (const auto& job : o.students.jobs) {
      if (!(job.span == span)) continue;
      out.push_back(
          inject_detail::train_student(exec, job, o.students, o.seed, rows, evaluated, maps, [](resect::index_t) {}));
      show("students");
    }
  }
  return out;
}

}  // namespace studies
