// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/residual/operators.hpp>
#include <resect/study/delta_means.hpp>
#include <resect/study/runner.hpp>
#include <resect/study/table.hpp>
#include <resect/study/windows.hpp>

// The sensitivity study measures how much each layer matters. Every chosen layer is altered alone, by every chosen
// operator, and the outputs are compared with those of the intact model on the same tokens.
namespace RESECT_NAMESPACE::study {

// The operators of the study.
enum class alteration : std::uint8_t {
  skip,         // Δ := 0
  mean_delta,   // Δ := its mean over calibration rows
  reinit,       // random weights, several seeds
  zero_stream,  // h := 0 after the layer (a control, far off distribution)
};

// The name of an operator in reports: "mean_delta".
constexpr std::string_view name(alteration a) noexcept {
  constexpr std::string_view names[] = {"skip", "mean_delta", "reinit", "zero_stream"};
  return names[static_cast<int>(a)];
}

// Options of the sensitivity study: operators, layers, and the seeds of random weights.
struct sensitivity_options {
  std::vector<alteration> alterations{alteration::skip, alteration::mean_delta, alteration::reinit,
                                      alteration::zero_stream};
  std::vector<int> layers{};  // empty: all
  std::uint64_t seed = 1;     // seed of re-initialization and of the bootstrap
  int reinit_seeds = 5;
  residual::norm_gains reinit_gains = residual::norm_gains::reset;
  residual::reinit_options reinit{};
  index_t bootstrap = 1000;  // resamples for the intervals of ranks
  index_t head_rows = 512;   // rows whose logits are held at a time
  double floor = 0;          // floor of KL (table_options::floor)
};

// The result of the sensitivity study: the intact model, and a row for every operator and altered layer. `options`
// are the options of the run, with all layers filled in.
struct sensitivity_report {
  sensitivity_options options;
  baseline intact;
  residual::delta_means means;  // of the calibration rows; empty without mean_delta
  std::vector<table_row> rows;  // by alteration, then by layer

  // The row of an operator and layer, or null.
  const table_row* find(alteration what, int layer) const noexcept {
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i].layer() == layer && options.alterations[i / options.layers.size()] == what) return &rows[i];
    return nullptr;
  }
};

namespace detail {

template <class = void>
std::vector<int> chosen_layers(const std::vector<int>& asked, int n_layers) {
  if (!asked.empty()) return asked;
  std::vector<int> all;
  for (int l = 0; l < n_layers; ++l) all.push_back(l);
  return all;
}

template <class = void>
status check_layers(const std::vector<int>& layers, int n_layers) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= n_layers)
      return error{errc::invalid_argument, "layers", text("layer ", layers[i]), text("layers 0 to ", n_layers - 1)};
    if (i > 0 && layers[i] <= layers[i - 1])
      return error{errc::invalid_argument, "layers", text(layers[i], " after ", layers[i - 1]),
                   "ascending layers, each once"};
  }
  return {};
}

template <class = void>
status check_options(const sensitivity_options& o, const model::model_desc& m) {
  if (o.alterations.empty()) return error{errc::invalid_argument, "alterations", "none", "1 or more"};
  if (o.reinit_seeds < 1) return error{errc::invalid_argument, "reinit_seeds", text(o.reinit_seeds), "1 or more"};
  if (o.head_rows < 1) return error{errc::invalid_argument, "head_rows", text(o.head_rows), "1 or more"};
  return check_layers(o.layers, m.n_layers);
}

template <class = void>
result<residual::step> alteration_step(alteration a, int layer, std::uint64_t seed, const sensitivity_options& o,
                                       const residual::delta_means& means) {
  const auto at = residual::layer(layer);
  switch (a) {
    case alteration::skip: return residual::skip(at);
    case alteration::mean_delta: return residual::try_mean_delta(at, means);
    case alteration::reinit: return residual::reinit(at, seed, o.reinit_gains, o.reinit);
    case alteration::zero_stream: return residual::zero_stream(at);
  }
  return error{errc::invalid_argument, "alteration", text(static_cast<int>(a)), "an operator of the study"};
}

// The arm of one alteration, layer and seed, and its label: "reinit of layer 3".
template <class = void>
result<arm> alteration_arm(alteration a, int layer, std::uint64_t seed, const sensitivity_options& o,
                           const residual::delta_means& means) {
  auto step = alteration_step(a, layer, seed, o, means);
  if (!step) return step.error();
  arm out;
  out.label = std::string(text(name(a), " of layer ", layer).view());
  if (auto s = out.plan.try_add(std::move(*step)); !s) return s.error();
  return out;
}

// Means of zeros: what an estimate of costs puts in place of means that are not measured yet.
template <class = void>
residual::delta_means no_means(const model::model_desc& m) {
  return {.n_layers = m.n_layers,
          .width = m.d_model,
          .mean = std::vector<float>(static_cast<std::size_t>(m.n_layers) * static_cast<std::size_t>(m.d_model))};
}

}  // namespace detail

