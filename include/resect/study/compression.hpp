// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <resect/compress/weight_method.hpp>
#include <resect/core/reduce.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/metrics/rows/unigrams.hpp>
#include <resect/metrics/verdicts/causal.hpp>
#include <resect/study/runner.hpp>
#include <resect/study/sensitivity.hpp>
#include <resect/study/table.hpp>

// The compression study measures the effect of storing a layer's matrices with fewer bytes. Every layer is altered
// alone, and every layer is spared alone while all others are altered.
namespace RESECT_NAMESPACE::study {

// Options of the compression study: layers, and the bootstrap of their ranks.
struct compression_options {
  std::vector<int> layers{};  // empty: all. All of them are altered together in KL(p₀ ‖ p_all)
  std::uint64_t seed = 1;     // seed of the bootstrap
  index_t bootstrap = 1000;   // resamples for the intervals of ranks
  index_t head_rows = 512;    // rows whose logits are held at a time
  double floor = 0;           // floor of KL (table_options::floor)
};

// The results of one layer: S_l = mean KL(p₀ ‖ p_l) with its matrices alone altered; R_l = mean [KL(p₀ ‖ p_all) −
// KL(p₀ ‖ p_all∖l)] on the same positions; I_l = R_l − S_l. Standard errors of R and I from differences cluster by
// cluster.
struct compression_row {
  table_row alone;                // alone.mean.kl is S_l; its mark and rank
  effect_sums without;            // effect of altering every chosen layer but this one
  arm_identity without_id;        // of that arm
  metrics::causal_effect causal;  // S_l, R_l, I_l; R and I are NaN where saturated
  double error = metrics::nan;    // ‖W − Ŵ‖_F / ‖W‖_F over the matrices of the layer
  double bits = metrics::nan;     // stored bits a weight of these matrices; NaN where the method gives none

  int layer() const noexcept { return alone.layer(); }
};

// The result of the compression study of one method: all layers altered together, every layer alone and spared.
struct compression_report {
  compression_options options;
  short_text<48> method;
  std::uint64_t method_hash = 0;
  field_list parameters;  // of the method
  arm_identity all_id;    // of the arm that alters every chosen layer
  effect all;
  effect_sums all_sums{0};
  metrics::estimate unigram_kl;  // KL(p₀ ‖ unigram), unigrams of the calibration text, one added to every count
  bool saturated = false;        // KL(p₀ ‖ p_all) > ½·KL(p₀ ‖ unigram): R_l says nothing then
  std::vector<compression_row> rows;
};

namespace detail {

// A step that gives the matrices of one layer other values, made once: every run has the same bytes.
struct layer_artifact {
  residual::step step;
  double error = 0;  // relative, Frobenius
  double bits = metrics::nan;
};

// The matrices of a layer under a method, by their ids, with what the method cost.
struct altered_matrices {
  std::vector<int> ids;
  std::vector<std::vector<float>> values;  // empty where the method left the weight
  double lost = 0, whole = 0, bits = 0, weights = 0;
};

// Whether a method has a function and may alter this model. Errors: null_pointer, what the method says.
template <class = void>
status check_method(const compress::weight_method& method, const model::model_desc& m) {
  if (!method.apply) return error{errc::null_pointer, "method", "no function", "a function"};
  return method.check_model ? method.check_model(m.fingerprint) : status{};
}

template <model::surgical_host H>
status try_alter(executor_ref exec, const H& host, const compress::weight_method& method, const model::weight_desc& w,
                 altered_matrices& to) {
  to.ids.push_back(w.id);
  auto& values = to.values.emplace_back();
  if (w.role != model::weight_role::matrix) return {};
  values.resize(static_cast<std::size_t>(w.rows * w.cols));
  const matrix_view<float> view{values.data(), w.rows, w.cols};
  if (auto s = host.try_read_weight(w, view); !s) return s;
  const std::vector<float> before = values;
  if (auto s = method.apply(w, view, exec); !s)
    return s.error().within(text(method.name.view(), " of layer ", w.layer, ", ", w.name.view()).view());
  to.weights += static_cast<double>(w.rows * w.cols);
  if (method.stored_bits) to.bits += method.stored_bits(w);
  to.whole += dot(before, before);
  for (std::size_t k = 0; k < before.size(); ++k) {
    const double d = static_cast<double>(before[k]) - static_cast<double>(values[k]);
    to.lost += d * d;
  }
  return {};
}

// An operator that hands out stored values; it has the identity and the parameters of the method that made them.
struct stored_values {
  std::string_view id;
  std::uint64_t method = 0;
  field_list parameters;
  altered_matrices made;

