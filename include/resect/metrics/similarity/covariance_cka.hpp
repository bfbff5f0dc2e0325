// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/intervals/estimate.hpp>

namespace RESECT_NAMESPACE::metrics {

// Linear CKA of all rows in one pass without keeping the rows: ‖C_xy‖_F²/(‖C_xx‖_F·‖C_yy‖_F) from n, both means and
// the sums of products C_xx = Σ(x − x̄)(x − x̄)ᵀ, C_yy, C_xy. Equal to linear_cka with `biased` (cka.hpp, Kornblith
// et al. 2019). Batches and parts are combined by the formula of Chan, Golub & LeVeque (1983), C = C_a + C_b +
// n_a·n_b/n·δ·δᵀ with δ the difference of the means: merges over any partition equal one pass to 1e-12 where the mean
// is not larger than 1e3 standard deviations. For narrow rows: (d1 + d2)² doubles of memory. It has the bias of that
// form, d/n for unrelated rows; streaming_cka has none, and an interval.
class covariance_cka {
 public:
  covariance_cka() = default;
  // Batches of at most max_rows rows with d1 and d2 columns.
  covariance_cka(index_t max_rows, index_t columns_x, index_t columns_y)
      : max_rows_(algo::max(max_rows, index_t{0})),
        columns_x_(algo::max(columns_x, index_t{0})),
        columns_y_(algo::max(columns_y, index_t{0})),
        mean_(width()),
        products_(width() * width()),
        work_((max_rows_ + 1) * width()) {}

  // One batch: x (n, d1), y (n, d2), row for row the same tokens, n ≤ max_rows, any strides. Shape mismatch, null or
  // stride otherwise, and nothing is added. Cost n·(d1 + d2)² flop. No allocation.
  template <operand_of<float> X, operand_of<float> Y>
  status try_add(const X& x, const Y& y) noexcept {
    return on_view(x, "x", [&](matrix_view<const float> vx) {
      return on_view(y, "y", [&](matrix_view<const float> vy) { return try_add(vx, vy); });
    });
  }
  status try_add(matrix_view<const float> x, matrix_view<const float> y) noexcept {
    if (x.rows > max_rows_)
      return error{errc::shape_mismatch, "rows of a batch", text(x.rows), text("at most ", max_rows_)};
    if (status s = check_view(x, x.rows, columns_x_, "x"); !s) return s;
    if (status s = check_view(y, x.rows, columns_y_, "y"); !s) return s;
    if (x.rows == 0) return {};
    const index_t n = x.rows, d = width();
    double *mean = work_.data(), *rows = mean + d;
    for (index_t c = 0; c < d; ++c) {
      const auto at = [&](index_t r) { return static_cast<double>(c < columns_x_ ? x(r, c) : y(r, c - columns_x_)); };
      double sum = 0;
      for (index_t r = 0; r < n; ++r) sum += at(r) - at(0);
      mean[c] = at(0) + sum / static_cast<double>(n);
      for (index_t r = 0; r < n; ++r) rows[r * d + c] = at(r) - mean[c];
    }
    combine(mean, n);
    for (index_t r = 0; r < n; ++r)
      for (index_t i = 0; i < d; ++i) {
        const double v = rows[r * d + i];
        double* out = products_.data() + i * d;
        for (index_t j = 0; j <= i; ++j) out[j] += v * rows[r * d + j];
      }
    return {};
  }
#if RESECT_EXCEPTIONS
  void add(matrix_view<const float> x, matrix_view<const float> y) { value_or_throw(try_add(x, y)); }
#endif
  // Shape mismatch when columns differ; then nothing changes.
  status merge(const covariance_cka& other) noexcept {
    if (other.columns_x_ != columns_x_ || other.columns_y_ != columns_y_)
      return error{errc::shape_mismatch, "columns", text(other.columns_x_, ", ", other.columns_y_),
                   text(columns_x_, ", ", columns_y_)};
    if (other.n_ == 0) return {};
    combine(other.mean_.data(), other.n_);
    for (index_t i = 0; i < products_.size(); ++i) products_[i] += other.products_[i];
    return {};
  }

  index_t rows() const noexcept { return n_; }
  // CKA of the rows added, 0 … 1. NaN without rows, and where x or y has no variance.
  double value() const noexcept {
    double xx = 0, yy = 0, xy = 0;
    for (index_t i = 0; i < width(); ++i)
      for (index_t j = 0; j <= i; ++j) {
        const double c = products_[i * width() + j];
        if (i >= columns_x_ && j < columns_x_) xy += c * c;
        else (i < columns_x_ ? xx : yy) += i == j ? c * c : 2 * c * c;
      }
    return xx > 0 && yy > 0 ? xy / (math::sqrt(xx) * math::sqrt(yy)) : nan;
  }

 private:
  index_t width() const noexcept { return columns_x_ + columns_y_; }
  // Adds the term of n rows whose mean differs, besides their own products.
  void combine(const double* mean, index_t n) noexcept {
    const double here = static_cast<double>(n_), there = static_cast<double>(n), all = here + there;
    const double share = there / all, weight = here * share;
    for (index_t i = 0; i < width() && n_ > 0; ++i) {
      const double step = weight * (mean[i] - mean_[i]);
      for (index_t j = 0; j <= i; ++j) products_[i * width() + j] += step * (mean[j] - mean_[j]);
    }
    for (index_t i = 0; i < width(); ++i) {
      double& m = mean_[i];
      m = n_ > 0 ? m + share * (mean[i] - m) : mean[i];
    }
    n_ += n;
  }

  index_t max_rows_ = 0, columns_x_ = 0, columns_y_ = 0, n_ = 0;
  array<double> mean_;      // of x, then of y
  array<double> products_;  // (d1 + d2)², the lower triangle
  array<double> work_;      // the mean of a batch and its rows less that
};

}  // namespace RESECT_NAMESPACE::metrics
