// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/types.hpp>
#include <resect/metrics/accumulators/compensated.hpp>
#include <resect/metrics/intervals/estimate.hpp>

namespace RESECT_NAMESPACE::metrics {

// Number, mean, variance, minimum and maximum of the added values. Σx and Σx² are kept to about 106 bits, so the
// difference Σx² − (Σx)²/n loses nothing that a double could show unless |mean|/sd exceeds 1e12: merges over any
// partition equal one pass to 1e-12 even at a common offset of 1e8, which a running mean in double (Welford 1962;
// Chan, Golub & LeVeque 1983) does not give.
class moments {
 public:
  void add(double x) noexcept {
    ++n_;
    sum_.add(x);
    squares_.add_product(x, x);
    if (x < min_) min_ = x;
    if (x > max_) max_ = x;
  }
  void merge(const moments& other) noexcept {
    n_ += other.n_;
    sum_.add(other.sum_);
    squares_.add(other.squares_);
    if (other.min_ < min_) min_ = other.min_;
    if (other.max_ > max_) max_ = other.max_;
  }

  index_t count() const noexcept { return n_; }
  // Σx/n; NaN for n = 0.
  double mean() const noexcept { return n_ > 0 ? sum_.value() / static_cast<double>(n_) : nan; }
  // M2 = Σ(x − mean)² = Σx² − 2·r·Σx + n·r² + correction for r, the rounded mean; 0 for n = 0.
  double squared_deviations() const noexcept {
    if (n_ == 0) return 0;
    const double n = static_cast<double>(n_), r = mean();
    if (!is_finite(r)) return nan;
    const double off = sum_.minus_product(r, n);
    compensated m2 = squares_;
    m2.add_product(-r, sum_.hi);
    m2.add_product(-r, sum_.lo);
    m2.add_product(-r, off);
    const double value = m2.value() - off * off / n;
    return value > 0 || value != value ? value : 0.0;
  }
  // M2/(n − 1); NaN for n < 2.
  double variance() const noexcept { return n_ > 1 ? squared_deviations() / static_cast<double>(n_ - 1) : nan; }
  double sd() const noexcept { return math::sqrt(variance()); }
  // ±∞ for n = 0. NaN is passed over here (and found in the mean).
  double min() const noexcept { return min_; }
  double max() const noexcept { return max_; }

 private:
  index_t n_ = 0;
  compensated sum_, squares_;
  double min_ = std::numeric_limits<double>::infinity();
  double max_ = -std::numeric_limits<double>::infinity();
};

}  // namespace RESECT_NAMESPACE::metrics
