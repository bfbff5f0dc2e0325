// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <utility>

#include <resect/core/copy.hpp>
#include <resect/core/scratch.hpp>
#include <resect/residual/plan.hpp>

// Steps on some rows only. The predicates stand in selection.hpp.
namespace RESECT_NAMESPACE::residual {

namespace detail {

// Calls f(tap, before, h) with the chosen rows alone: adjacent rows in place, other rows gathered and written back.
// `before` may be empty.
template <class = void>
void on_chosen(const selection& chosen, const tap& at, matrix_view<const float> before, matrix_view<float> h,
               function_ref<void(const tap&, matrix_view<const float>, matrix_view<float>)> f) {
  const auto n_rows = static_cast<index_t>(at.rows.size());
  index_t n = 0, first = 0, last = 0;
  for (index_t r = 0; r < n_rows; ++r) {
    if (!chosen.contains(at.rows[static_cast<std::size_t>(r)])) continue;
    if (n++ == 0) first = r;
    last = r + 1;
  }
  if (n == 0) return;
  const bool has_before = before.rows != 0;
  if (last - first == n) {
    f(tap{at.where, at.layer, {at.rows.data() + first, static_cast<std::size_t>(n)}, at.memory},
      has_before ? before.middle_rows(first, n) : before, h.middle_rows(first, n));
    return;
  }
  scratch_frame memory{at.memory};
  const auto rows = memory.take<row_meta>(n);
  const auto from = memory.take<index_t>(n);
  const index_t inputs = has_before ? n : 0;
  const matrix_view<float> input{memory.take<float>(inputs * before.cols).data(), inputs, before.cols};
  const matrix_view<float> value{memory.take<float>(n * h.cols).data(), n, h.cols};
  index_t to = 0;
  for (index_t r = first; r < last; ++r) {
    if (!chosen.contains(at.rows[static_cast<std::size_t>(r)])) continue;
    copy(h.middle_rows(r, 1), value.middle_rows(to, 1));
    if (has_before) copy(before.middle_rows(r, 1), input.middle_rows(to, 1));
    rows[static_cast<std::size_t>(to)] = at.rows[static_cast<std::size_t>(r)];
    from[static_cast<std::size_t>(to++)] = r;
  }
  f(tap{at.where, at.layer, rows, at.memory}, input, value);
  for (index_t i = 0; i < n; ++i) copy(value.middle_rows(i, 1), h.middle_rows(from[static_cast<std::size_t>(i)], 1));
}

}  // namespace detail

// Restricts the step `s` to the chosen rows: its function gets these rows alone, in the order of the batch and with
// their meta data, and is not called if no row is chosen. All other rows keep their bits. A step that is restricted
// twice acts on the rows that are in both selections.
//   plan{} | at(last(), zero_stream(layer(4))) | at(range(0, 8) & not_bos(1), scale_delta(layer(2), 0.5f))
// A layer that is skipped for some rows still runs, for the others; its keys and values are computed for all rows. In
// a plan, steps that would contradict each other may stand together where their rows are provably disjoint. The
// selection is part of the step's hash. Cost: one visit of each row, and a copy of the chosen rows where they are not
// next to each other, in the pass's memory.
// Errors: unsupported for steps that replace a span or change weights, which act on all rows.
// (A template because its lambdas would cost everyone who includes this a twentieth of a second.)
template <std::same_as<step> S>
result<S> try_at(const selection& chosen, S s) {
  if (s.what == step::kind::replace || s.what == step::kind::weights)
    return error{errc::unsupported, text(s.name.view(), " on some rows"),
                 s.what == step::kind::replace ? "a step that replaces whole layers" : "a step that changes weights",
                 "a step on rows or on a block"};
  if (chosen.every_row()) return s;
  s.hash = fingerprint{}.add(s.hash).add(chosen.hash()).value();
  s.fields.incomplete();
  if (s.what == step::kind::rows) {
    s.on_rows = [chosen, inner = std::move(s.on_rows)](const tap& where, matrix_view<float> h) {
      detail::on_chosen(chosen, where, {}, h,
                        [&](const tap& t, matrix_view<const float>, matrix_view<float> x) { inner(t, x); });
    };
  } else {
    s.on_block = [chosen, inner = std::move(s.on_block), fill = !s.reads_output](
                     const tap& where, matrix_view<const float> before, matrix_view<float> h) {
      detail::on_chosen(chosen, where, before, h, [&](const tap& t, matrix_view<const float> in, matrix_view<float> x) {
        if (fill) copy(in, x);
        inner(t, in, x);
      });
    };
    s.removes = s.removes || !s.reads_output;
    s.reads_output = true;
  }
  s.rows = s.rows.every_row() ? chosen : s.rows & chosen;
  return s;
}

#if RESECT_EXCEPTIONS
template <std::same_as<step> S>
S at(const selection& chosen, S s) {
  return value_or_throw(try_at(chosen, std::move(s)));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
