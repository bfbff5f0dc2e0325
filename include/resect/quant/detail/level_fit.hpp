// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/ieee.hpp>
#include <resect/core/types.hpp>
#include <resect/quant/grids/integer.hpp>

namespace RESECT_NAMESPACE::quant::detail {

inline constexpr int most_steps = 255;  // 8 bits
// Difference of a stored weight from its level, over the largest magnitude of the group: two roundings of a
// dequantization in float are 2⁻²³; this leaves a factor four.
inline constexpr double level_tolerance = 0x1p-21;

// The distinct values of a group, ascending, as long as there are at most 256 of them. Values that differ by no more than
// 2⁻²¹ of themselves are one, the first that came: an engine that dequantizes one level in two ways. So are +0 and −0.
class distinct_values {
 public:
  // false: there are more than 256.
  bool add(float x) noexcept {
    int at = 0;
    for (int to = size_; at < to;) {
      const int middle = (at + to) / 2;
      if (value_[middle] < x) at = middle + 1;
      else to = middle;
    }
    const double w = double{x}, apart = level_tolerance * (w < 0 ? -w : w);
    if (at < size_ && value_[at] - w <= apart) return true;
    if (at > 0 && w - value_[at - 1] <= apart) return true;
    if (size_ == most_steps + 1) return false;
    for (int i = size_++; i > at; --i) value_[i] = value_[i - 1];
    value_[at] = x;
    return true;
  }
  int size() const noexcept { return size_; }
  double operator[](int i) const noexcept { return value_[i]; }
  double lowest() const noexcept { return value_[0]; }
  double range() const noexcept { return static_cast<double>(value_[size_ - 1]) - value_[0]; }
  double largest_magnitude() const noexcept { return larger(-double{value_[0]}, value_[size_ - 1]); }

 private:
  float value_[most_steps + 1];
  int size_ = 0;
};

// The least number of equal steps, at most 255, that the values lie on: v_0 + k·(v_last − v_0)/n with integer k, to the
// tolerance. −1: none. One value: 0.
inline int steps_between(const distinct_values& v) noexcept {
  if (v.size() == 1) return 0;
  const int inner = v.size() - 2;
  double place[most_steps + 1];  // of the inner values, between 0 and 1
  for (int i = 0; i < inner; ++i) place[i] = (v[i + 1] - v.lowest()) / v.range();
  const double tolerance = level_tolerance * v.largest_magnitude() / v.range();
  for (int n = inner + 1; n <= most_steps; ++n) {
    if (!(tolerance * n <= 1.0 / 64)) return -1;  // the offset hides the steps
    int i = 0;
    for (; i < inner; ++i) {
      const double off = place[i] * n - round_even(place[i] * n);
      if (!(off <= tolerance * n && off >= -tolerance * n)) break;
    }
    if (i == inner) return n;
  }
  return -1;
}

// Whether zero is a level of some grid of `bits` bits that holds values of `steps` equal steps (finer grids, of which
// the values use every m-th level, included).
inline bool zero_is_a_level(const distinct_values& v, int steps, int bits, zero_point where) noexcept {
  if (steps == 0) return true;
  const int max_code = (1 << bits) - 1, half = 1 << (bits - 1);
  for (int m = 1; m * steps <= max_code; ++m) {
    const double per_value = m * steps / v.range();
    const double below = -v.lowest() * per_value;  // levels from the lowest value to zero
    const double zero = round_even(below);
    const double tolerance = level_tolerance * v.largest_magnitude() * per_value;
    if (!(below - zero <= tolerance && zero - below <= tolerance)) continue;
    const double down = larger(zero, 0), up = larger(m * steps - zero, 0);
    if (where == zero_point::integer ? down + up <= max_code : smaller(down, up) < half && larger(down, up) <= half)
      return true;
  }
  return false;
}

}  // namespace RESECT_NAMESPACE::quant::detail
