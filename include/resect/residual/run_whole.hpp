// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/residual/detail/apply_site.hpp>
#include <resect/residual/held_weights.hpp>
#include <resect/residual/pass_memory.hpp>
#include <resect/residual/schedule.hpp>

// Plans on a host of the edit level: whole passes with a cache.
namespace RESECT_NAMESPACE::residual {

namespace detail {

inline constexpr auto look_away = [](const tap&, matrix_view<const float>) {};

// The callback of a whole pass: applies the steps at every tap, then shows the rows.
class edited_pass {
 public:
  edited_pass(const step_table& table, site_set want, observer<float> look, pass_memory& memory) noexcept
      : table_(table), want_(want), look_(look), memory_(memory) {
    memory_.inputs.clear();
  }

  template <class = void>
  edit call(const tap& given, matrix_view<float> h) {
    const tap at{given.where, given.layer, given.rows, &memory_.steps};
    const bool changed = apply(at, h);
    if (outcome_ && want_.contains(at.where)) look_(at, h);
    return changed ? edit::modified : edit::unchanged;
  }
  // The first error of a step.
  const status& outcome() const noexcept { return outcome_; }

 private:
  template <class = void>
  bool apply(const tap& at, matrix_view<float> h) {
    if (!is_layer_site(at.where) || !outcome_) return false;
    const auto steps = table_.at(at.where, at.layer);
    const bool ends = at.where == site::resid_post && has_block(at.layer, true);
    if (ends) outcome_ = run_block(at, h);
    if (outcome_ && !steps.empty()) outcome_ = apply_site(steps, at, h);
    if (at.where == site::resid_pre && has_block(at.layer, false)) memory_.inputs.remember(at, h);
    return ends || !steps.empty();
  }

  // Whether a block step, or the end or begin of a replaced span, stands in the layer.
  bool has_block(int layer, bool end) const noexcept {
    if (!table_.at(layer, step_table::block).empty()) return true;
    const step* span = table_.span_of(layer);
    return span && layer == (end ? span->range.last - 1 : span->range.first);
  }

  template <class = void>
  status run_block(const tap& at, matrix_view<float> h) {
    const auto in = memory_.inputs.try_match(at, h.cols);
    if (!in) return in.error();
    for (const step* s : table_.at(at.layer, step_table::block))
      if (auto done = apply_step(*s, at, *in, h); !done) return done;
    if (const step* span = table_.span_of(at.layer))
      return apply_step(*span, tap{site::resid_pre, span->range.first, at.rows, at.memory}, *in, h);
    return {};
  }

  const step_table& table_;
  site_set want_;
  observer<float> look_;
  pass_memory& memory_;
  status outcome_;
};

// Forgets the sequences of a batch where a pass ends before `done`.
template <editable_host H>
class forget_what_is_half_done {
 public:
  forget_what_is_half_done(H& host, batch_view batch) noexcept : host_(host), batch_(batch) {}
  forget_what_is_half_done(const forget_what_is_half_done&) = delete;
  forget_what_is_half_done& operator=(const forget_what_is_half_done&) = delete;
  ~forget_what_is_half_done() {
    if (armed_)
      for (const row_meta& row : batch_) host_.forget(row.seq);
  }
  void done() noexcept { armed_ = false; }

