// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/study/arm.hpp>
#include <resect/study/baseline.hpp>
#include <resect/study/detail/altered_model.hpp>
#include <resect/study/detail/intact_pass.hpp>
#include <resect/study/detail/walk_cost.hpp>

// The core of every study: runs the intact model once, then any list of altered models, each shared prefix once.
namespace RESECT_NAMESPACE::study {

// An upper bound of the work of a study; runs that turn out to equal an earlier one stop early.
struct study_cost {
  index_t runs = 0;          // altered models
  double flop = 0;           // operations of matrix products, the pass of the intact model included
  double baseline_flop = 0;  // operations of that pass alone
  double bytes = 0;          // size of held logits and activations, about
};

// The progress of a study, in floating-point operations.
struct progress {
  double done = 0;  // flop so far
  double total = 0;
  std::string_view step;  // "baseline", or the label of the arm
};
// A callback that gets the progress of a study.
using progress_report = function_ref<void(const progress&)>;

// Memory options of a runner.
struct runner_options {
  index_t head_rows = 512;        // rows whose logits are held at a time
  double snapshot_bytes = 256e6;  // states that are kept from one call to the next
};

namespace detail {
inline constexpr auto no_report = [](const progress&) {};

template <class = void>
std::vector<const residual::plan*> plans_of(std::span<const arm> arms) {
  std::vector<const residual::plan*> out;
  for (const arm& a : arms) out.push_back(&a.plan);
  return out;
}

template <class = void>
double held_bytes(const model::model_desc& m, index_t rows, const runner_options& o) {
  return 4.0 * static_cast<double>(m.n_vocab) * static_cast<double>(rows + algo::min(rows, o.head_rows)) +
         32.0 * static_cast<double>(m.d_model) * static_cast<double>(rows);
}
}  // namespace detail

// An estimate of the cost of measuring all arms on this host; nothing runs. It walks over the arms as the runner
// does.
template <model::surgical_host H>
study_cost estimate_cost(const H& host, const token_windows& windows, std::span<const arm> arms,
                         const runner_options& o = {}) {
  const auto rows = static_cast<index_t>(windows.rows.size());
  const auto plans = detail::plans_of(arms);
  const auto paths = detail::paths_of(plans, host.describe().n_layers);
  detail::cost_driver<H> driver(host, rows, detail::snapshots<char>(o.snapshot_bytes));
  (void)detail::walk(driver).try_run(paths, {});
  study_cost cost;
  cost.runs = static_cast<index_t>(arms.size());
  cost.baseline_flop = detail::pass_flop(host, rows);
  cost.flop = cost.baseline_flop + driver.flop();
  cost.bytes = detail::held_bytes(host.describe(), rows, o) + driver.kept_bytes();
  return cost;
}

// Measures altered models against the intact model, whose outputs it keeps. Arms share prefixes: a layer under the
// same steps, after layers under the same steps, runs once for all arms of a call; states before altered layers are
// kept for later calls within a budget of bytes (a search measures one arm at a time).
//   auto run = value_or_throw(study::runner<cpu<>, my_host>::try_start(exec, host, windows));
//   auto sums = value_or_throw(run.try_effects(arms));
// Keeps references to the backend, the host and the windows. Memory: rows · n_vocab floats for the intact logits.
// Determinism: the same bits for any number of workers, any company of an arm and any budget.
template <class Backend, model::surgical_host H>
  requires executor<Backend> && std::same_as<typename H::value, float>
class runner {
 public:
  using altered = altered_model<Backend, H>;

  // Runs the intact model over the windows, keeps its outputs, and measures the stream at every layer.
  // Errors: invalid_argument for head_rows below 1; what windows.check says; not_finite names the layer or the row; what
  // the host reports.
  static result<runner> try_start(Backend& backend, H& host, const token_windows& windows,
                                  const runner_options& options = {}) {
    if (options.head_rows < 1) return error{errc::invalid_argument, "head_rows", text(options.head_rows), "1 or more"};
    runner out(backend, host, windows, options);
    auto intact = detail::try_baseline(backend, host, windows, out.work_, out.outputs_);
    if (!intact) return intact.error();
    out.intact_ = std::move(*intact);
    return out;
  }

  const baseline& intact() const noexcept { return intact_; }
  const intact_outputs& outputs() const noexcept { return outputs_; }
  const token_windows& windows() const noexcept { return *windows_; }

  // An estimate of the cost of the next call with these arms. It uses the kept states and leaves the intact pass out.
  study_cost estimate(std::span<const arm> arms) const {
    const auto plans = detail::plans_of(arms);
    const auto paths = detail::paths_of(plans, host_->describe().n_layers);
    const auto driver = cost_of(paths);
    return {static_cast<index_t>(arms.size()), driver.flop(), 0,
            detail::held_bytes(host_->describe(), rows(), options_) + driver.kept_bytes()};
  }

