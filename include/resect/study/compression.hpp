// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <resect/compress/weight_method.hpp>
#include <resect/metrics/verdicts/causal.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/baseline.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/sensitivity.hpp>
#include <resect/study/windows.hpp>

// What does it cost to store a layer's matrices with fewer bytes? Every layer is altered alone, and every layer is
// spared alone while all others are altered.
namespace RESECT_NAMESPACE::study {

// Which layers, and how their ranks are drawn.
struct compression_options {
  std::vector<int> layers{};  // empty: all. All of them are altered together in KL(p₀ ‖ p_all)
  std::uint64_t seed = 1;     // of the bootstrap
  index_t bootstrap = 1000;     // resamples for the intervals of ranks
  index_t head_rows = 512;      // rows whose logits are held at a time
};

// One layer: S_l = mean KL(p₀ ‖ p_l), its matrices altered and no other; R_l = mean [KL(p₀ ‖ p_all) − KL(p₀ ‖ p_all∖l)]
// on the same positions; I_l = R_l − S_l. Standard errors of R and I from differences cluster by cluster.
struct compression_row {
  int layer = 0;
  effect_sums alone;         // of S_l, and of top-1, Δln PPL and cosine of the same run
  effect mean;               // mean.kl is S_l
  metrics::clustered_sums without;  // KL(p₀ ‖ p_all∖l)
  metrics::causal_effect causal;  // S_l, R_l, I_l; R and I are NaN where saturated
  metrics::mark mark = metrics::mark::none;
  metrics::rank_interval rank;    // by S_l, 1 = largest
  double error = metrics::nan;    // ‖W − Ŵ‖_F / ‖W‖_F over the layer's matrices
  double bits = metrics::nan;     // stored bits a weight of them, where the method says

  explicit compression_row(index_t clusters) : alone(clusters), without(clusters) {}
};

// What the study of one method found: the intact model, all layers altered together, every layer alone and spared.
struct compression_report {
  compression_options options;
  short_text<48> method;
  std::uint64_t method_hash = 0;
  baseline intact;
  effect all;                     // every chosen layer altered
  effect_sums all_sums{0};
  metrics::estimate unigram_kl;   // KL(p₀ ‖ unigram), unigrams of the calibration text, one added to every count
  bool saturated = false;         // KL(p₀ ‖ p_all) > ½·KL(p₀ ‖ unigram): R_l says nothing then
  std::vector<compression_row> rows;
};

namespace detail {

// A step that gives one layer's matrices other values, made once: every run has the same bytes.
struct layer_artifact {
  residual::step step;
  double error = 0;  // relative, Frobenius
  double bits = metrics::nan;
};

template <model::surgical_host H>
result<layer_artifact> try_layer_artifact(executor_ref exec, const H& host, const compress::weight_method& method, int l) {
  const auto& held = host.weights(l);
  const std::span<const model::weight_desc> all = held;
  std::vector<std::vector<float>> values(all.size());
  double lost = 0, whole = 0, bits = 0, weights = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const model::weight_desc& w = all[i];
    if (w.role != model::weight_role::matrix) continue;
    values[i].resize(static_cast<std::size_t>(w.rows * w.cols));
    const matrix_view<float> view{values[i].data(), w.rows, w.cols};
    if (auto s = host.try_read_weight(w, view); !s) return s.error();
    const std::vector<float> before = values[i];
    if (auto s = method.apply(w, view, exec); !s) {
      error e = s.error();
      e.operand = text(method.name.view(), " of layer ", l, ", ", w.name.view(), ": ", e.operand.view());
      return e;
    }
    weights += static_cast<double>(w.rows * w.cols);
    if (method.stored_bits) bits += method.stored_bits(w);
    whole += dot(before, before);
    for (std::size_t k = 0; k < before.size(); ++k) {
      const double d = static_cast<double>(before[k]) - static_cast<double>(values[i][k]);
      lost += d * d;
    }
  }
  layer_artifact out;
  out.error = whole > 0 ? std::sqrt(lost / whole) : 0.0;
  if (method.stored_bits && weights > 0) out.bits = bits / weights;
  out.step.what = residual::step::kind::weights;
  out.step.range = residual::layer(l);
  out.step.name = method.name;
  out.step.hash = method.hash;
  std::vector<int> ids;
  for (const model::weight_desc& w : host.weights(l)) ids.push_back(w.id);
  out.step.on_weight = [values = std::move(values), ids = std::move(ids)](const model::weight_desc& w,
                                                                          matrix_view<float> to, executor_ref) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] != w.id || values[i].empty()) continue;
      for (index_t r = 0; r < to.rows; ++r)
        for (index_t c = 0; c < to.cols; ++c) to(r, c) = values[i][static_cast<std::size_t>(r * to.cols + c)];
      return true;
    }
    return false;
  };
  return out;
}

