// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/residual/plan.hpp>

// Steps on some rows only. The predicates stand in selection.hpp.
namespace RESECT_NAMESPACE::residual {

// Restricts the step `s` to the chosen rows: its operator gets these rows alone, in the order of the batch and with
// their meta data, and is not called if no row is chosen. All other rows keep their bits. A step that is restricted
// twice acts on the rows that are in both selections.
//   plan{} | at(last(), zero_stream(layer(4))) | at(range(0, 8) & not_bos(1), scale_delta(layer(2), 0.5f))
// A layer that is skipped for some rows still runs, for the others; its keys and values are computed for all rows. In
// a plan, steps that would contradict each other may stand together where their rows are provably disjoint. The
// selection is part of the step's identity. Cost: one visit of each row, and a copy of the chosen rows where they are
// not next to each other, in the pass's memory.
// Errors: unsupported for steps that replace a span or change weights, which act on all rows; what selection::check finds.
template <class = void>
result<step> try_at(const selection& chosen, step s) {
  if (s.what != form::rows && s.what != form::block)
    return error{errc::unsupported, text(s.name.view(), " on some rows"),
                 s.what == form::replace ? "a step that replaces whole layers" : "a step that changes weights",
                 "a step on rows or on a block"};
  if (auto st = chosen.check(); !st) return st.error().within(text("rows of ", s.name.view()).view());
  if (!chosen.every_row()) s.rows = s.rows.every_row() ? chosen : s.rows & chosen;
  return s;
}

#if RESECT_EXCEPTIONS
template <class = void>
step at(const selection& chosen, step s) {
  return value_or_throw(try_at(chosen, std::move(s)));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