  // Calls f(i, altered) → status for every arm, with an altered_model that stands at the end of the prefix that arm i
  // shares with others; f measures rows at any layer, outputs, generated replies. The walk decides the order; each
  // arm comes once. `done` and `total` of a report count on from `before`, to `total` where it is given.
  // Errors: what a plan's check finds, before anything runs; what f or the host reports, with the arm named.
  template <class F>
  status try_visit(std::span<const arm> arms, F f, progress_report report = detail::no_report, progress at = {}) {
    std::vector<residual::schedule> schedules;
    for (const arm& a : arms) {
      auto bound = residual::schedule::try_make(*host_, a.plan);
      if (!bound) return named(a, bound.error());
      if (auto s = a.plan.check_marks(windows_->rows); !s) return named(a, s.error());
      schedules.push_back(std::move(*bound));
    }
    const auto plans = detail::plans_of(arms);
    const auto paths = detail::paths_of(plans, host_->describe().n_layers);
    const auto cost = cost_of(paths);
    if (at.total == 0) at.total = at.done + cost.flop();
    visiting<F> driver{
        {*backend_, *host_, rows(), kept_, {}, schedules, {}}, arms, f, report, at, at.done, cost.after_visits(), 0};
    if (arms.empty()) return {};
    auto start = host_->try_embed(windows_->rows);
    if (!start) return start.error();
    return detail::walk(driver).try_run(paths, std::move(*start));
  }

  // The effects of every arm on the outputs (effect.hpp), in the order of `arms`. Arms that do the same, or lose their
  // stream alike, are measured once.
  // Errors: as try_visit; not_finite names the arm and the row.
  result<std::vector<effect_sums>> try_effects(std::span<const arm> arms, progress_report report = detail::no_report,
                                               const progress& at = {}) {
    std::vector<std::optional<effect_sums>> found(arms.size());
    auto done = try_visit(
        arms,
        [&](std::size_t i, altered& model) -> status {
          if (!model.twin()) {
            auto sums = try_effect(model);
            if (!sums) return sums.error();
            if (*sums) found[i] = std::move(**sums);
          }
          if (model.twin()) found[i] = found[*model.twin()];
          return {};
        },
        report, at);
    if (!done) return done.error();
    std::vector<effect_sums> out;
    for (auto& one : found) out.push_back(std::move(*one));
    return out;
  }

  // The effects of one altered model, for visitors that measure more besides; empty where the model equals an earlier
  // one.
  result<std::optional<effect_sums>> try_effect(altered& model) {
    if (auto s = model.try_run_to(host_->describe().n_layers); !s) return s.error();
    if (model.twin()) return std::optional<effect_sums>{};
    auto sums = detail::try_effect(*backend_, *host_, model.state(), *windows_, outputs_, work_);
    if (!sums) return sums.error();
    return std::optional<effect_sums>{std::move(*sums)};
  }

 private:
  runner(Backend& backend, H& host, const token_windows& windows, const runner_options& options)
      : backend_(&backend),
        host_(&host),
        windows_(&windows),
        options_(options),
        work_{.rows = options.head_rows},
        kept_(options.snapshot_bytes) {}

  index_t rows() const noexcept { return static_cast<index_t>(windows_->rows.size()); }

  detail::cost_driver<H> cost_of(std::span<const detail::path> paths) const {
    detail::cost_driver<H> driver(*host_, rows(), kept_.template places<char>());
    (void)detail::walk(driver).try_run(paths, {});
    return driver;
  }

  static error named(const arm& a, const error& e) { return e.within(shown_name(a)); }

  template <class F>
  struct visiting {
    using state = typename H::state;
    detail::visit_context<Backend, H> context;
    std::span<const arm> arms;
    F& f;
    progress_report report;
    progress at;
    double before;
    const std::vector<double>& planned;
    std::size_t visits;

    // Only the prefix that arms share: an altered model of its own, which no visitor sees.
    status try_advance(state& s, const detail::path& p, int from, int to) {
      altered shared(context, p, std::move(s), from, std::nullopt);
      auto done = shared.try_run_shared(to);
      s = std::move(shared).take_state();
      return done;
    }
    state branch(const state& s) { return context.host.snapshot(s); }
    status try_visit(state s, const detail::path& p, int from, const detail::path* twin) {
      const arm& a = arms[p.arm];
      altered model(context, p, std::move(s), from, twin ? std::optional(twin->arm) : std::nullopt);
      if (auto done = f(p.arm, model); !done) return named(a, done.error());
      const std::string shown = shown_name(a);
      at.done = before + planned[visits++];
      at.step = shown;
      report(at);
      return {};
    }
  };

  Backend* backend_;
  H* host_;
  const token_windows* windows_;
  runner_options options_;
  baseline intact_;
  intact_outputs outputs_;
  head_workspace work_;
  detail::snapshots<typename H::state> kept_;
};

}  // namespace RESECT_NAMESPACE::study