  residual::operator_facts facts() const noexcept { return {.what = residual::form::weights, .overwrites = true}; }
  void fields(field_visitor& v) const {
    for (const auto& f : parameters)
      if (f.word.empty()) v.number(f.name, f.number);
      else v.word(f.name, f.word);
    v.key("method", method, parameters.is_complete() ? listed_by::source : listed_by::hash);
  }
  residual::weight_change change(const model::weight_desc& w, matrix_view<float> to, executor_ref) const {
    for (std::size_t i = 0; i < made.ids.size(); ++i) {
      if (made.ids[i] != w.id || made.values[i].empty()) continue;
      for (index_t r = 0; r < to.rows; ++r)
        for (index_t c = 0; c < to.cols; ++c) to(r, c) = made.values[i][static_cast<std::size_t>(r * to.cols + c)];
      return true;
    }
    return false;
  }
};

template <class = void>
residual::step stored_step(const compress::weight_method& method, int l, altered_matrices made) {
  const std::string_view id = method.id.empty() ? "resect.custom/1" : method.id;
  residual::step s{residual::layer(l), stored_values{id, method.hash, method.fields, std::move(made)}};
  s.name = method.name;
  return s;
}

template <model::surgical_host H>
result<layer_artifact> try_layer_artifact(executor_ref exec, const H& host, const compress::weight_method& method,
                                          int l) {
  altered_matrices made;
  const auto& held = host.weights(l);
  const std::span<const model::weight_desc> all = held;
  for (const model::weight_desc& w : all)
    if (auto s = try_alter(exec, host, method, w, made); !s) return s.error();
  layer_artifact out;
  out.error = made.whole > 0 ? std::sqrt(made.lost / made.whole) : 0.0;
  if (method.stored_bits && made.weights > 0) out.bits = made.bits / made.weights;
  out.step = stored_step(method, l, std::move(made));
  return out;
}

template <class = void>
status try_unigram_logits(const token_windows& calibration, std::span<float> out) {
  if (!calibration.unigrams.empty()) return metrics::try_unigram_logits(calibration.unigrams, out);
  std::vector<std::int32_t> seen;
  for (std::size_t r = 0; r < calibration.rows.size(); ++r)
    if (calibration.cluster[r] >= 0) seen.push_back(calibration.rows[r].token);
  return metrics::try_unigram_logits(seen, out);
}

// KL(p₀ ‖ unigram) over the counted rows.
template <executor Backend>
result<metrics::clustered_sums> try_unigram_kl(Backend& backend, const intact_outputs& intact,
                                               const token_windows& windows, const token_windows& calibration) {
  const auto rows = static_cast<index_t>(windows.rows.size());
  std::vector<float> unigram(static_cast<std::size_t>(intact.vocabulary));
  if (auto s = try_unigram_logits(calibration, unigram); !s) return s.error();
  std::vector<double> kl(static_cast<std::size_t>(rows));
  const instruction_set set = instructions_of(backend);
  backend.bulk(rows, [&](index_t r) {
    kl[static_cast<std::size_t>(r)] = metrics::compare_logits(set, intact.logits_of(r), unigram).kl;
  });
  metrics::clustered_sums sums(windows.n_clusters);
  for (index_t r = 0; r < rows; ++r)
    if (const index_t cluster = windows.cluster[static_cast<std::size_t>(r)]; cluster >= 0)
      sums.add(cluster, kl[static_cast<std::size_t>(r)]);
  return sums;
}

// All chosen layers but one (or none).
template <class = void>
result<arm> arm_without(std::span<const layer_artifact> artifacts, std::size_t spared, std::string label) {
  arm out{{}, std::move(label)};
  for (std::size_t i = 0; i < artifacts.size(); ++i)
    if (i != spared)
      if (auto s = out.plan.try_add(artifacts[i].step); !s) return s.error();
  return out;
}

// Every layer alone, every layer spared, and all layers: 2n + 1 arms in this order.
template <class = void>
result<std::vector<arm>> try_compression_arms(const compress::weight_method& method, const std::vector<int>& layers,
                                              std::span<const layer_artifact> artifacts) {
  std::vector<arm> out;
  const auto label = [&](const auto&... parts) { return std::string(text(method.name.view(), parts...).view()); };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    arm alone{{}, label(" of layer ", layers[i])};
    if (auto s = alone.plan.try_add(artifacts[i].step); !s) return s.error();
    out.push_back(std::move(alone));
  }
  for (std::size_t i = 0; i <= layers.size(); ++i) {
    auto others =
        arm_without(artifacts, i, i < layers.size() ? label(" of all but layer ", layers[i]) : label(" of all layers"));
    if (!others) return others.error();
    out.push_back(std::move(*others));
  }
  return result<std::vector<arm>>(std::move(out));
}

// Steps on weights that do nothing, in the place of a method's: what an estimate walks over.
template <class = void>
std::vector<layer_artifact> no_artifacts(const std::vector<int>& layers, const compress::weight_method& method) {
  std::vector<layer_artifact> out;
  for (const int l : layers) {
    out.emplace_back();
    out.back().step = stored_step(method, l, {});
  }
  return out;
}

}  // namespace detail

