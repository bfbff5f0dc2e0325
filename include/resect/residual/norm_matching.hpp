// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/scratch.hpp>
#include <resect/core/shared_count.hpp>
#include <resect/residual/select.hpp>

// Norm matching rescales rows that a step has replaced. The policy is separate from the step, so that every
// replacement can be compared with and without it.
namespace RESECT_NAMESPACE::residual {

// Counts of the rows that norm matching processed. All threads that run the plan share it; the counts are exact after
// the passes.
struct norm_counts {
  shared_count rows;          // rows that a step replaced and the policy processed
  shared_count zero_rows;     // replaced rows that are all zero: no factor can rescale them
  shared_count without_norm;  // replaced rows for whose place the teacher has no norm
};

// The norms of a teacher's rows by place (sequence, position), for per_row_teacher. `add` records them from captured
// rows; the first value of a place stays.
class row_norms {
 public:
  // Records ‖h_r‖₂ (in double) of every row that is no pad.
  void add(const tap& at, matrix_view<const float> h) {
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& row = at.rows[static_cast<std::size_t>(r)];
      if ((row.flags & row_meta::pad) == 0) entries_.push_back({{row.seq, row.pos}, of(h, r)});
    }
    algo::stable_sort(entries_.begin(), entries_.end(),
                      [](const entry& a, const entry& b) { return a.where < b.where; });
    const auto same = [](const entry& a, const entry& b) { return a.where == b.where; };
    entries_.resize(algo::unique(entries_.begin(), entries_.end(), same) - entries_.begin());
  }
  // The norm of a place, or null; the pointer is valid until the next add.
  const double* find(token_place where) const noexcept {
    const auto before = [](const entry& e, token_place x) { return e.where < x; };
    const entry* const at = algo::lower_bound(entries_.begin(), entries_.end(), where, before);
    return at != entries_.end() && at->where == where ? &at->norm : nullptr;
  }
  index_t size() const noexcept { return entries_.size(); }
  std::uint64_t hash() const noexcept {
    fingerprint f;
    for (const entry& e : entries_) f.add(e.where.key()).add(e.norm);
    return f.value();
  }

  // ‖h_r‖₂. Squares and sum in double: no overflow for any finite float; relative error below (cols + 2)·2⁻⁵³.
  static double of(matrix_view<const float> h, index_t r) noexcept {
    if (h.rows_contiguous()) {
      return math::sqrt(dot(h.row_span(r), h.row_span(r)));
    }
    double squares = 0;
    for (index_t c = 0; c < h.cols; ++c) squares += static_cast<double>(h(r, c)) * static_cast<double>(h(r, c));
    return math::sqrt(squares);
  }

 private:
  struct entry {
    token_place where;
    double norm;
  };
  array<entry> entries_;
};

// --- policies -----------------------------------------------------------------------------------------------

// Policy: no rescaling.
struct no_matching {};

// Policy: each row gets its norm from before the step, h_t := h_t · ‖original h_t‖ / ‖h_t‖. The original is the row's
// value at the site, or, for a block step, the layer's own output (the layer then runs even if the step alone does
// not need it). One factor a row: the step's direction and the spread of norms over rows are kept.
struct per_row_original {};

// Policy: each row gets the teacher's norm at its place, h_t := h_t · (teacher's norm at t) / ‖h_t‖. A row at a place
// without a teacher's norm stays as the step made it and is counted; in a replaced span it is an error.
struct per_row_teacher {
  row_norms norms;
};

// Policy: one affine map of the channels for all rows, h_tc := scale_c · h_tc + shift_c.
struct per_channel_affine {
  array<float> scale, shift;
};

// Policy: one factor for all rows of all texts, h := c · h. It ignores differences of norm between rows (the first
// token's norm may be a hundred times the others'); metrics::norm_profile measures these differences.
struct global_scalar {
  float factor = 1.0f;
};

