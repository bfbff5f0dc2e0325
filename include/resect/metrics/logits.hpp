// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include <resect/core/types.hpp>
#include <resect/metrics/estimate.hpp>
#include <resect/metrics/pack.hpp>

// Row kernels on logits. One pass over memory in blocks of 256 elements; a block's maximum first, then Σe^{x−max} about
// the running maximum. Differences, exponentials and sums are double, in eight fixed lanes: the same bits for every
// run on one instruction set. Loops are written so that g++ and clang vectorise them from -O2 on.
namespace resect::inline RESECT_NAMESPACE_TAG::metrics {

namespace detail {

inline constexpr index logit_block = 256;

// e^v for −650 ≤ v ≤ 0 (and NaN to NaN): 2ᵏ·p(v − k·ln 2), p of degree 6 with p(0) = 1. Relative error ≤ 2.0e-9.
// T is double or a vector of them.
template <class T>
[[gnu::always_inline]] inline T exp_nonpositive(T v) noexcept {
  using bits = std::conditional_t<std::is_same_v<T, double>, std::uint64_t, part_u64>;
  constexpr double magic = 6755399441055744.0;  // 1.5·2⁵²: adding it rounds to an integer, left in the low bits
  const T k = v * 1.4426950408889634 + magic;
  const T r = v - (k - magic) * 0.6931471805599453;
  const T r2 = r * r;
  const T high = (r * 0.0083741636550730402868 + 0.041668002611434519354) + r2 * 0.0013843642989822943129;
  const T low = r * 0.16666431165905045537 + 0.49999994205299303889;
  const T p = (high * r2 + low) * r2 + (r * 1.0000000321850615549 + 1.0);
  return std::bit_cast<T>(std::bit_cast<bits>(p) + (std::bit_cast<bits>(k) << 52));
}
inline constexpr double exp_reach = 650;

// Floats as integers in the same order; NaN lies beyond the infinities. (Integer minima and maxima vectorise without
// permission to ignore NaN.) Its own inverse.
inline std::int32_t ordered(std::int32_t bits) noexcept { return bits ^ ((bits >> 31) & 0x7fffffff); }
inline std::int32_t ordered(float x) noexcept { return ordered(std::bit_cast<std::int32_t>(x)); }
inline float unordered(std::int32_t key) noexcept { return std::bit_cast<float>(ordered(key)); }

struct block_range {
  std::int32_t low, high;

  bool has_nan() const noexcept {
    constexpr float inf = std::numeric_limits<float>::infinity();
    return high > ordered(inf) || low < ordered(-inf);
  }
  float max() const noexcept { return unordered(high); }
};

inline block_range range_of(const float* x, index n) noexcept {
  part_i32 low[2], high[2];
  for (int p = 0; p < 2; ++p) {
    low[p] = part_i32{} + std::numeric_limits<std::int32_t>::max();
    high[p] = part_i32{} + std::numeric_limits<std::int32_t>::min();
  }
  index i = 0;
  for (; i + 2 * key_width <= n; i += 2 * key_width)
    for (int p = 0; p < 2; ++p) {
      part_i32 k;
      __builtin_memcpy(&k, x + i + p * key_width, sizeof k);
      k ^= (k >> 31) & 0x7fffffff;
      low[p] = k < low[p] ? k : low[p];
      high[p] = high[p] < k ? k : high[p];
    }
  block_range r{low[0][0], high[0][0]};
  const auto take = [&](std::int32_t l, std::int32_t h) {
    r.low = l < r.low ? l : r.low;
    r.high = r.high < h ? h : r.high;
  };
  for (int p = 0; p < 2; ++p)
    for (int j = 0; j < key_width; ++j) take(low[p][j], high[p][j]);
  for (; i < n; ++i) take(ordered(x[i]), ordered(x[i]));
  return r;
}

// The running maximum, where it was met, and the running sum about it.
struct row_state {
  float max = -std::numeric_limits<float>::infinity();
  index block = 0;
  bool tie = false;
  double sum = 0;