// Whether the sensitivity study reads its calibration windows (for mean_delta).
template <class = void>
bool needs_calibration(const sensitivity_options& o) noexcept {
  return algo::find(o.alterations.begin(), o.alterations.end(), alteration::mean_delta) != o.alterations.end();
}

// The arms of the sensitivity study, by operator, then layer, then seed. `means` are read for mean_delta only.
// Errors: as try_sensitivity for the options.
template <class = void>
result<std::vector<arm>> try_sensitivity_arms(const model::model_desc& m, const sensitivity_options& o,
                                              const residual::delta_means& means) {
  if (auto s = detail::check_options(o, m); !s) return s.error();
  std::vector<arm> out;
  for (const alteration a : o.alterations)
    for (const int l : detail::chosen_layers(o.layers, m.n_layers))
      for (int run = 0; run < (a == alteration::reinit ? o.reinit_seeds : 1); ++run) {
        auto one = detail::alteration_arm(a, l, o.seed + static_cast<std::uint64_t>(run), o, means);
        if (!one) return one.error();
        out.push_back(std::move(*one));
      }
  return result<std::vector<arm>>(std::move(out));
}

// An estimate of the cost of try_sensitivity; nothing runs. Options that try_sensitivity refuses cost nothing.
template <model::surgical_host H>
study_cost estimate_cost(const H& host, const token_windows& evaluation, index_t calibration_rows,
                         const sensitivity_options& o = {}) {
  const auto arms = try_sensitivity_arms(host.describe(), o, detail::no_means(host.describe()));
  if (!arms) return {};
  study_cost cost = estimate_cost(host, evaluation, *arms, {.head_rows = o.head_rows});
  if (needs_calibration(o))
    cost.flop += detail::pass_flop(host, calibration_rows) - detail::head_flop(host.describe(), calibration_rows);
  return cost;
}

// Runs the sensitivity study: measures the mean deltas, then every arm of try_sensitivity_arms.
//   evaluation    rows that are measured; clusters as token_windows says
//   calibration   rows for the mean deltas; shares no id with the evaluation (refused, see check_disjoint). Not read
//                 without mean_delta
//   report        called with the work done so far
// Measures as in effect.hpp; marks only after Holm over the layers of each alteration; ranks by KL with bootstrap
// intervals over clusters.
// Determinism: the same bits for any number of workers of `backend` and of the host.
// Memory: rows · n_vocab floats for the intact logits. Cost: estimate_cost.
// Errors: a layer that does not exist, overlapping sets, rows that are not finite (named), what the host says.
template <class Backend, model::surgical_host H>
  requires executor<Backend> && std::same_as<typename H::value, float>
result<sensitivity_report> try_sensitivity(Backend& backend, H& host, const token_windows& evaluation,
                                           const token_windows& calibration, const sensitivity_options& options,
                                           progress_report report) {
  const model::model_desc& m = host.describe();
  if (auto s = detail::check_options(options, m); !s) return s.error();
  if (auto s = check_disjoint(evaluation, calibration); !s) return s.error();

  sensitivity_report out;
  out.options = options;
  out.options.layers = detail::chosen_layers(options.layers, m.n_layers);
  const auto cost = estimate_cost(host, evaluation, static_cast<index_t>(calibration.rows.size()), options);
  progress at{0, cost.flop, "baseline"};
  report(at);
  if (needs_calibration(options)) {
    auto means = try_delta_means(host, calibration);
    if (!means) return means.error();
    out.means = std::move(*means);
    const auto rows = static_cast<index_t>(calibration.rows.size());
    at.done += detail::pass_flop(host, rows) - detail::head_flop(m, rows);
  }
  auto run = runner<Backend, H>::try_start(backend, host, evaluation, {.head_rows = options.head_rows});
  if (!run) return run.error();
  out.intact = run->intact();
  at.done += cost.baseline_flop;
  report(at);

  const auto arms = try_sensitivity_arms(m, options, out.means);
  if (!arms) return arms.error();
  const auto measured = run->try_effects(*arms, report, at);
  if (!measured) return measured.error();
  auto rows =
      try_tabulate(*arms, *measured, {.seed = options.seed, .bootstrap = options.bootstrap, .floor = options.floor});
  if (!rows) return rows.error();
  out.rows = std::move(*rows);
  return out;
}

#if RESECT_EXCEPTIONS
template <class Backend, model::surgical_host H>
sensitivity_report sensitivity(Backend& backend, H& host, const token_windows& evaluation,
                               const token_windows& calibration, const sensitivity_options& options = {}) {
  return value_or_throw(try_sensitivity(backend, host, evaluation, calibration, options, detail::no_report));
}
#endif

}  // namespace RESECT_NAMESPACE::study
