// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/math.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/intervals/student_t.hpp>
#include <resect/metrics/intervals/wilson.hpp>

// One rule of intervals for every mean over clusters, chosen by the values that the mean can take, never by the data.
namespace RESECT_NAMESPACE::metrics {

// The range of a mean, which decides the formula of its interval.
enum class mean_range : std::uint8_t {
  any,          // differences: μ ± t·se
  nonnegative,  // KL, errors, norms: Hall's transformation, the lower end not below 0
  skewed,       // the same without the cut, for a measure that rounding may carry below 0
  at_most_one,  // cosines, explained variance: 1 minus the interval of what is missing to 1
  rate,         // shares: the logit's interval; Wilson's with one observation a cluster for a rate of 0 or 1
};

// The name of the rule of intervals in reports.
inline constexpr std::string_view interval_rule =
    "clustered t; Hall's transformation for means that cannot be negative, 1 minus it for cosines, logit for rates";

namespace detail {

// The inverse of Hall's transformation of a studentized mean T, g(T) = T + a·T² + a²·T³/3 + a/2 with a = γ/(3√G): T less
// its skewness to the order 1/√G, completed to a cubic that is monotone.
inline double hall_inverse(double x, double skewness, double clusters) noexcept {
  const double a = skewness / (3 * math::sqrt(clusters));
  const double y = x - a / 2;
  return math::fabs(a) < 1e-8 ? y : (math::cbrt(1 + 3 * a * y) - 1) / a;
}

// m₃/m₂^1.5 from Σz² and Σz³ of G centred values; 0 without spread.
inline double skewness_of(double squares, double cubes, double clusters) noexcept {
  return squares > 0 ? cubes / (squares * math::sqrt(squares / clusters)) : 0.0;
}

inline void set_skewed(estimate& e, double skewness, double t, double clusters) noexcept {
  e.lo = e.value - hall_inverse(t, skewness, clusters) * e.se;
  e.hi = e.value - hall_inverse(-t, skewness, clusters) * e.se;
}

inline void set_rate(estimate& e, double t, double level) noexcept {
  if (e.value <= 0 || e.value >= 1) {
    e.lo = e.hi = e.value;  // replaced by Wilson's
    e = rate_interval(e, level);
    return;
  }
  const double logit = math::log(e.value / (1 - e.value)), half = t * e.se / (e.value * (1 - e.value));
  e.lo = 1 / (1 + math::exp(half - logit));
  e.hi = 1 / (1 + math::exp(-half - logit));
}

}  // namespace detail

// Computes the interval [lo, hi] of an estimate from its value, se and n_clusters; NaN for fewer than min_clusters
// clusters or where value or se is not finite. `skewness` is m₃/m₂^1.5 of the clusters' influence values, `degrees`
// the degrees of freedom of t (0: n_clusters − 1).
//   any           μ ± t·se
//   nonnegative   μ − se·h(±t), h the inverse of Hall's transformation; lower end max(0, ·); [0, 0] for a mean of 0
//   at_most_one   1 − the same of 1 − μ
//   rate          logit⁻¹(logit μ ± t·se/(μ(1 − μ)))
// Source: Hall, "On the removal of skewness by transformation", JRSS B 54 (1992) 221–228.
inline void set_interval(estimate& e, mean_range range, double skewness, double degrees = 0,
                         double level = 0.95) noexcept {
  e.lo = e.hi = nan;
  if (e.n_clusters < min_clusters || !math::isfinite(e.se) || !math::isfinite(e.value)) return;
  const double clusters = static_cast<double>(e.n_clusters);
  const double t = student_t_quantile(0.5 + level / 2, degrees > 0 ? degrees : clusters - 1);
  const double gamma = math::isfinite(skewness) ? skewness : 0.0;
  switch (range) {
    case mean_range::any:
      e.lo = e.value - t * e.se;
      e.hi = e.value + t * e.se;
      break;
    case mean_range::nonnegative:
      detail::set_skewed(e, gamma, t, clusters);
      if (e.value >= 0 && e.lo < 0) e.lo = 0;
      if (e.value == 0 && e.se == 0) e.lo = e.hi = 0;
      break;
    case mean_range::skewed: detail::set_skewed(e, gamma, t, clusters); break;
    case mean_range::at_most_one:
      detail::set_skewed(e, gamma, t, clusters);
      if (e.value <= 1 && e.hi > 1) e.hi = 1;
      break;
    case mean_range::rate: detail::set_rate(e, t, level); break;
  }
}

}  // namespace RESECT_NAMESPACE::metrics
