// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/finite.hpp>
#include <resect/core/math.hpp>
#include <resect/core/types.hpp>
#include <resect/metrics/accumulators/compensated.hpp>
#include <resect/metrics/intervals/estimate.hpp>

// Effective ranks of a matrix from all its singular values σ (a truncated spectrum gives the rank of the truncated
// matrix). Four definitions that agree for r equal values (all give r) and differ otherwise; for any spectrum stable
// rank ≤ participation ratio ≤ entropy rank ≤ number of values > 0. Pure functions; sums in double about the largest
// value, so no spectrum over- or underflows. NaN for a spectrum that is empty, all zero, negative somewhere or not
// finite. Error ≤ 1e-14·n relative.
namespace RESECT_NAMESPACE::metrics {

namespace detail {
// The largest value; 0 where the spectrum gives no rank.
template <class T>
double spectrum_scale(std::span<const T> sigma) noexcept {
  double top = 0;
  for (const T s : sigma) {
    const double v = static_cast<double>(s);
    if (!(v >= 0) || !is_finite(v)) return 0;
    if (v > top) top = v;
  }
  return top;
}

template <class T>
double entropy_rank(std::span<const T> sigma) noexcept {
  const double top = spectrum_scale(sigma);
  if (top == 0) return nan;
  compensated total, weighted;
  for (const T s : sigma) {
    const double v = static_cast<double>(s) / top;
    if (v == 0) continue;
    total.add(v);
    weighted.add(v * math::log(v));
  }
  return total.value() * math::exp(-weighted.value() / total.value());
}

template <class T>
double participation_ratio(std::span<const T> sigma) noexcept {
  const double top = spectrum_scale(sigma);
  if (top == 0) return nan;
  compensated squares, fourths;
  for (const T s : sigma) {
    const double v = static_cast<double>(s) / top, v2 = v * v;
    squares.add(v2);
    fourths.add(v2 * v2);
  }
  return squares.value() * squares.value() / fourths.value();
}

template <class T>
double stable_rank(std::span<const T> sigma) noexcept {
  const double top = spectrum_scale(sigma);
  if (top == 0) return nan;
  compensated squares;
  for (const T s : sigma) {
    const double v = static_cast<double>(s) / top;
    squares.add(v * v);
  }
  return squares.value();
}

template <class T>
index_t energy_rank(std::span<const T> sigma, double share) noexcept {
  if (!(share >= 0 && share <= 1)) return -1;
  for (std::size_t i = 0; i < sigma.size(); ++i) {
    const double v = static_cast<double>(sigma[i]);
    if (!(v >= 0) || !is_finite(v) || (i > 0 && sigma[i] > sigma[i - 1])) return -1;
  }
  const double top = spectrum_scale(sigma);
  if (top == 0 || share == 0) return 0;
  const auto square = [&](std::size_t i) {
    const double v = static_cast<double>(sigma[i]) / top;
    return v * v;
  };
  compensated total, running;
  for (std::size_t i = 0; i < sigma.size(); ++i) total.add(square(i));
  const double wanted = share * total.value();
  for (std::size_t i = 0; i < sigma.size(); ++i) {
    running.add(square(i));
    if (running.value() >= wanted) return static_cast<index_t>(i) + 1;
  }
  return static_cast<index_t>(sigma.size());
}
}  // namespace detail

// The entropy rank exp(−Σ p ln p), p_i = σ_i/Σσ. Source: Roy & Vetterli, "The effective rank", EUSIPCO (2007),
// definition 1.
inline double entropy_rank(std::span<const double> sigma) noexcept { return detail::entropy_rank(sigma); }
inline double entropy_rank(std::span<const float> sigma) noexcept { return detail::entropy_rank(sigma); }

// The participation ratio (Σσ²)²/Σσ⁴.
inline double participation_ratio(std::span<const double> sigma) noexcept { return detail::participation_ratio(sigma); }
inline double participation_ratio(std::span<const float> sigma) noexcept { return detail::participation_ratio(sigma); }

// The stable rank ‖A‖_F²/‖A‖₂² = Σσ²/max σ².
inline double stable_rank(std::span<const double> sigma) noexcept { return detail::stable_rank(sigma); }
inline double stable_rank(std::span<const float> sigma) noexcept { return detail::stable_rank(sigma); }

// The number of components that keep a share of the energy: the least r with Σ_{i ≤ r} σ_i² ≥ share·Σσ², σ
// descending. 0 for share = 0, an empty spectrum or one of zeros. −1 for a spectrum that is not finite, negative
// somewhere or not descending, and for a share outside [0, 1].
inline index_t energy_rank(std::span<const double> sigma, double share) noexcept {
  return detail::energy_rank(sigma, share);
}
inline index_t energy_rank(std::span<const float> sigma, double share) noexcept {
  return detail::energy_rank(sigma, share);
}

}  // namespace RESECT_NAMESPACE::metrics