// An estimate of the cost of try_compression; nothing runs. The making of the altered weights is not counted. Options
// that try_compression refuses cost nothing.
template <model::surgical_host H>
study_cost estimate_compression_cost(const H& host, const token_windows& evaluation,
                                     const compression_options& o = {}) {
  const auto& m = host.describe();
  if (!detail::check_layers(o.layers, m.n_layers)) return {};
  const auto layers = detail::chosen_layers(o.layers, m.n_layers);
  const compress::weight_method none{"none", 1, {}};
  const auto arms = detail::try_compression_arms(none, layers, detail::no_artifacts(layers, none));
  if (!arms) return {};
  study_cost cost = estimate_cost(host, evaluation, *arms, {.head_rows = o.head_rows});
  for (const int l : layers)
    for (const auto& w : host.weights(l)) cost.bytes += 4.0 * static_cast<double>(w.rows * w.cols);
  return cost;
}

// Runs the compression study of one method on a started runner, so that several methods share its intact pass and its
// prefixes. The altered weights are computed once from the intact ones and kept during the study (4 bytes a weight of
// the chosen layers).
//   calibration   its `unigrams` (those of all of its text where try_calibration_windows made it), or else those of its
//                 rows
// Marks after Holm over the layers; ranks by S_l with bootstrap intervals over clusters.
// Determinism: the same bits for any number of workers. Errors: as try_compression.
template <class Backend, model::surgical_host H>
result<compression_report> try_compression(Backend& backend, H& host, runner<Backend, H>& run,
                                           const token_windows& calibration, const compress::weight_method& method,
                                           const compression_options& options,
                                           progress_report report = detail::no_report, progress at = {}) {
  const model::model_desc& m = host.describe();
  if (auto s = detail::check_layers(options.layers, m.n_layers); !s) return s.error();
  if (auto s = check_disjoint(run.windows(), calibration); !s) return s.error();
  if (auto s = detail::check_method(method, m); !s) return s.error();
  compression_report out;
  out.options = options;
  out.options.layers = detail::chosen_layers(options.layers, m.n_layers);
  out.method = method.name;
  out.method_hash = method.hash;
  out.parameters = method.fields;
  const auto unigram_kl = detail::try_unigram_kl(backend, run.outputs(), run.windows(), calibration);
  if (!unigram_kl) return unigram_kl.error();
  out.unigram_kl = unigram_kl->estimate(0.95, metrics::mean_range::nonnegative);

  const std::vector<int>& layers = out.options.layers;
  std::vector<detail::layer_artifact> artifacts;
  for (const int l : layers) {
    const auto making = text(method.name.view(), " of layer ", l);
    at.step = making.view();
    report(at);
    auto made = detail::try_layer_artifact(backend, host, method, l);
    if (!made) return made.error();
    artifacts.push_back(std::move(*made));
  }
  const auto arms = detail::try_compression_arms(method, layers, artifacts);
  if (!arms) return arms.error();
  const auto measured = run.try_effects(*arms, report, at);
  if (!measured) return measured.error();

  const std::size_t n = layers.size();
  out.all_sums = measured->back();
  out.all = out.all_sums.estimate();
  out.all_id = identity_of(arms->back().plan);
  auto alone = try_tabulate(std::span(*arms).first(n), std::span(*measured).first(n),
                            {table_of::all_arms, options.seed, options.bootstrap, options.floor});
  if (!alone) return alone.error();
  for (std::size_t i = 0; i < n; ++i) {
    compression_row row{std::move((*alone)[i]), (*measured)[n + i], identity_of((*arms)[n + i].plan), {},
                        artifacts[i].error,     artifacts[i].bits};
    auto causal = metrics::try_causal_effect(row.alone.runs.front().kl.sums(), out.all_sums.kl.sums(),
                                             row.without.kl.sums(), *unigram_kl);
    if (!causal) return causal.error();
    row.causal = *causal;
    out.saturated = causal->saturated;
    out.rows.push_back(std::move(row));
  }
  return out;
}