  // Takes in the maximum of the block at `first`; returns what sums about the old maximum are to be multiplied by.
  double meet(float top, index first) noexcept {
    if (top == max) tie = true;
    if (!(top > max)) return 1;
    const double factor = std::exp(static_cast<double>(max) - static_cast<double>(top));
    sum *= factor;
    max = top;
    block = first;
    tie = false;
    return factor;
  }
  bool empty() const noexcept { return max == -std::numeric_limits<float>::infinity(); }
  double reference() const noexcept { return empty() ? 0.0 : static_cast<double>(max); }
  double log_sum() const noexcept {
    return empty() && sum == sum ? static_cast<double>(max) : reference() + std::log(sum);
  }
  // The lowest id of the maximum, −1 where the row has NaN or +∞ (the sum is NaN then); ties in its own block count.
  index argmax(std::span<const float> row) noexcept {
    if (sum != sum) return -1;
    const index n = static_cast<index>(row.size());
    const index end = block + logit_block < n ? block + logit_block : n;
    index best = -1;
    for (index i = block; i < end; ++i) {
      if (row[static_cast<std::size_t>(i)] != max) continue;
      if (best >= 0) tie = true;
      else best = i;
    }
    return best;
  }
};

// Σe^{x−max}, no x more than 650 below max.
inline double near_sum(const float* x, index n, double max) noexcept {
  pack sum;
  index i = 0;
  for (; i + pack_lanes <= n; i += pack_lanes)
    for (int p = 0; p < pack_parts; ++p) sum.part[p] += exp_nonpositive(load_part(x + i, p) - max);
  double rest = 0;
  for (; i < n; ++i) rest += exp_nonpositive(static_cast<double>(x[i]) - max);
  return sum.sum() + rest;
}

// The same, and Σe^{x−max}(x − y) into `weighted`.
inline double near_sum(const float* x, const float* y, index n, double max, double& weighted) noexcept {
  pack sum, cross;
  index i = 0;
  for (; i + pack_lanes <= n; i += pack_lanes)
    for (int p = 0; p < pack_parts; ++p) {
      const part_f64 v = load_part(x + i, p);
      const part_f64 e = exp_nonpositive(v - max);
      sum.part[p] += e;
      cross.part[p] += e * (v - load_part(y + i, p));
    }
  double rest = 0, rest_cross = 0;
  for (; i < n; ++i) {
    const double v = static_cast<double>(x[i]);
    const double e = exp_nonpositive(v - max);
    rest += e;
    rest_cross += e * (v - static_cast<double>(y[i]));
  }
  weighted = cross.sum() + rest_cross;
  return sum.sum() + rest;
}

// A block with logits far below the maximum (masked ones): they are lifted to 650 below it, where they count 5e-283.
inline void lift(const float* x, index n, double max, float* out) noexcept {
  const float floor = static_cast<float>(max - exp_reach + 1);
  for (index i = 0; i < n; ++i) out[i] = x[i] < floor ? floor : x[i];
}

// Σe^{x−max}(x − y) with masked logits: p = 0 counts nothing, p > 0 against q = 0 is +∞. `lifted` is lift(x).
inline double masked_cross(const float* x, const float* y, const float* lifted, index n, double max) noexcept {
  double sum = 0;
  for (index i = 0; i < n; ++i) {
    if (y[i] != y[i]) return nan;
    if (x[i] == -std::numeric_limits<float>::infinity()) continue;
    const double e = exp_nonpositive(static_cast<double>(lifted[i]) - max);
    sum += e * (static_cast<double>(x[i]) - static_cast<double>(y[i]));
  }
  return sum;
}

inline double block_sum(const float* x, index n, block_range range, double max) noexcept {
  if (static_cast<double>(unordered(range.low)) >= max - exp_reach) return near_sum(x, n, max);
  float lifted[logit_block];
  lift(x, n, max, lifted);
  return near_sum(lifted, n, max);
}

inline double block_sum(const float* x, const float* y, index n, block_range range, double max,
                        double& weighted) noexcept {
  if (static_cast<double>(unordered(range.low)) >= max - exp_reach) {
    const double sum = near_sum(x, y, n, max, weighted);
    if (weighted - weighted == 0) return sum;
  }
  float lifted[logit_block];
  lift(x, n, max, lifted);
  weighted = masked_cross(x, y, lifted, n, max);
  return near_sum(lifted, n, max);
}

inline index block_size(index i, index n) noexcept { return n - i < logit_block ? n - i : logit_block; }

// Maximum and Σe^{x−max} of a whole row.
inline row_state scan_row(std::span<const float> row) noexcept {
  const index n = static_cast<index>(row.size());
  row_state s;
  for (index i = 0; i < n; i += logit_block) {
    const index size = block_size(i, n);
    const block_range range = range_of(row.data() + i, size);
    s.meet(range.max(), i);
    s.sum += block_sum(row.data() + i, size, range, s.reference());
  }
  return s;
}

}  // namespace detail

struct row_top {
  index id = -1;     // lowest id of the largest logit; −1 for an empty row or one with NaN
  bool tie = false;  // another id has the same logit
};

// The largest logit of a row. About 8 µs for 49,152 logits.
inline row_top row_argmax(std::span<const float> row) noexcept {
  const index n = static_cast<index>(row.size());
  detail::row_state s;
  for (index i = 0; i < n; i += detail::logit_block) {
    const detail::block_range range = detail::range_of(row.data() + i, detail::block_size(i, n));
    if (range.has_nan()) return {};
    s.meet(range.max(), i);
  }
  const index id = s.argmax(row);
  return {id, id >= 0 && s.tie};
}

// ln Σe^{x_i} in nats of float logits. Error ≤ 3e-9 + 4e-16·|result|. −∞ logits count nothing; a row of only −∞ (or an
// empty one) gives −∞, NaN or +∞ in the row gives NaN.
inline double log_sum_exp(std::span<const float> row) noexcept { return detail::scan_row(row).log_sum(); }

// −ln softmax(row)[target] in nats; error as above. NaN for a target outside the row.
inline double nll(std::span<const float> row, index target) noexcept {
  if (target < 0 || target >= static_cast<index>(row.size())) return nan;
  return log_sum_exp(row) - static_cast<double>(row[static_cast<std::size_t>(target)]);
}

// What two logit rows of the same token say about an edit.
struct logit_comparison {
  double kl = nan;        // KL(softmax full ‖ softmax edited), nats
  double nll_full = nan;  // of the target; NaN without one
  double nll_edited = nan;
  index top1_full = -1;  // lowest id of the largest logit; −1 where the row has NaN or +∞
  index top1_edited = -1;
  bool tie_full = false;  // another id has the same largest logit
  bool tie_edited = false;

