// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <utility>

#include <resect/core/math.hpp>
#include <resect/metrics/accumulators/clustered_mean.hpp>
#include <resect/metrics/accumulators/quantiles.hpp>
#include <resect/metrics/similarity/block_influence.hpp>
#include <resect/metrics/similarity/cosine.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {
struct row_norm {
  static constexpr mean_range range = mean_range::nonnegative;
  static double value(double norm) noexcept { return norm; }
};
struct relative_delta {
  static constexpr mean_range range = mean_range::nonnegative;
  static double value(double ratio) noexcept { return ratio; }
};
struct delta_direction {
  static constexpr mean_range range = mean_range::at_most_one;
  static double value(double cosine) noexcept { return cosine; }
};
}  // namespace detail

// The effect of one block on rows of the residual stream: ‖h‖ of its input (mean with interval; median, p99 and
// maximum from a sketch, to 1/64), the relative size ‖Δ‖/‖h‖ and direction cos(Δ, h) of its delta Δ = h_out − h_in,
// and the ratio of outlier elements, max|h_i|/median|h_i|.
class row_profile {
 public:
  row_profile() = default;
  explicit row_profile(index_t clusters) : norm_(clusters), ratio_(clusters), direction_(clusters) {}

  // s = row_products(h_in, h_out). Rows with h_in = 0 have no ratio or direction: they count in `zero_rows` only. A
  // row with Δ = 0 has ratio 0 and direction 0.
  void add(index_t cluster, const row_sums& s) noexcept {
    const double norm = math::sqrt(s.aa);
    norm_.add(cluster, norm);
    norms_.add(norm);
    if (s.aa == 0) {
      ++zero_rows_;
      return;
    }
    const double delta = math::sqrt(s.dd);
    ratio_.add(cluster, delta / norm);
    direction_.add(cluster, delta == 0 ? 0.0 : (s.dot - s.aa) / (delta * norm));
  }
  // The elements of such a row. About 1 ns each.
  void add_elements(std::span<const float> h) noexcept {
    for (const float x : h) elements_.add(math::fabs(static_cast<double>(x)));
  }
  status merge(const row_profile& other) noexcept {
    if (status s = norm_.merge(other.norm_); !s) return s;
    if (status s = ratio_.merge(other.ratio_); !s) return s;
    if (status s = direction_.merge(other.direction_); !s) return s;
    norms_.merge(other.norms_);
    elements_.merge(other.elements_);
    zero_rows_ += other.zero_rows_;
    return {};
  }

  estimate mean_norm(double level = 0.95) const noexcept { return norm_.estimate(level); }
  double median_norm() const noexcept { return norms_.quantile(0.5); }
  double p99_norm() const noexcept { return norms_.quantile(0.99); }
  double max_norm() const noexcept { return norms_.max(); }
  estimate delta_ratio(double level = 0.95) const noexcept { return ratio_.estimate(level); }
  estimate delta_cosine(double level = 0.95) const noexcept { return direction_.estimate(level); }
  // max|h_i|/median|h_i| over all elements of all rows, to 1/64: about 5 for normal ones, above 1,000 where a layer has
  // "massive activations" (Sun, Chen, Kolter & Liu, "Massive activations in large language models", 2024), which decide
  // norms and plain cosines alone. ∞ where more than half of the elements are 0, NaN where all are, or any is NaN.
  double max_to_median() const noexcept { return elements_.max() / elements_.quantile(0.5); }
  const log_histogram& norms() const noexcept { return norms_; }
  // Of |h_i|.
  const log_histogram& elements() const noexcept { return elements_; }
  index_t zero_rows() const noexcept { return zero_rows_; }

 private:
  clustered_mean<detail::row_norm> norm_;
  clustered_mean<detail::relative_delta> ratio_;
  clustered_mean<detail::delta_direction> direction_;
  log_histogram norms_, elements_;
  index_t zero_rows_ = 0;
};

// The profile of one layer, with first positions kept apart (BOS rows often have an enormous norm): `first` holds
// them alone, `rest` all other rows; the block influence is over all rows.
class norm_profile {
 public:
  norm_profile() = default;
  explicit norm_profile(index_t clusters) : rest_(clusters), first_(clusters), influence_(clusters) {}

  // One row at position `position` of its sequence: the block's input and output. Rows of different lengths count as
  // NaN, so that the estimates are NaN. No allocation.
  void add(index_t cluster, index_t position, std::span<const float> h_in, std::span<const float> h_out) noexcept {
    const row_sums s = row_products(h_in, h_out);
    row_profile& rows = position == 0 ? first_ : rest_;
    rows.add(cluster, s);
    rows.add_elements(h_in);
    influence_.add(cluster, cosine(s));
  }
  status merge(const norm_profile& other) noexcept {
    if (status s = influence_.merge(other.influence_); !s) return s;
    if (status s = rest_.merge(other.rest_); !s) return s;
    return first_.merge(other.first_);
  }

  const row_profile& rest() const noexcept { return rest_; }
  const row_profile& first() const noexcept { return first_; }
  const block_influence& influence() const noexcept { return influence_; }
  const clustered_sums& sums() const noexcept { return influence_.sums(); }

 private:
  row_profile rest_, first_;
  block_influence influence_;
};

}  // namespace RESECT_NAMESPACE::metrics
