// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <resect/metrics/verdicts/marks.hpp>
#include <resect/metrics/verdicts/rank.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>
#include <resect/study/baseline.hpp>
#include <resect/study/effect.hpp>
#include <resect/study/lost_stream.hpp>
#include <resect/study/windows.hpp>

// How much does each layer matter? Every chosen layer is altered alone, in every chosen way, and the
// model's outputs are compared with the intact model's on the same tokens.
namespace RESECT_NAMESPACE::study {

// What is done to a layer.
enum class alteration : std::uint8_t {
  skip,         // Δ := 0
  mean_delta,   // Δ := its mean over calibration rows
  reinit,       // random weights, several seeds
  zero_stream,  // h := 0 after the layer (a control, far off distribution)
};

// As reports call it: "mean_delta".
constexpr std::string_view name(alteration a) noexcept {
  constexpr std::string_view names[] = {"skip", "mean_delta", "reinit", "zero_stream"};
  return names[static_cast<int>(a)];
}

// What to alter, in which layers, and how what is drawn is drawn.
struct sensitivity_options {
  std::vector<alteration> alterations{alteration::skip, alteration::mean_delta, alteration::reinit,
                                      alteration::zero_stream};
  std::vector<int> layers{};     // empty: all
  std::uint64_t seed = 1;        // of re-initialization and of the bootstrap
  int reinit_seeds = 5;
  residual::norm_gains reinit_gains = residual::norm_gains::reset;
  residual::reinit_options reinit{};
  index_t bootstrap = 1000;        // resamples for the intervals of ranks
  index_t head_rows = 512;         // rows whose logits are held at a time
};

// One altered layer: its effect, with one set of sums a seed (one where there is no seed).
struct sensitivity_row {
  alteration what = alteration::skip;
  int layer = 0;
  std::vector<std::uint64_t> seeds;       // empty where the alteration draws nothing
  std::vector<effect_sums> runs;          // one a seed, or one
  effect mean;                            // over seeds
  std::vector<effect> per_run;
  metrics::mark mark = metrics::mark::none;
  metrics::rank_interval rank;            // by KL among the layers of the table, 1 = largest
};

// What the study found: the intact model, and every altered one. `options` are those it ran with, layers filled in.
struct sensitivity_report {
  sensitivity_options options;
  baseline intact;
  residual::delta_means means;            // of the calibration rows
  std::vector<sensitivity_row> rows;      // by alteration, then by layer
};

// What a study will do at most: runs that are found to end as an earlier one did (lost_stream.hpp) stop early.
struct sensitivity_cost {
  index_t runs = 0;         // altered models
  double flop = 0;        // of matrix products, everything included
  double baseline_flop = 0;
  double bytes = 0;       // of held logits and activations, about
};

// How far a study is, in work done.
struct progress {
  double done = 0;        // flop so far
  double total = 0;
  std::string_view step;  // "baseline", or the alteration
  int layer = 0;
};

namespace detail {

inline std::vector<int> chosen_layers(const sensitivity_options& o, int n_layers) {
  if (!o.layers.empty()) return o.layers;
  std::vector<int> all;
  for (int l = 0; l < n_layers; ++l) all.push_back(l);
  return all;
}

template <model::surgical_host H>
double layer_flop(const H& host, int l, index_t rows) {
  double weights = 0;
  for (const auto& w : host.weights(l)) weights += static_cast<double>(w.rows * w.cols);
  return 2.0 * weights * static_cast<double>(rows);
}

inline double head_flop(const model::model_desc& m, index_t rows) {
  return 2.0 * static_cast<double>(m.n_vocab) * static_cast<double>(m.d_model) * static_cast<double>(rows);
}

inline bool needs_calibration(const sensitivity_options& o) noexcept {
  for (const alteration a : o.alterations)
    if (a == alteration::mean_delta) return true;
  return false;
}

inline index_t runs_of(alteration a, const sensitivity_options& o) noexcept {
  return a == alteration::reinit ? o.reinit_seeds : 1;
}

inline status check_options(const sensitivity_options& o, const model::model_desc& m) {
  if (o.alterations.empty()) return error{errc::invalid_argument, "alterations", "none", "one at least"};
  if (o.reinit_seeds < 1) return error{errc::invalid_argument, "reinit_seeds", text(o.reinit_seeds), "1 or more"};
  if (o.head_rows < 1) return error{errc::invalid_argument, "head_rows", text(o.head_rows), "1 or more"};
  for (std::size_t i = 0; i < o.layers.size(); ++i) {
    if (o.layers[i] < 0 || o.layers[i] >= m.n_layers)
      return error{errc::invalid_argument, "layers", text("layer ", o.layers[i]), text("layers 0 to ", m.n_layers - 1)};
    if (i > 0 && o.layers[i] <= o.layers[i - 1])
      return error{errc::invalid_argument, "layers", text(o.layers[i], " after ", o.layers[i - 1]),
                   "ascending layers, each once"};
  }
  return {};
}

inline result<residual::step> alteration_step(alteration a, int layer, std::uint64_t seed, const sensitivity_options& o,
                                              const residual::delta_means& means) {
  const auto at = residual::layer(layer);
  switch (a) {
    case alteration::skip: return residual::skip(at);
    case alteration::mean_delta: return residual::try_mean_delta(at, means);
    case alteration::reinit: return residual::reinit(at, seed, o.reinit_gains, o.reinit);
    case alteration::zero_stream: return residual::zero_stream(at);
  }
  return error{errc::invalid_argument, "alteration", text(static_cast<int>(a)), "a known one"};
}

// Marks and ranks of one table: a family of claims is all its layers. kl_of(row): the sums that rank it.
template <class Row, class Kl>
status mark_and_rank(std::vector<Row>& table, Kl kl_of, std::uint64_t seed, index_t resamples) {
  if (table.empty()) return {};
  std::vector<metrics::estimate> deltas;
  std::vector<metrics::clustered_sums> kl;
  for (const Row& row : table) {
    deltas.push_back(row.mean.dlnppl);
    kl.push_back(kl_of(row));
  }
  const auto marks = metrics::assign_marks(deltas, {.degrees = table.front().mean.degrees});
  const auto ranks = metrics::try_rank_intervals(kl, {.seed = seed, .resamples = resamples});
  if (!ranks) return ranks.error();
  for (std::size_t l = 0; l < table.size(); ++l) {
    table[l].mark = marks[l].verdict;
    table[l].rank = (*ranks)[l];
  }
  return {};
}

// KL of all runs of a row together. Runs of one study have the same clusters, so that merging cannot fail.
inline metrics::clustered_sums kl_over_runs(const sensitivity_row& row) {
  metrics::clustered_sums kl = row.runs.front().kl.sums();
  for (std::size_t run = 1; run < row.runs.size(); ++run) (void)kl.merge(row.runs[run].kl.sums());
  return kl;
}

}  // namespace detail

// What try_sensitivity would cost; nothing is run.
template <model::surgical_host H>
sensitivity_cost estimate_cost(const H& host, const token_windows& evaluation, index_t calibration_rows,
                               const sensitivity_options& o = {}) {
  const auto& m = host.describe();
  const auto rows = static_cast<index_t>(evaluation.rows.size());
  sensitivity_cost cost;
  std::vector<double> from(static_cast<std::size_t>(m.n_layers) + 1, detail::head_flop(m, rows));
  for (int l = m.n_layers - 1; l >= 0; --l)
    from[static_cast<std::size_t>(l)] = from[static_cast<std::size_t>(l) + 1] + detail::layer_flop(host, l, rows);
  cost.baseline_flop = from.front();
  cost.flop = from.front();
  const int prefix = detail::chosen_layers(o, m.n_layers).back();  // run once more, for the snapshots
  for (int l = 0; l < prefix; ++l) cost.flop += detail::layer_flop(host, l, rows);
  if (detail::needs_calibration(o))
    for (int l = 0; l < m.n_layers; ++l) cost.flop += detail::layer_flop(host, l, calibration_rows);
  for (const alteration a : o.alterations)
    for (const int l : detail::chosen_layers(o, m.n_layers)) {
      const bool runs_layer = a == alteration::reinit || a == alteration::zero_stream;
      cost.runs += detail::runs_of(a, o);
      cost.flop += static_cast<double>(detail::runs_of(a, o)) * from[static_cast<std::size_t>(runs_layer ? l : l + 1)];
    }
  cost.bytes = 4.0 * static_cast<double>(m.n_vocab) * static_cast<double>(rows + std::min(rows, o.head_rows)) +
               32.0 * static_cast<double>(m.d_model) * static_cast<double>(rows);
  return cost;
}

// Runs the study. Every altered model restarts from a snapshot of the intact stream before its layer, and
// goes through the rest of the model under a plan of one step.
//   evaluation    rows that are measured; clusters as token_windows says
//   calibration   rows for the mean deltas; shares no id with the evaluation (refused, see check_disjoint). Not
//                 read without mean_delta
//   report        called with the work done so far
// Measures as in effect.hpp; marks only after Holm over the layers of each alteration; ranks by KL with
// bootstrap intervals over clusters.
// Determinism: the same bits for any number of workers of `backend` and of the host.
// Memory: rows · n_vocab floats for the intact logits. Cost: estimate_cost.
// Errors: a layer that does not exist, overlapping sets, rows that are not finite (named), what the host says.
template <class Backend, model::surgical_host H>
  requires executor<Backend> && std::same_as<typename H::value, float>
result<sensitivity_report> try_sensitivity(Backend& backend, H& host, const token_windows& evaluation,
                                           const token_windows& calibration, const sensitivity_options& options,
                                           function_ref<void(const progress&)> report) {
  const model::model_desc& m = host.describe();
  if (auto s = detail::check_options(options, m); !s) return s.error();
  if (auto s = check_disjoint(evaluation, calibration); !s) return s.error();

  sensitivity_report out;
  out.options = options;
  out.options.layers = detail::chosen_layers(options, m.n_layers);
  const auto rows = static_cast<index_t>(evaluation.rows.size());
  const auto cost = estimate_cost(host, evaluation, static_cast<index_t>(calibration.rows.size()), options);
  progress at{0, cost.flop, "baseline", 0};
  report(at);

  if (detail::needs_calibration(options)) {
    auto means = try_delta_means(host, calibration);
    if (!means) return means.error();
    out.means = std::move(*means);
    for (int l = 0; l < m.n_layers; ++l)
      at.done += detail::layer_flop(host, l, static_cast<index_t>(calibration.rows.size()));
  }

  intact_outputs reference;
  head_workspace work{.rows = options.head_rows};
  auto intact = try_baseline(backend, host, evaluation, work, reference);
  if (!intact) return intact.error();
  out.intact = std::move(*intact);
  at.done += cost.baseline_flop;
  report(at);

  // All alterations of a layer share its snapshot, so layers are the outer loop; rows are sorted after.
  std::vector<std::vector<sensitivity_row>> tables(options.alterations.size());
  auto prefix = host.try_embed(evaluation.rows);
  if (!prefix) return prefix.error();
  int reached = 0;
  detail::lost_streams lost;
  for (const int l : out.options.layers) {
    if (auto s = host.try_run(*prefix, reached, l, model::no_hooks<float>()); !s) return s.error();
    for (; reached < l; ++reached) at.done += detail::layer_flop(host, reached, rows);
    double rest = detail::head_flop(m, rows);
    for (int later = l + 1; later < m.n_layers; ++later) rest += detail::layer_flop(host, later, rows);

    for (std::size_t a = 0; a < options.alterations.size(); ++a) {
      const alteration what = options.alterations[a];
      sensitivity_row row;
      row.what = what;
      row.layer = l;
      for (index_t run = 0; run < detail::runs_of(what, options); ++run) {
        const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(run);
        auto step = detail::alteration_step(what, l, seed, options, out.means);
        if (!step) return step.error();
        residual::plan plan;
        if (auto s = plan.try_add(std::move(*step)); !s) return s.error();

        auto state = host.snapshot(*prefix);
        const auto compare = [&](const typename H::state& done) {
          return try_effect(backend, host, done, evaluation, reference, work);
        };
        const int run_to = what == alteration::zero_stream ? l + 1 : m.n_layers;
        if (auto s = residual::try_run(backend, host, plan, state, l, run_to); !s) return s.error();
        auto sums = what == alteration::zero_stream ? lost.finish(host, state, run_to, compare) : compare(state);
        if (!sums) {
          error e = sums.error();
          e.operand = text(name(what), " of layer ", l, ": ", e.operand.view());
          return e;
        }
        if (what == alteration::reinit) row.seeds.push_back(seed);
        row.per_run.push_back(sums->estimate());
        row.runs.push_back(std::move(*sums));
        const bool runs_layer = what == alteration::reinit || what == alteration::zero_stream;
        at.done += rest + (runs_layer ? detail::layer_flop(host, l, rows) : 0.0);
        at.step = name(what);
        at.layer = l;
        report(at);
      }
      auto mean = try_mean_effect(row.runs);
      if (!mean) return mean.error();
      row.mean = *mean;
      tables[a].push_back(std::move(row));
    }
  }
  for (auto& table : tables) {
    if (auto s = detail::mark_and_rank(table, detail::kl_over_runs, options.seed, options.bootstrap); !s)
      return s.error();
    for (auto& row : table) out.rows.push_back(std::move(row));
  }
  return out;
}

#if RESECT_EXCEPTIONS
template <class Backend, model::surgical_host H>
sensitivity_report sensitivity(Backend& backend, H& host, const token_windows& evaluation,
                               const token_windows& calibration, const sensitivity_options& options = {}) {
  return value_or_throw(try_sensitivity(backend, host, evaluation, calibration, options, [](const progress&) {}));
}
#endif

}  // namespace RESECT_NAMESPACE::study