namespace detail {

template <class Policy>
concept norm_policy = std::same_as<Policy, no_matching> || std::same_as<Policy, per_row_original> ||
                      std::same_as<Policy, per_row_teacher> || std::same_as<Policy, per_channel_affine> ||
                      std::same_as<Policy, global_scalar>;

template <class = void>
std::uint64_t hash_of(const per_row_original&) noexcept {
  return 1;
}
template <class = void>
std::uint64_t hash_of(const per_row_teacher& p) noexcept {
  return fingerprint{}.add(std::uint64_t{2}).add(p.norms.hash()).value();
}
template <class = void>
std::uint64_t hash_of(const per_channel_affine& p) noexcept {
  return fingerprint{}.add(std::uint64_t{3}).add(p.scale.span()).add(p.shift.span()).value();
}
template <class = void>
std::uint64_t hash_of(const global_scalar& p) noexcept {
  return fingerprint{}.add(std::uint64_t{4}).add(static_cast<double>(p.factor)).value();
}

// Rescales row r of h to the norm `wanted`.
template <class = void>
void rescale(matrix_view<float> h, index_t r, double wanted, norm_counts* counts) noexcept {
  const double now = row_norms::of(h, r);
  if (now == 0.0) {
    if (counts) counts->zero_rows.add();
    return;
  }
  const double factor = wanted / now;
  if (factor == 1.0) return;
  for (index_t c = 0; c < h.cols; ++c) h(r, c) = static_cast<float>(factor * static_cast<double>(h(r, c)));
}

// The policy on row r; `original` is its norm before the step.
template <norm_policy Policy>
void match_row(const Policy& policy, const row_meta& row, double original, matrix_view<float> h, index_t r,
               norm_counts* counts) noexcept {
  if (counts) counts->rows.add();
  if constexpr (std::same_as<Policy, per_row_original>) {
    rescale(h, r, original, counts);
  } else if constexpr (std::same_as<Policy, per_row_teacher>) {
    const double* norm = policy.norms.find({row.seq, row.pos});
    if (norm) rescale(h, r, *norm, counts);
    else if (counts) counts->without_norm.add();
  } else {
    if (counts && row_norms::of(h, r) == 0.0) counts->zero_rows.add();
    for (index_t c = 0; c < h.cols; ++c) {
      if constexpr (std::same_as<Policy, global_scalar>) h(r, c) *= policy.factor;
      else h(r, c) = policy.scale[c] * h(r, c) + policy.shift[c];
    }
  }
}

// Runs `step`, then the policy on the rows that the step acts on.
template <norm_policy Policy, class Step>
void with_matching(const Policy& policy, const selection& chosen, const tap& at, matrix_view<float> h,
                   norm_counts* counts, Step step) {
  scratch_frame memory{at.memory};
  std::span<double> original;
  if constexpr (std::same_as<Policy, per_row_original>) {
    original = memory.take<double>(static_cast<index_t>(at.rows.size()));
    for (std::size_t r = 0; r < original.size(); ++r)
      if (chosen.contains(at.rows[r])) original[r] = row_norms::of(h, static_cast<index_t>(r));
  }
  step();
  for (std::size_t r = 0; r < at.rows.size(); ++r)
    if (chosen.contains(at.rows[r]))
      match_row(policy, at.rows[r], original.empty() ? 0.0 : original[r], h, static_cast<index_t>(r), counts);
}

}  // namespace detail

