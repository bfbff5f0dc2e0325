// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/reduce.hpp>
#include <resect/model/row.hpp>
#include <resect/quant/incoherence.hpp>
#include <resect/student/pair_moments.hpp>

// What the closed-form maps of a span are fitted from: sums over pairs of rows (x, y), x what the span's first layer
// reads (h_i), y what its last layer leaves (h_j).
namespace RESECT_NAMESPACE::student {

// How many medians of the norms a row may reach before it stands apart.
inline constexpr double apart_medians = 10;

// Which rows stand apart from a span's fit: the first position of a text, and rows whose norm is above a limit. Both
// carry massive activations in many models and would decide every sum of squares.
struct apart_rule {
  double limit_x = std::numeric_limits<double>::infinity();  // of ‖x‖
  double limit_y = std::numeric_limits<double>::infinity();  // of ‖y‖, where y is known

  bool is_apart(const model::row_meta& row, double norm_x, double norm_y = 0) const noexcept {
    return row.pos == 0 || norm_x > limit_x || norm_y > limit_y;
  }
  friend bool operator==(const apart_rule&, const apart_rule&) = default;
};

// ‖h‖ of a row, in double.
inline double row_norm(matrix_view<const float> h, index_t r) noexcept {
  double squares = 0;
  for (index_t c = 0; c < h.cols; ++c) squares += static_cast<double>(h(r, c)) * static_cast<double>(h(r, c));
  return math::sqrt(squares);
}

// Ten times the median norm of the rows that are neither pads nor at a first position: the limit of an apart_rule.
// Infinite where there is no such row. Cost O(rows·cols).
template <class = void>
double apart_limit(model::batch_view rows, matrix_view<const float> h) {
  array<double> norms;
  for (index_t r = 0; r < h.rows; ++r) {
    const model::row_meta& row = rows[static_cast<std::size_t>(r)];
    if (row.pos > 0 && (row.flags & model::row_meta::pad) == 0) norms.push_back(row_norm(h, r));
  }
  if (norms.empty()) return std::numeric_limits<double>::infinity();
  algo::sort(norms.begin(), norms.end());
  return apart_medians * norms[norms.size() / 2];
}

// The sums of one span: a value that grows by rows, merges, and gives every closed-form map.
//   x, y (k, d) fp32 rows of the residual stream. Rows that pad are passed over. Rows apart (see apart_rule) are kept
//   out of all sums but two of their own: their number and Σ(y − x).
//   Held in double: N, Σx, Σδ, Σx·xᵀ, Σx·δᵀ, Σδ_c² with δ = y − x (nothing cancels where a span adds little); Σ‖x‖,
//   Σ‖y‖; Σ|x̂_c| and Σ|ŷ_c|, x̂ = x in the Hadamard-type basis of order d without signs.
//   Memory 1.5·d² doubles. A merge over any partition of the rows equals one pass to 1e-12 of the sums of magnitudes.
class span_moments {
 public:
  span_moments() = default;
  // The sums over no rows of a stream of this width. Errors: invalid_argument (width below 1).
  static result<span_moments> try_make(index_t width, const apart_rule& rule = {}) {
    if (width < 1) return error{errc::invalid_argument, "width of span moments", text(width), "1 or more"};
    span_moments out;
    out.rule_ = rule;
    out.delta_ = pair_moments(width, width);
    out.abs_x_.resize(width);
    out.abs_y_.resize(width);
    out.apart_delta_.resize(width);
    auto basis = quant::rotation::try_make_without_signs(width);
    if (!basis) return basis.error();
    out.basis_ = std::move(*basis);
    return out;
  }

  index_t width() const noexcept { return delta_.inputs(); }
  // Rows in the sums, and rows apart.
  index_t rows() const noexcept { return delta_.rows(); }
  index_t rows_apart() const noexcept { return apart_; }
  const apart_rule& rule() const noexcept { return rule_; }

  // Moments of (x, δ).
  const pair_moments& delta() const noexcept { return delta_; }
  // Σ x_c² and Σ x_c·y_c.
  double xx(index_t c) const noexcept { return delta_.xx(c, c); }
  double xy(index_t c) const noexcept { return delta_.xx(c, c) + delta_.xz()(c, c); }
  // Σ‖x‖ and Σ‖y‖.
  double norms_x() const noexcept { return norms_x_; }
  double norms_y() const noexcept { return norms_y_; }
  // Σ|x̂_c| and Σ|ŷ_c| in the Hadamard-type basis, and that basis.
  std::span<const double> absolutes_x() const noexcept { return abs_x_.span(); }
  std::span<const double> absolutes_y() const noexcept { return abs_y_.span(); }
  const quant::rotation& basis() const noexcept { return basis_; }
  // Σ(y − x) of the rows apart.
  std::span<const double> apart_delta() const noexcept { return apart_delta_.span(); }

