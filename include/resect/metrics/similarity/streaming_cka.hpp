// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/accumulators/joint.hpp>

namespace RESECT_NAMESPACE::metrics {

// The unbiased HSIC₁ of (x, x), (x, y) and (y, y) in one minibatch; each may be below 0.
struct batch_hsic {
  double xy = nan;
  double xx = nan;
  double yy = nan;
};

namespace detail {

// ⟨a − mean, b − mean⟩ with elements `step` apart; eight lanes.
inline double centred_dot(const float* a, const float* b, const double* mean, index_t n, index_t step) noexcept {
  double lane[8] = {};
  for (index_t i = 0; i < n; ++i)
    lane[i % 8] += (static_cast<double>(a[i * step]) - mean[i]) * (static_cast<double>(b[i * step]) - mean[i]);
  return lane_sum(lane);
}

inline void column_means(matrix_view<const float> x, double* mean) noexcept {
  for (index_t c = 0; c < x.cols; ++c) mean[c] = 0;
  for (index_t r = 0; r < x.rows; ++r)
    for (index_t c = 0; c < x.cols; ++c) mean[c] += static_cast<double>(x(r, c));
  for (index_t c = 0; c < x.cols; ++c) mean[c] /= static_cast<double>(x.rows);
}

}  // namespace detail

// Linear CKA in one pass over minibatches: HSIC₁(xy)/√(HSIC₁(xx)·HSIC₁(yy)) of the averages over batches, with
// HSIC₁ = [tr(KL) + (1ᵀK1)(1ᵀL1)/((n−1)(n−2)) − 2/(n−2)·1ᵀKL1]/(n(n−3)), K = X·Xᵀ and L = Y·Yᵀ with zero diagonals.
// HSIC₁ is unbiased, so its average over batches tends to the same for every batch size (Nguyen, Raghu & Kornblith,
// ICLR 2021; Song et al., JMLR 13, 2012). Rows are centred a batch first, which changes nothing but rounding. A batch
// belongs to a cluster whole; the interval is clustered, by the delta method. Make batches of rows from one document,
// or let every batch be a cluster of its own if documents do not reach over two.
class streaming_cka {
 public:
  streaming_cka() = default;
  // Batches of at most max_rows rows with d1 and d2 columns.
  streaming_cka(index_t clusters, index_t max_rows, index_t columns_x, index_t columns_y)
      : hsic_(clusters),
        max_rows_(algo::max(max_rows, index_t{0})),
        columns_x_(algo::max(columns_x, index_t{0})),
        columns_y_(algo::max(columns_y, index_t{0})),
        work_(columns_x_ + columns_y_ + 2 * max_rows_) {}

  // One batch: x (n, d1), y (n, d2), row for row the same tokens, 4 ≤ n ≤ max_rows, any strides. Shape mismatch, null
  // or stride otherwise, and nothing is added. Cost n²(d1 + d2) flop. No allocation.
  template <operand_of<float> X, operand_of<float> Y>
  status try_add(index_t cluster, const X& x, const Y& y) noexcept {
    return on_view(x, "x", [&](matrix_view<const float> vx) {
      return on_view(y, "y", [&](matrix_view<const float> vy) { return try_add(cluster, vx, vy); });
    });
  }
  status try_add(index_t cluster, matrix_view<const float> x, matrix_view<const float> y) noexcept {
    if (x.rows < 4 || x.rows > max_rows_)
      return error{errc::shape_mismatch, "rows of a batch", text(x.rows), text("4 to ", max_rows_)};
    if (status s = check_view(x, x.rows, columns_x_, "x"); !s) return s;
    if (status s = check_view(y, x.rows, columns_y_, "y"); !s) return s;
    const batch_hsic h = hsic(x, y);
    const double sums[3] = {h.xy, h.xx, h.yy};
    hsic_.add_sums(cluster, sums, 1);
    return {};
  }
#if RESECT_EXCEPTIONS
  void add(index_t cluster, matrix_view<const float> x, matrix_view<const float> y) {
    value_or_throw(try_add(cluster, x, y));
  }
#endif
  // Shape mismatch when clusters or columns differ; then nothing changes.
  status merge(const streaming_cka& other) noexcept {
    if (other.columns_x_ != columns_x_ || other.columns_y_ != columns_y_)
      return error{errc::shape_mismatch, "columns", text(other.columns_x_, ", ", other.columns_y_),
                   text(columns_x_, ", ", columns_y_)};
    return hsic_.merge(other.hsic_);
  }

  // n counts batches. NaN where the average of xx or yy is not above 0: no variance, or too little to tell.
  metrics::estimate estimate(double level = 0.95) const noexcept {
    return hsic_.estimate(
        [](const double(&t)[3], double(&gradient)[3]) {
          if (!(t[1] > 0 && t[2] > 0)) return nan;
          const double size = math::sqrt(t[1]) * math::sqrt(t[2]), value = t[0] / size;
          gradient[0] = 1 / size;
          gradient[1] = -value / (2 * t[1]);
          gradient[2] = -value / (2 * t[2]);
          return value;
        },
        level);
  }
  // Σ over batches of HSIC₁ of xy, xx, yy a cluster.
  const joint_sums<3>& sums() const noexcept { return hsic_; }

 private:
  batch_hsic hsic(matrix_view<const float> x, matrix_view<const float> y) noexcept {
    const index_t n = x.rows;
    double* mean_x = work_.data();
    double* mean_y = mean_x + columns_x_;
    double* rows_k = mean_y + columns_y_;  // row sums of K and L without their diagonals
    double* rows_l = rows_k + max_rows_;
    detail::column_means(x, mean_x);
    detail::column_means(y, mean_y);
    for (index_t i = 0; i < n; ++i) rows_k[i] = rows_l[i] = 0;
    double kl = 0, kk = 0, ll = 0;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < i; ++j) {
        const double k =
            detail::centred_dot(x.data + i * x.row_stride, x.data + j * x.row_stride, mean_x, x.cols, x.col_stride);
        const double l =
            detail::centred_dot(y.data + i * y.row_stride, y.data + j * y.row_stride, mean_y, y.cols, y.col_stride);
        kl += 2 * k * l;
        kk += 2 * k * k;
        ll += 2 * l * l;
        rows_k[i] += k;
        rows_k[j] += k;
        rows_l[i] += l;
        rows_l[j] += l;
      }
    double sum_k = 0, sum_l = 0, cross_kl = 0, cross_kk = 0, cross_ll = 0;
    for (index_t i = 0; i < n; ++i) {
      sum_k += rows_k[i];
      sum_l += rows_l[i];
      cross_kl += rows_k[i] * rows_l[i];
      cross_kk += rows_k[i] * rows_k[i];
      cross_ll += rows_l[i] * rows_l[i];
    }
    const double m = static_cast<double>(n);
    const auto unbiased = [m](double trace, double a, double b, double cross) {
      return (trace + a * b / ((m - 1) * (m - 2)) - 2 / (m - 2) * cross) / (m * (m - 3));
    };
    return {unbiased(kl, sum_k, sum_l, cross_kl), unbiased(kk, sum_k, sum_k, cross_kk),
            unbiased(ll, sum_l, sum_l, cross_ll)};
  }

  joint_sums<3> hsic_;
  index_t max_rows_ = 0, columns_x_ = 0, columns_y_ = 0;
  array<double> work_;  // means of both, row sums of both Gram matrices
};

}  // namespace RESECT_NAMESPACE::metrics
