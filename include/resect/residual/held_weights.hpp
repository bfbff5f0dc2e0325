// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/array.hpp>
#include <resect/model/held_weights.hpp>
#include <resect/residual/detail/plan_steps.hpp>
#include <resect/residual/plan.hpp>

// Overrides the weights that a plan changes, for a layer, a pass or several passes.
namespace RESECT_NAMESPACE::residual {

namespace detail {

// Every layer of [first, last) must have the weight that a step names, with its extents.
template <surgical_host H>
status check_weights(const H& host, const plan& p, int first, int last) {
  for (const step& s : p.steps()) {
    if (s.what != step::kind::weights || s.weight.all()) continue;
    for (int l = first; l < last; ++l) {
      if (!covers(s, l)) continue;
      const weight_desc* w = nullptr;
      for (const weight_desc& x : host.weights(l))
        if (w == nullptr && s.weight.selects(x)) w = &x;
      const auto operand = [&] { return text(s.weight.name.view(), " of layer ", l, " for ", s.name.view()); };
      if (w == nullptr)
        return error{errc::invalid_argument, operand(), "no such weight", "the name of a weight of the layer"};
      if ((s.weight.rows != 0 && s.weight.rows != w->rows) || (s.weight.cols != 0 && s.weight.cols != w->cols))
        return error{errc::shape_mismatch, operand(), text(s.weight.rows, " x ", s.weight.cols),
                     text(w->rows, " x ", w->cols)};
    }
  }
  return {};
}

// Overrides the weights of one layer with the values that the plan's steps compute.
template <surgical_host H>
status try_override_layer(executor_ref exec, H& host, const plan& p, int l, held_weights<H>& to) {
  for (const step& s : p.steps()) {
    if (s.what != step::kind::weights || !covers(s, l)) continue;
    for (const weight_desc& w : host.weights(l)) {
      if (!s.weight.selects(w)) continue;
      array<float> values(w.rows * w.cols);
      const matrix_view<float> view{values.data(), w.rows, w.cols};
      if (auto st = host.try_read_weight(w, view); !st) return st;
      const weight_change change = s.on_weight(w, view, exec);
      if (!change.outcome()) return change.outcome();
      if (!change) continue;
      auto guard = host.try_override_weight(w, view);
      if (!guard) return guard.error();
      to.hold(std::move(*guard));
    }
  }
  return {};
}

template <class = void>
bool changes_weights(const plan& p) {
  return any_step(p, [](const step& s) { return s.what == step::kind::weights; });
}

// What a host of the edit level says to steps on weights.
inline status check_no_weights(const plan& p) {
  for (const step& s : p.steps())
    if (s.what == step::kind::weights)
      return error{errc::unsupported, text("weights for ", s.name.view()), "a host without try_override_weight",
                   "one of the surgery level"};
  return {};
}

}  // namespace detail

// Overrides every weight that the plan changes, until the returned object is destroyed. Errors: as try_run; all
// weights are restored then.
template <executor E, surgical_host H>
result<held_weights<H>> try_hold_weights(E& exec, H& host, const plan& p) {
  const int n = host.describe().n_layers;
  if (auto s = detail::check_weights(host, p, 0, n); !s) return s.error();
  held_weights<H> out;
  for (int l = 0; l < n; ++l)
    if (auto s = detail::try_override_layer(exec, host, p, l, out); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::residual
