// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <resect/metrics/similarity/angular_table.hpp>
#include <resect/study/delta_means.hpp>
#include <resect/study/runner.hpp>
#include <resect/study/speed.hpp>
#include <study/io/input.hpp>
#include <study/recipes/inject_students.hpp>

// What the recipe `inject` does, on any host of the surgery level: fits, arms and measures.
namespace studies {

// Called when a step of the work has ended.
using inject_progress = std::function<void(const std::string& step)>;

namespace inject_detail {

namespace study = resect::study;
namespace student = resect::student;

template <class T>
void append(inject_table& to, resect::result<T>&& arm) {
  to.arms.push_back(need(std::move(arm)));
}

inline inject_fit to_fit(const student::closed_forms& f) {
  inject_fit out{f.span, f.rows, f.rows_apart, f.reduced_rank.map.rank()};
  out.lambda = f.affine.choice().lambda;
  out.held_out_fvu = f.affine.choice().held_out_fvu();
  out.kept_energy = f.reduced_rank.kept_energy;
  if (!f.cosine) return out;
  out.cosine_start = f.cosine->start_loss;
  out.cosine_loss = f.cosine->loss;
  out.cosine_steps = f.cosine->steps;
  return out;
}

// Maps that no fit has made: different ones, as an estimate of the cost needs them.
inline student::closed_forms unfitted_maps(layer_range span, int width, bool cosine) {
  student::closed_forms out;
  const auto other = static_cast<float>(1 + span.first + 1000 * span.last);
  out.span = span;
  out.scalar = {width, other};
  out.channel.factors = out.linear_patch.factors = resect::array<float>(width, other);
  out.linear_patch.basis = need(resect::quant::rotation::try_make_without_signs(width));
  out.reduced_rank.map.bias = out.affine.map.bias = resect::array<float>(width, other);
  out.reduced_rank.map.factors = {resect::matrix<float>(width, 1), resect::matrix<float>(1, width)};
  out.affine.map.weights = resect::matrix<float>(width, width);
  if (cosine) {
    out.cosine.emplace();
    out.cosine->map.bias = resect::array<float>(width, other);
    out.cosine->map.weights = resect::matrix<float>(width, width);
  }
  return out;
}

}  // namespace inject_detail

// What stands in for layers, once it is fitted.
struct inject_fits {
  std::vector<trained_student> students;
  resect::residual::delta_means means;
  std::optional<resect::study::intact_streams> intact;                      // of the evaluation windows
  std::optional<resect::shared_value<resect::residual::row_store>> deltas;  // of the same, of resampled layers
  std::vector<resect::student::closed_forms> spans;
  std::vector<std::pair<int, resect::student::span_map<resect::student::affine_map>>> depths;
};

// The spans of n layers each of least mean angular distance between the streams at their ends, at the last token of the
// calibration windows; of each n the nearest first, `most` of them.
template <class H>
std::vector<std::vector<layer_range>> nearest_spans(H& host, const resect::study::token_windows& calibration,
                                                    const std::vector<int>& lengths, std::size_t most) {
  namespace study = resect::study;
  const auto& m = host.describe();
  resect::metrics::angular_table table(calibration.n_clusters, m.n_layers + 1);
  const auto rows = calibration.rows.size() / static_cast<std::size_t>(calibration.n_windows);
  std::vector<resect::matrix<float>> ends(static_cast<std::size_t>(calibration.n_windows),
                                          resect::matrix<float>(m.n_layers + 1, m.d_model));
  need(study::detail::try_walk_layers(
      host, calibration, "calibration windows", [&](int l, auto before, auto after) -> resect::status {
        for (std::size_t w = 0; w < ends.size(); ++w) {
          const auto last = static_cast<resect::index_t>((w + 1) * rows) - 1;
          if (l == 0) resect::copy(before.middle_rows(last, 1), ends[w].view().middle_rows(0, 1));
          resect::copy(after.middle_rows(last, 1), ends[w].view().middle_rows(l + 1, 1));
        }
        return {};
      }));
  for (std::size_t w = 0; w < ends.size(); ++w)
    need(table.try_add(calibration.cluster[(w + 1) * rows - 1], std::as_const(ends[w]).view()));
  std::vector<std::vector<layer_range>> out;
  for (const int n : lengths) {
    std::vector<layer_range> all;
    for (int l = 0; l + n <= m.n_layers; ++l) all.push_back({l, l + n});
    const auto distance = [&](const layer_range& s) { return table.between(s.first, n).estimate().value; };
    std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
    if (all.size() > most) all.resize(most);
    out.push_back(std::move(all));
  }
  return out;
}

// Measures means and moments on the calibration windows, fits every map, and keeps the intact streams of the evaluation.
template <class Backend, class H>
inject_fits fit_injection(Backend& exec, H& host, const inject_texts& texts, const inject_settings& o,
                          const inject_progress& show) {
  namespace student = resect::student;
  const auto& calibration = texts.calibration;
  inject_fits out;
  out.intact = need(resect::study::intact_streams::try_make(host, texts.evaluation));
  if (!o.resample_layers.empty())
    out.deltas.emplace(need(out.intact->try_deltas({o.resample_layers.front(), o.resample_layers.back() + 1})));
  show("intact streams");
  if (!o.mean_layers.empty()) out.means = need(resect::study::try_delta_means(host, calibration));
  show("means of the layers");
  const auto batches = inject_detail::batches_of(calibration);
  const std::span<const resect::model::batch_view> text(batches);
  if (!o.spans.empty()) {
    auto gathered = need(student::try_gather_moments(exec, host, std::span<const layer_range>(o.spans), text,
                                                     {.kept_rows = o.kept_rows}));
    show("moments of spans");
    for (auto& one : gathered) {
      out.spans.push_back(need(student::try_fit_closed_forms(exec, one, o.maps)));
      one = {};
      show("maps of spans");
    }
  }
  out.students = train_students(exec, host, texts, o, show);
  std::vector<layer_range> whole;
  for (const int k : o.depths) whole.push_back({0, k});
  if (whole.empty()) return out;
  auto injected = need(student::try_gather_moments(exec, host, std::span<const layer_range>(whole), text, {}));
  show("moments of embeddings");
  for (auto& one : injected) {
    auto fit =
        need(student::try_fit_affine(exec, std::span<const student::span_moments>(one.folds.span()), o.maps.ridge));
    const auto all = need(student::try_merged(std::span<const student::span_moments>(one.folds.span())));
    out.depths.emplace_back(one.span.last, student::span_map{std::move(fit.map), student::apart_rows_of(all)});
    one = {};
    show("maps of the embedding");
  }
  return out;
}

// Stand-ins for the fits, to estimate what measuring the arms costs.
template <class H>
inject_fits unfitted(const H& host, const inject_settings& o) {
  inject_fits out;
  const auto& m = host.describe();
  out.means.n_layers = m.n_layers;
  out.means.width = m.d_model;
  out.means.mean.resize(static_cast<resect::index_t>(m.n_layers) * m.d_model);
  if (!o.resample_layers.empty()) {
    auto two = resect::residual::row_store::of_block_deltas({0, m.n_layers}, m.d_model, 2);
    const resect::model::row_meta rows[] = {{0, 0, 0, 0}, {1, 0, 0, 0}};
    need(two.try_add({resect::model::site::resid_pre, 0, rows}, resect::matrix<float>(2, m.d_model).view()));
    out.deltas.emplace(std::move(two));
  }
  for (const auto& s : o.spans) out.spans.push_back(inject_detail::unfitted_maps(s, m.d_model, o.kept_rows > 0));
  for (const int k : o.depths)
    out.depths.emplace_back(k, resect::student::span_map<resect::student::affine_map>{
                                   inject_detail::unfitted_maps({0, k}, m.d_model, false).affine.map, {}});
  for (const auto& job : o.students.jobs)
    out.students.push_back({{job.span,
                             need(resect::student::network<float>::try_make(o.students.shape, job.blocks, 1,
                                                                            1 + job.span.first + 1000 * job.span.last)),
                             {}},
                            {job, {}, 0, 0, 0, 0, 0}});
  return out;
}

// The arms of the study, table by table.
template <class Backend, class H>
std::vector<inject_table> injection_tables(Backend& exec, H& host, const inject_settings& o, const inject_fits& fits) {
  namespace study = resect::study;
  using inject_detail::append;
  std::vector<inject_table> out{
      {"splice", "the host's own layers in the place of a layer, as a map: nothing may change", true, {}},
      {"skip", "layers are left out", false, {}},
      {"dose", "what a layer adds is scaled", false, {}},
      {"mean_delta", "layers add their means over the calibration windows", false, {}},
      {"resample_delta", "layers add what they add at the same position of another window", false, {}},
      {"untrained",
       "the embedding, through this many of the host's first layers with random weights, at a layer",
       false,
       {}},
      {"injected", "an affine map of the embedding, fitted on the calibration windows, at a layer", false, {}},
      {"student", "blocks like the model's, trained on the training windows, in the place of layers", false, {}},
      {"chain", "a student for each of the first layers, each reading what the one before it leaves", false, {}}};
  for (const int l : o.splice_layers) append(out[0], study::try_splice_arm(host, {l, l + 1}));
  for (const int l : o.layers) append(out[1], study::try_skip_arm({l, l + 1}));
  for (const int l : o.mean_layers) append(out[3], study::try_mean_arm({l, l + 1}, fits.means));
  for (const auto& s : o.skips) append(out[1], study::try_skip_arm(s));
  for (const int l : o.dose_layers)
    for (const float g : o.doses) append(out[2], study::try_dose_arm({l, l + 1}, g));
  for (const int l : o.resample_layers)
    for (int run = 0; run < o.seeds; ++run)
      append(out[4], study::try_resample_arm({l, l + 1}, *fits.deltas, o.seed + static_cast<std::uint64_t>(run)));
  for (const int own : o.own)
    for (const int k : o.untrained_depths)
      for (int run = 0; k >= own && run < (own == 0 ? 1 : o.seeds); ++run)
        append(out[5], study::try_untrained_arm(k, own, o.seed + static_cast<std::uint64_t>(run)));
  for (const auto& [k, map] : fits.depths) append(out[6], study::try_affine_injection_arm(exec, k, map));
  std::vector<study::span_student> chain;
  for (const auto& one : fits.students) {
    append(out[7], study::try_student_arm(exec, std::span(&one.student, 1)));
    if (one.found.job.blocks != 1 || chain.size() == o.students.chain.size() ||
        !(one.student.span == o.students.chain[chain.size()]))
      continue;
    chain.push_back(one.student);
    if (chain.size() > 1) append(out[8], study::try_student_arm(exec, std::span<const study::span_student>(chain)));
  }
  for (const auto& forms : fits.spans)
    for (auto& one : need(study::try_map_arms(exec, forms))) {
      const std::string name(one.map);
      auto to = std::find_if(out.begin(), out.end(), [&](const auto& t) { return t.name == name; });
      if (to == out.end())
        to = out.insert(out.end(), {name, "a closed-form map of this kind in the place of layers", false, {}});
      to->arms.push_back(std::move(one));
    }
  std::erase_if(out, [](const auto& t) { return t.arms.empty(); });
  return out;
}

inline std::vector<resect::study::arm> plain_arms(const std::vector<inject_table>& tables) {
  std::vector<resect::study::arm> out;
  for (const auto& t : tables)
    for (const auto& a : t.arms) out.push_back(a.arm);
  return out;
}

namespace inject_detail {

// Plans of the same operators on as many layers take the same time: their kind. None of a plan that draws weights, which says
// nothing of speed.
inline std::optional<std::string> speed_kind(const resect::residual::plan& plan) {
  std::string name;
  for (const auto& s : plan.steps()) {
    if (s.what == resect::residual::form::weights) return std::nullopt;
    name += std::string(s.op.id()) + " " + std::to_string(s.range.last - s.range.first) + " ";
  }
  return name;
}
constexpr int speed_rounds = 3;

// One plan of each kind is measured, in rounds over all of them, and the median stands for its kind.
template <class Backend, class H>
void measure_speed(Backend& exec, H& host, const study::token_windows& windows,
                   const std::vector<study::spliced_arm>& arms, inject_results& to) {
  struct kind {
    std::string name;
    const resect::residual::plan* plan;
    std::vector<double> speeds;
  };
  const resect::residual::plan intact;
  std::vector<kind> kinds{{"", &intact, {}}};
  std::vector<std::size_t> kind_of(arms.size());
  for (std::size_t i = 0; i < arms.size(); ++i) {
    const auto name = speed_kind(arms[i].arm.plan);
    if (!name) continue;
    auto at = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.name == *name; });
    if (at == kinds.end()) at = kinds.insert(at, {*name, &arms[i].arm.plan, {}});
    kind_of[i] = static_cast<std::size_t>(at - kinds.begin());
  }
  for (int round = 0; round < speed_rounds; ++round)
    for (auto& k : kinds) k.speeds.push_back(need(study::try_tokens_per_second(exec, host, *k.plan, windows, 0.05)));
  for (auto& k : kinds) std::sort(k.speeds.begin(), k.speeds.end());
  to.intact_tokens_per_second = kinds.front().speeds[1];
  for (std::size_t i = 0; i < arms.size(); ++i)
    if (kind_of[i] > 0) to.rows[i].tokens_per_second = kinds[kind_of[i]].speeds[1];
}

