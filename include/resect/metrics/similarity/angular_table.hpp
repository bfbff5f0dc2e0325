// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/similarity/angular.hpp>

namespace RESECT_NAMESPACE::metrics {

// The mean angular distance d(h_l, h_{l+n}) of every pair of depths in one pass. A search for a block of n layers to
// remove reads it (Gromov et al. 2024). Depth 0 is the input of the first layer, depth L the output of the last. One
// observation a sequence: its last counted row (for_last_rows) at all depths. 24 bytes a cluster and pair.
class angular_table {
 public:
  angular_table() noexcept = default;
  angular_table(index_t clusters, index_t depths) : depths_(algo::max(depths, index_t{0})) {
    pairs_.resize(depths_ * (depths_ - 1) / 2);
    for (mean_angular_distance& d : pairs_) d = mean_angular_distance(clusters);
  }

  // Adds one sequence: h (depths, d_model), its last counted row at each depth; any row stride, contiguous rows.
  // Shape mismatch, null or stride otherwise, and nothing is added. Cost depths²·d_model. No allocation.
  template <operand_of<float> H>
  status try_add(index_t cluster, const H& h) noexcept {
    return on_view(h, "h", [&](matrix_view<const float> view) { return try_add(cluster, view); });
  }
  status try_add(index_t cluster, matrix_view<const float> h) noexcept {
    if (status s = check_view(h, depths_, h.cols, "h"); !s) return s;
    if (!h.rows_contiguous())
      return error{errc::bad_stride, "columns of h", text(h.col_stride), "contiguous rows (stride 1)"};
    for (index_t l = 0; l < depths_; ++l)
      for (index_t n = 1; l + n < depths_; ++n)
        pairs_[place(l, n)].add(cluster, angular_distance(h.row_span(l), h.row_span(l + n)));
    return {};
  }
#if RESECT_EXCEPTIONS
  void add(index_t cluster, matrix_view<const float> h) { value_or_throw(try_add(cluster, h)); }
#endif
  // Shape mismatch when depths or clusters differ; then nothing changes.
  status merge(const angular_table& other) noexcept {
    if (other.depths_ != depths_) return error{errc::shape_mismatch, "depths", text(other.depths_), text(depths_)};
    for (index_t i = 0; i < pairs_.size(); ++i)
      if (status s = pairs_[i].merge(other.pairs_[i]); !s)
        return s;  // all have one number of clusters: the first fails
    return {};
  }

  index_t depths() const noexcept { return depths_; }
  // d(h_l, h_{l+n}), 0 ≤ l, 1 ≤ n, l + n < depths.
  const mean_angular_distance& between(index_t l, index_t n) const noexcept { return pairs_[place(l, n)]; }
  // l* = argmin_l d(h_l, h_{l+n}): the first of the n layers whose removal the table suggests; the lowest of equals. −1
  // without observations, with NaN among them, and where no block has n layers.
  index_t best_block(index_t n) const noexcept {
    index_t best = -1;
    double least = nan;
    for (index_t l = 0; n > 0 && l + n < depths_; ++l) {
      const double d = between(l, n).estimate().value;
      if (d != d) return -1;
      if (best >= 0 && !(d < least)) continue;
      best = l;
      least = d;
    }
    return best;
  }

 private:
  // Pairs of l = 0 first: (0, 1) … (0, depths − 1), (1, 1) …
  index_t place(index_t l, index_t n) const noexcept { return l * (2 * depths_ - l - 1) / 2 + n - 1; }

  index_t depths_ = 0;
  array<mean_angular_distance> pairs_;
};

}  // namespace RESECT_NAMESPACE::metrics