inline status try_unigram_logits(const token_windows& calibration, std::span<float> out) {
  if (!calibration.unigrams.empty()) return metrics::try_unigram_logits(calibration.unigrams, out);
  std::vector<std::int32_t> seen;
  for (std::size_t r = 0; r < calibration.rows.size(); ++r)
    if (calibration.cluster[r] >= 0) seen.push_back(calibration.rows[r].token);
  return metrics::try_unigram_logits(seen, out);
}

}  // namespace detail

// What try_compression would cost; nothing is run. The making of the altered weights is not counted.
template <model::surgical_host H>
sensitivity_cost estimate_compression_cost(const H& host, const token_windows& evaluation,
                                           const compression_options& o = {}) {
  const auto& m = host.describe();
  const auto rows = static_cast<index_t>(evaluation.rows.size());
  const auto layers = detail::chosen_layers({.layers = o.layers}, m.n_layers);
  sensitivity_cost cost;
  double layer = 0;
  for (int l = 0; l < m.n_layers; ++l) layer += detail::layer_flop(host, l, rows);
  cost.baseline_flop = layer + detail::head_flop(m, rows);
  cost.flop = cost.baseline_flop * 2 + layer;  // intact, all altered, and the intact prefix once more
  cost.bytes = 4.0 * static_cast<double>(m.n_vocab) * static_cast<double>(rows + std::min(rows, o.head_rows));
  for (const int l : layers) {
    cost.runs += 2;
    for (int later = l; later < m.n_layers; ++later) cost.flop += 2 * detail::layer_flop(host, later, rows);
    cost.flop += 2 * detail::head_flop(m, rows);
    for (const auto& w : host.weights(l)) cost.bytes += 4.0 * static_cast<double>(w.rows * w.cols);
  }
  return cost;
}