  // Adds rows: `rows` says what each is. Cost 3·k·d² flop in double.
  // Errors: shape_mismatch, null_pointer, bad_stride, not_finite (x or y, with the row); then nothing is added.
  template <dense_backend<double> B>
    requires std::same_as<typename B::space, host_space>
  status try_add(B& exec, model::batch_view rows, matrix_view<const float> x, matrix_view<const float> y) {
    const auto count = static_cast<index_t>(rows.size());
    if (auto s = check_view(x, count, width(), "x"); !s) return s;
    if (auto s = check_view(y, count, width(), "y"); !s) return s;
    if (auto s = check_finite(x, "x"); !s) return s;
    if (auto s = check_finite(y, "y"); !s) return s;
    array<index_t> ordinary, apart;
    array<double> norm_x(count), norm_y(count);
    for (index_t r = 0; r < count; ++r) {
      const model::row_meta& row = rows[static_cast<std::size_t>(r)];
      if ((row.flags & model::row_meta::pad) != 0) continue;
      norm_x[r] = row_norm(x, r);
      norm_y[r] = row_norm(y, r);
      (rule_.is_apart(row, norm_x[r], norm_y[r]) ? apart : ordinary).push_back(r);
    }
    if (auto s = add_ordinary(exec, ordinary.span(), x, y); !s) return s;
    for (const index_t r : ordinary) {
      norms_x_ += norm_x[r];
      norms_y_ += norm_y[r];
    }
    for (const index_t r : apart)
      for (index_t c = 0; c < width(); ++c)
        apart_delta_[c] += static_cast<double>(y(r, c)) - static_cast<double>(x(r, c));
    apart_ += apart.size();
    return {};
  }

  // Adds the sums of `other`. Errors: shape_mismatch; conflict (another rule of rows apart); then nothing is added.
  status try_merge(const span_moments& other) {
    if (other.width() != width())
      return error{errc::shape_mismatch, "span moments to merge", text("width ", other.width()), text(width())};
    if (!(other.rule_ == rule_))
      return error{errc::conflict, "span moments to merge",
                   text("rows apart above ", other.rule_.limit_x, ", ", other.rule_.limit_y),
                   text("above ", rule_.limit_x, ", ", rule_.limit_y)};
    if (auto s = delta_.try_merge(other.delta_); !s) return s;
    for (index_t c = 0; c < width(); ++c) {
      abs_x_[c] += other.abs_x_[c];
      abs_y_[c] += other.abs_y_[c];
      apart_delta_[c] += other.apart_delta_[c];
    }
    norms_x_ += other.norms_x_;
    norms_y_ += other.norms_y_;
    apart_ += other.apart_;
    return {};
  }

 private:
  template <class B>
  status add_ordinary(B& exec, std::span<const index_t> chosen, matrix_view<const float> x,
                      matrix_view<const float> y) {
    const auto n = static_cast<index_t>(chosen.size());
    matrix<double> from(n, width()), delta(n, width());
    for (index_t i = 0; i < n; ++i) {
      const index_t r = chosen[static_cast<std::size_t>(i)];
      for (index_t c = 0; c < width(); ++c) {
        from(i, c) = static_cast<double>(x(r, c));
        delta(i, c) = static_cast<double>(y(r, c)) - from(i, c);
      }
    }
    if (auto s = delta_.try_add(exec, from.view(), delta.view()); !s) return s;
    for (index_t i = 0; i < n * width(); ++i) delta.data[i] += from.data[i];  // now y
    if (auto s = add_absolutes(exec, from, abs_x_); !s) return s;
    return add_absolutes(exec, delta, abs_y_);
  }
  template <class B>
  status add_absolutes(B& exec, matrix<double>& h, array<double>& to) {
    if (auto s = basis_.try_rotate_rows(exec, h.view()); !s) return s;
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c) to[c] += h(r, c) < 0 ? -h(r, c) : h(r, c);
    return {};
  }

  pair_moments delta_;
  quant::rotation basis_;
  apart_rule rule_;
  array<double> abs_x_, abs_y_, apart_delta_;
  double norms_x_ = 0, norms_y_ = 0;
  index_t apart_ = 0;
};

// The sums of several parts (folds) as one. Errors: invalid_argument (no part); as span_moments::try_merge.
template <class = void>
result<span_moments> try_merged(std::span<const span_moments> parts) {
  if (parts.empty()) return error{errc::invalid_argument, "parts of span moments", "none", "1 or more"};
  span_moments out = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i)
    if (auto s = out.try_merge(parts[i]); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::student
