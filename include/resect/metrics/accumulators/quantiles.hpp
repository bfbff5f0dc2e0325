// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/types.hpp>
#include <resect/metrics/intervals/estimate.hpp>

namespace RESECT_NAMESPACE::metrics {

// The rank of the p-quantile among n sorted values: ⌈p·n⌉, 1 for p = 0.
inline index_t quantile_rank(double p, index_t n) noexcept {
  const double wanted = math::ceil(p * static_cast<double>(n));
  return wanted < 1 ? 1 : static_cast<index_t>(wanted);
}

// Quantiles of non-negative values (norms, KL) from counts in fixed bins: 32 equal bins to every power of two from
// 2⁻¹²⁶ to 2¹²⁸, so a bin is at most 1/32 of its value wide, whatever the data. Merging adds counts: exact, in any
// order. Zero and values below 2⁻¹²⁶ are one bin; +∞ and what exceeds the range is another; NaN and (but for signed_values)
// negative values are counted and make every quantile NaN. 65 KB, 130 KB signed; `add` is a shift and an increment.
class log_histogram {
 public:
  // Tag of a histogram that takes negative values too, into bins of their own (KL against logits that were stored in few
  // bits may lie below 0 by their error).
  struct signed_values {};

  log_histogram() : bins_(bin_count) {}
  explicit log_histogram(signed_values) : bins_(bin_count), below_(bin_count) {}

  void add(double x) noexcept {
    if (!(x >= 0) && (x != x || below_.empty())) {
      ++invalid_;
      return;
    }
    ++(x >= 0 ? bins_ : below_)[bin_of(math::fabs(x))];
    ++n_;
    min_ = algo::min(min_, x);
    max_ = algo::max(max_, x);
  }
  // Negative values of a signed histogram that come to one which takes none count as invalid there.
  void merge(const log_histogram& other) noexcept {
    for (index_t i = 0; i < bins_.size(); ++i) bins_[i] += other.bins_[i];
    n_ += other.n_;
    invalid_ += other.invalid_;
    for (index_t i = 0; i < other.below_.size(); ++i) {
      const index_t n = other.below_[i];
      if (!below_.empty()) below_[i] += n;
      else n_ -= n, invalid_ += n;
    }
    min_ = algo::min(min_, other.min_);
    max_ = algo::max(max_, other.max_);
  }

  index_t count() const noexcept { return n_; }
  index_t invalid() const noexcept { return invalid_; }
  // Exact. NaN when empty or when there were invalid values.
  double min() const noexcept { return usable() ? min_ : nan; }
  double max() const noexcept { return usable() ? max_ : nan; }

  // The ⌈p·n⌉-th smallest value (the first for p = 0) to within 1/64 of itself: the middle of its bin, kept inside
  // [min, max]. NaN when empty, with invalid values, or for p outside [0, 1]. Cost: one pass over the bins.
  double quantile(double p) const noexcept { return p >= 0 && p <= 1 ? ranked(quantile_rank(p, n_)) : nan; }
  // The rank-th smallest value, 1 … n, as well.
  double ranked(index_t rank) const noexcept {
    if (!usable()) return nan;
    if (rank <= 1) return min_;
    if (rank >= n_) return max_;
    index_t seen = 0;
    double middle = max_;
    const auto reaches = [&](index_t bin, const auto& bins, double sign) {
      seen += bins[bin];
      if (seen >= rank) middle = sign * middle_of(bin);
      return seen >= rank;
    };
    for (index_t bin = below_.size(); bin-- > 0;)
      if (reaches(bin, below_, -1.0)) return kept_inside(middle);
    for (index_t bin = 0; bin < bin_count; ++bin)
      if (reaches(bin, bins_, 1.0)) break;
    return kept_inside(middle);
  }

 private:
  static constexpr int sub_bits = 5;
  static constexpr int lowest = -126, highest = 127;
  static constexpr index_t bin_count = ((highest - lowest + 1) << sub_bits) + 2;
  static constexpr index_t first_bits = static_cast<index_t>(lowest + 1023) << sub_bits;

  bool usable() const noexcept { return n_ > 0 && invalid_ == 0; }
  double kept_inside(double x) const noexcept { return x < min_ ? min_ : x > max_ ? max_ : x; }
  // The middle of a bin of magnitudes; the last one holds what exceeds the range.
  static double middle_of(index_t bin) noexcept {
    if (bin == bin_count - 1) return std::numeric_limits<double>::infinity();
    return bin == 0 ? 0.0 : 0.5 * (edge(bin) + edge(bin + 1));
  }
  // The exponent and the first five bits of the fraction, as one number.
  static index_t bin_of(double x) noexcept {
    const index_t top = static_cast<index_t>(std::bit_cast<std::uint64_t>(x) >> (52 - sub_bits)) - first_bits + 1;
    return algo::clamp(top, index_t{0}, bin_count - 1);
  }
  static double edge(index_t bin) noexcept {
    return std::bit_cast<double>(static_cast<std::uint64_t>(bin - 1 + first_bits) << (52 - sub_bits));
  }

  array<index_t> bins_;
  array<index_t> below_;  // of negative values by magnitude; empty where none are taken
  index_t n_ = 0;
  index_t invalid_ = 0;
  double min_ = std::numeric_limits<double>::infinity();
  double max_ = -std::numeric_limits<double>::infinity();
};

}  // namespace RESECT_NAMESPACE::metrics
