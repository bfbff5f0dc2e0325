// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/scratch.hpp>
#include <resect/residual/plan.hpp>

// Runs a model under a plan, on a host of the surgery level (partial passes on a state) or of the edit
// level (whole passes with a cache). Plans act on fp32 rows in host memory.
namespace RESECT_NAMESPACE::residual {

// Working memory of passes under plans, kept by the caller; one for each thread.
struct pass_memory {
  array<float> input;          // h_i of the block or span that runs now
  array<row_meta> input_rows;  // and what its rows are
  array<float> before;         // of the rows that the host kept
  scratch steps;               // what steps take
};

namespace detail {

// The sites inside layers at which a plan edits rows while a layer runs.
template <class = void>
site_set inner_sites(const plan& p) noexcept {
  site_set sites;
  for (const step& s : p.steps())
    if (s.what == step::kind::rows && s.where != site::resid_pre && s.where != site::resid_post) sites.insert(s.where);
  return sites;
}

template <class = void>
bool covers(const step& s, int l) noexcept {
  return l >= s.range.first && l < s.range.last;
}

template <class = void>
bool apply_rows(const plan& p, const tap& at, matrix_view<float> h) {
  bool changed = false;
  for (const step& s : p.steps())
    if (s.what == step::kind::rows && s.where == at.where && covers(s, at.layer)) {
      s.on_rows(at, h);
      changed = true;
    }
  return changed;
}

// The host must reach, by its callbacks, every one of `sites` that a step acts on: where a kernel has fused a
// site away the edit would be lost without a word.
template <observable_host H>
status check_access(const H& host, const plan& p, site_set sites) {
  const auto reaches = [&](const step& s, site where, access wanted) -> status {
    if (!sites.contains(where)) return {};
    for (int l = s.range.first; l < s.range.last; ++l)
      if (host.supports(where, l) < wanted)
        return error{errc::unsupported, text(s.name.view(), " in layer ", l),
                     text("a host that cannot ", wanted == access::write ? "write" : "read", " ", name(where)),
                     "one that can"};
    return {};
  };
  for (const step& s : p.steps()) {
    if (auto st = reaches(s, s.what == step::kind::rows ? s.where : site::resid_post, access::write); !st) return st;
    if (s.what == step::kind::rows) continue;
    if (auto st = reaches(s, site::resid_pre, access::read); !st) return st;
  }
  return {};
}

template <class F>
bool any_step(const plan& p, const F& is) {
  for (const step& s : p.steps())
    if (is(s)) return true;
  return false;
}

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
      if (w == nullptr) return error{errc::invalid_argument, operand(), "no such weight", "one that the layer has"};
      if ((s.weight.rows != 0 && s.weight.rows != w->rows) || (s.weight.cols != 0 && s.weight.cols != w->cols))
        return error{errc::shape_mismatch, operand(), text(s.weight.rows, " x ", s.weight.cols),
                     text(w->rows, " x ", w->cols)};
    }
  }
  return {};
}

// One layer of a surgical pass: weights, the layer itself if anything reads it, block steps.
template <surgical_host H>
status run_edited_layer(executor_ref exec, H& host, const plan& p, typename H::state& state, int l) {
  struct undo {  // guards go in reverse order, so that a weight overridden twice is restored twice
    array<typename H::weight_override> guards;
    ~undo() {
      while (!guards.empty()) guards.pop_back();
    }
  } overrides;
  const bool leaves_out =
      any_step(p, [&](const step& s) { return s.what == step::kind::block && !s.reads_output && covers(s, l); });
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
      overrides.guards.push_back(std::move(*guard));
    }
  }
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

// Runs layers [first, last) of `state` under the plan; stretches that the plan does not touch go to the
// host in one call, so an empty plan adds nothing. Errors: what plan::check finds; invalid_argument for layers
// that do not exist or a cut inside a replaced span; unsupported where the host has no such site, invalid_argument or
// shape_mismatch where a layer has no such weight (nothing is run then); what the host or a step reports (the state
// is then unspecified but valid). Weights are as before in any case.
// `exec` runs what a step can share out (drawing weights); the host has its own workers. No bit depends on it.
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