 private:
  H& host_;
  batch_view batch_;
  bool armed_ = true;
};

template <editable_host H>
void forget_beginnings(H& host, batch_view batch) {
  for (std::size_t i = 0; i < batch.size(); ++i)
    if ((i == 0 || batch[i - 1].seq != batch[i].seq) && batch[i].pos == 0) host.forget(batch[i].seq);
}

// A pass of the intact model that is shown to `look`.
template <editable_host H>
status try_forward_intact(H& host, std::uint64_t epoch, batch_view batch, site_set want, observer<float> look) {
  auto watch = [&](const tap& at, matrix_view<float> h) {
    if (want.contains(at.where)) look(at, h);
    return edit::unchanged;
  };
  return host.try_forward(batch, hooks<float>{want, {}, watch, epoch});
}

// A pass under the row and block steps of a bound plan; the caller has already overridden the weights. `epoch` is that of
// the caches, from before this. `look` gets the rows of `want` as the plan leaves them.
template <editable_host H>
status try_forward_held(H& host, const bound_plan& p, std::uint64_t epoch, batch_view batch, site_set want,
                        observer<float> look, pass_memory& memory) {
  if (!p.whole) return p.whole;
  if (auto s = check_shown(host, want); !s) return s;
  if (auto s = check_caches(host, batch, epoch); !s) return s;
  if (p.table.checks_rows())
    if (auto s = check_rows(p.steps.steps(), batch, 0, host.describe().n_layers); !s) return s;
  forget_beginnings(host, batch);
  forget_what_is_half_done<H> guard(host, batch);
  if (p.steps.empty()) {
    const status done = try_forward_intact(host, epoch, batch, want, look);
    guard.done();
    return done;
  }
  edited_pass pass(p.table, want, look, memory);
  auto call = [&](const tap& at, matrix_view<float> h) { return pass.call(at, h); };
  status done = host.try_forward(batch, hooks<float>{want, p.table.written(), call, epoch});
  if (done) done = pass.outcome();
  if (done) guard.done();
  return done;
}

// The same with the weights that the plan changes, overridden for this pass.
template <editable_host H>
status try_forward_bound(H& host, const bound_plan& p, batch_view batch, site_set want, observer<float> look,
                         pass_memory& memory) {
  if (!p.whole) return p.whole;
  const std::uint64_t epoch = model::cache_epoch_under(host, p.table.epoch());
  if constexpr (surgical_host<H>) {
    if (p.table.changes_weights()) {
      inline_executor here;
      held_weights<H> held;
      if (auto s = try_override_layers<H>(here, host, p.table, held); !s) return s;
      return try_forward_held(host, p, epoch, batch, want, look, memory);
    }
  }
  return try_forward_held(host, p, epoch, batch, want, look, memory);
}

}  // namespace detail

// Runs a whole pass under a plan and observes it: `look` gets the rows of every site in `want` after the plan's
// steps. The weights of steps on weights are overridden for this pass. Errors: as try_forward; unsupported for a site that
// no layer of the host shows.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_observe(H& host, const plan& p, batch_view batch, site_set want, observer<float> look, pass_memory& memory) {
  if (auto s = p.check(host.describe()); !s) return s;
  if (p.empty()) memory.table.clear();
  else memory.table.build(p, host.describe().n_layers);
  const detail::bound_plan bound{p, memory.table, detail::check_whole(host, p, memory.table), {}};
  return detail::try_forward_bound(host, bound, batch, want, look, memory);
}
// The same with memory of its own, taken anew in every pass.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_observe(H& host, const plan& p, batch_view batch, site_set want, observer<float> look) {
  pass_memory memory;
  return try_observe(host, p, batch, want, look, memory);
}
// The same under a schedule, which has checked the plan once. Errors also: what schedule::check finds.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_observe(H& host, const schedule& plan, batch_view batch, site_set want, observer<float> look,
                   pass_memory& memory) {
  if (auto s = plan.check(host); !s) return s;
  return detail::try_forward_bound(host, plan.bound(), batch, want, look, memory);
}

// Runs a whole pass under a plan or a schedule; the sequences of the batch continue their KV caches. Layers that the plan
// leaves out still run in a host of the edit level; their output is overwritten. host.logits() returns the result.
// Errors: stale_cache where a sequence continues a cache that grew under another plan, or under other weights of a host
// with weights_epoch() (forget it, or start at position 0); unsupported for steps that act where the host has no site, and for steps on weights where the host is of
// the edit level (one of the surgery level holds their values for the pass); invalid_argument for a row that a step has no
// source for; what plan::check or schedule::check finds. Nothing is changed then.
// Where the host or a step fails under a plan that is not empty, or throws, the batch's sequences are forgotten.
//
// The pass takes its working memory from `memory`: a second pass of as many rows allocates nothing besides the host's
// own allocations. Without `memory` every pass allocates anew.
template <editable_host H, class Plan>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space> &&
           (std::same_as<Plan, plan> || std::same_as<Plan, schedule>))
status try_forward(H& host, const Plan& p, batch_view batch, pass_memory& memory) {
  return try_observe(host, p, batch, site_set{}, detail::look_away, memory);
}
// The same with memory of its own, taken anew in every pass.
template <editable_host H, class Plan>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space> &&
           (std::same_as<Plan, plan> || std::same_as<Plan, schedule>))
status try_forward(H& host, const Plan& p, batch_view batch) {
  pass_memory memory;
  return try_forward(host, p, batch, memory);
}

#if RESECT_EXCEPTIONS
// The throwing form of try_observe.
template <editable_host H>
void observe(H& host, const plan& p, batch_view batch, site_set want, observer<float> look) {
  value_or_throw(try_observe(host, p, batch, want, look));
}
template <editable_host H>
void forward(H& host, const plan& p, batch_view batch) {
  value_or_throw(try_forward(host, p, batch));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
