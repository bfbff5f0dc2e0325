// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/residual/held_weights.hpp>
#include <resect/residual/plan.hpp>

// Plans on a host of the surgery level: partial passes on a state.
namespace RESECT_NAMESPACE::residual {

namespace detail {

// One layer of a partial pass: weights, the layer itself if a step reads its output, block steps.
template <surgical_host H>
status run_edited_layer(executor_ref exec, H& host, const plan& p, typename H::state& state, int l) {
  const bool leaves_out =
      any_step(p, [&](const step& s) { return s.what == step::kind::block && !s.reads_output && covers(s, l); });
  held_weights<H> weights;
  if (auto st = try_override_layer(exec, host, p, l, weights); !st) return st;
  const auto is_block = [&](const step& s) { return s.what == step::kind::block && covers(s, l); };
  const bool has_block = any_step(p, is_block);
  array<float> memory;
  matrix_view<const float> before;
  if (has_block) before = materialized(host.stream(state), memory);
  if (!leaves_out) {
    auto on_rows = [&](const tap& at, matrix_view<float> h) {
      return apply_rows(p, at, h) ? edit::modified : edit::unchanged;
    };
    const hooks<float> k{{}, inner_sites(p), on_rows, p.fingerprint()};
    if (auto st = host.try_run(state, l, l + 1, k); !st) return st;
  }
  const auto h = host.stream(state);
  for (const step& s : p.steps())
    if (is_block(s)) s.on_block(tap{site::resid_post, l, host.rows(state)}, before, h);
  return {};
}

}  // namespace detail

// Runs layers [first, last) of a state under a plan. Stretches of layers without a step are one call of the host, so
// an empty plan adds no cost. Errors: what plan::check finds; invalid_argument for layers that do not exist or a cut
// inside a replaced span; unsupported where the host has no such site, invalid_argument or shape_mismatch where a
// layer has no such weight (nothing is run then); what the host or a step reports (the state is then unspecified but
// valid). The weights are restored in any case.
// `exec` runs the parallel parts of steps (drawing weights); the host has its own workers. No bit depends on `exec`.
template <executor E, surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(E& exec, H& host, const plan& p, typename H::state& state, int first, int last) {
  const auto intact = no_hooks<float>();
  if (p.empty()) return host.try_run(state, first, last, intact);
  if (auto s = p.check(host.describe(), host.rows(state)); !s) return s;
  if (first < 0 || first > last || last > host.describe().n_layers)
    return error{errc::invalid_argument, "layers to run", text("[", first, ", ", last, ")"),
                 text("a range within [0, ", host.describe().n_layers, ")")};
  for (const step& s : p.steps())
    if (s.what == step::kind::replace && first < s.range.last && s.range.first < last &&
        (s.range.first < first || last < s.range.last))
      return error{errc::invalid_argument, "layers to run", text("[", first, ", ", last, ")"),
                   text("a cut outside the replaced span [", s.range.first, ", ", s.range.last, ")")};

  if (auto s = detail::check_access(host, p, detail::inner_sites(p)); !s) return s;
  if (auto s = detail::check_weights(host, p, first, last); !s) return s;

  const auto touched = [&](int l) { return detail::any_step(p, [&](const step& s) { return detail::covers(s, l); }); };
  for (int l = first; l < last;) {
    int next = l;
    while (next < last && !touched(next)) ++next;
    if (next > l) {
      if (auto s = host.try_run(state, l, next, intact); !s) return s;
      l = next;
      continue;
    }
    detail::apply_rows(p, tap{site::resid_pre, l, host.rows(state)}, host.stream(state));
    const step* span = nullptr;
    for (const step& s : p.steps())
      if (span == nullptr && s.what == step::kind::replace && detail::covers(s, l)) span = &s;
    if (span == nullptr) {
      if (auto s = detail::run_edited_layer(exec, host, p, state, l); !s) return s;
      next = l + 1;
    } else {
      const auto h = host.stream(state);
      array<float> memory;
      const matrix_view<const float> before = materialized(h, memory);
      const tap at{site::resid_pre, l, host.rows(state)};
      if (auto s = span->on_replace(at, before, h); !s) return s;
      next = span->range.last;
    }
    detail::apply_rows(p, tap{site::resid_post, next - 1, host.rows(state)}, host.stream(state));
    l = next;
  }
  return {};
}

// The same on the caller's thread.
template <surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(H& host, const plan& p, typename H::state& state, int first, int last) {
  inline_executor here;
  return try_run(here, host, p, state, first, last);
}

#if RESECT_EXCEPTIONS
template <surgical_host H>
void run(H& host, const plan& p, typename H::state& state, int first, int last) {
  value_or_throw(try_run(host, p, state, first, last));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
