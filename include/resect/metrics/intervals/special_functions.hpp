// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/algorithm.hpp>
#include <resect/core/math.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/random/normal.hpp>

namespace RESECT_NAMESPACE::metrics {

// The quantile of the normal distribution, Φ⁻¹(p); −∞ at 0, +∞ at 1, NaN outside [0, 1]. Relative error ≤ 1e-15 in
// the lower half (see random::gaussian).
inline double normal_quantile(double p) noexcept {
  if (p > 0 && p < 1) return random::gaussian(algo::max(p, 1e-300));
  if (p == 0) return -std::numeric_limits<double>::infinity();
  if (p == 1) return std::numeric_limits<double>::infinity();
  return std::numeric_limits<double>::quiet_NaN();
}

namespace detail {

// ln Γ(x) − [(x − ½)·ln x − x + ½·ln 2π] for x ≥ 10: the Stirling series; error below 1e-17.
inline double stirling_tail(double x) noexcept {
  const double y = 1 / (x * x);
  return (1.0 / 12 -
          y * (1.0 / 360 - y * (1.0 / 1260 - y * (1.0 / 1680 - y * (1.0 / 1188 - y * (691.0 / 360360 - y / 156)))))) /
         x;
}

// The continued fraction of the incomplete beta function, by the modified Lentz method; x below the mean.
inline double beta_fraction(double a, double b, double x) noexcept {
  constexpr double tiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (math::fabs(d) < tiny ? tiny : d);
  double h = d;
  for (int m = 1; m <= 100000; ++m) {
    const double k = m;
    const double even = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
    d = 1 + even * d;
    c = 1 + even / c;
    d = 1 / (math::fabs(d) < tiny ? tiny : d);
    c = math::fabs(c) < tiny ? tiny : c;
    h *= d * c;
    const double odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1));
    d = 1 + odd * d;
    c = 1 + odd / c;
    d = 1 / (math::fabs(d) < tiny ? tiny : d);
    c = math::fabs(c) < tiny ? tiny : c;
    const double step = d * c;
    h *= step;
    if (math::fabs(step - 1) < 1e-16) break;
  }
  return h;
}

}  // namespace detail

// ln Γ(x), x > 0: Lanczos with g = 607/128 and 15 terms below 10, Stirling above; absolute error below
// 4e-15·max(1, |ln Γ|). (std::lgamma writes the global signgam.) Source: Lanczos (1964); Godfrey's coefficients.
inline double log_gamma(double x) noexcept {
  if (!(x > 0)) return std::numeric_limits<double>::quiet_NaN();
  constexpr double half_log_2pi = 0.918938533204672741780;
  if (x >= 10) return (x - 0.5) * math::log(x) - x + half_log_2pi + detail::stirling_tail(x);
  constexpr double g = 607.0 / 128.0;
  constexpr double c[15] = {0.99999999999999709182,    57.156235665862923517,     -59.597960355475491248,
                            14.136097974741747174,     -0.49191381609762019978,   .33994649984811888699e-4,
                            .46523628927048575665e-4,  -.98374475304879564677e-4, .15808870322491248884e-3,
                            -.21026444172410488319e-3, .21743961811521264320e-3,  -.16431810653676389022e-3,
                            .84418223983852743293e-4,  -.26190838401581408670e-4, .36899182659531622704e-5};
  double sum = c[0];
  for (int i = 14; i > 0; --i) sum += c[i] / (x + (i - 1));
  const double t = x - 0.5 + g;
  return (x - 0.5) * math::log(t) - t + half_log_2pi + math::log(sum);
}

// ln B(a, b) without the cancellation of three ln Γ when one of them is large.
inline double log_beta(double a, double b) noexcept {
  const double p = algo::min(a, b), q = algo::max(a, b);
  if (q < 10) return log_gamma(p) + log_gamma(q) - log_gamma(p + q);
  const double tail = detail::stirling_tail(q) - detail::stirling_tail(p + q);
  return log_gamma(p) + tail + p - p * math::log(p + q) + (q - 0.5) * math::log1p(-p / (p + q));
}

// The regularized incomplete beta function I_x(a, b), a, b > 0, from x and y = 1 − x (both are arguments, so that
// neither tail loses digits). Relative error below about 1e-13 + 4e-16·(a + b). Continued fraction of DLMF 8.17.22,
// on the side where it converges; cost about √max(a, b) steps.
inline double regularized_beta(double a, double b, double x, double y) noexcept {
  if (!(a > 0 && b > 0 && x >= 0 && y >= 0)) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0) return 0;
  if (y == 0) return 1;
  const double log_x = x > 0.5 ? math::log1p(-y) : math::log(x);
  const double log_y = y > 0.5 ? math::log1p(-x) : math::log(y);
  const double front = math::exp(a * log_x + b * log_y - log_beta(a, b));
  if (x <= (a + 1) / (a + b + 2)) return front * detail::beta_fraction(a, b, x) / a;
  return 1 - front * detail::beta_fraction(b, a, y) / b;
}

}  // namespace RESECT_NAMESPACE::metrics
