// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/rows/detail/row_state.hpp>
#include <resect/metrics/rows/detail/widened_piece.hpp>

// Passes over rows of logits in memory. Nearly every chunk goes through one kernel in the unit that the row's first
// logit suggests. A chunk that the unit does not hold (masked logits, a spread of hundreds, NaN) is done again with
// care: in a unit of its own, with logits far below its maximum lifted to where they count 10^−250. Logits of small
// types are widened a chunk at a time: the bits of the floats that they stand for.
namespace RESECT_NAMESPACE::metrics::detail {

inline exp_unit unit_near(float logit) noexcept {
  const double x = static_cast<double>(logit);
  if (!(x >= -static_cast<double>(far) && x <= static_cast<double>(far))) return unit_of(0);
  return unit_of(math::floor(x / ln2 + 0.5));
}

inline exp_state state_of(const exp_result& r, const exp_unit& unit, index_t first) noexcept {
  exp_state s;
  s.max = r.range.high;
  s.id = first;
  s.sum = r.sum;
  s.power = unit.power;
  return s;
}

// The term of the maximum of a state that was summed by the kernels of `set`, with the same bits.
inline double top_term(instruction_set set, const exp_state& s) noexcept {
  if (s.masked() || s.max == infinity) return 0;
  if (s.offset != 0) return s.exp_in_unit(static_cast<double>(s.max));
  return exp_sum(set, &s.max, 1, unit_of(s.power)).sum;
}

// The lowest id of the maximum and its ties, where `s.id` is so far the beginning of its chunk.
template <class T>
void find_top(instruction_set set, const T* row, index_t n, exp_state& s) noexcept {
  const index_t size = algo::min(chunk, n - s.id);
  widened_piece<T, chunk> piece;
  const place_result at = place(set, piece.of(row + s.id, size), size, s.max);
  s.id = at.first < 0 ? -1 : s.id + at.first;
  s.tie = s.tie || at.count > 1;
}

inline void lift(const float* x, index_t n, float floor, float* out) noexcept {
  for (index_t i = 0; i < n; ++i) out[i] = x[i] < floor ? floor : x[i];
}

// Sums a chunk whose logits do not fit the row's unit, in a unit of its own. Returns true if it filled `lifted` (n floats),
// false for a chunk that is fully masked, has its maximum beyond ±far, or has NaN or +inf.
inline bool careful_row(instruction_set set, const float* x, index_t n, index_t first, exp_state& s,
                        float* lifted) noexcept {
  const peak_result top = peak(set, x, n);
  s = {};
  s.max = top.high;
  s.id = first;
  if (top.has_nan || top.high == infinity) {
    s.sum = nan;
    return false;
  }
  if (s.masked()) return false;
  if (top.high > far || top.high < -far) {
    s.offset = static_cast<double>(top.high);
    for (index_t i = 0; i < n; ++i) s.sum += math::exp(static_cast<double>(x[i]) - s.offset);
    return false;
  }
  const exp_unit unit = unit_near(top.high);
  lift(x, n, unit.low, lifted);
  s.power = unit.power;
  s.sum = exp_sum(set, lifted, n, unit).sum;
  return true;
}

// Σe^x·(x − y) one by one, as a mean times the sum of `unit`, so that both have the same weights: x − y may be huge.
// It is taken about the x − y of the largest x, which rounds once whatever its size. p = 0 counts nothing, p > 0 against
// q = 0 is +∞. NaN in a row is left to that row's sum.
inline double careful_cross(const float* x, const float* y, index_t n, const exp_state& unit) noexcept {
  index_t top = 0;
  for (index_t i = 1; i < n; ++i) top = x[i] > x[top] ? i : top;
  if (x[top] > -infinity && y[top] == -infinity) return std::numeric_limits<double>::infinity();
  const double about = static_cast<double>(x[top]) - static_cast<double>(y[top]);
  double sum = 0, weight = 0;
  for (index_t i = 0; i < n; ++i) {
    if (x[i] == -infinity) continue;
    if (y[i] == -infinity) return std::numeric_limits<double>::infinity();
    const double e = unit.exp_in_unit(static_cast<double>(x[i]));
    if (!(e > 0)) continue;
    weight += e;
    sum = fma_rn(e, static_cast<double>(x[i]) - static_cast<double>(y[i]) - about, sum);
  }
  return weight > 0 ? (about + sum / weight) * unit.sum : 0.0;
}

// What the cross sum of lifted rows lacks: the terms where y was lifted.
inline double lifted_terms(const float* x, const float* y, index_t n, const exp_unit& unit_y,
                           const exp_state& unit) noexcept {
  double sum = 0;
  for (index_t i = 0; i < n; ++i) {
    if (!(y[i] < unit_y.low) || x[i] == -infinity) continue;
    if (y[i] == -infinity) return std::numeric_limits<double>::infinity();
    sum = fma_rn(unit.exp_in_unit(static_cast<double>(x[i])),
                 static_cast<double>(unit_y.low) - static_cast<double>(y[i]), sum);
  }
  return sum;
}

inline pair_state careful_pair(instruction_set set, const float* x, const float* y, index_t n, index_t first) noexcept {
  pair_state s;
  float lifted_x[chunk], lifted_y[chunk];
  const bool kernel_x = careful_row(set, x, n, first, s.x, lifted_x);
  const bool kernel_y = careful_row(set, y, n, first, s.y, lifted_y);
  if (kernel_x && kernel_y) {
    const exp_unit unit_x = unit_of(s.x.power), unit_y = unit_of(s.y.power);
    s.cross = exp_pair(set, lifted_x, lifted_y, n, unit_x, unit_y).cross + lifted_terms(x, y, n, unit_y, s.x);
  } else {
    s.cross = careful_cross(x, y, n, s.x);
  }
  return s;
}

// The unit for what follows: the row's, unless that is one the kernels do not have.
inline void follow(exp_unit& unit, const exp_state& s) noexcept {
  if (s.offset == 0 && s.power != unit.power) unit = unit_of(s.power);
}

template <class T>
exp_state scan_row(instruction_set set, const T* x, index_t n) noexcept {
  exp_state s;
  if (n <= 0) return s;
  exp_unit unit = unit_near(static_cast<float>(x[0]));
  s.power = unit.power;
  widened_piece<T, chunk> piece;
  for (index_t i = 0; i < n; i += chunk) {
    const index_t size = algo::min(chunk, n - i);
    const float* const part_x = piece.of(x + i, size);
    const exp_result r = exp_sum(set, part_x, size, unit);
    exp_state part = state_of(r, unit, i);
    float lifted[chunk];
    if (!unit.holds(r.range)) careful_row(set, part_x, size, i, part, lifted);
    merge(s, part);
    follow(unit, s);
  }
  find_top(set, x, n, s);
  s.top = top_term(set, s);
  return s;
}

template <class X, class Y>
pair_state scan_pair(instruction_set set, const X* x, const Y* y, index_t n) noexcept {
  pair_state s;
  if (n <= 0) return s;
  exp_unit unit_x = unit_near(static_cast<float>(x[0])), unit_y = unit_near(static_cast<float>(y[0]));
  s.x.power = unit_x.power;
  s.y.power = unit_y.power;
  widened_piece<X, chunk> piece_x;
  widened_piece<Y, chunk> piece_y;
  for (index_t i = 0; i < n; i += chunk) {
    const index_t size = algo::min(chunk, n - i);
    const float *const part_x = piece_x.of(x + i, size), *const part_y = piece_y.of(y + i, size);
    const exp_pair_result r = exp_pair(set, part_x, part_y, size, unit_x, unit_y);
    if (unit_x.holds(r.x.range) && unit_y.holds(r.y.range))
      s.take({state_of(r.x, unit_x, i), state_of(r.y, unit_y, i), r.cross});
    else s.take(careful_pair(set, part_x, part_y, size, i));
    follow(unit_x, s.x);
    follow(unit_y, s.y);
  }
  find_top(set, x, n, s.x);
  find_top(set, y, n, s.y);
  s.x.top = top_term(set, s.x);
  s.y.top = top_term(set, s.y);
  return s;
}

}  // namespace RESECT_NAMESPACE::metrics::detail
