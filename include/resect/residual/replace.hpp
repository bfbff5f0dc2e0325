// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>

#include <resect/core/copy.hpp>
#include <resect/residual/plan.hpp>

// Spans of layers replaced by a map of the stream.
namespace RESECT_NAMESPACE::residual {

namespace detail {
template <class O>
step replacing(layer_range where, O map) {
  step s{where, std::move(map)};
  s.what = form::replace;
  return s;
}
}  // namespace detail

// Replaces layers [i, j) by an operator: h_j := S(h_i); the layers do not run. S is any named_operator with `apply`
// (in: h_i; inout: h_i, to become h_j) on spans or on rows; its facts().width is checked against d_model. A plan refuses
// operators on a block (skip, doses): their layer does not run.
//   replace_span(layers(3, 6), affine)
template <named_operator O>
step replace_span(layer_range where, O map) {
  return detail::replacing(where, std::move(map));
}
// The same with a function that `named` has made an operator of.
template <class F>
step replace_span(layer_range where, named_function<F> map) {
  map.about.what = form::replace;
  return detail::replacing(where, std::move(map));
}
// The same with a function: S(tap, h_i, h_j) → status (or nothing), or S(tap, h), which makes h_i to h_j in place. The tap
// says what the rows are; its site is resid_pre of layer i. `identity` must differ between functions that do different
// things and is not 0.
//   replace_span(layers(3, 6), [&](const tap& at, matrix_view<const float> in, matrix_view<float> out) { … }, 1)
template <class F>
step replace_span(layer_range where, F student, std::uint64_t identity, index_t width = 0) {
  return replace_span(where, named("resect.replace_span/1", identity, std::move(student), {.width = width}));
}

// Starts the model at layer k with a map of its embedding: h_k := g(h_0) on all rows; layers [0, k) do not run, and no
// keys and values of theirs exist in a host of the surgery level. Equal to replace_span(layers(0, k), g) under its own
// name. k = 0 leaves no layer out: a plan refuses it as an empty range.
//   inject(12, affine)
template <named_operator O>
step inject(int k, O map) {
  step s = replace_span(layers(0, k), std::move(map));
  s.name = "inject";
  return s;
}
// The same with a function and its identity.
template <class F>
step inject(int k, F map, std::uint64_t identity, index_t width = 0) {
  return replace_span(layers(0, k), named("resect.inject/1", identity, std::move(map), {.width = width}));
}

// A function for replace_span that runs the host's own layers: a splice that must change no bit. It keeps a reference
// to the host. It runs whole sequences from position 0, since its layers have no cache: a pass that continues one is
// unsupported.
template <surgical_host H>
auto own_layers(H& host, layer_range where) {
  return [&host, where](const tap& at, matrix_view<const float> in, matrix_view<float> out) -> status {
    for (std::size_t i = 0; i < at.rows.size(); ++i)
      if (const row_meta& row = at.rows[i]; (i == 0 || at.rows[i - 1].seq != row.seq) && row.pos != 0)
        return error{errc::unsupported, "rows of own_layers in replace_span",
                     text("sequence ", row.seq, " from position ", row.pos),
                     "whole sequences from position 0: own_layers continues no cache"};
    auto state = host.try_embed(at.rows);
    if (!state) return state.error().within("own_layers in replace_span");
    auto h = host.stream(*state);
    copy(in, h);
    if (auto s = host.try_run(*state, where.first, where.last, no_hooks<typename H::value, typename H::space>()); !s)
      return s.error().within("own_layers in replace_span");
    copy(host.stream(*state), out);
    return {};
  };
}

}  // namespace RESECT_NAMESPACE::residual
