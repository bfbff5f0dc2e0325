// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include <resect/core/matrix.hpp>
#include <resect/random/distributions.hpp>

// Matrices whose decomposition is known, and plain double arithmetic to judge results by. Nothing here calls what is
// tested.
namespace planted {

using resect::index_t;
using resect::matrix;
using resect::matrix_view;

template <class T>
constexpr double unit = std::numeric_limits<T>::epsilon() / 2.0;

template <class T>
matrix<T> gaussian(index_t m, index_t n, std::uint64_t seed) {
  matrix<T> a(m, n);
  for (resect::index_t i = 0; i < a.data.size(); ++i)
    a.data[i] = static_cast<T>(resect::random::gaussian(seed, 77, static_cast<std::uint64_t>(i)));
  return a;
}

template <class T>
matrix<double> widen(matrix_view<T> a) {
  matrix<double> out(a.rows, a.cols);
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c) out(r, c) = static_cast<double>(a(r, c));
  return out;
}

template <class T>
matrix<T> narrow(const matrix<double>& a) {
  matrix<T> out(a.rows, a.cols);
  for (resect::index_t i = 0; i < a.data.size(); ++i) out.data[i] = static_cast<T>(a.data[i]);
  return out;
}

inline matrix<double> transposed(const matrix<double>& a) {
  matrix<double> out(a.cols, a.rows);
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c) out(c, r) = a(r, c);
  return out;
}

inline matrix<double> product(const matrix<double>& a, const matrix<double>& b) {
  matrix<double> c(a.rows, b.cols);
  for (index_t i = 0; i < a.rows; ++i)
    for (index_t p = 0; p < a.cols; ++p)
      for (index_t j = 0; j < b.cols; ++j) c(i, j) += a(i, p) * b(p, j);
  return c;
}

inline double frobenius(const matrix<double>& a) {
  long double squares = 0;  // whose range is that of a square of a double
  for (const double x : a.data) squares += static_cast<long double>(x) * static_cast<long double>(x);
  return static_cast<double>(std::sqrt(squares));
}

inline matrix<double> difference(matrix<double> a, const matrix<double>& b) {
  for (resect::index_t i = 0; i < a.data.size(); ++i) a.data[i] -= b.data[i];
  return a;
}

// ‖AᵀA − I‖_F
inline double orthonormality_error(const matrix<double>& a) {
  auto g = product(transposed(a), a);
  for (index_t i = 0; i < g.rows; ++i) g(i, i) -= 1;
  return frobenius(g);
}

// Random orthonormal columns, by Gram–Schmidt in double, each column twice.
inline matrix<double> orthonormal(index_t m, index_t n, std::uint64_t seed) {
  auto q = gaussian<double>(m, n, seed);
  for (index_t j = 0; j < n; ++j) {
    for (int round = 0; round < 2; ++round)
      for (index_t i = 0; i < j; ++i) {
        double dot = 0;
        for (index_t r = 0; r < m; ++r) dot += q(r, i) * q(r, j);
        for (index_t r = 0; r < m; ++r) q(r, j) -= dot * q(r, i);
      }
    double norm = 0;
    for (index_t r = 0; r < m; ++r) norm += q(r, j) * q(r, j);
    for (index_t r = 0; r < m; ++r) q(r, j) /= std::sqrt(norm);
  }
  return q;
}

// U·diag(σ)·Vᵀ with random U (m, k) and V (n, k).
inline matrix<double> with_spectrum(index_t m, index_t n, const std::vector<double>& sigma, std::uint64_t seed) {
  const auto k = static_cast<index_t>(sigma.size());
  auto u = orthonormal(m, k, 2 * seed);
  for (index_t r = 0; r < m; ++r)
    for (index_t c = 0; c < k; ++c) u(r, c) *= sigma[static_cast<std::size_t>(c)];
  return product(u, transposed(orthonormal(n, k, 2 * seed + 1)));
}

template <class F>
std::vector<double> spectrum(index_t k, F f) {
  std::vector<double> s;
  for (index_t i = 0; i < k; ++i) s.push_back(f(static_cast<double>(i)));
  return s;
}

// √Σ_{i ≥ r} σ_i², what the best approximation of rank r leaves.
inline double tail(const std::vector<double>& sigma, index_t r) {
  double s = 0;
  for (std::size_t i = sigma.size(); i-- > static_cast<std::size_t>(r);) s = std::hypot(s, sigma[i]);
  return s;
}

// Singular values by cyclic one-sided Jacobi in double, descending.
inline std::vector<double> singular_values(matrix<double> a) {
  if (a.rows < a.cols) a = transposed(a);
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < 40; ++sweep) {  // what is rounding alone may never settle
    rotated = false;
    for (index_t i = 0; i < a.cols; ++i)
      for (index_t j = i + 1; j < a.cols; ++j) {
        double aa = 0, bb = 0, ab = 0;
        for (index_t r = 0; r < a.rows; ++r) aa += a(r, i) * a(r, i), bb += a(r, j) * a(r, j), ab += a(r, i) * a(r, j);
        if (std::fabs(ab) <= 1e-14 * std::sqrt(aa * bb)) continue;
        rotated = true;
        const double angle = 0.5 * std::atan2(2 * ab, aa - bb), c = std::cos(angle), s = std::sin(angle);
        for (index_t r = 0; r < a.rows; ++r) {
          const double x = a(r, i), y = a(r, j);
          a(r, i) = c * x + s * y, a(r, j) = c * y - s * x;
        }
      }
  }
  std::vector<double> values;
  for (index_t c = 0; c < a.cols; ++c) {
    double s = 0;
    for (index_t r = 0; r < a.rows; ++r) s += a(r, c) * a(r, c);
    values.push_back(std::sqrt(s));
  }
  std::sort(values.rbegin(), values.rend());
  return values;
}

}  // namespace planted
