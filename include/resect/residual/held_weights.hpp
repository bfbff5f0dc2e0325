// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/model/held_weights.hpp>
#include <resect/residual/detail/check_access.hpp>
#include <resect/residual/detail/step_table.hpp>

// Overrides the weights that a plan changes, for a layer, a pass or several passes.
namespace RESECT_NAMESPACE::residual {

using model::held_weights;

namespace detail {

// Overrides one weight of a layer by the values that a step computes.
template <surgical_host H>
status try_override(executor_ref exec, H& host, const step& s, const weight_desc& w, held_weights<H>& to) {
  array<float> values(w.rows * w.cols);
  const matrix_view<float> view{values.data(), w.rows, w.cols};
  if (auto st = host.try_read_weight(w, view); !st) return st;
  const weight_change change = s.op.change(w, view, exec);
  if (!change.outcome() || !change) return change.outcome();
  auto guard = host.try_override_weight(w, view);
  if (!guard) return guard.error();
  to.hold(std::move(*guard));
  return {};
}

// Lets a step compute the product with one matrix of a layer.
template <model::detail::float_product_host H>
status try_override_product(H& host, const step& s, const weight_desc& w, held_weights<H>& to) {
  if (w.role != weight_role::matrix) return {};
  auto guard =
      host.try_override_product(w, [op = s.op](const weight_desc& of, matrix_view<const float> x, matrix_view<float> y,
                                               own_product<float> own) { return op.product(of, x, y, own); });
  if (!guard) return guard.error();
  to.hold_product(std::move(*guard));
  return {};
}

// Overrides the weights of one layer by the steps on them.
template <surgical_host H>
status try_override_layer(executor_ref exec, H& host, step_list steps, int l, held_weights<H>& to) {
  for (const step* s : steps) {
    for (const weight_desc& w : host.weights(l)) {
      if (!s->weight.selects(w)) continue;
      status done;
      if (s->what == form::weights) done = try_override(exec, host, *s, w, to);
      else if constexpr (model::detail::float_product_host<H>) done = try_override_product(host, *s, w, to);
      if (!done) return done;
    }
  }
  return {};
}

// The same for all layers.
template <surgical_host H>
status try_override_layers(executor_ref exec, H& host, const step_table& table, held_weights<H>& to) {
  const int n = host.describe().n_layers;
  for (int l = 0; l < n; ++l)
    if (auto s = try_override_layer(exec, host, table.at(l, step_table::weights), l, to); !s) return s;
  return {};
}

}  // namespace detail

// Overrides every weight that the plan changes, until the returned object is destroyed. Errors: as try_run, what
// plan::check finds included; all weights are restored then.
template <executor E, surgical_host H>
result<held_weights<H>> try_hold_weights(E& exec, H& host, const plan& p) {
  if (auto s = p.check(host.describe()); !s) return s.error();
  const int n = host.describe().n_layers;
  if (auto s = detail::check_weights(host, p, 0, n); !s) return s.error();
  detail::step_table table;
  table.build(p, n);
  held_weights<H> out;
  if (auto s = detail::try_override_layers(exec, host, table, out); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::residual
