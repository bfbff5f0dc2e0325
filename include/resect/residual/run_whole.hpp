// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/scratch.hpp>
#include <resect/residual/held_weights.hpp>
#include <resect/residual/plan.hpp>

// Plans on a host of the edit level: whole passes with a cache.
namespace RESECT_NAMESPACE::residual {

// Working memory of passes under plans, kept by the caller; every thread needs its own.
struct pass_memory {
  array<float> input;          // h_i of the block or span that runs at present
  array<row_meta> input_rows;  // meta data of these rows
  array<float> before;         // inputs of the rows that the host kept
  scratch steps;               // working memory of the steps
};

namespace detail {

inline constexpr auto look_away = [](const tap&, matrix_view<const float>) {};

// A pass under the row and block steps of a plan; the caller has already overridden the weights. `look` gets the rows
// of `want` as the plan leaves them.
template <editable_host H>
status try_forward_held(H& host, const plan& p, batch_view batch, site_set want, observer<float> look,
                        pass_memory& memory) {
  if (auto s = p.check(host.describe()); !s) return s;
  const std::uint64_t epoch = p.fingerprint();
  const auto begins = [&](std::size_t i) { return i == 0 || batch[i - 1].seq != batch[i].seq; };
  if (auto s = check_caches(host, batch, epoch); !s) return s;
  site_set write = inner_sites(p);
  bool needs_input = false;
  for (const step& s : p.steps()) {
    if (s.what == step::kind::weights) continue;
    needs_input = needs_input || s.what == step::kind::block || s.what == step::kind::replace;
    write.insert(s.what == step::kind::rows ? s.where : site::resid_post);
  }
  if (needs_input) write.insert(site::resid_pre);
  if (auto s = check_access(host, p, write); !s) return s;

  for (std::size_t i = 0; i < batch.size(); ++i)
    if (begins(i) && batch[i].pos == 0) host.forget(batch[i].seq);
  struct forget_what_is_half_done {
    H& host;
    batch_view batch;
    bool armed = false;  // while the host runs
    ~forget_what_is_half_done() {
      if (!armed) return;
      for (const row_meta& row : batch) host.forget(row.seq);
    }
  } guard{host, batch};
  if (p.empty()) {
    guard.armed = true;
    auto watch = [&](const tap& at, matrix_view<float> h) {
      if (want.contains(at.where)) look(at, h);
      return edit::unchanged;
    };
    status done = host.try_forward(batch, want.empty() ? no_hooks<float>() : hooks<float>{want, {}, watch, 0});
    guard.armed = false;
    return done;
  }

  auto& input = memory.input;
  auto& input_rows = memory.input_rows;
  auto& before = memory.before;
  auto& steps = memory.steps;
  input_rows.clear();
  index_t width = 0;
  status outcome;  // of the steps
  auto call = [&](const tap& given, matrix_view<float> h) {
    const tap at{given.where, given.layer, given.rows, &steps};
    bool changed = false;
    const auto active = [&](const step& s) {
      return (s.what == step::kind::block && covers(s, at.layer)) ||
             (s.what == step::kind::replace &&
              (at.where == site::resid_pre ? at.layer == s.range.first : at.layer == s.range.last - 1));
    };
    const bool any = any_step(p, active);
    if (at.where == site::resid_post && any && outcome) {
      // a host may have gathered rows since: find each row's input by what the row is
      before.resize(h.rows * h.cols);
      index_t from = 0;
      for (index_t r = 0; r < h.rows; ++r) {
        const auto& row = at.rows[static_cast<std::size_t>(r)];
        while (from < input_rows.size() && !(input_rows[from].place() == row.place())) ++from;
        if (from == input_rows.size()) {
          outcome =
              error{errc::unsupported, text("rows of ", name(at.where), " in layer ", at.layer),
                    text("sequence ", row.seq, " position ", row.pos), "a row of the layer's input, in its order"};
          return edit::unchanged;
        }
        for (index_t c = 0; c < width; ++c) before[r * width + c] = input[from * width + c];
      }
      const matrix_view<const float> in{before.data(), h.rows, h.cols};
      for (const step& s : p.steps()) {
        if (!active(s) || !outcome) continue;
        if (s.what == step::kind::replace) {
          outcome = s.on_replace(tap{site::resid_pre, s.range.first, at.rows, &steps}, in, h);
        } else {
          if (!s.reads_output) copy(in, h);
          s.on_block(at, in, h);
        }
      }
      changed = true;
    }
    changed = apply_rows(p, at, h) || changed;
    if (at.where == site::resid_pre && any) {
      materialized(h, input);
      input_rows.assign(at.rows);
      width = h.cols;
    }
    if (want.contains(at.where)) look(at, h);
    return changed ? edit::modified : edit::unchanged;
  };
  const hooks<float> k{want, write, call, epoch};
  guard.armed = true;
  status done = host.try_forward(batch, k);
  if (done) done = outcome;
  guard.armed = !done;
  return done;
}

}  // namespace detail

// Runs a whole pass under a plan and observes it: `look` gets the rows of every site in `want` after the plan's
// steps. The weights of steps on weights are overridden for this pass. Errors: as try_forward.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_observe(H& host, const plan& p, batch_view batch, site_set want, observer<float> look, pass_memory& memory) {
  if (!detail::changes_weights(p)) return detail::try_forward_held(host, p, batch, want, look, memory);
  if constexpr (surgical_host<H>) {
    inline_executor here;
    if (auto s = p.check(host.describe()); !s) return s;
    const auto held = try_hold_weights(here, host, p);
    if (!held) return held.error();
    return detail::try_forward_held(host, p, batch, want, look, memory);
  } else {
    return detail::check_no_weights(p);
  }
}
// The same with memory of its own, taken anew in every pass.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_observe(H& host, const plan& p, batch_view batch, site_set want, observer<float> look) {
  pass_memory memory;
  return try_observe(host, p, batch, want, look, memory);
}

// Runs a whole pass under a plan; the sequences of the batch continue their KV caches. Layers that the plan leaves
// out still run in a host of the edit level; their output is overwritten. host.logits() returns the result.
// Errors: stale_cache where a sequence continues a cache that grew under another plan (forget it, or start
// at position 0); unsupported for steps that act where the host has no site, and for steps on weights where the host is of
// the edit level (one of the surgery level holds their values for the pass); what plan::check finds. Nothing is changed
// then.
// Where the host or a step fails under a plan that is not empty, or throws, the batch's sequences are forgotten.
//
// The pass takes its working memory from `memory`: a second pass of as many rows allocates nothing besides the host's
// own allocations. Without `memory` every pass allocates anew.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_forward(H& host, const plan& p, batch_view batch, pass_memory& memory) {
  return try_observe(host, p, batch, site_set{}, detail::look_away, memory);
}

// The same with memory of its own, taken anew in every pass.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_forward(H& host, const plan& p, batch_view batch) {
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