// Runs the study of one method. Altered weights are made once, of the intact ones, and kept (4 bytes a weight of the
// chosen layers). Runs restart from two shared prefixes: the intact one, and the one with every layer altered.
//   evaluation    rows that are measured
//   calibration   its `unigrams` (those of all of its text where try_calibration_windows made it), or else those of its
//                 rows; shares no id with the evaluation (refused, see check_disjoint)
// Marks after Holm over the layers; ranks by S_l with bootstrap intervals over clusters.
// Determinism: the same bits for any number of workers. Cost: estimate_compression_cost.
// Errors: as try_sensitivity; what the method reports, with the matrix named.
template <class Backend, model::surgical_host H>
requires executor<Backend> && std::same_as<typename H::value, float> result<compression_report> try_compression(
    Backend& backend, H& host, const token_windows& evaluation, const token_windows& calibration,
    const compress::weight_method& method, const compression_options& options, function_ref<void(const progress&)> report) {
  const model::model_desc& m = host.describe();
  const sensitivity_options check{.layers = options.layers, .head_rows = options.head_rows};
  if (auto s = detail::check_options(check, m); !s) return s.error();
  if (auto s = check_disjoint(evaluation, calibration); !s) return s.error();
  if (!method.apply) return error{errc::null_pointer, "method", "no function", "one"};

  compression_report out;
  out.options = options;
  out.options.layers = detail::chosen_layers(check, m.n_layers);
  out.method = method.name;
  out.method_hash = method.hash;
  const auto rows = static_cast<index_t>(evaluation.rows.size());
  const auto cost = estimate_compression_cost(host, evaluation, options);
  progress at{0, cost.flop, "baseline", 0};
  report(at);

  intact_outputs reference;
  head_workspace work{.rows = options.head_rows};
  auto intact = try_baseline(backend, host, evaluation, work, reference);
  if (!intact) return intact.error();
  out.intact = std::move(*intact);
  std::vector<float> unigram(static_cast<std::size_t>(m.n_vocab));
  if (auto s = detail::try_unigram_logits(calibration, unigram); !s) return s.error();
  std::vector<double> to_unigram(static_cast<std::size_t>(rows));
  const instruction_set set = instructions_of(backend);
  backend.bulk(rows, [&](index_t r) {
    to_unigram[static_cast<std::size_t>(r)] = metrics::compare_logits(set, reference.logits_of(r), unigram).kl;
  });
  metrics::clustered_sums unigram_kl(evaluation.n_clusters);
  for (index_t r = 0; r < rows; ++r)
    if (const index_t cluster = evaluation.cluster[static_cast<std::size_t>(r)]; cluster >= 0)
      unigram_kl.add(cluster, to_unigram[static_cast<std::size_t>(r)]);
  out.unigram_kl = unigram_kl.estimate();
  at.done += cost.baseline_flop;

  std::vector<detail::layer_artifact> artifacts;
  residual::plan all;
  for (const int l : out.options.layers) {
    at.step = method.name.view();
    at.layer = l;
    report(at);
    auto made = detail::try_layer_artifact(backend, host, method, l);
    if (!made) return made.error();
    if (auto s = all.try_add(made->step); !s) return s.error();
    artifacts.push_back(std::move(*made));
  }

  const auto effect_of = [&](const typename H::state& state, std::string_view what, int l) -> result<effect_sums> {
    auto sums = try_effect(backend, host, state, evaluation, reference, work);
    if (sums) return sums;
    error e = sums.error();
    e.operand = text(method.name.view(), " ", what, " layer ", l, ": ", e.operand.view());
    return e;
  };
  auto plain = host.try_embed(evaluation.rows);
  if (!plain) return plain.error();
  auto altered = host.snapshot(*plain);
  int reached = 0;
  const auto rest = [&](int l) {
    double flop = detail::head_flop(m, rows);
    for (int later = l; later < m.n_layers; ++later) flop += detail::layer_flop(host, later, rows);
    return flop;
  };
  for (std::size_t i = 0; i < out.options.layers.size(); ++i) {
    const int l = out.options.layers[i];
    if (auto s = host.try_run(*plain, reached, l, model::no_hooks<float>()); !s) return s.error();
    if (auto s = residual::try_run(backend, host, all, altered, reached, l); !s) return s.error();
    reached = l;
    at.layer = l;

    auto state = host.snapshot(*plain);
    residual::plan one;
    if (auto s = one.try_add(artifacts[i].step); !s) return s.error();
    if (auto s = residual::try_run(backend, host, one, state, l, m.n_layers); !s) return s.error();
    auto alone = effect_of(state, "of", l);
    if (!alone) return alone.error();
    at.done += rest(l);
    report(at);

    state = host.snapshot(altered);
    if (auto s = host.try_run(state, l, l + 1, model::no_hooks<float>()); !s) return s.error();
    if (auto s = residual::try_run(backend, host, all, state, l + 1, m.n_layers); !s) return s.error();
    auto without = effect_of(state, "of all but", l);
    if (!without) return without.error();
    at.done += rest(l);
    report(at);

    compression_row row(evaluation.n_clusters);
    row.layer = l;
    row.alone = std::move(*alone);
    row.mean = row.alone.estimate();
    row.without = without->kl.sums();
    row.error = artifacts[i].error;
    row.bits = artifacts[i].bits;
    out.rows.push_back(std::move(row));
  }
  if (auto s = residual::try_run(backend, host, all, altered, reached, m.n_layers); !s) return s.error();
  auto together = effect_of(altered, "up to", m.n_layers - 1);
  if (!together) return together.error();
  out.all = together->estimate();
  out.all_sums = *together;
  at.done = cost.flop;
  report(at);

  for (compression_row& row : out.rows) {
    auto causal = metrics::try_causal_effect(row.alone.kl.sums(), together->kl.sums(), row.without, unigram_kl);
    if (!causal) return causal.error();
    row.causal = *causal;
    out.saturated = causal->saturated;
  }
  const auto kl_of = [](const compression_row& row) { return row.alone.kl.sums(); };
  if (auto s = detail::mark_and_rank(out.rows, kl_of, options.seed, options.bootstrap); !s) return s.error();
  return out;
}

#if RESECT_EXCEPTIONS
template <class Backend, model::surgical_host H>
compression_report compression(Backend& backend, H& host, const token_windows& evaluation,
                               const token_windows& calibration, const compress::weight_method& method,
                               const compression_options& options = {}) {
  return value_or_throw(
      try_compression(backend, host, evaluation, calibration, method, options, [](const progress&) {}));
}
#endif

}  // namespace RESECT_NAMESPACE::study
