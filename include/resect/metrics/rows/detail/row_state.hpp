// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/ieee.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/rows/detail/row_kernels.hpp>

// What a pass over logits keeps. Rows are read once, in chunks; a chunk, a shard of the vocabulary and a whole row are
// the same thing, and two of them merge.
namespace RESECT_NAMESPACE::metrics::detail {

inline constexpr index_t chunk = 2048;
inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr double ln2 = 0.6931471805599453094;
inline constexpr double ln2_rest = 2.3190468138462996e-17;  // ln 2 − its double
// Logits of larger maxima (no model has any) are summed about that maximum by the C library's exp, one by one: the
// kernels reduce their argument to 2⁻⁵³ of itself, not of the difference to the maximum.
inline constexpr float far = 65536;

// The maximum, and Σe^x in units of 2^power·e^offset. A sum over logits that are not −∞ is at least ½ in its unit.
struct exp_state {
  float max = -infinity;
  index_t id = -1;   // the lowest id of the maximum; −1 where there is no logit
  bool tie = false;  // another id has the same logit
  double sum = 0;    // NaN where a logit is NaN or +∞
  double top = 0;    // the maximum's own term in the sum
  double power = 0;  // an integer
  double offset = 0;

  bool masked() const noexcept { return max == -infinity; }
  bool same_unit(const exp_state& s) const noexcept { return power == s.power && offset == s.offset; }
  // e^v in the unit.
  double exp_in_unit(double v) const noexcept {
    return math::exp(fma_rn(-power, ln2_rest, fma_rn(-power, ln2, v - offset)));
  }
  // ln Σe^x. The maximum's term is replaced by an exact one: a single logit is its own result, and the result is never
  // below the maximum.
  double log_sum() const noexcept {
    if (masked() || sum != sum) return sum != sum ? nan : static_cast<double>(max);
    const double rest = sum - top;
    return static_cast<double>(max) + math::log1p(rest / exp_in_unit(static_cast<double>(max)));
  }
};

// What sums in the unit of `from` are multiplied by to be in that of `to`, which is not the smaller one.
inline double factor(const exp_state& from, const exp_state& to) noexcept {
  const double powers = from.power - to.power;
  if (from.offset == to.offset) return powers < -2000 ? 0.0 : math::ldexp(1.0, static_cast<int>(powers));
  return math::exp(fma_rn(powers, ln2, from.offset - to.offset));
}

// A sum in another unit; +∞ (p > 0 against q = 0) stays, however small its share turns out to be.
inline double changed(double sum, double by) noexcept {
  return by == 1 || sum == std::numeric_limits<double>::infinity() ? sum : mul_rn(sum, by);
}

struct unit_change {
  double left = 1, right = 1;
};

// Takes in `b`; says what other sums in the units of both are to be multiplied by.
inline unit_change merge(exp_state& a, const exp_state& b) noexcept {
  unit_change by;
  if (!a.same_unit(b)) {
    const bool to_b = a.masked() || (!b.masked() && a.offset + a.power * ln2 < b.offset + b.power * ln2);
    if (to_b) {
      by.left = a.masked() ? 1 : factor(a, b);
      a.power = b.power;
      a.offset = b.offset;
    } else {
      by.right = b.masked() ? 1 : factor(b, a);
    }
  }
  a.sum = changed(a.sum, by.left) + changed(b.sum, by.right);
  if (b.id < 0) return by;
  if (a.id < 0 || b.max > a.max) {
    a.max = b.max;
    a.id = b.id;
    a.tie = b.tie;
    a.top = changed(b.top, by.right);
  } else {
    a.top = changed(a.top, by.left);
    if (b.max == a.max) {
      a.id = b.id < a.id ? b.id : a.id;
      a.tie = true;
    }
  }
  return by;
}

// Two rows of logits of the same ids: both sums, and Σe^x·(x − y) in the unit of x.
struct pair_state {
  exp_state x, y;
  double cross = 0;

  void take(const pair_state& s) noexcept {
    const unit_change by = merge(x, s.x);
    merge(y, s.y);
    cross = changed(cross, by.left) + changed(s.cross, by.right);
  }
};

}  // namespace RESECT_NAMESPACE::metrics::detail
