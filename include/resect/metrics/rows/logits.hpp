// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/rows/detail/row_scan.hpp>

// Row kernels on logits: floats, or a small type (f16, bf16, fp8) in any contiguous range, which is widened a chunk at a
// time and gives the bits of the floats that it stands for. Each is one pass over memory; exponentials, differences and
// sums are double, in eight fixed lanes over chunks of 2,048. e^x is computed from x alone, in a unit that is a power of
// two, so the same logits give the same terms whatever their row's maximum is.
//
// Instruction sets: every function takes one as an optional first argument, for tests; what the machine lacks is
// lowered to what it has (core/instruction_set.hpp: runnable). Bits: the same in every run, for every compiler and flag
// but -ffast-math, as long as the C library's exp and log1p are the same; avx2 and avx512 have the same bits, portable
// differs from them within the error bounds.
//
// Speed, one thread of a machine that reads 15 to 17 GB/s, rows of 49,152 in memory: compare_logits streams its two
// rows at 0.7 of that with avx512, 0.55 with avx2, 0.2 portable.
namespace RESECT_NAMESPACE::metrics {

// The id of the largest logit of a row, and whether another id ties with it.
struct row_top {
  index_t id = -1;   // lowest id of the largest logit; −1 for an empty row or one with NaN
  bool tie = false;  // another id has the same logit
};

namespace detail {
template <class T>
row_top row_argmax(instruction_set set, std::span<const T> row) noexcept {
  const index_t n = static_cast<index_t>(row.size());
  if (n == 0) return {};
  exp_state s;
  widened_piece<T, chunk> piece;
  for (index_t i = 0; i < n; i += chunk) {
    const index_t size = algo::min(chunk, n - i);
    const peak_result top = peak(set, piece.of(row.data() + i, size), size);
    if (top.has_nan) return {};
    if (i > 0 && top.high == s.max) s.tie = true;
    if (i > 0 && !(top.high > s.max)) continue;
    s.max = top.high;
    s.id = i;
    s.tie = false;
  }
  find_top(set, row.data(), n, s);
  return {s.id, s.tie};
}

template <class T>
double nll(instruction_set set, std::span<const T> row, index_t target) noexcept {
  const index_t n = static_cast<index_t>(row.size());
  if (target < 0 || target >= n) return nan;
  return scan_row(set, row.data(), n).log_sum() - static_cast<double>(row[static_cast<std::size_t>(target)]);
}
}  // namespace detail

// Finds the largest logit of a row; +0 and −0 are equal.
inline row_top row_argmax(instruction_set set, std::span<const float> row) noexcept {
  return detail::row_argmax(runnable(set), row);
}
inline row_top row_argmax(std::span<const float> row) noexcept { return row_argmax(best_instruction_set(), row); }
template <small_row Row>
row_top row_argmax(instruction_set set, const Row& row) noexcept {
  return detail::row_argmax(runnable(set), detail::row_of(row));
}
template <small_row Row>
row_top row_argmax(const Row& row) noexcept {
  return row_argmax(best_instruction_set(), row);
}

// The log-sum-exp of a row of logits, ln Σe^{x_i}, in nats. Error ≤ 3e-9 + 4e-16·|result|; never below the largest
// logit, and that logit itself where it stands alone. −∞ logits count nothing; a row of only −∞ (or an empty one)
// gives −∞, NaN or +∞ in the row gives NaN.
inline double log_sum_exp(instruction_set set, std::span<const float> row) noexcept {
  return detail::scan_row(runnable(set), row.data(), static_cast<index_t>(row.size())).log_sum();
}
inline double log_sum_exp(std::span<const float> row) noexcept { return log_sum_exp(best_instruction_set(), row); }
template <small_row Row>
double log_sum_exp(instruction_set set, const Row& row) noexcept {
  const auto x = detail::row_of(row);
  return detail::scan_row(runnable(set), x.data(), static_cast<index_t>(x.size())).log_sum();
}
template <small_row Row>
double log_sum_exp(const Row& row) noexcept {
  return log_sum_exp(best_instruction_set(), row);
}

// The negative log-likelihood of a target id, −ln softmax(row)[target], in nats, never negative; error as
// log_sum_exp. NaN for a target outside the row.
inline double nll(instruction_set set, std::span<const float> row, index_t target) noexcept {
  return detail::nll(runnable(set), row, target);
}
inline double nll(std::span<const float> row, index_t target) noexcept {
  return nll(best_instruction_set(), row, target);
}
template <small_row Row>
double nll(instruction_set set, const Row& row, index_t target) noexcept {
  return detail::nll(runnable(set), detail::row_of(row), target);
}
template <small_row Row>
double nll(const Row& row, index_t target) noexcept {
  return nll(best_instruction_set(), row, target);
}

// The comparison of two logit rows of the same token: KL, nll, argmax of both.
struct logit_comparison {
  double kl = nan;        // KL(softmax full ‖ softmax edited), nats
  double nll_full = nan;  // of the target; NaN without one
  double nll_edited = nan;
  index_t top1_full = -1;  // lowest id of the largest logit; −1 where the row has NaN or +∞
  index_t top1_edited = -1;
  bool tie_full = false;  // another id has the same largest logit
  bool tie_edited = false;

