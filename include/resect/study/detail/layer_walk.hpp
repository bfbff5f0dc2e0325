// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/copy.hpp>
#include <resect/model/host.hpp>
#include <resect/study/windows.hpp>

namespace RESECT_NAMESPACE::study::detail {

// Runs the intact model over the windows, layer by layer: look(l, before, after) → status gets the rows that layer l reads
// (contiguous) and those that it leaves. Returns the state after the last layer. `operand` names the windows in errors.
template <model::surgical_host H, class F>
result<typename H::state> try_walk_layers(H& host, const token_windows& windows, std::string_view operand, F look) {
  if (auto s = windows.check(operand); !s) return s.error();
  auto state = host.try_embed(windows.rows);
  if (!state) return state.error();
  array<float> memory;
  for (int l = 0; l < host.describe().n_layers; ++l) {
    const matrix_view<const float> before = materialized(host.stream(*state), memory);
    if (auto s = host.try_run(*state, l, l + 1, model::no_hooks<float>()); !s) return s.error();
    if (auto s = look(l, before, matrix_view<const float>(host.stream(*state))); !s) return s.error();
  }
  return state;
}

}  // namespace RESECT_NAMESPACE::study::detail
