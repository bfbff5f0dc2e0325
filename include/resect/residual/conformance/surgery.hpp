// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include <resect/residual/conformance/editing.hpp>

// The checks that need a host of the surgery level.
namespace resect::inline RESECT_NAMESPACE_TAG::residual::conformance {

// A copy of a state's stream.
template <class H>
std::vector<float> stream_of(H& host, typename H::state& state) {
  const auto h = host.stream(state);
  return detail::copy_rows(h);
}

// T0.c and T1.f: partial passes, with and without callbacks, and beside the whole pass.
template <class H>
void partial_passes(bench<H>& b) {
  b.run("T0.c", "the same in partial passes", "logits: largest |difference|", 0.0, [&](check& c) -> status {
    auto want = b.by_state(b.batch);
    if (!want) return want.error();
    auto state = b.host.try_embed(b.batch);
    if (!state) return state.error();
    auto look = [](const tap&, matrix_view<float>) { return edit::unchanged; };
    const hooks<float> k{b.reached(access::read), b.reached(access::write), look, edited_epoch};
    if (auto s = b.host.try_run(*state, 0, b.n_layers(), k); !s) return s;
    auto got = b.head(*state);
    if (!got) return got.error();
    c.note = flips_of(compare_logits(worst{c}, *got, *want, 1.0), b.batch.size());
    return {};
  });
  b.run("T1.f", "a state's stream is what the whole pass shows", "difference, relative to the largest value",
        b.o.rounding, [&](check& c) -> status {
          auto state = b.host.try_embed(b.batch);
          if (!state) return state.error();
          for (int l = 0; l <= b.n_layers(); ++l) {
            if (l > 0)
              if (auto s = b.host.try_run(*state, l - 1, l, no_hooks<float>()); !s) return s;
            const batch_view rows = b.host.rows(*state);
            const auto h = b.host.stream(*state);
            if (h.rows != static_cast<index>(rows.size()) || rows.size() != b.batch.size())
              return error{errc::shape_mismatch, "rows of the state", text(h.rows), text(b.batch.size())};
            const auto values = detail::copy_rows(h);
            const site where = l < b.n_layers() ? site::resid_pre : site::resid_post;
            const int layer = l < b.n_layers() ? l : l - 1;
            for (std::size_t r = 0; r < rows.size(); ++r) {
              const row_place place{rows[r].seq, rows[r].pos};
              const auto want = b.base.find(where, layer, place);
              if (want.empty()) continue;
              const double d = difference({values.data() + r * static_cast<std::size_t>(h.cols), want.size()}, want);
              worst{c}.see(d == 0.0 ? 0.0 : d / std::max(largest(values), 1e-30), where, layer, place);
            }
          }
          auto got = b.head(*state);
          if (!got) return got.error();
          compare_logits(worst{c}, *got, b.base, b.scale);
          return {};
        });
}

// T2.d: an overridden weight is what the layer uses and what is read, and afterwards all is as before.
template <class H>
void weights_stick(bench<H>& b) {
  b.run("T2.d", "an overridden weight is used, and put back", "weights with a fault", 0.0, [&](check& c) -> status {
    auto state = b.host.try_embed(b.batch);
    if (!state) return state.error();
    int at = 0;
    const auto fault = [&](const weight_desc& w, std::string_view what) {
      if (c.measured == 0.0) c.note = text<200>(w.name.view(), ": ", what);
      worst{c}.count(true, site::resid_post, w.layer, {-1, -1});
    };
    for (const int l : b.layers) {
      if (auto s = b.host.try_run(*state, at, l, no_hooks<float>()); !s) return s;
      at = l;
      const auto output = [&]() -> result<std::vector<float>> {
        auto copy = b.host.snapshot(*state);
        if (auto s = b.host.try_run(copy, l, l + 1, no_hooks<float>()); !s) return s.error();
        return stream_of(b.host, copy);
      };
      auto want = output();
      if (!want) return want.error();
      for (const weight_desc& w : b.host.weights(l)) {
        const auto n = static_cast<std::size_t>(w.rows * w.cols);
        std::vector<float> original(n), changed(n), read(n);
        const auto view = [&](std::vector<float>& v) { return matrix_view<float>{v.data(), w.rows, w.cols}; };
        if (auto s = b.host.try_read_weight(w, view(original)); !s) return s;
        const double rms = detail::root_mean_square(view(original));
        random::fill_gaussian(changed, b.o.seed, static_cast<std::uint64_t>(w.id), 0, rms > 0.0 ? rms : 1.0);
        {
          auto guard = b.host.try_override_weight(w, view(changed));
          if (!guard) return guard.error();
          if (auto s = b.host.try_read_weight(w, view(read)); !s) return s;
          auto got = output();
          if (!got) return got.error();
          if (difference(read, changed) != 0.0) fault(w, "is read as something else than what was written");
          else if (w.role == weight_role::matrix && difference(*got, *want) == 0.0)
            fault(w, "is written without effect");
        }
        auto after = output();
        if (!after) return after.error();
        if (auto s = b.host.try_read_weight(w, view(read)); !s) return s;
        if (difference(read, original) != 0.0 || difference(*after, *want) != 0.0) fault(w, "does not come back");
      }
    }
    return {};
  });
}

// T3: a layer taken out and put back is the layer, and a pass that was cut is the pass.
template <class H>
void identity_splice(bench<H>& b) {
  b.run("T3.a", "a layer replaced by itself changes no logit", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          if (b.host.describe().n_streams != 1) return b.not_applicable(c, "more than one residual stream");
          auto want = b.by_state(b.batch);
          if (!want) return want.error();
          int flips = 0;
          for (const int l : b.layers) {
            plan p;
            if (auto s = p.try_add(replace_span(layer(l), own_layers(b.host, layer(l)), 1)); !s) return s;
            auto state = b.host.try_embed(b.batch);
            if (!state) return state.error();
            if (auto s = residual::try_run(b.host, p, *state, 0, b.n_layers()); !s) return s;
            auto got = b.head(*state);
            if (!got) return got.error();
            flips += compare_logits(worst{c}, *got, *want, 1.0, site::resid_post, l);
          }
          c.note = flips_of(flips, b.layers.size() * b.batch.size());
          return {};
        });
  b.run("T3.b", "a pass cut anywhere, or restarted from a snapshot, is the pass", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          auto want = b.by_state(b.batch);
          if (!want) return want.error();
          for (const int l : b.layers) {
            auto state = b.host.try_embed(b.batch);
            if (!state) return state.error();
            if (auto s = b.host.try_run(*state, 0, l, no_hooks<float>()); !s) return s;
            auto copy = b.host.snapshot(*state);
            for (auto* each : {&*state, &copy}) {  // the copy must not have moved with the original
              if (auto s = b.host.try_run(*each, l, b.n_layers(), no_hooks<float>()); !s) return s;
              auto got = b.head(*each);
              if (!got) return got.error();
              compare_logits(worst{c}, *got, *want, 1.0, site::resid_pre, l);
            }
          }
          return {};
        });
}

// T7.d
template <class H>
void partial_determinism(bench<H>& b) {
  b.run("T7.d", "the same partial passes give the same bits again", "logits: largest |difference|", 0.0,
        [&](check& c) -> status {
          auto want = b.by_state(b.batch);
          if (!want) return want.error();
          for (int i = 0; i < 2; ++i) {
            if (auto between = b.by_state(b.other); !between) return between.error();
            auto got = b.by_state(b.batch);
            if (!got) return got.error();
            compare_logits(worst{c}, *got, *want, 1.0);
          }
          return {};
        });
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::residual::conformance
