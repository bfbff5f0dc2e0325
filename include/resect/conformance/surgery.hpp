// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <resect/conformance/editing.hpp>
#include <resect/core/copy.hpp>
#include <resect/residual/held_weights.hpp>
#include <resect/residual/operators.hpp>
#include <resect/residual/run.hpp>

// The checks that need a host of the surgery level; those of callbacks in partial passes stand in states.hpp.
namespace RESECT_NAMESPACE::conformance {

// A copy of a state's stream.
template <class H>
std::vector<float> stream_of(H& host, typename H::state& state) {
  const auto h = host.stream(state);
  std::vector<float> out;
  materialized(h, out);
  return out;
}

// T0.c and T1.f: partial passes, with and without callbacks, and beside the whole pass.
template <class H>
void partial_passes(bench<H>& b) {
  b.run("T0.c", "Callbacks in try_run that change nothing leave every logit as it was", "logits: largest |difference|",
        0.0, [&](check& c) -> status {
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
  b.run("T1.f", "stream(state) equals resid_pre of the whole pass at every layer", "relative to the largest value",
        b.o.rounding, [&](check& c) -> status {
          auto state = b.host.try_embed(b.batch);
          if (!state) return state.error();
          for (int l = 0; l <= b.n_layers(); ++l) {
            if (l > 0)
              if (auto s = b.host.try_run(*state, l - 1, l, no_hooks<float>()); !s) return s;
            const batch_view rows = b.host.rows(*state);
            const auto h = b.host.stream(*state);
            if (h.rows != static_cast<index_t>(rows.size()) || rows.size() != b.batch.size())
              return error{errc::shape_mismatch, "rows of the state", text(h.rows), text(b.batch.size())};
            array<float> memory;
            const auto values = materialized(h, memory);
            const site where = l < b.n_layers() ? site::resid_pre : site::resid_post;
            const int layer = l < b.n_layers() ? l : l - 1;
            for (std::size_t r = 0; r < rows.size(); ++r) {
              const token_place place{rows[r].seq, rows[r].pos};
              const auto want = b.base.find(where, layer, place);
              if (want.empty()) continue;
              const double d = difference(values.row_span(static_cast<index_t>(r)).first(want.size()), want);
              worst{c}.see(d == 0.0 ? 0.0 : d / std::max(largest(memory.span()), 1e-30), where, layer, place);
            }
          }
          auto got = b.head(*state);
          if (!got) return got.error();
          compare_logits(worst{c}, *got, b.base, b.scale);
          return {};
        });
}

// A weight and values for it.
struct weight_values {
  weight_desc weight;
  std::vector<float> values;
  matrix_view<float> view() { return {values.data(), weight.rows, weight.cols}; }
};
// y := x·Wᵀ by sums in double.
inline status multiply(matrix_view<const float> x, const weight_values& w, matrix_view<float> y) {
  const auto width = static_cast<std::size_t>(x.cols);
  if (auto s = check_view(y, x.rows, w.weight.rows, "output of the product"); !s) return s;
  for (index_t r = 0; r < y.rows; ++r)
    for (index_t o = 0; o < y.cols; ++o) {
      double sum = 0.0;
      for (std::size_t i = 0; i < width; ++i)
        sum += static_cast<double>(x(r, static_cast<index_t>(i))) *
               static_cast<double>(w.values[static_cast<std::size_t>(o) * width + i]);
      y(r, o) = static_cast<float>(sum);
    }
  return {};
}
// As the host has it now.
template <class H>
result<weight_values> original_weight(bench<H>& b, const weight_desc& w) {
  weight_values out{w, std::vector<float>(static_cast<std::size_t>(w.rows * w.cols))};
  if (auto s = b.host.try_read_weight(w, out.view()); !s) return s.error();
  return out;
}
// keep · value + draw · (root mean square of the values) · N(0, 1).
template <class H>
weight_values drawn_weight(bench<H>& b, weight_values original, float keep, double draw, std::uint64_t stream) {
  const double rms = residual::detail::root_mean_square(original.view());
  std::vector<float> noise(original.values.size());
  random::fill_gaussian(noise, b.o.seed, stream + static_cast<std::uint64_t>(original.weight.id), 0,
                        draw * (rms > 0.0 ? rms : 1.0));
  for (std::size_t i = 0; i < noise.size(); ++i) original.values[i] = keep * original.values[i] + noise[i];
  return original;
}
// Values for the weights of a layer for which wanted(weight).
template <class H, class Wanted>
result<std::vector<weight_values>> drawn_layer(bench<H>& b, int layer, float keep, double draw, Wanted wanted) {
  std::vector<weight_values> all;
  for (const weight_desc& w : b.host.weights(layer)) {
    if (!wanted(w)) continue;
    auto original = original_weight(b, w);
    if (!original) return original.error();
    all.push_back(drawn_weight(b, std::move(*original), keep, draw, 2000));
  }
  return all;
}

// Overrides weights by the values of `all`, until `out` ends.
template <class H>
status hold_weights(bench<H>& b, std::vector<weight_values>& all, held_weights<H>& out) {
  for (weight_values& w : all) {
    auto guard = b.host.try_override_weight(w.weight, w.view());
    if (!guard) return guard.error();
    out.hold(std::move(*guard));
  }
  return {};
}

// Overrides the weights of a layer for which wanted(weight). All are read before the first one is overridden.
template <class H, class Wanted>
status override_layer(bench<H>& b, int layer, float keep, double draw, Wanted wanted, held_weights<H>& out) {
  auto all = drawn_layer(b, layer, keep, draw, wanted);
  if (!all) return all.error();
  return hold_weights(b, *all, out);
}

// T2.d and T2.j: the layer uses the overridden weight and try_read_weight returns it, in partial and in whole passes;
// the end of the guard restores the layer.
template <class H>
void weights_stick(bench<H>& b) {
  b.run("T2.d", "try_override_weight changes its layer; the end of the guard restores it", "weights with a fault", 0.0,
        [&](check& c) -> status {
          auto state = b.host.try_embed(b.batch);
          if (!state) return state.error();
          int at = 0;
          const auto fault = [&](const weight_desc& w, std::string_view what) {
            if (c.measured == 0.0) c.note = text<200>(w.name.view(), ": ", what);
            worst{c}.count(true, site::resid_post, w.layer, nowhere);
          };
          for (const int l : b.layers) {
            if (auto s = b.host.try_run(*state, at, l, no_hooks<float>()); !s) return s;
            at = l;
            const auto output = [&]() -> result<std::vector<float>> {
              auto copy = b.host.snapshot(*state);
              if (auto s = b.host.try_run(copy, l, l + 1, no_hooks<float>()); !s) return s.error();
              return stream_of(b.host, copy);
            };
            auto intact = output();
            if (!intact) return intact.error();
            for (const weight_desc& w : b.host.weights(l)) {
              auto original = original_weight(b, w);
              if (!original) return original.error();
              weight_values changed = drawn_weight(b, *original, 0.0f, 1.0, 0),
                            again = drawn_weight(b, *original, 0.0f, 1.0, 1000), read = *original;
              {
                // the matrix behind a gain may be zero in this model: the gain is looked at beside others
                held_weights<H> around;
                if (w.role == weight_role::norm_gain)
                  if (auto s = override_layer(
                          b, l, 0.0f, 1.0, [](const weight_desc& x) { return x.role == weight_role::matrix; }, around);
                      !s)
                    return s;
                auto want = output();
                if (!want) return want.error();
                auto guard = b.host.try_override_weight(w, changed.view());
                if (!guard) return guard.error();
                if (auto s = b.host.try_read_weight(w, read.view()); !s) return s;
                auto got = output();
                if (!got) return got.error();
                if (difference(read.values, changed.values) != 0.0)
                  fault(w, "is read as something else than what was written");
                else if (difference(*got, *want) == 0.0) fault(w, "is written without effect");
                {
                  auto inner = b.host.try_override_weight(w, again.view());
                  if (!inner) return inner.error();
                }
                if (auto s = b.host.try_read_weight(w, read.view()); !s) return s;
                if (difference(read.values, changed.values) != 0.0) fault(w, "does not come back");
              }
              auto after = output();
              if (!after) return after.error();
              if (auto s = b.host.try_read_weight(w, read.view()); !s) return s;
              if (difference(read.values, original->values) != 0.0 || difference(*after, *intact) != 0.0)
                fault(w, "does not come back");
            }
          }
          return {};
        });
  b.run("T2.j", "try_forward uses overridden weights as try_run does", "logits: relative difference", b.o.rounding,
        [&](check& c) -> status {
          const std::size_t n = b.layers.size(), some = std::min<std::size_t>(n, 4);
          for (std::size_t i = 0; i < some; ++i) {
            const int l = b.layers[some == 1 ? 0 : i * (n - 1) / (some - 1)];
            held_weights<H> changed;
            const auto every = [](const weight_desc&) { return true; };
            if (auto s = override_layer(b, l, 1.0f, 0.25, every, changed); !s) return s;
            auto whole = b.fresh(b.batch, site_set{});
            if (!whole) return whole.error();
            auto parts = b.by_state(b.batch);
            if (!parts) return parts.error();
            compare_logits(worst{c}, *whole, *parts, b.scale, site::resid_post, l);
          }
          return {};
        });
}

// T3: a layer replaced by itself, and a pass that was cut, give the logits of the whole pass.
template <class H>
void identity_splice(bench<H>& b) {
  b.run("T3.a", "A layer replaced by itself (own_layers) changes no logit", "logits: largest |difference|", 0.0,
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
  b.run("T3.b", "try_run in pieces, or from snapshot(state), gives the same logits", "logits: largest |difference|",
        0.0, [&](check& c) -> status {
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
  b.run("T7.d", "The same try_run gives the same bits again", "logits: largest |difference|", 0.0,
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

}  // namespace RESECT_NAMESPACE::conformance