// A whole pass over the batch on a host of the edit level, which caches keys and values. Layers that the
// plan leaves out still run there; their output is overwritten. logits() then holds the result.
// Errors: stale_cache where a sequence continues a cache that grew under another plan (forget it, or start
// at position 0); unsupported for steps that change weights or act where the host has no site; what plan::check
// finds. Nothing is changed then.
// Where the host or a step fails under a plan that is not empty, or throws, the batch's sequences are forgotten.
//
// `memory` is taken from and kept for the next pass: the second one of as many rows allocates nothing (but what the
// host does). Without it every pass makes its own.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_forward(H& host, const plan& p, batch_view batch, pass_memory& memory) {
  if (auto s = p.check(host.describe()); !s) return s;
  const std::uint64_t epoch = p.fingerprint();
  const auto begins = [&](std::size_t i) { return i == 0 || batch[i - 1].seq != batch[i].seq; };
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const row_meta& row = batch[i];
    if (begins(i) && row.pos != 0 && host.cached(row.seq) > 0 && host.cache_epoch(row.seq) != epoch)
      return error{errc::stale_cache, text("cache of sequence ", row.seq), text("plan ", host.cache_epoch(row.seq)),
                   text("plan ", epoch)};
  }
  for (const step& s : p.steps())
    if (s.what == step::kind::weights)
      return error{errc::unsupported, text(s.name.view()), "a host of the edit level", "a host of the surgery level"};
  site_set write = detail::inner_sites(p);
  bool needs_input = false;
  for (const step& s : p.steps()) {
    needs_input = needs_input || s.what == step::kind::block || s.what == step::kind::replace;
    write.insert(s.what == step::kind::rows ? s.where : site::resid_post);
  }
  if (needs_input) write.insert(site::resid_pre);
  if (auto s = detail::check_access(host, p, write); !s) return s;

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
    status done = host.try_forward(batch, no_hooks<float>());
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
      return (s.what == step::kind::block && detail::covers(s, at.layer)) ||
             (s.what == step::kind::replace &&
              (at.where == site::resid_pre ? at.layer == s.range.first : at.layer == s.range.last - 1));
    };
    const bool any = detail::any_step(p, active);
    if (at.where == site::resid_post && any && outcome) {
      // a host may have gathered rows since: find each row's input by what the row is
      before.resize(h.rows * h.cols);
      index_t from = 0;
      for (index_t r = 0; r < h.rows; ++r) {
        const auto& want = at.rows[static_cast<std::size_t>(r)];
        while (from < input_rows.size() && !(input_rows[from].seq == want.seq && input_rows[from].pos == want.pos))
          ++from;
        if (from == input_rows.size()) {
          outcome =
              error{errc::unsupported, text("rows of ", name(at.where), " in layer ", at.layer),
                    text("sequence ", want.seq, " position ", want.pos), "a row of the layer's input, in its order"};
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
    changed = detail::apply_rows(p, at, h) || changed;
    if (at.where == site::resid_pre && any) {
      materialized(h, input);
      input_rows.assign(at.rows);
      width = h.cols;
    }
    return changed ? edit::modified : edit::unchanged;
  };
  const hooks<float> k{{}, write, call, epoch};
  guard.armed = true;
  status done = host.try_forward(batch, k);
  if (done) done = outcome;
  guard.armed = !done;
  return done;
}

// The same with memory of its own, taken anew in every pass.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_forward(H& host, const plan& p, batch_view batch) {
  pass_memory memory;
  return try_forward(host, p, batch, memory);
}

#if RESECT_EXCEPTIONS
template <surgical_host H>
void run(H& host, const plan& p, typename H::state& state, int first, int last) {
  value_or_throw(try_run(host, p, state, first, last));
}
template <editable_host H>
void forward(H& host, const plan& p, batch_view batch) {
  value_or_throw(try_forward(host, p, batch));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
