// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/shared_count.hpp>
#include <resect/residual/place_index.hpp>
#include <resect/residual/plan.hpp>

// Norm matching rescales rows that a step has replaced. The policy is separate from the step, so that every
// replacement can be compared with and without it.
namespace RESECT_NAMESPACE::residual {

// Counts of the rows that norm matching processed. All threads that run the plan share it; the counts are exact after
// the passes.
struct norm_counts {
  shared_count rows;       // rows that a step replaced and the policy processed
  shared_count zero_rows;  // replaced rows that are all zero: no factor can rescale them
};

// The norms of a teacher's rows by place (sequence, position) at one site of one layer, for per_row_teacher. `try_add`
// records them from captured rows; the first value of a place stays.
class row_norms {
 public:
  // Records ‖h_r‖₂ (in double) of every row that is no pad. Error: conflict for rows of another site or layer than the first
  // ones (nothing is recorded): norms of two layers would stand in each other's place.
  status try_add(const tap& at, matrix_view<const float> h) {
    if (!from_.known) from_ = {at.where, at.layer, true};
    if (from_.where != at.where || from_.layer != at.layer)
      return error{errc::conflict, "rows for row_norms", text(name(at.where), " of layer ", at.layer),
                   text(name(from_.where), " of layer ", from_.layer, ", as the first rows")};
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& row = at.rows[static_cast<std::size_t>(r)];
      if ((row.flags & row_meta::pad) == 0) add(row.place(), h, r);
    }
    return {};
  }
#if RESECT_EXCEPTIONS
  // The throwing form.
  void add(const tap& at, matrix_view<const float> h) { value_or_throw(try_add(at, h)); }
#endif
  // Records ‖h_r‖₂ of row r under a place.
  void add(token_place where, matrix_view<const float> h, index_t r) {
    if (places_.add(where) == norms_.size()) norms_.push_back(of(h, r));
  }
  // The norm of a place, or null; the pointer is valid until the next add.
  const double* find(token_place where) const noexcept {
    const index_t slot = places_.find(where);
    return slot >= 0 ? &norms_[slot] : nullptr;
  }
  index_t size() const noexcept { return norms_.size(); }
  // The places that have a norm.
  const place_index& places() const noexcept { return places_; }
  std::uint64_t hash() const noexcept {
    fingerprint f;
    for (index_t i = 0; i < places_.size(); ++i) f.add(places_.place(i).key()).add(norms_[places_.slot(i)]);
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
  struct source {
    site where = site::embed_out;
    int layer = 0;
    bool known = false;
  };

  place_index places_;
  array<double> norms_;
  source from_;
};

// --- policies -----------------------------------------------------------------------------------------------

// Policy: no rescaling.
struct no_matching {
  static constexpr std::string_view id = "resect.norm.none/1";
  void fields(field_visitor&) const noexcept {}
};

// Policy: each row gets its norm from before the step, h_t := h_t · ‖original h_t‖ / ‖h_t‖. The original is the row's
// value at the site, or, for a block step, the layer's own output (the layer then runs even if the step alone does
// not need it). One factor a row: the step's direction and the spread of norms over rows are kept.
struct per_row_original {
  static constexpr std::string_view id = "resect.norm.per_row_original/1";
  void fields(field_visitor&) const noexcept {}
};

// Policy: each row gets the teacher's norm at its place, h_t := h_t · (teacher's norm at t) / ‖h_t‖. A row at a place
// without a teacher's norm is an error, before anything runs; pads stay as the step made them.
struct per_row_teacher {
  static constexpr std::string_view id = "resect.norm.per_row_teacher/1";
  row_norms norms;
  void fields(field_visitor& v) const { v.key("norms", norms.hash()); }
};

// Policy: one affine map of the channels for all rows, h_tc := scale_c · h_tc + shift_c.
struct per_channel_affine {
  static constexpr std::string_view id = "resect.norm.per_channel_affine/1";
  array<float> scale, shift;
  void fields(field_visitor& v) const {
    v.values("scale", scale.span());
    v.values("shift", shift.span());
  }
};

// Policy: one factor for all rows of all texts, h := c · h. It ignores differences of norm between rows (the first
// token's norm may be a hundred times the others'); metrics::norm_profile measures these differences.
struct global_scalar {
  static constexpr std::string_view id = "resect.norm.global_scalar/1";
  float factor = 1.0f;
  void fields(field_visitor& v) const { v.number("norm_factor", static_cast<double>(factor)); }
};

namespace detail {

template <class Policy>
concept norm_policy = std::same_as<Policy, no_matching> || std::same_as<Policy, per_row_original> ||
                      std::same_as<Policy, per_row_teacher> || std::same_as<Policy, per_channel_affine> ||
                      std::same_as<Policy, global_scalar>;

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

}  // namespace detail

namespace operators {

// A policy as an operator that runs after a step: `in` holds the rows from before the step where the policy reads them.
template <detail::norm_policy Policy>
struct match_norm {
  static constexpr std::string_view id = Policy::id;
  Policy policy;
  norm_counts* counts = nullptr;  // no part of the identity

