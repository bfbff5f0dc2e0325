// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <vector>

#include <resect/residual/plan.hpp>

// Runs a model under a plan, on a host of the surgery level (partial passes on a state) or of the edit
// level (whole passes with a cache). Plans act on fp32 rows in host memory.
namespace resect::inline RESECT_NAMESPACE_TAG::residual {

namespace detail {

inline std::vector<float> copy_rows(matrix_view<const float> h) {
  std::vector<float> out(static_cast<std::size_t>(h.rows * h.cols));
  for (index r = 0; r < h.rows; ++r)
    for (index c = 0; c < h.cols; ++c) out[static_cast<std::size_t>(r * h.cols + c)] = h(r, c);
  return out;
}

// The sites inside layers at which a plan edits rows while a layer runs.
inline site_set inner_sites(const plan& p) noexcept {
  site_set sites;
  for (const step& s : p.steps())
    if (s.what == step::kind::rows && s.where != site::resid_pre && s.where != site::resid_post) sites.insert(s.where);
  return sites;
}

inline bool covers(const step& s, int l) noexcept { return l >= s.range.first && l < s.range.last; }

inline bool apply_rows(const plan& p, const tap& at, matrix_view<float> h) {
  bool changed = false;
  for (const step& s : p.steps())
    if (s.what == step::kind::rows && s.where == at.where && covers(s, at.layer)) {
      s.on_rows(at, h);
      changed = true;
    }
  return changed;
}

// One layer of a surgical pass: weights, the layer itself if anything reads it, block steps.
template <surgical_host H>
status run_edited_layer(H& host, const plan& p, typename H::state& state, int l) {
  std::vector<typename H::weight_override> overrides;
  const bool leaves_out = std::any_of(p.steps().begin(), p.steps().end(), [&](const step& s) {
    return s.what == step::kind::block && !s.reads_output && covers(s, l);
  });
  for (const step& s : p.steps()) {
    if (s.what != step::kind::weights || !covers(s, l)) continue;
    for (const weight_desc& w : host.weights(l)) {
      std::vector<float> values(static_cast<std::size_t>(w.rows * w.cols));
      const matrix_view<float> view{values.data(), w.rows, w.cols};
      if (auto st = host.try_read_weight(w, view); !st) return st;
      if (!s.on_weight(w, view)) continue;
      auto guard = host.try_override_weight(w, view);
      if (!guard) return guard.error();
      overrides.push_back(std::move(*guard));
    }
  }
  const auto is_block = [&](const step& s) { return s.what == step::kind::block && covers(s, l); };
  const bool has_block = std::any_of(p.steps().begin(), p.steps().end(), is_block);
  std::vector<float> before;
  if (has_block) before = copy_rows(host.stream(state));
  if (!leaves_out) {
    auto on_rows = [&](const tap& at, matrix_view<float> h) {
      return apply_rows(p, at, h) ? edit::modified : edit::unchanged;
    };
    const hooks<float> k{{}, inner_sites(p), on_rows, p.fingerprint()};
    if (auto st = host.try_run(state, l, l + 1, k); !st) return st;
  }
  const auto h = host.stream(state);
  for (const step& s : p.steps())
    if (is_block(s)) s.on_block(tap{site::resid_post, l, host.rows(state)}, {before.data(), h.rows, h.cols}, h);
  return {};
}

}  // namespace detail

// Runs layers [first, last) of `state` under the plan; stretches that the plan does not touch go to the
// host in one call, so an empty plan adds nothing. `first` must not lie inside a replaced span.
// On error the state is unspecified but valid; weights are as before.
template <surgical_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_run(H& host, const plan& p, typename H::state& state, int first, int last) {
  const auto intact = no_hooks<float>();
  if (p.empty()) return host.try_run(state, first, last, intact);
  if (auto s = p.check(host.describe()); !s) return s;

  const auto touched = [&](int l) {
    return std::any_of(p.steps().begin(), p.steps().end(), [&](const step& s) { return detail::covers(s, l); });
  };
  for (int l = first; l < last;) {
    int next = l;
    while (next < last && !touched(next)) ++next;
    if (next > l) {
      if (auto s = host.try_run(state, l, next, intact); !s) return s;
      l = next;
      continue;
    }
    detail::apply_rows(p, tap{site::resid_pre, l, host.rows(state)}, host.stream(state));
    const auto span = std::find_if(p.steps().begin(), p.steps().end(), [&](const step& s) {
      return s.what == step::kind::replace && detail::covers(s, l);
    });
    if (span == p.steps().end()) {
      if (auto s = detail::run_edited_layer(host, p, state, l); !s) return s;
      next = l + 1;
    } else {
      if (span->range.first != l || span->range.last > last)
        return error{errc::invalid_argument, "layers to run", text("[", first, ", ", last, ")"),
                     text("a cut outside the replaced span [", span->range.first, ", ", span->range.last, ")")};
      const auto h = host.stream(state);
      const auto before = detail::copy_rows(h);
      const tap at{site::resid_pre, l, host.rows(state)};
      if (auto s = span->on_replace(at, {before.data(), h.rows, h.cols}, h); !s) return s;
      next = span->range.last;
    }
    detail::apply_rows(p, tap{site::resid_post, next - 1, host.rows(state)}, host.stream(state));
    l = next;
  }
  return {};
}

// A whole pass over the batch on a host of the edit level, which caches keys and values. Layers that the
// plan leaves out still run there; their output is overwritten. logits() then holds the result.
// Errors: stale_cache where a sequence continues a cache that grew under another plan (forget it, or start
// at position 0); unsupported for steps that change weights; what plan::check finds.
template <editable_host H>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_forward(H& host, const plan& p, batch_view batch) {
  if (auto s = p.check(host.describe()); !s) return s;
  const std::uint64_t epoch = p.fingerprint();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const row_meta& row = batch[i];
    if (i > 0 && batch[i - 1].seq == row.seq) continue;
    if (row.pos == 0) host.forget(row.seq);
    else if (host.cache_epoch(row.seq) != epoch)
      return error{errc::stale_cache, text("cache of sequence ", row.seq), text("plan ", host.cache_epoch(row.seq)),
                   text("plan ", epoch)};
  }
  if (p.empty()) return host.try_forward(batch, no_hooks<float>());

