// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>

#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

// How the error of the best pair L·R falls with its rank.
namespace RESECT_NAMESPACE::factor {

// One rank of a curve; both errors are shares of ‖W‖_F.
struct curve_point {
  index_t rank = 0;
  double error = 1;
  double gaussian = 1;  // what a matrix of independent normal elements and the same extents would have
};

namespace detail {

// Shares of ‖G‖²_F that the 0, 1, …, r_max leading singular values of a Gaussian matrix with `smaller` of them have, in
// the limit of large matrices: Marchenko & Pastur's density √((b − x)(x − a))/(2πyx) with y = smaller/larger, in the
// angle φ of x = 1 + y + 2√y·cos φ. The share above φ is (φ − sin φ·cos φ)/π, the number above it an integral.
inline array<double> gaussian_shares(index_t smaller, index_t larger, index_t r_max) {
  constexpr int steps = 4096;
  constexpr double pi = 3.14159265358979323846;
  const double y = static_cast<double>(smaller) / static_cast<double>(larger), root = std::sqrt(y);
  const auto density = [&](double phi) {  // of the number, in φ
    const double s = std::sin(phi), x = 1 + y + 2 * root * std::cos(phi);
    return x > 1e-12 ? 2 / pi * s * s / x : 2 / pi * (1 - std::cos(phi)) / 2;
  };
  array<double> shares(r_max + 1);
  double number = 0, below = 0, phi = 0;  // number = integral up to φ, below = up to the step before
  index_t r = 1;
  for (int i = 0; i < steps && r <= r_max; ++i) {
    const double h = pi / steps, next = pi * (i + 1) / steps;
    below = number;
    number += h / 6 * (density(phi) + 4 * density(phi + h / 2) + density(next));
    for (; r <= r_max; ++r) {
      const double wanted = static_cast<double>(r) / static_cast<double>(smaller);
      if (wanted > number && i + 1 < steps) break;
      const double part = number > below ? std::clamp((wanted - below) / (number - below), 0.0, 1.0) : 1.0;
      const double at = phi + part * h;
      shares[r] = (at - std::sin(at) * std::cos(at)) / pi;
    }
    phi = next;
  }
  return shares;
}

}  // namespace detail

// The relative error of every rank 0 … k from one spectrum: √(1 − Σ_{i≤r} s_i²/‖W‖²_F). The spectrum (descending, k
// values) is that of a truncated SVD; values beyond its rank are lower bounds, so that errors there are upper bounds.
// Beside it stands the line of a Gaussian matrix of the same extents (m, n): where the curve is not below it, the matrix
// has no low rank to use. Of a weighted pair, pass √λ and √tr(A·H·Aᵀ).
//   Errors: invalid_argument (extents below 1, more values than min(m, n), a norm that is not above 0, a value that is
//   below 0, above the one before it or not finite, Σs² above ‖W‖² by more than a thousandth of it).
//   Source: Eckart & Young, Psychometrika 1 (1936); Marchenko & Pastur, "Distribution of eigenvalues for some sets of
//   random matrices", Math. USSR Sbornik 1 (1967).
inline result<array<curve_point>> try_error_curve(const array<double>& spectrum, double norm, index_t m, index_t n) {
  const index_t k = spectrum.size(), smaller = std::min(m, n);
  if (smaller < 1 || k > smaller)
    return error{errc::invalid_argument, "spectrum", text(k, " values of a ", m, " x ", n, " matrix"),
                 "at most as many as its smaller extent"};
  if (!(norm > 0 && norm - norm == 0)) return error{errc::invalid_argument, "norm", text(norm), "above 0, finite"};
  const array<double> shares = detail::gaussian_shares(smaller, std::max(m, n), k);
  array<curve_point> curve(k + 1);
  double left = 1;
  for (index_t r = 0; r <= k; ++r) {
    if (r > 0) {
      const double value = spectrum[r - 1], share = value / norm;
      const double most = r == 1 ? norm : spectrum[r - 2];
      if (!(value >= 0 && value <= most * (1 + 0x1p-10)))
        return error{errc::invalid_argument, text("value ", r - 1, " of the spectrum"), text(value),
                     text("0 to ", most, r == 1 ? ", the norm" : ", the value before it")};
      left -= share * share;
      if (left < -0x1p-10)
        return error{errc::invalid_argument, text("sum of ", r, " squares of the spectrum"), text(1 - left, " of ‖W‖²"),
                     "at most 1"};
    }
    curve[r] = {r, std::sqrt(std::max(left, 0.0)), std::sqrt(std::max(1 - shares[r], 0.0))};
  }
  return curve;
}

#if RESECT_EXCEPTIONS
inline array<curve_point> error_curve(const array<double>& spectrum, double norm, index_t m, index_t n) {
  return value_or_throw(try_error_curve(spectrum, norm, m, n));
}
#endif

}  // namespace RESECT_NAMESPACE::factor
