// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/metrics/accumulators/joint.hpp>

namespace RESECT_NAMESPACE::metrics {

// Fraction of variance unexplained, FVU = Σ‖x − x̂‖²/Σ‖x − x̄‖² over rows with x̄ their mean, and explained variance
// EV = 1 − FVU (the share over all columns together, not a mean over columns). EV is below 0 where the mean row would
// do better. In one pass: every cluster keeps Σ(x − k) and Σ‖x − k‖² about its own first row k, and clusters are
// combined about x̄ by the formula of Chan, Golub & LeVeque (1983). Both are kept to about 106 bits and subtracted as
// such, so the error is at most √rows·2⁻⁵² relative, whatever offset all rows share and however far from the others
// the first row of a cluster lies (a BOS row may lie 10⁴ deviations off). d·20 + 72 bytes a cluster.
class explained_variance {
 public:
  explained_variance() = default;
  // G clusters of rows with `columns` elements.
  explained_variance(index_t clusters, index_t columns)
      : columns_(algo::max(columns, index_t{0})),
        cells_(algo::max(clusters, index_t{0})),
        origin_(cells_.size() * columns_),
        shifted_(origin_.size()),
        shifted_rest_(origin_.size()) {}

  // One row and its reconstruction. A cluster outside 0 … G−1 or a row of another length is counted in `rejected`, and
  // then no estimate is given. No allocation.
  void add(index_t cluster, std::span<const float> x, std::span<const float> reconstruction) noexcept {
    if (cluster < 0 || cluster >= clusters() || static_cast<index_t>(x.size()) != columns_ ||
        reconstruction.size() != x.size()) {
      ++rejected_;
      return;
    }
    cell& c = cells_[cluster];
    float* k = origin(cluster);
    double *sum = shifted_.data() + cluster * columns_, *rest = shifted_rest_.data() + cluster * columns_;
    if (c.n == 0)
      for (std::size_t j = 0; j < x.size(); ++j) k[j] = x[j];
    double squares[4] = {}, residual[4] = {};
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double v = static_cast<double>(x[j]), y = v - static_cast<double>(k[j]);
      const double e = v - static_cast<double>(reconstruction[j]);
      const double s = sum[j] + y, b = s - sum[j];  // compensated::add
      rest[j] += (sum[j] - (s - b)) + (y - b);
      sum[j] = s;
      squares[j % 4] += y * y;
      residual[j % 4] += e * e;
    }
    c.squares.add((squares[0] + squares[2]) + (squares[1] + squares[3]));
    c.residual.add((residual[0] + residual[2]) + (residual[1] + residual[3]));
    ++c.n;
  }
  // Adds all observations of `other`; a cluster may be split over both. Shape mismatch when clusters or columns
  // differ; then nothing changes. No allocation.
  status merge(const explained_variance& other) noexcept {
    if (other.clusters() != clusters() || other.columns_ != columns_)
      return error{errc::shape_mismatch, "clusters, columns", text(other.clusters(), ", ", other.columns_),
                   text(clusters(), ", ", columns_)};
    for (index_t i = 0; i < clusters(); ++i) merge_cell(i, other);
    rejected_ += other.rejected_;
    return {};
  }

  index_t clusters() const noexcept { return cells_.size(); }
  index_t columns() const noexcept { return columns_; }
  // Rows of a cluster.
  index_t count(index_t cluster) const noexcept { return cells_[cluster].n; }
  index_t rejected() const noexcept { return rejected_; }