// Runs the compression study of one method with a runner of its own.
//   evaluation    rows that are measured
//   calibration   as above; shares no id with the evaluation (refused, see check_disjoint)
// Cost: estimate_compression_cost.
// Errors: as try_sensitivity; what the method reports, with the matrix named.
template <class Backend, model::surgical_host H>
  requires executor<Backend> && std::same_as<typename H::value, float>
result<compression_report> try_compression(Backend& backend, H& host, const token_windows& evaluation,
                                           const token_windows& calibration, const compress::weight_method& method,
                                           const compression_options& options, progress_report report) {
  if (auto s = detail::check_layers(options.layers, host.describe().n_layers); !s) return s.error();
  if (auto s = check_disjoint(evaluation, calibration); !s) return s.error();
  if (auto s = detail::check_method(method, host.describe()); !s) return s.error();
  const auto cost = estimate_compression_cost(host, evaluation, options);
  progress at{0, cost.flop, "baseline"};
  report(at);
  auto run = runner<Backend, H>::try_start(backend, host, evaluation, {.head_rows = options.head_rows});
  if (!run) return run.error();
  at.done = cost.baseline_flop;
  report(at);
  return try_compression(backend, host, *run, calibration, method, options, report, at);
}

#if RESECT_EXCEPTIONS
template <class Backend, model::surgical_host H>
compression_report compression(Backend& backend, H& host, const token_windows& evaluation,
                               const token_windows& calibration, const compress::weight_method& method,
                               const compression_options& options = {}) {
  return value_or_throw(try_compression(backend, host, evaluation, calibration, method, options, detail::no_report));
}
#endif

}  // namespace RESECT_NAMESPACE::study