// Applies `policy` after the step `s` to the rows that `s` acts on (all rows, or the rows that `at` chose); other
// rows keep their bits. Norms are taken in double and each element is rounded once, so a matched row has the wanted
// norm to 2⁻²³ relative, unless elements overflow or are subnormal. A row that the step left all zero has no
// direction: it stays zero (per_channel_affine still shifts it) and is counted. A row with NaN or infinity stays so.
// A row whose norm is already the wanted one keeps its bits. `counts`, if given, must outlive the plan.
// The policy is part of the step's hash. Cost: two visits of each element.
// Errors: unsupported for steps on weights, and for per_row_original on a replaced span (its layers do not run, so
// their norms are unknown); invalid_argument for per_row_teacher without norms or over more than one layer (each
// layer has its own norms); shape_mismatch where scale and shift differ in length or do not fit the step's width;
// not_finite in scale, shift or factor.
template <detail::norm_policy Policy = per_row_original>
result<step> try_match_norm(step s, Policy policy = {}, norm_counts* counts = nullptr) {
  if constexpr (std::same_as<Policy, no_matching>) {
    return s;
  } else {
    const auto name = text("norm matching of ", s.name.view());
    if (s.what == step::kind::weights)
      return error{errc::unsupported, name, "a step on weights", "a step on rows, a block or a span"};
    if constexpr (std::same_as<Policy, per_row_original>)
      if (s.what == step::kind::replace)
        return error{errc::unsupported, name, "per_row_original on a replaced span, whose layers do not run",
                     "per_row_teacher"};
    if constexpr (std::same_as<Policy, per_row_teacher>) {
      if (policy.norms.size() == 0)
        return error{errc::invalid_argument, name, "a teacher without rows", "a teacher with rows"};
      if (s.what != step::kind::replace && s.range.last - s.range.first != 1)
        return error{errc::invalid_argument, name, text("layers [", s.range.first, ", ", s.range.last, ")"),
                     "one layer: each has its own norms"};
    }
    if constexpr (std::same_as<Policy, global_scalar>)
      if (!is_finite(policy.factor)) return error{errc::not_finite, name, text(policy.factor), "a finite factor"};
    if constexpr (std::same_as<Policy, per_channel_affine>) {
      const index_t n = policy.scale.size();
      if (n == 0 || policy.scale.size() != policy.shift.size() || (s.width != 0 && s.width != n))
        return error{errc::shape_mismatch, name, text(n, " scales, ", policy.shift.size(), " shifts"),
                     s.width != 0 ? text(s.width, " of each") : text("as many of each, 1 or more")};
      for (const auto* values : {&policy.scale, &policy.shift})
        for (const float x : *values)
          if (!is_finite(x)) return error{errc::not_finite, name, text(x), "finite scales and shifts"};
      s.width = n;
    }
    s.hash = fingerprint{}.add(s.hash).add(detail::hash_of(policy)).value();
    s.fields.incomplete();
    switch (s.what) {
      case step::kind::rows:
        s.on_rows = [policy = std::move(policy), counts, chosen = s.rows, inner = std::move(s.on_rows)](
                        const tap& at, matrix_view<float> h) {
          detail::with_matching(policy, chosen, at, h, counts, [&] { inner(at, h); });
        };
        break;
      case step::kind::block: {
        const bool needs_original = std::same_as<Policy, per_row_original>;
        bool fill = needs_original && !s.reads_output;  // the layer runs now: the step still gets its input
        s.reads_output = s.reads_output || needs_original;
        s.on_block = [policy = std::move(policy), counts, fill, chosen = s.rows, inner = std::move(s.on_block)](
                         const tap& at, matrix_view<const float> before, matrix_view<float> h) {
          detail::with_matching(policy, chosen, at, h, counts, [&] {
            if (fill) copy(before, h);
            inner(at, before, h);
          });
        };
        break;
      }
      default:
        s.on_replace = [policy = std::move(policy), counts, inner = std::move(s.on_replace), name](
                           const tap& at, matrix_view<const float> in, matrix_view<float> h) -> status {
          static_cast<void>(name);  // where the policy cannot fail
          if constexpr (std::same_as<Policy, per_row_teacher>)
            for (const row_meta& row : at.rows)
              if ((row.flags & row_meta::pad) == 0 && !policy.norms.find({row.seq, row.pos}))
                return error{errc::invalid_argument, name, text("sequence ", row.seq, " position ", row.pos),
                             "a place that the teacher has a norm for"};
          if (auto done = inner(at, in, h); !done) return done;
          for (std::size_t r = 0; r < at.rows.size(); ++r)
            detail::match_row(policy, at.rows[r], 0.0, h, static_cast<index_t>(r), counts);
          return {};
        };
    }
    return s;
  }
}

#if RESECT_EXCEPTIONS
template <detail::norm_policy Policy = per_row_original>
step match_norm(step s, Policy policy = {}, norm_counts* counts = nullptr) {
  return value_or_throw(try_match_norm(std::move(s), std::move(policy), counts));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