  // Σ‖x − x̂‖² and Σ‖x − x̄‖² a cluster, x̄ the mean of all rows. Cost O(G·d), d doubles of memory.
  joint_sums<2> sums() const {
    joint_sums<2> out(clusters());
    index_t base = -1, n = 0;
    for (index_t i = 0; i < clusters(); ++i) {
      n += cells_[i].n;
      if (base < 0 && cells_[i].n > 0) base = i;
    }
    if (rejected_ > 0) out.add_sums(-1, {0, 0}, rejected_);
    if (base < 0) return out;
    array<double> mean(columns_);  // less the first row of `base`
    for (index_t i = 0; i < clusters(); ++i) {
      const cell& c = cells_[i];
      if (c.n == 0) continue;
      const double share = static_cast<double>(c.n) / static_cast<double>(n);
      for (index_t j = 0; j < columns_; ++j) mean[j] += share * offset(i, base, j);
    }
    for (index_t i = 0; i < clusters(); ++i) {
      const cell& c = cells_[i];
      if (c.n == 0) continue;
      const double count = static_cast<double>(c.n);
      compensated about_mean = c.squares;  // less s²/n a column, as in moments
      double between = 0;
      for (index_t j = 0; j < columns_; ++j) {
        const compensated s = shifted(i, j);
        const double r = s.value() / count, off = s.minus_product(r, count);
        about_mean.add_product(-r, s.hi);
        about_mean.add_product(-r, s.lo);
        about_mean.add_product(-r, off);
        about_mean.add(-off * off / count);
        const double b = offset(i, base, j) - mean[j];
        between += b * b;
      }
      const double inside = about_mean.value();
      out.add_sums(i, {c.residual.value(), (inside > 0 || inside != inside ? inside : 0.0) + count * between}, c.n);
    }
    return out;
  }

  // FVU with the clustered interval of a ratio of totals by the delta method (to first order x̄ adds nothing: it is
  // where Σ‖x − x̄‖² is least). Not applicable (NaN) where the rows have no variance.
  metrics::estimate fvu(double level = 0.95) const {
    return sums().estimate(ratio_of_totals{}, level, mean_range::nonnegative);
  }
  // EV = 1 − FVU, the interval mirrored.
  metrics::estimate estimate(double level = 0.95) const {
    const metrics::estimate f = fvu(level);
    return {1 - f.value, f.se, 1 - f.hi, 1 - f.lo, f.n, f.n_clusters};
  }

 private:
  struct cell {
    compensated squares;   // Σ‖x − k‖²
    compensated residual;  // Σ‖x − x̂‖²
    index_t n = 0;
  };
  float* origin(index_t i) noexcept { return origin_.data() + i * columns_; }
  const float* origin(index_t i) const noexcept { return origin_.data() + i * columns_; }
  compensated shifted(index_t i, index_t j) const noexcept {
    const index_t at = i * columns_ + j;
    return {shifted_[at], shifted_rest_[at]};
  }
  // The mean of cluster i in column j, less the first row of cluster `base`.
  double offset(index_t i, index_t base, index_t j) const noexcept {
    return (static_cast<double>(origin(i)[j]) - static_cast<double>(origin(base)[j])) +
           shifted(i, j).value() / static_cast<double>(cells_[i].n);
  }
  void merge_cell(index_t i, const explained_variance& other) noexcept {
    cell& c = cells_[i];
    const cell& o = other.cells_[i];
    if (o.n == 0) return;
    const double count = static_cast<double>(o.n);
    c.squares.add(o.squares);
    for (index_t j = 0; j < columns_; ++j) {
      if (c.n == 0) origin(i)[j] = other.origin(i)[j];
      const double step = static_cast<double>(other.origin(i)[j]) - static_cast<double>(origin(i)[j]);
      const compensated theirs = other.shifted(i, j);
      compensated sum = shifted(i, j);
      sum.add(theirs);
      if (step != 0) {  // Σ(y + step)² = Σy² + step·(2·Σy + n·step)
        sum.add_product(count, step);
        c.squares.add_product(2 * step, theirs.hi);
        c.squares.add_product(2 * step, theirs.lo);
        const double all = mul_rn(count, step);
        c.squares.add_product(step, all);
        c.squares.add_product(step, fma_rn(count, step, -all));
      }
      const index_t at = i * columns_ + j;
      shifted_[at] = sum.hi;
      shifted_rest_[at] = sum.lo;
    }
    c.residual.add(o.residual);
    c.n += o.n;
  }

  index_t columns_ = 0;
  array<cell> cells_;
  array<float> origin_;         // (G, d): the first row of each cluster
  array<double> shifted_;       // (G, d): Σ(x − first row)
  array<double> shifted_rest_;  // what rounding dropped of it
  index_t rejected_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
