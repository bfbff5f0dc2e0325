// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <resect/study/runner.hpp>
#include <resect/study/table.hpp>

namespace RESECT_NAMESPACE::study {

// The result of a comparison of plans.
struct comparison_report {
  baseline intact;
  std::vector<table_row> rows;  // in the order of the arms, seeds together
};

// Measures any plans against the intact model on the same windows: KL, top-1 agreement, Δln PPL and cosine with
// intervals, marks after Holm and ranks over all plans (table_of::all_arms) or over each family. A prefix that plans
// share runs once. Rows at options.floor cannot be distinguished from rounding and are marked (study/floor.hpp
// measures the floor).
//   const auto rows = study::compare_plans(exec, host, windows, {{plan{} | skip(layers(3, 5)), "without 3 and 4"},
//                                                                {plan{} | skip(layer(3))}}).rows;
// Determinism: the same bits for any number of workers. Cost: estimate_cost(host, windows, arms).
// Errors: invalid_argument without an arm; as runner::try_start and runner::try_effects.
template <class Backend, model::surgical_host H>
result<comparison_report> try_compare_plans(Backend& backend, H& host, const token_windows& windows,
                                            std::span<const arm> arms,
                                            const table_options& options = {.tables = table_of::all_arms},
                                            progress_report report = detail::no_report) {
  if (arms.empty()) return error{errc::invalid_argument, "arms", "none", "1 or more"};
  const auto cost = estimate_cost(host, windows, arms);
  progress at{0, cost.flop, "baseline"};
  report(at);
  auto run = runner<Backend, H>::try_start(backend, host, windows);
  if (!run) return run.error();
  at.done = cost.baseline_flop;
  const auto measured = run->try_effects(arms, report, at);
  if (!measured) return measured.error();
  auto rows = try_tabulate(arms, *measured, options);
  if (!rows) return rows.error();
  return comparison_report{run->intact(), std::move(*rows)};
}

#if RESECT_EXCEPTIONS
template <class Backend, model::surgical_host H>
comparison_report compare_plans(Backend& backend, H& host, const token_windows& windows, const std::vector<arm>& arms,
                                const table_options& options = {.tables = table_of::all_arms}) {
  return value_or_throw(try_compare_plans(backend, host, windows, arms, options));
}
#endif

}  // namespace RESECT_NAMESPACE::study