  bool top1_agrees() const noexcept { return top1_full == top1_edited && top1_full >= 0; }
};

// Both rows in one pass: KL = A/S_x − lse_x + lse_y with A = Σe^{x−m_x}(x − y), S_x = Σe^{x−m_x}, x full and y
// edited; nll of `target` (−1: none); both argmaxes. Rounding below 0 is set to 0; exactly 0 for identical rows.
// Error of KL ≤ 1e-8 + 1e-8·KL nats; of nll as log_sum_exp. p = 0 counts nothing; q = 0 where p > 0 gives +∞;
// NaN or +∞ in a row, or rows of different lengths, gives NaN (the caller reports it). No allocation.
inline logit_comparison compare_logits(std::span<const float> full, std::span<const float> edited,
                                       index target = -1) noexcept {
  logit_comparison out;
  if (full.size() != edited.size() || full.empty()) return out;
  const index n = static_cast<index>(full.size());
  detail::row_state x, y;
  double a = 0;
  for (index i = 0; i < n; i += detail::logit_block) {
    const float* px = full.data() + i;
    const float* py = edited.data() + i;
    const index size = detail::block_size(i, n);
    const detail::block_range range_x = detail::range_of(px, size), range_y = detail::range_of(py, size);
    const double factor = x.meet(range_x.max(), i);
    a = a == std::numeric_limits<double>::infinity() ? a : a * factor;  // p > 0 against q = 0 stays
    y.meet(range_y.max(), i);
    double weighted = 0;
    x.sum += detail::block_sum(px, py, size, range_x, x.reference(), weighted);
    y.sum += detail::block_sum(py, size, range_y, y.reference());
    a += weighted;
  }
  const double lse_x = x.log_sum(), lse_y = y.log_sum();
  const double kl = a / x.sum - lse_x + lse_y;
  out.kl = kl < 0 && kl > -1e-7 ? 0.0 : kl;
  if (target >= 0 && target < n) {
    out.nll_full = lse_x - static_cast<double>(full[static_cast<std::size_t>(target)]);
    out.nll_edited = lse_y - static_cast<double>(edited[static_cast<std::size_t>(target)]);
  }
  out.top1_full = x.argmax(full);
  out.top1_edited = y.argmax(edited);
  out.tie_full = out.top1_full >= 0 && x.tie;
  out.tie_edited = out.top1_edited >= 0 && y.tie;
  return out;
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::metrics
