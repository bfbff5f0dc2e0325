// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include <resect/core/types.hpp>

// Least squares of few columns chosen out of many.
namespace RESECT_NAMESPACE::study::detail {

// A table of n rows, column by column, and a response.
struct regression_data {
  std::vector<std::vector<double>> columns;
  std::vector<double> response;
};

// The least-squares fit of an intercept and chosen columns.
struct sparse_fit {
  std::vector<std::size_t> chosen;
  std::vector<double> coefficient;    // of each chosen column
  std::vector<double> unit_variance;  // of each coefficient where the noise has variance 1: diagonal of (XᵀX)⁻¹
  double residual_squares = 0;
  double degrees = 0;  // rows − columns − 1
};

inline double product(const std::vector<double>& a, const std::vector<double>& b) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
inline void subtract(std::vector<double>& a, double factor, const std::vector<double>& b) noexcept {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= factor * b[i];
}
inline std::vector<double> centred(std::vector<double> x) {
  double mean = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (double& v : x) v -= mean;
  return x;
}

// Fits the chosen columns by Gram–Schmidt, twice for each column. A column that depends on those before it (its rest below
// 1e-9 of it) gets the coefficient 0 and an infinite variance.
inline sparse_fit fit_columns(const regression_data& data, const std::vector<std::size_t>& chosen) {
  const std::size_t k = chosen.size();
  sparse_fit out;
  out.chosen = chosen;
  out.coefficient.assign(k, 0);
  out.unit_variance.assign(k, INFINITY);
  std::vector<std::vector<double>> basis;
  std::vector<std::vector<double>> r(k, std::vector<double>(k));  // columns = basis · r
  std::vector<double> rest = centred(data.response), along(k);
  for (std::size_t j = 0; j < k; ++j) {
    std::vector<double> x = centred(data.columns[chosen[j]]);
    const double whole = std::sqrt(product(x, x));
    for (int twice = 0; twice < 2; ++twice)
      for (std::size_t i = 0; i < basis.size(); ++i) {
        const double part = product(basis[i], x);
        r[i][j] += part;
        subtract(x, part, basis[i]);
      }
    const double size = std::sqrt(product(x, x));
    const bool new_direction = size > 1e-9 * whole;
    r[j][j] = new_direction ? size : 0;
    for (double& v : x) v = new_direction ? v / size : 0.0;
    along[j] = product(x, rest);
    subtract(rest, along[j], x);
    basis.push_back(std::move(x));
  }
  // rows of R⁻¹ from the last up: the coefficients are R⁻¹·along, the unit variances its rows' squares
  std::vector<std::vector<double>> inverse(k, std::vector<double>(k));
  for (std::size_t j = k; j-- > 0;) {
    if (r[j][j] == 0) continue;
    for (std::size_t c = j; c < k; ++c) {
      double sum = c == j ? 1 : 0;
      for (std::size_t i = j + 1; i <= c; ++i) sum -= r[j][i] * inverse[i][c];
      inverse[j][c] = sum / r[j][j];
    }
    out.unit_variance[j] = product(inverse[j], inverse[j]);
    out.coefficient[j] = product(inverse[j], along);
  }
  out.residual_squares = product(rest, rest);
  out.degrees = static_cast<double>(data.response.size()) - static_cast<double>(k) - 1;
  return out;
}

// Chooses up to `most` columns, each time the one that lowers the residual most once what is chosen is taken out of it
// (orthogonal least squares). Cost rows · columns · most.
inline std::vector<std::size_t> choose_forward(const regression_data& data, std::size_t most) {
  std::vector<std::vector<double>> rest;
  std::vector<double> whole;
  for (const auto& x : data.columns) {
    rest.push_back(centred(x));
    whole.push_back(product(rest.back(), rest.back()));
  }
  std::vector<double> response = centred(data.response);
  std::vector<std::size_t> chosen;
  while (chosen.size() < most && chosen.size() + 2 < data.response.size()) {
    double best = 0;
    std::size_t at = rest.size();
    for (std::size_t j = 0; j < rest.size(); ++j) {
      const double squares = product(rest[j], rest[j]);
      if (!(squares > 1e-9 * whole[j])) continue;  // chosen, or spanned by what is
      const double along = product(rest[j], response), gain = along * along / squares;
      if (gain > best) {
        best = gain;
        at = j;
      }
    }
    if (at == rest.size()) break;
    chosen.push_back(at);
    std::vector<double> unit = rest[at];
    const double size = std::sqrt(product(unit, unit));
    for (double& v : unit) v /= size;
    subtract(response, product(unit, response), unit);
    for (auto& x : rest) subtract(x, product(unit, x), unit);
  }
  return chosen;
}

}  // namespace RESECT_NAMESPACE::study::detail
