// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/accumulators/compensated.hpp>
#include <resect/metrics/intervals/estimate.hpp>

namespace RESECT_NAMESPACE::metrics {

// The mean of the added rows, by d compensated sums: merges over any partition equal one pass to 1e-15.
// centred_products subtracts it; compute it from calibration text, so that all compared runs use the same mean.
class column_mean {
 public:
  column_mean() noexcept = default;
  explicit column_mean(index_t columns) : sums_(algo::max(columns, index_t{0})) {}

  // One row; a row of another length is counted in `rejected`, and then every mean is NaN. No allocation.
  void add(std::span<const float> row) noexcept {
    if (static_cast<index_t>(row.size()) != columns()) {
      ++rejected_;
      return;
    }
    compensated* sum = sums_.data();
    for (const float x : row) (sum++)->add(static_cast<double>(x));
    ++n_;
  }
  // Shape mismatch when the numbers of columns differ; then nothing changes.
  status merge(const column_mean& other) noexcept {
    if (other.sums_.size() != sums_.size())
      return error{errc::shape_mismatch, "columns", text(other.columns()), text(columns())};
    for (index_t j = 0; j < columns(); ++j) sums_[j].add(other.sums_[j]);
    n_ += other.n_;
    rejected_ += other.rejected_;
    return {};
  }

  index_t columns() const noexcept { return sums_.size(); }
  index_t count() const noexcept { return n_; }
  index_t rejected() const noexcept { return rejected_; }
  // Σ/n of a column; NaN without rows or with a rejected one.
  double operator[](index_t column) const noexcept {
    return rejected_ == 0 ? sums_[column].value() / static_cast<double>(n_) : nan;  // 0/0 is NaN
  }
  // All of them. Shape mismatch unless out has as many elements as there are columns.
  status write(std::span<double> out) const noexcept {
    if (static_cast<index_t>(out.size()) != columns())
      return error{errc::shape_mismatch, "out", text(static_cast<index_t>(out.size())), text(columns())};
    for (index_t j = 0; j < columns(); ++j) out[static_cast<std::size_t>(j)] = (*this)[j];
    return {};
  }

 private:
  array<compensated> sums_;
  index_t n_ = 0;
  index_t rejected_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
