// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/residual/row_store.hpp>
#include <resect/residual/run_whole.hpp>

namespace RESECT_NAMESPACE::residual {

// Runs a whole pass under a plan or a schedule (plan{}: the intact model) and adds the rows that the store is made for, as
// the plan leaves them. Errors: what row_store::try_add and try_observe report; the batch's sequences are forgotten where
// the store is full.
template <editable_host H, class Plan>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_capture(H& host, const Plan& p, batch_view batch, row_store& to, pass_memory& memory) {
  status kept;
  const auto add = [&](const tap& at, matrix_view<const float> h) {
    if (kept) kept = to.try_add(at, h);
  };
  if (auto s = try_observe(host, p, batch, to.sites(), add, memory); !s) return s;
  if (!kept)
    for (const row_meta& row : batch) host.forget(row.seq);
  return kept;
}
// The same with memory of its own.
template <editable_host H, class Plan>
  requires(std::same_as<typename H::value, float> && std::same_as<typename H::space, host_space>)
status try_capture(H& host, const Plan& p, batch_view batch, row_store& to) {
  pass_memory memory;
  return try_capture(host, p, batch, to, memory);
}

}  // namespace RESECT_NAMESPACE::residual
