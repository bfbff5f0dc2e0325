// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/matrix.hpp>
#include <resect/model/host.hpp>
#include <resect/residual/run.hpp>

// Passes of single plans, for measures that share nothing between arms.
namespace RESECT_NAMESPACE::study::detail {

// Layers [from, to) of a state under a plan.
template <class Backend, model::surgical_host H>
status try_layers(Backend& backend, H& host, const residual::plan& plan, typename H::state& state, int from, int to) {
  return residual::try_run(backend, host, plan, state, from, to);
}

// The rest of the model from a copy of a state before layer 0, head included; norm and logits have a row for each of the
// state's.
template <class Backend, model::surgical_host H>
status try_pass_with_head(Backend& backend, H& host, const residual::plan& plan, const typename H::state& start,
                          matrix<float>& norm, matrix<float>& logits) {
  auto state = host.snapshot(start);
  if (auto s = try_layers(backend, host, plan, state, 0, host.describe().n_layers); !s) return s;
  return host.try_head(state, 0, norm.view(), logits.view());
}

}  // namespace RESECT_NAMESPACE::study::detail