  site_set write = detail::inner_sites(p);
  bool needs_input = false;
  for (const step& s : p.steps()) {
    if (s.what == step::kind::weights)
      return error{errc::unsupported, text(s.name.view()), "a host of the edit level", "a host of the surgery level"};
    needs_input = needs_input || s.what == step::kind::block || s.what == step::kind::replace;
    write.insert(s.what == step::kind::rows ? s.where : site::resid_post);
  }
  if (needs_input) write.insert(site::resid_pre);

  std::vector<float> input;           // h_i of the block or span that runs now
  std::vector<row_meta> input_rows;
  index width = 0;
  status failed;
  auto call = [&](const tap& at, matrix_view<float> h) {
    bool changed = false;
    const auto active = [&](const step& s) {
      return (s.what == step::kind::block && detail::covers(s, at.layer)) ||
             (s.what == step::kind::replace &&
              (at.where == site::resid_pre ? at.layer == s.range.first : at.layer == s.range.last - 1));
    };
    const auto block = std::find_if(p.steps().begin(), p.steps().end(), active);
    if (at.where == site::resid_post && block != p.steps().end() && failed) {
      // a host may have gathered rows since: find each row's input by what the row is
      std::vector<float> before(static_cast<std::size_t>(h.rows * h.cols));
      std::size_t from = 0;
      for (index r = 0; r < h.rows; ++r) {
        const auto& want = at.rows[static_cast<std::size_t>(r)];
        while (from < input_rows.size() && !(input_rows[from].seq == want.seq && input_rows[from].pos == want.pos)) ++from;
        if (from == input_rows.size()) {
          failed = error{errc::unsupported, text("rows of ", name(at.where), " in layer ", at.layer),
                         text("sequence ", want.seq, " position ", want.pos), "a row of the layer's input, in its order"};
          return edit::unchanged;
        }
        std::copy_n(input.begin() + static_cast<index>(from) * width, width, before.begin() + r * width);
      }
      const matrix_view<const float> in{before.data(), h.rows, h.cols};
      if (block->what == step::kind::replace) {
        failed = block->on_replace(at, in, h);
      } else {
        if (!block->reads_output)
          for (index r = 0; r < h.rows; ++r)
            for (index c = 0; c < h.cols; ++c) h(r, c) = in(r, c);
        block->on_block(at, in, h);
      }
      changed = true;
    }
    changed = detail::apply_rows(p, at, h) || changed;
    if (at.where == site::resid_pre && block != p.steps().end()) {
      input = detail::copy_rows(h);
      input_rows.assign(at.rows.begin(), at.rows.end());
      width = h.cols;
    }
    return changed ? edit::modified : edit::unchanged;
  };
  const hooks<float> k{{}, write, call, epoch};
  status done = host.try_forward(batch, k);
  if (done && !failed) done = failed;
  if (!done)
    for (const row_meta& row : batch) host.forget(row.seq);  // what they cached is half of something
  return done;
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

}  // namespace resect::inline RESECT_NAMESPACE_TAG::residual
