// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/residual/detail/apply_site.hpp>
#include <resect/residual/held_weights.hpp>
#include <resect/residual/pass_memory.hpp>
#include <resect/residual/schedule.hpp>

// Plans on a host of the surgery level: partial passes on a state.
namespace RESECT_NAMESPACE::residual {

namespace detail {

// A partial pass under a bound plan.
template <surgical_host H>
class partial_pass {
 public:
  partial_pass(executor_ref exec, H& host, const step_table& table, pass_memory& memory) noexcept
      : exec_(exec), host_(host), table_(table), memory_(memory) {}

  status try_run(typename H::state& state, int first, int last) {
    for (int l = first; l < last;) {
      int next = l;
      while (next < last && !table_.touches(next)) ++next;
      if (next > l) {
        if (auto s = host_.try_run(state, l, next, no_hooks<float>()); !s) return s;
        l = next;
        continue;
      }
      if (auto s = apply_at(state, site::resid_pre, l); !s) return s;
      const step* span = table_.span_of(l);
      if (auto s = span ? try_replace(state, *span) : try_run_layer(state, l); !s) return s;
      next = span ? span->range.last : l + 1;
      if (auto s = apply_at(state, site::resid_post, next - 1); !s) return s;
      l = next;
    }
    return {};
  }

 private:
  tap tap_of(const typename H::state& state, site where, int l) const {
    return {where, l, host_.rows(state), &memory_.steps};
  }

  status apply_at(typename H::state& state, site where, int l) {
    const auto steps = table_.at(where, l);
    return steps.empty() ? status{} : apply_site(steps, tap_of(state, where, l), host_.stream(state));
  }

  status try_replace(typename H::state& state, const step& span) {
    const auto h = host_.stream(state);
    const tap at = tap_of(state, site::resid_pre, span.range.first);
    return apply_step(span, at, memory_.inputs.remember(at, h), h);
  }

  // Weights, the layer itself if a step reads its output, block steps.
  status try_run_layer(typename H::state& state, int l) {
    held_weights<H> weights;
    if (auto s = try_override_layer(exec_, host_, table_.at(l, step_table::weights), l, weights); !s) return s;
    const auto blocks = table_.at(l, step_table::block);
    matrix_view<const float> before{};
    if (!blocks.empty()) before = memory_.inputs.remember(tap_of(state, site::resid_pre, l), host_.stream(state));
    if (table_.runs(l))
      if (auto s = try_run_edited(state, l); !s) return s;
    const auto h = host_.stream(state);
    for (const step* s : blocks)
      if (auto done = apply_step(*s, tap_of(state, site::resid_post, l), before, h); !done) return done;
    return {};
  }

  status try_run_edited(typename H::state& state, int l) {
    status outcome;
    auto call = [&](const tap& given, matrix_view<float> h) {
      const auto steps = table_.at(given.where, given.layer);
      if (steps.empty() || !outcome) return edit::unchanged;
      outcome = apply_site(steps, tap{given.where, given.layer, given.rows, &memory_.steps}, h);
      return edit::modified;
    };
    if (auto s = host_.try_run(state, l, l + 1, hooks<float>{{}, table_.inner_sites(), call, table_.epoch()}); !s)
      return s;
    return outcome;
  }

  executor_ref exec_;
  H& host_;
  const step_table& table_;
  pass_memory& memory_;
};

// A partial pass whose plan has been found to fit the host.
template <surgical_host H>
status try_run_bound(executor_ref exec, H& host, const bound_plan& p, typename H::state& state, int first, int last,
                     pass_memory& memory) {
  if (!p.partial) return p.partial;
  const int n = host.describe().n_layers;
  if (p.table.reads_marks())
    if (auto s = p.steps.check_marks(host.rows(state)); !s) return s;
  if (first < 0 || first > last || last > n)
    return error{errc::invalid_argument, "layers to run", text("[", first, ", ", last, ")"),
                 text("a range within [0, ", n, ")")};
  for (const int cut : {first, last})
    if (cut > 0 && cut < n)
      if (const step* span = p.table.span_of(cut); span && span->range.first < cut && first != last)
        return error{errc::invalid_argument, "layers to run", text("[", first, ", ", last, ")"),
                     text("a cut outside the replaced span [", span->range.first, ", ", span->range.last, ")")};
  if (p.table.checks_rows())
    if (auto s = check_rows(p.steps.steps(), host.rows(state), first, last); !s) return s;
  return partial_pass<H>(exec, host, p.table, memory).try_run(state, first, last);
}

}  // namespace detail

// Runs layers [first, last) of a state under a plan. Stretches of layers without a step are one call of the host, so
// an empty plan adds no cost. Errors: what plan::check finds; invalid_argument for layers that do not exist, a cut
// inside a replaced span, or a row that a step has no source for; unsupported where the host has no such site,
// invalid_argument or shape_mismatch where a layer has no such weight (nothing is run then); what the host or a step
// reports (the state is then unspecified but valid). The weights are restored in any case.
// `exec` runs the parallel parts of steps (drawing weights); the host has its own workers. No bit depends on `exec`.
template <executor E, surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(E& exec, H& host, const plan& p, typename H::state& state, int first, int last, pass_memory& memory) {
  if (p.empty()) return host.try_run(state, first, last, no_hooks<float>());
  if (auto s = p.check(host.describe()); !s) return s;
  memory.table.build(p, host.describe().n_layers);
  const detail::bound_plan bound{p, memory.table, {}, detail::check_partial(host, p, memory.table, first, last)};
  return detail::try_run_bound(exec, host, bound, state, first, last, memory);
}
// The same with memory of its own, taken anew in every pass.
template <executor E, surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(E& exec, H& host, const plan& p, typename H::state& state, int first, int last) {
  pass_memory memory;
  return try_run(exec, host, p, state, first, last, memory);
}
// The same on the caller's thread.
template <surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(H& host, const plan& p, typename H::state& state, int first, int last) {
  inline_executor here;
  return try_run(here, host, p, state, first, last);
}
// The same under a schedule, which has checked the plan once. Errors also: what schedule::check finds.
template <executor E, surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(E& exec, H& host, const schedule& plan, typename H::state& state, int first, int last,
               pass_memory& memory) {
  if (auto s = plan.check(host); !s) return s;
  if (plan.plan().empty()) return host.try_run(state, first, last, no_hooks<float>());
  return detail::try_run_bound(exec, host, plan.bound(), state, first, last, memory);
}

#if RESECT_EXCEPTIONS
template <surgical_host H>
void run(H& host, const plan& p, typename H::state& state, int first, int last) {
  value_or_throw(try_run(host, p, state, first, last));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