  operator_facts facts() const noexcept {
    operator_facts f{.reads_original = std::same_as<Policy, per_row_original>};
    if constexpr (std::same_as<Policy, per_channel_affine>) f.width = policy.scale.size();
    return f;
  }
  void fields(field_visitor& v) const { policy.fields(v); }
  status check_row(int, const row_meta& row) const noexcept
    requires std::same_as<Policy, per_row_teacher>
  {
    if (policy.norms.find(row.place())) return {};
    return error{errc::invalid_argument, "norm matching", text("sequence ", row.seq, " position ", row.pos),
                 "a place that the teacher has a norm for"};
  }
  status apply(const tap& at, matrix_view<const float> in, matrix_view<float> h) const noexcept {
    for (index_t r = 0; r < h.rows; ++r) match(at, in, h, r);
    return {};
  }

 private:
  void match(const tap& at, matrix_view<const float> in, matrix_view<float> h, index_t r) const noexcept {
    if (counts) counts->rows.add();
    if constexpr (std::same_as<Policy, per_row_original>) {
      detail::rescale(h, r, row_norms::of(in, r), counts);
    } else if constexpr (std::same_as<Policy, per_row_teacher>) {
      if (const double* norm = policy.norms.find(at.rows[static_cast<std::size_t>(r)].place()))
        detail::rescale(h, r, *norm, counts);
    } else {
      if (counts && row_norms::of(h, r) == 0.0) counts->zero_rows.add();
      for (index_t c = 0; c < h.cols; ++c) {
        if constexpr (std::same_as<Policy, global_scalar>) h(r, c) *= policy.factor;
        else h(r, c) = policy.scale[c] * h(r, c) + policy.shift[c];
      }
    }
  }
};

}  // namespace operators

namespace detail {

// Errors of a policy at a step.
template <norm_policy Policy>
status check_matching(const step& s, const Policy& policy) {
  const auto name = text("norm matching of ", s.name.view());
  if (s.what != form::rows && s.what != form::block && s.what != form::replace)
    return error{errc::unsupported, name, "a step on weights", "a step on rows, a block or a span"};
  if constexpr (std::same_as<Policy, per_row_original>)
    if (s.what == form::replace)
      return error{errc::unsupported, name, "per_row_original on a replaced span, whose layers do not run",
                   "per_row_teacher"};
  if constexpr (std::same_as<Policy, per_row_teacher>) {
    if (policy.norms.size() == 0)
      return error{errc::invalid_argument, name, "a teacher without rows", "a teacher with rows"};
    for (index_t i = 0; i < policy.norms.size(); ++i) {
      const token_place at = policy.norms.places().place(i);
      if (const double norm = *policy.norms.find(at); !is_finite(norm))
        return error{errc::not_finite, name, text("norm ", norm, " of sequence ", at.seq, " position ", at.pos),
                     "finite norms of the teacher"};
    }
    if (s.what != form::replace && s.range.last - s.range.first != 1)
      return error{errc::invalid_argument, name, text("layers [", s.range.first, ", ", s.range.last, ")"),
                   "one layer: each has its own norms"};
  }
  if constexpr (std::same_as<Policy, global_scalar>)
    if (!is_finite(policy.factor)) return error{errc::not_finite, name, text(policy.factor), "a finite factor"};
  if constexpr (std::same_as<Policy, per_channel_affine>) {
    const index_t n = policy.scale.size(), width = s.width();
    if (n == 0 || policy.scale.size() != policy.shift.size() || (width != 0 && width != n))
      return error{errc::shape_mismatch, name, text(n, " scales, ", policy.shift.size(), " shifts"),
                   width != 0 ? text(width, " of each") : text("as many of each, 1 or more")};
    for (const auto* values : {&policy.scale, &policy.shift})
      for (const float x : *values)
        if (!is_finite(x)) return error{errc::not_finite, name, text(x), "finite scales and shifts"};
  }
  return {};
}

}  // namespace detail

// Applies `policy` after the step `s` to the rows that `s` acts on (all rows, or the rows that `at` chose); other
// rows keep their bits. Norms are taken in double and each element is rounded once, so a matched row has the wanted
// norm to 2⁻²³ relative, unless elements overflow or are subnormal. A row that the step left all zero has no
// direction: it stays zero (per_channel_affine still shifts it) and is counted. A row with NaN or infinity stays so.
// A row whose norm is already the wanted one keeps its bits. `counts`, if given, must outlive the plan.
// The policy is part of the step's identity. Cost: two visits of each element; per_row_original copies the rows first.
// Errors: unsupported for steps on weights, and for per_row_original on a replaced span (its layers do not run, so
// their norms are unknown); invalid_argument for per_row_teacher without norms or over more than one layer (each
// layer has its own norms); shape_mismatch where scale and shift differ in length or do not fit the step's width;
// not_finite in scale, shift, factor or a teacher's norm. A pass reports invalid_argument for a row without a teacher's norm.
template <detail::norm_policy Policy = per_row_original>
result<step> try_match_norm(step s, Policy policy = {}, norm_counts* counts = nullptr) {
  if constexpr (!std::same_as<Policy, no_matching>) {
    if (auto st = detail::check_matching(s, policy); !st) return st.error();
    s.after.push_back(operators::match_norm<Policy>{std::move(policy), counts});
  }
  return s;
}

// The factor of global_scalar by which the rows `made` get the norms of a teacher: Σ‖teacher's row‖/Σ‖made row‖ over the
// places of both. One factor cannot fit rows whose norms are wrong by different factors (the first token's may be a
// hundred times the others'): such rows are refused, and per_row_teacher or per_row_original fits them.
// Errors: invalid_argument without a common place with a norm that is not 0; conflict where the largest factor that a row
// needs is more than `most_spread` times the smallest.
template <class = void>
result<global_scalar> try_scalar_for(const row_norms& made, const row_norms& teacher, double most_spread = 4.0) {
  double from = 0, to = 0, least = 0, most = 0;
  for (index_t i = 0; i < made.places().size(); ++i) {
    const token_place where = made.places().place(i);
    const double *a = made.find(where), *b = teacher.find(where);
    if (b == nullptr || *a == 0 || *b == 0) continue;
    const double factor = *b / *a;
    least = from == 0 ? factor : algo::min(least, factor);
    most = algo::max(most, factor);
    from += *a;
    to += *b;
  }
  if (from == 0)
    return error{errc::invalid_argument, "rows for one norm factor", "no common place",
                 "rows that the teacher has, too"};
  if (!(most <= most_spread * least))
    return error{errc::conflict, "one norm factor for all rows", text("factors of rows from ", least, " to ", most),
                 text("factors within ", most_spread, " times of each other, or a policy per row")};
  return global_scalar{static_cast<float>(to / from)};
}

#if RESECT_EXCEPTIONS
template <detail::norm_policy Policy = per_row_original>
step match_norm(step s, Policy policy = {}, norm_counts* counts = nullptr) {
  return value_or_throw(try_match_norm(std::move(s), std::move(policy), counts));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
