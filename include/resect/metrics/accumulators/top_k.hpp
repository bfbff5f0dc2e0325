// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/intervals/wilson.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {

// What decided the k best of a row: nothing in doubt, equal values on both sides of the cut, or no order (NaN, k > n).
enum class top_k_cut { clear, tied, none };

// Whether id a comes before id b where the largest values come first: of equal values, the lowest ids.
inline auto better_in(std::span<const float> row) noexcept {
  return [row](index_t a, index_t b) {
    const float x = row[static_cast<std::size_t>(a)], y = row[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
}

// The ids of the k = ids.size() largest values, as a heap whose root is the worst of them. Of equal values the lowest
// ids are in.
inline top_k_cut top_k_heap(std::span<const float> row, std::span<index_t> ids) noexcept {
  if (ids.size() > row.size()) return top_k_cut::none;
  if (ids.empty()) return top_k_cut::clear;
  const auto better = better_in(row);
  bool nan_seen = false, tied = false;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<index_t>(i);
    nan_seen |= row[i] != row[i];
  }
  algo::make_heap(ids.begin(), ids.end(), better);
  float worst = row[static_cast<std::size_t>(ids[0])];
  for (std::size_t i = ids.size(); i < row.size(); ++i) {
    const float x = row[i];
    if (x <= worst) {
      tied |= x == worst;
      continue;
    }
    nan_seen |= x != x;
    const float before = worst;
    ids[0] = static_cast<index_t>(i);
    algo::sift_down(ids.begin(), ids.end(), 0, better);
    worst = row[static_cast<std::size_t>(ids[0])];
    tied = worst == before;  // one of that value was put out, one is still in
  }
  return nan_seen ? top_k_cut::none : tied ? top_k_cut::tied : top_k_cut::clear;
}

}  // namespace detail

// The number of ids common to the k largest values of two rows. shared = −1: no answer (NaN in a row, rows of
// different lengths, k > n).
struct top_k_comparison {
  index_t shared = -1;
  bool tie = false;  // in a row, a value inside the k equals one outside: the lowest ids were taken
};

// The ids of the k = ids.size() largest values of `row` (any scores, ±∞ allowed), largest first, equal values by
// ascending id. Errors: k > n (shape mismatch), NaN (not finite); what `ids` holds then is undefined. Cost one pass and
// k·ln(n/k) heap steps of log₂ k for values in random order; n·log₂ k at worst. No allocation.
inline status try_top_k(std::span<const float> row, std::span<index_t> ids) noexcept {
  if (ids.size() > row.size())
    return error{errc::shape_mismatch, "k", text(static_cast<index_t>(ids.size())),
                 text("at most ", static_cast<index_t>(row.size()))};
  if (detail::top_k_heap(row, ids) == detail::top_k_cut::none)
    return error{errc::not_finite, "row", "NaN", "values without NaN"};
  algo::sort_heap(ids.begin(), ids.end(), detail::better_in(row));
  return {};
}

#if RESECT_EXCEPTIONS
inline void top_k(std::span<const float> row, std::span<index_t> ids) { value_or_throw(try_top_k(row, ids)); }
#endif

// Counts the common ids of the k largest values of two rows, |T_k(p) ∩ T_k(q)|, ties to the lowest id. `workspace`
// has 2k elements. No answer for a workspace of odd length. No allocation.
inline top_k_comparison top_k_shared(std::span<const float> p, std::span<const float> q,
                                     std::span<index_t> workspace) noexcept {
  top_k_comparison out;
  if (p.size() != q.size() || workspace.size() % 2 != 0) return out;
  const std::size_t k = workspace.size() / 2;
  const std::span<index_t> in_p = workspace.first(k), in_q = workspace.last(k);
  const detail::top_k_cut cut_p = detail::top_k_heap(p, in_p), cut_q = detail::top_k_heap(q, in_q);
  if (cut_p == detail::top_k_cut::none || cut_q == detail::top_k_cut::none) return out;
  out.tie = cut_p == detail::top_k_cut::tied || cut_q == detail::top_k_cut::tied;
  algo::sort(in_p.begin(), in_p.end());
  algo::sort(in_q.begin(), in_q.end());
  out.shared = 0;
  for (std::size_t i = 0, j = 0; i < k && j < k;) {
    out.shared += in_p[i] == in_q[j];
    const bool step_p = in_p[i] <= in_q[j], step_q = in_q[j] <= in_p[i];
    i += step_p;
    j += step_q;
  }
  return out;
}

// The mean over positions of |T_k(p) ∩ T_k(q)|/k, the overlap of the k largest logits of the intact and the altered
// model, with the clustered interval. Chance (two random sets of a vocabulary of n) is k/n. k = 1 is top-1 agreement.
// A position without an answer makes the estimate NaN.
class top_k_overlap {
 public:
  top_k_overlap() noexcept = default;
  top_k_overlap(index_t clusters, index_t k) : overlap_(clusters), ids_(2 * algo::max(k, index_t{0})) {}

  // One position. No allocation.
  void add(index_t cluster, std::span<const float> intact, std::span<const float> altered) noexcept {
    add(cluster, top_k_shared(intact, altered, ids_.span()));
  }
  void add(index_t cluster, const top_k_comparison& row) noexcept {
    overlap_.add(cluster,
                 row.shared < 0 || k() == 0 ? nan : static_cast<double>(row.shared) / static_cast<double>(k()));
    ties_ += row.tie ? 1 : 0;
  }
  // Shape mismatch when clusters or k differ; then nothing changes.
  status merge(const top_k_overlap& other) noexcept {
    if (other.k() != k()) return error{errc::shape_mismatch, "k", text(other.k()), text(k())};
    if (status s = overlap_.merge(other.overlap_); !s) return s;
    ties_ += other.ties_;
    return {};
  }

  // Clustered, by the logit; Wilson's with one observation a cluster for an overlap of 0 or 1 (set_interval).
  metrics::estimate estimate(double level = 0.95) const noexcept { return overlap_.estimate(level, mean_range::rate); }
  index_t k() const noexcept { return ids_.size() / 2; }
  // Positions where equal values straddled the cut of either row.
  index_t ties() const noexcept { return ties_; }
  const clustered_sums& sums() const noexcept { return overlap_; }

 private:
  clustered_sums overlap_;
  array<index_t> ids_;  // workspace of 2k
  index_t ties_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
