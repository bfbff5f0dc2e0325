// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/special_functions.hpp>

namespace RESECT_NAMESPACE::metrics {

namespace detail {

// Hill's expansion for many degrees of freedom: the normal deviate with the tail of t is
// w + hill(w), w = √((ν − ½)·ln(1 + t²/ν)); the terms left out are below 1e-14 for ν > 1e4.
inline double hill(double w, double nu) noexcept {
  const double b = 48 * (nu - 0.5) * (nu - 0.5), w2 = w * w;
  return w * ((w2 + 3) - (((4 * w2 + 33) * w2 + 240) * w2 + 855) / (10 * b + 8 * w2 * w2 + 1000)) / b;
}
inline constexpr double many_degrees = 1e4;

}  // namespace detail

// The distribution function of Student's t, P(T ≤ t), with ν > 0 degrees of freedom (real; ∞ is the normal
// distribution). Relative error of the smaller tail ≤ 1e-12. The incomplete beta function up to ν = 1e4, Hill's
// expansion above.
// NaN for ν ≤ 0. Source: Hill, "Algorithm 395: Student's t-distribution", CACM 13 (1970).
inline double student_t_cdf(double t, double nu) noexcept {
  if (!(nu > 0) || t != t) return std::numeric_limits<double>::quiet_NaN();
  const double size = math::fabs(t);
  if (nu > detail::many_degrees) {
    const double ratio = size / nu;
    const double w = nu < 1e300 ? math::sqrt((nu - 0.5) * math::log1p(ratio * size)) : size;
    const double z = nu < 1e150 ? w + detail::hill(w, nu) : w;
    return 0.5 * math::erfc((t < 0 ? z : -z) * 0.70710678118654752440);
  }
  if (size > 1e100) {
    const double log_x = math::log(nu) - 2 * math::log(size);
    const double far = math::exp(nu / 2 * log_x - log_beta(nu / 2, 0.5)) / nu;
    return t < 0 ? far : 1 - far;
  }
  const double t2 = t * t;
  const double x = t2 > nu ? nu / t2 / (1 + nu / t2) : nu / (nu + t2);
  const double y = t2 > nu ? 1 / (1 + nu / t2) : t2 / (nu + t2);
  if (t2 < nu && y < 0.25) {
    const double middle = 0.5 * regularized_beta(0.5, nu / 2, y, x);
    if (middle < 0.45) return t < 0 ? 0.5 - middle : 0.5 + middle;
  }
  const double tail = 0.5 * regularized_beta(nu / 2, 0.5, x, y);
  return t < 0 ? tail : 1 - tail;
}

// The quantile of Student's t: the t with P(T ≤ t) = p. Solves the lower tail by Newton steps on its logarithm inside
// a bracket; error ≤ 1e-11·max(1, |t|). −∞ at 0, +∞ at 1, NaN outside [0, 1] or for ν ≤ 0.
inline double student_t_quantile(double p, double nu) noexcept {
  if (!(nu > 0) || !(p >= 0 && p <= 1)) return std::numeric_limits<double>::quiet_NaN();
  if (p == 0 || p == 1) return normal_quantile(p);
  if (p == 0.5) return 0;
  if (p > 0.5) return -student_t_quantile(1 - p, nu);
  const double z = normal_quantile(p);
  if (nu > detail::many_degrees) {
    if (!(nu < 1e150)) return z;
    double w = -z;
    for (int i = 0; i < 4; ++i) w = -z - detail::hill(w, nu);
    return -math::sqrt(nu * math::expm1(w * w / (nu - 0.5)));
  }
  double low = z < -1 ? z : -1.0, high = 0;
  while (student_t_cdf(low, nu) > p) {
    high = low;
    low *= 2;
    if (low < -1e300) return -std::numeric_limits<double>::infinity();
  }
  const double log_density0 = -log_beta(nu / 2, 0.5) - 0.5 * math::log(nu);
  double t = 0.5 * (low + high);
  for (int i = 0; i < 200; ++i) {
    const double f = student_t_cdf(t, nu);
    (f > p ? high : low) = t;
    const double density = math::exp(log_density0 - 0.5 * (nu + 1) * math::log1p(t * t / nu));
    double next = t - f / density * math::log(f / p);
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    const double step = math::fabs(next - t);
    t = next;
    if (step <= 1e-14 * math::fabs(t)) break;
  }
  return t;
}

}  // namespace RESECT_NAMESPACE::metrics