// One probe an arm, controls aside; of arms that differ in their seed the first.
template <class Backend, class H>
void measure_probes(Backend& exec, H& host, const study::labelled_texts& texts, std::uint64_t seed, inject_results& to,
                    const inject_progress& show) {
  auto probe = need(study::surgery_probe<Backend, H>::try_start(exec, host, texts));
  to.probe_intact = need(probe.try_head_in(resect::residual::plan{}));
  to.probe_last = need(probe.try_embeddings(study::embedding_rows::last));
  to.probe_mean = need(probe.try_embeddings(study::embedding_rows::mean));
  std::size_t i = 0;
  for (const auto& t : to.tables)
    for (const auto& a : t.arms) {
      const auto id = study::identity_of(a.arm.plan);
      if (!t.control && !a.of_these_rows && (!id.seed || *id.seed == seed))
        to.rows[i].probe = need(probe.try_head_in(a.arm.plan));
      ++i;
      show("probes");
    }
}

}  // namespace inject_detail

// Measures every arm at the splice, after every later layer and at the outputs; then probes and speeds.
//   run    a runner that has run the intact model over texts.evaluation
template <class Backend, class H>
inject_results measure_injection(Backend& exec, H& host, resect::study::runner<Backend, H>& run,
                                 const inject_texts& texts, const inject_settings& o, std::vector<inject_table> tables,
                                 const inject_fits& fits, const inject_progress& show,
                                 resect::study::progress_report report,
                                 const std::function<resect::study::progress()>& at) {
  namespace study = resect::study;
  inject_results out;
  out.tables = std::move(tables);
  std::vector<study::spliced_arm> arms;
  for (const auto& t : out.tables) arms.insert(arms.end(), t.arms.begin(), t.arms.end());
  out.rows.assign(arms.size(), inject_row(texts.evaluation.n_clusters));
  out.intact_flop = study::flop_per_token(host, resect::residual::plan{});
  for (std::size_t i = 0; i < arms.size(); ++i)
    out.rows[i].flop = study::flop_per_token(host, arms[i].arm.plan) + arms[i].map_flop;
  for (const auto& f : fits.spans) out.fits.push_back(inject_detail::to_fit(f));
  for (const auto& f : fits.students) out.students.push_back(f.found);

  const auto plain = plain_arms(out.tables);
  need(run.try_visit(
      plain,
      [&](std::size_t i, auto& model) -> resect::status {
        inject_row& row = out.rows[i];
        if (model.twin()) {
          row.effects = out.rows[*model.twin()].effects;
          row.errors = out.rows[*model.twin()].errors;
          return {};
        }
        if (arms[i].splice >= 0) {
          auto errors = study::try_stream_errors(model, *fits.intact, arms[i].splice);
          if (!errors) return errors.error();
          row.errors = std::move(*errors);
        }
        auto sums = run.try_effect(model);
        if (!sums) return sums.error();
        row.effects = *sums ? **sums : out.rows[*model.twin()].effects;
        return {};
      },
      report, at()));
  if (o.measure_speed) inject_detail::measure_speed(exec, host, texts.evaluation, arms, out);
  show("speed of plans");
  if (texts.labelled) inject_detail::measure_probes(exec, host, *texts.labelled, o.seed, out, show);
  return out;
}

}  // namespace studies
