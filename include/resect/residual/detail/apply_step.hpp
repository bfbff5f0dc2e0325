// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/copy.hpp>
#include <resect/core/scratch.hpp>
#include <resect/residual/step.hpp>

// Applies a step to the rows of a tap: the selection and the norm matching of a step are applied here alone.
namespace RESECT_NAMESPACE::residual::detail {

// The operator of a step, then its norm matching, on rows that are all chosen.
template <class = void>
status apply_to_chosen(const step& s, const tap& at, matrix_view<const float> in, matrix_view<float> h) {
  scratch_frame memory{at.memory};
  matrix_view<float> original{nullptr, 0, h.cols};
  if (s.reads_original()) {
    original = {memory.take<float>(h.rows * h.cols).data(), h.rows, h.cols};
    copy(matrix_view<const float>(h), original);
  }
  const bool from_input = s.what == form::replace || (s.what == form::block && !s.op.facts().reads_output);
  if (from_input && h.data != in.data) copy(in, h);  // a whole pass has run the layers; both kinds of pass see h_i
  if (auto st = s.op.apply(at, in, h); !st) return st;
  for (const operation& o : s.after)
    if (auto st = o.apply(at, original, h); !st) return st;
  return {};
}

// A step on the rows that it chooses: adjacent rows in place, other rows gathered and written back. `in` is empty for
// steps on rows.
template <class = void>
status apply_step(const step& s, const tap& at, matrix_view<const float> in, matrix_view<float> h) {
  if (s.rows.every_row()) return apply_to_chosen(s, at, in, h);
  const auto n_rows = static_cast<index_t>(at.rows.size());
  index_t n = 0, first = 0, last = 0;
  for (index_t r = 0; r < n_rows; ++r) {
    if (!s.rows.contains(at.rows[static_cast<std::size_t>(r)])) continue;
    if (n++ == 0) first = r;
    last = r + 1;
  }
  if (n == 0) return {};
  const bool has_input = in.rows != 0;
  if (last - first == n)
    return apply_to_chosen(
        s,
        tap{at.where, at.layer, at.rows.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)),
            at.memory},
        has_input ? in.middle_rows(first, n) : in, h.middle_rows(first, n));
  scratch_frame memory{at.memory};
  const auto rows = memory.take<row_meta>(n);
  const auto from = memory.take<index_t>(n);
  const index_t inputs = has_input ? n : 0;
  const matrix_view<float> input{memory.take<float>(inputs * in.cols).data(), inputs, in.cols};
  const matrix_view<float> value{memory.take<float>(n * h.cols).data(), n, h.cols};
  index_t to = 0;
  for (index_t r = first; r < last; ++r) {
    if (!s.rows.contains(at.rows[static_cast<std::size_t>(r)])) continue;
    copy(h.middle_rows(r, 1), value.middle_rows(to, 1));
    if (has_input) copy(in.middle_rows(r, 1), input.middle_rows(to, 1));
    rows[static_cast<std::size_t>(to)] = at.rows[static_cast<std::size_t>(r)];
    from[static_cast<std::size_t>(to++)] = r;
  }
  if (auto st = apply_to_chosen(s, tap{at.where, at.layer, rows, at.memory}, input, value); !st) return st;
  for (index_t i = 0; i < n; ++i) copy(value.middle_rows(i, 1), h.middle_rows(from[static_cast<std::size_t>(i)], 1));
  return {};
}

// Asks every step in [first, last) that reads a source whether it can act on its rows of a batch, before anything runs.
template <class Steps>
status check_rows(const Steps& steps, batch_view batch, int first, int last) noexcept {
  const auto ask = [&](const step& s, const operation& o) -> status {
    if (!o.facts().checks_rows) return {};
    for (const row_meta& row : batch) {
      if ((row.flags & row_meta::pad) != 0 || !s.rows.contains(row)) continue;
      const bool span = s.what == form::replace;
      for (int l = span ? s.range.first : algo::max(s.range.first, first); l < algo::min(s.range.last, last); ++l) {
        if (auto st = o.check_row(l, row); !st)
          return st.error().within(text(s.name.view(), " on layers [", s.range.first, ", ", s.range.last, ")").view());
        if (span) break;
      }
    }
    return {};
  };
  for (const step& s : steps) {
    if (s.range.last <= first || s.range.first >= last) continue;
    if (auto st = ask(s, s.op); !st) return st;
    for (const operation& o : s.after)
      if (auto st = ask(s, o); !st) return st;
  }
  return {};
}

}  // namespace RESECT_NAMESPACE::residual::detail