  bool top1_agrees() const noexcept { return top1_full == top1_edited && top1_full >= 0; }
};

namespace detail {
// The comparison without its nll, and ln Σe^x of both rows.
struct pair_summary {
  logit_comparison comparison;
  double lse_x, lse_y;
};
inline pair_summary summary(const pair_state& s) noexcept {
  pair_summary r{{}, s.x.log_sum(), s.y.log_sum()};
  if (s.x.id < 0 && s.y.id < 0 && s.x.sum == 0 && s.y.sum == 0) return r;  // no logits at all
  const double kl = s.cross / s.x.sum - r.lse_x + r.lse_y;
  r.comparison.kl = kl < 0 && is_finite(kl) ? 0.0 : kl;
  if (s.x.sum == s.x.sum) {
    r.comparison.top1_full = s.x.id;
    r.comparison.tie_full = s.x.tie;
  }
  if (s.y.sum == s.y.sum) {
    r.comparison.top1_edited = s.y.id;
    r.comparison.tie_edited = s.y.tie;
  }
  return r;
}

template <class X, class Y>
logit_comparison compare_logits(instruction_set set, std::span<const X> full, std::span<const Y> edited,
                                index_t target) noexcept {
  if (full.size() != edited.size() || full.empty()) return {};
  const index_t n = static_cast<index_t>(full.size());
  pair_summary r = summary(scan_pair(set, full.data(), edited.data(), n));
  if (target >= 0 && target < n) {
    r.comparison.nll_full = r.lse_x - static_cast<double>(full[static_cast<std::size_t>(target)]);
    r.comparison.nll_edited = r.lse_y - static_cast<double>(edited[static_cast<std::size_t>(target)]);
  }
  return r.comparison;
}
}  // namespace detail

// Compares two logit rows of the same token in one pass: KL, nll of `target` (−1: none) and argmax of both. KL =
// A/S_x − lse_x + lse_y with A = Σe^x(x − y), S_x = Σe^x, x the intact (`full`) and y the altered (`edited`) row.
// Rounding below 0 is set to 0; exactly 0 for identical rows. Error of KL ≤ 1e-8 + 1e-8·KL nats where the largest
// logit of each row is at most 1e7 in magnitude, beyond that 2⁻⁵⁰·(|max x| + |max y|) more (A/S_x and both lse are of
// that size and are subtracted); of nll as log_sum_exp, and the same bits. p = 0 counts nothing; q = 0 where p > 0
// gives +∞; NaN or +∞ in a row, or rows of different lengths, gives NaN (the caller reports it). No allocation; 16 KB
// of stack, 32 KB for small types.
inline logit_comparison compare_logits(instruction_set set, std::span<const float> full, std::span<const float> edited,
                                       index_t target = -1) noexcept {
  return detail::compare_logits(runnable(set), full, edited, target);
}
inline logit_comparison compare_logits(std::span<const float> full, std::span<const float> edited,
                                       index_t target = -1) noexcept {
  return compare_logits(best_instruction_set(), full, edited, target);
}
template <widening_row Full, widening_row Edited>
  requires(small_row<Full> || small_row<Edited>)
logit_comparison compare_logits(instruction_set set, const Full& full, const Edited& edited,
                                index_t target = -1) noexcept {
  return detail::compare_logits(runnable(set), detail::row_of(full), detail::row_of(edited), target);
}
template <widening_row Full, widening_row Edited>
  requires(small_row<Full> || small_row<Edited>)
logit_comparison compare_logits(const Full& full, const Edited& edited, index_t target = -1) noexcept {
  return compare_logits(best_instruction_set(), full, edited, target);
}

}  // namespace RESECT_NAMESPACE::metrics
