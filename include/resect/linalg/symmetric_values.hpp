// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>

#include <resect/core/copy.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>

// All eigenvalues of a symmetric matrix, without its eigenvectors.
namespace RESECT_NAMESPACE::linalg {

// The eigenvalues of a symmetric matrix.
struct symmetric_spectrum {
  array<double> values;    // descending
  bool converged = false;  // of the iteration on the tridiagonal matrix
};

namespace detail {

// A (n, n), whole ← unspecified; d (n) and e (n) ← the diagonal, and below it from e[1] on, of a tridiagonal matrix with
// the same eigenvalues.
template <executor E>
void tridiagonalize(E& exec, matrix_view<double> a, double* d, double* e) {
  const index_t n = a.rows;
  constexpr index_t rows_at_once = 32;
  array<double> v(n), w(n), product(n);
  for (index_t k = 0; k < n; ++k) {
    // row k is up to date; the reflector maps its part behind the diagonal to its first place
    d[k] = a(k, k);
    const index_t rest = n - k - 1;
    double square = 0;
    for (index_t j = 1; j < rest; ++j) square += a(k, k + 1 + j) * a(k, k + 1 + j);
    double factor = 0;
    if (rest > 0) {
      const double first = a(k, k + 1);
      double norm = std::sqrt(first * first + square);
      if (square == 0) {
        e[k + 1] = first;
      } else {
        if (first > 0) norm = -norm;
        e[k + 1] = norm;
        const double head = first - norm;
        for (index_t j = 0; j < rest; ++j) v[j] = j == 0 ? 1.0 : a(k, k + 1 + j) / head;
        factor = 2 / (1 + square / (head * head));
      }
    }
    if (rest == 0 || factor == 0) continue;
    const matrix_view<double> below = a.block(k + 1, k + 1, rest, rest);
    exec.bulk((rest + rows_at_once - 1) / rows_at_once, [&](index_t task) {
      for (index_t i = task * rows_at_once; i < std::min(rest, (task + 1) * rows_at_once); ++i) {
        const double* const row = &below(i, 0);
        double lane[4] = {};
        index_t j = 0;
        for (; j + 4 <= rest; j += 4)
          for (index_t l = 0; l < 4; ++l) lane[l] += row[j + l] * v[j + l];
        for (; j < rest; ++j) lane[0] += row[j] * v[j];
        product[i] = factor * ((lane[0] + lane[1]) + (lane[2] + lane[3]));
      }
    });
    double along = 0;
    for (index_t i = 0; i < rest; ++i) along += product[i] * v[i];
    for (index_t i = 0; i < rest; ++i) w[i] = product[i] - 0.5 * factor * along * v[i];
    exec.bulk((rest + rows_at_once - 1) / rows_at_once, [&](index_t task) {
      for (index_t i = task * rows_at_once; i < std::min(rest, (task + 1) * rows_at_once); ++i) {
        double* const row = &below(i, 0);
        const double vi = v[i], wi = w[i];
        for (index_t j = 0; j < rest; ++j) row[j] -= vi * w[j] + wi * v[j];
      }
    });
  }
}

// Implicit QL on a tridiagonal matrix, values alone: d (n) ← eigenvalues, in no order; e (n), from e[1] on, is lost.
inline bool tridiagonal_values(double* d, double* e, index_t n) {
  for (index_t i = 1; i < n; ++i) e[i - 1] = e[i];
  if (n > 0) e[n - 1] = 0;
  for (index_t l = 0; l < n; ++l) {
    for (int turn = 0;; ++turn) {
      index_t m = l;
      for (; m + 1 < n; ++m)
        if (std::fabs(e[m]) <= 0x1p-53 * (std::fabs(d[m]) + std::fabs(d[m + 1]))) break;
      if (m == l) break;
      if (turn == 60) return false;
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1.0), g));
      double s = 1, c = 1, p = 0;
      index_t i = m - 1;
      for (; i >= l; --i) {
        const double f = s * e[i], b = c * e[i];
        double r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (i >= l) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  return true;
}

}  // namespace detail

// The eigenvalues of A (n, n) double, any strides, of which the lower triangle is read.
//   Householder's reduction to a tridiagonal matrix, then implicit QL. |error| ≤ 8n·2⁻⁵³·‖A‖_F. Cost 4n³/3 flop in n passes
//   over what remains of a copy of A: an n of some thousand is a matter of seconds. Memory 8n² bytes. Same bits for any
//   number of workers.
//   Errors: null_pointer, bad_stride, shape_mismatch, not_finite.
//   Source: Golub & Van Loan, "Matrix Computations", 4th ed., Alg. 8.3.1 and 8.3.2.
template <executor E>
result<symmetric_spectrum> try_symmetric_values(E& exec, matrix_view<const double> a) {
  const index_t n = a.rows;
  if (auto s = check_view(a, n, n, "A"); !s) return s.error();
  matrix<double> work(n, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j <= i; ++j) {
      if (!is_finite(a(i, j)))
        return error{errc::not_finite, text("A, row ", i, ", column ", j), text(a(i, j)), "a finite number"};
      work(i, j) = work(j, i) = a(i, j);
    }
  symmetric_spectrum out;
  out.values.resize(n);
  array<double> beside(n);
  detail::tridiagonalize(exec, work.view(), out.values.data(), beside.data());
  out.converged = detail::tridiagonal_values(out.values.data(), beside.data(), n);
  std::sort(out.values.begin(), out.values.end(), [](double x, double y) { return x > y; });
  return out;
}

// The same of any operand of doubles.
template <executor E, operand_of<double> A>
result<symmetric_spectrum> try_symmetric_values(E& exec, const A& a) {
  return on_view(a, "A", [&](matrix_view<const double> view) { return try_symmetric_values(exec, view); });
}

#if RESECT_EXCEPTIONS
template <executor E, class A>
symmetric_spectrum symmetric_values(E& exec, const A& a) {
  return value_or_throw(try_symmetric_values(exec, a));
}
#endif

}  // namespace RESECT_NAMESPACE::linalg
