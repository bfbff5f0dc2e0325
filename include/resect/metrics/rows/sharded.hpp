// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/metrics/rows/logits.hpp>

// Comparison of logits whose rows are split: a vocabulary over devices or processes, or an output matrix that is
// multiplied in slices.
namespace RESECT_NAMESPACE::metrics {

// The contribution of one slice of the vocabulary to a comparison of two logit rows: the maxima with their lowest
// ids, S_x = Σe^x, S_y = Σe^y, A = Σe^x(x − y) and the target's logits. Trivially copyable, so its bytes can be sent;
// slices may come in any order and be merged in any tree. Sums are kept in units that are powers of two, and e^x does
// not depend on the slice, so merging only adds: any partition gives the one-pass KL and nll to within 1e-12 nats
// (for |x|, |y|, |x − y| ≤ 100).
class logit_shard {
 public:
  // A slice of no logits, which changes nothing where it is merged.
  logit_shard() noexcept = default;

  // `full` and `edited` hold the logits of ids first_id, first_id + 1, …; `target` is an id of the whole vocabulary
  // (−1: none) and may lie in another slice. Slices of different lengths make every number NaN. One pass, no
  // allocation.
  logit_shard(instruction_set set, std::span<const float> full, std::span<const float> edited, index_t first_id,
              index_t target = -1) noexcept {
    scan(runnable(set), full, edited, first_id, target);
  }
  logit_shard(std::span<const float> full, std::span<const float> edited, index_t first_id,
              index_t target = -1) noexcept
      : logit_shard(best_instruction_set(), full, edited, first_id, target) {}
  // Of small types, as in logits.hpp.
  template <widening_row Full, widening_row Edited>
    requires(small_row<Full> || small_row<Edited>)
  logit_shard(instruction_set set, const Full& full, const Edited& edited, index_t first_id,
              index_t target = -1) noexcept {
    scan(runnable(set), detail::row_of(full), detail::row_of(edited), first_id, target);
  }
  template <widening_row Full, widening_row Edited>
    requires(small_row<Full> || small_row<Edited>)
  logit_shard(const Full& full, const Edited& edited, index_t first_id, index_t target = -1) noexcept
      : logit_shard(best_instruction_set(), full, edited, first_id, target) {}

  // Takes in another slice of the same row. Associative and commutative up to the rounding of sums; ids exactly (the
  // lowest id of the maximum wins). The slices must not overlap: nothing can check that.
  void merge(const logit_shard& other) noexcept {
    state_.take(other.state_);
    if (!other.has_target_) return;
    has_target_ = true;
    target_full_ = other.target_full_;
    target_edited_ = other.target_edited_;
  }

  // The comparison of the merged slices: equal to compare_logits of the whole row within its error bounds.
  logit_comparison finish() const noexcept {
    detail::pair_summary r = detail::summary(state_);
    if (has_target_) {
      r.comparison.nll_full = r.lse_x - static_cast<double>(target_full_);
      r.comparison.nll_edited = r.lse_y - static_cast<double>(target_edited_);
    }
    return r.comparison;
  }

 private:
  template <class X, class Y>
  void scan(instruction_set set, std::span<const X> full, std::span<const Y> edited, index_t first_id,
            index_t target) noexcept {
    if (full.size() != edited.size()) {
      state_.x.sum = state_.y.sum = nan;
      return;
    }
    const index_t n = static_cast<index_t>(full.size());
    state_ = detail::scan_pair(set, full.data(), edited.data(), n);
    if (state_.x.id >= 0) state_.x.id += first_id;
    if (state_.y.id >= 0) state_.y.id += first_id;
    if (target < first_id || target >= first_id + n) return;
    has_target_ = true;
    target_full_ = static_cast<float>(full[static_cast<std::size_t>(target - first_id)]);
    target_edited_ = static_cast<float>(edited[static_cast<std::size_t>(target - first_id)]);
  }

  detail::pair_state state_;
  bool has_target_ = false;
  float target_full_ = 0, target_edited_ = 0;
};

}  // namespace RESECT_NAMESPACE::metrics
