// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/random/distributions.hpp>

// What every factoring backend must do, whoever does it. A check fails the test that calls it.
namespace factoring {

using resect::index_t;
using resect::matrix;
using resect::matrix_view;
using resect::vector_view;

template <class T>
constexpr double unit = std::numeric_limits<T>::epsilon() / 2.0;

// A view in memory of its own, sentinels between and around its elements.
template <class T>
struct placed {
  std::vector<T> memory;
  matrix_view<T> view;
  static constexpr T sentinel = static_cast<T>(-7.25e30);

  placed(index_t m, index_t n, int how) : memory(static_cast<std::size_t>(6 * (m + 4) * (n + 4)), sentinel) {
    const index_t strides[4][2] = {{n, 1}, {1, m}, {n + 3, 1}, {2 * n + 1, 2}};
    view = {memory.data() + 7, m, n, strides[how][0], strides[how][1]};
  }
  bool surroundings_unchanged() const {
    std::size_t others = 0;
    for (const T x : memory) others += x == sentinel;
    return others >= memory.size() - static_cast<std::size_t>(view.rows * view.cols);
  }
};
constexpr int layouts = 4;

template <class T>
matrix<T> gaussian(index_t m, index_t n, std::uint64_t seed) {
  matrix<T> a(m, n);
  for (resect::index_t i = 0; i < a.data.size(); ++i) a.data[i] = static_cast<T>(resect::random::gaussian(seed, 5, static_cast<std::uint64_t>(i)));
  return a;
}

// G·Gᵀ + n·I/10
template <class T>
matrix<T> positive_definite(index_t n, std::uint64_t seed) {
  const auto g = gaussian<double>(n, n, seed);
  matrix<T> a(n, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      double s = i == j ? 0.1 * static_cast<double>(n) : 0;
      for (index_t p = 0; p < n; ++p) s += g(i, p) * g(j, p);
      a(i, j) = static_cast<T>(s);
    }
  return a;
}

template <class T, class Exec>
void cholesky_is_within_its_bound(Exec& exec) {
  double worst = 0;
  for (const index_t n : {0, 1, 2, 7, 63, 64, 65, 130, 200})
    for (int how = 0; how < layouts; ++how) {
      const auto a = positive_definite<T>(n, 4);
      placed<T> at(n, n, how);
      for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) at.view(i, j) = j > i ? T(123) : a(i, j);
      const auto outcome = exec.try_cholesky(at.view);
      CAPTURE(n, how);
      REQUIRE(outcome);
      REQUIRE(outcome->positive_definite());
      CHECK(at.surroundings_unchanged());
      for (index_t i = 0; i < n; ++i) {
        CHECK(at.view(i, i) > 0);
        for (index_t j = 0; j < n; ++j) {
          if (j > i) {
            if (at.view(i, j) != T(123)) CHECK(at.view(i, j) == T(123));
            continue;
          }
          long double value = 0, size = 0;
          for (index_t p = 0; p <= j; ++p) {
            const auto term = static_cast<long double>(at.view(i, p)) * static_cast<long double>(at.view(j, p));
            value += term, size += std::fabs(term);
          }
          const double share =
              static_cast<double>(std::fabs(value - static_cast<long double>(a(i, j))) /
                                  (static_cast<long double>(n + 2) * static_cast<long double>(unit<T>) * size));
          if (!(share <= 1)) CHECK(share <= 1);
          worst = std::max(worst, share);
        }
      }
    }
  CHECK(worst > 1e-3);  // the bound says something
}

template <class T, class Exec>
void cholesky_names_the_column_that_fails(Exec& exec) {
  for (const index_t n : {1, 5, 64, 100, 150})
    for (const index_t at : {index_t{0}, n / 2, n - 1})
      for (const T pivot : {T(-1), T(0), std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
        matrix<T> a(n, n);  // the identity, so that pivots are what they look like
        for (index_t i = 0; i < n; ++i) a(i, i) = i == at ? pivot : T(1);
        const auto outcome = exec.try_cholesky(a.view());
        CAPTURE(n, at, pivot);
        REQUIRE(outcome);
        CHECK_FALSE(outcome->positive_definite());
        CHECK(outcome->failed_column == at);
        for (index_t i = 0; i < at; ++i) CHECK(a(i, i) == 1);
      }
  auto a = positive_definite<T>(90, 3);
  a(80, 80) -= T(4) * a(80, 80);
  const auto outcome = exec.try_cholesky(a.view());
  REQUIRE(outcome);
  CHECK(outcome->failed_column == 80);
}

template <class T, class Exec>
void solve_is_within_its_bound(Exec& exec) {
  double worst = 0;
  for (const index_t n : {0, 1, 3, 64, 65, 140})
    for (const index_t m : {0, 1, 15, 16, 17, 131})
      for (int how = 0; how < layouts; ++how) {
        const auto values = gaussian<T>(m, n, 6), lower = gaussian<T>(n, n, 7);
        placed<T> l(n, n, (how + 1) % layouts), x(m, n, how);
        for (index_t i = 0; i < n; ++i)
          for (index_t j = 0; j < n; ++j)
            l.view(i, j) = j > i    ? std::numeric_limits<T>::quiet_NaN()
                           : i == j ? T(1) + std::fabs(lower(i, j))
                                    : lower(i, j) / T(8);
        for (index_t i = 0; i < m; ++i)
          for (index_t j = 0; j < n; ++j) x.view(i, j) = values(i, j);
        const matrix_view<const T> read = l.view;
        CAPTURE(m, n, how);
        REQUIRE(exec.try_solve_right(read, x.view));
        CHECK(x.surroundings_unchanged());
        for (index_t i = 0; i < m; ++i)
          for (index_t j = 0; j < n; ++j) {
            long double value = 0, size = 0;
            for (index_t p = 0; p <= j; ++p) {
              const auto term = static_cast<long double>(x.view(i, p)) * static_cast<long double>(l.view(j, p));
              value += term, size += std::fabs(term);
            }
            const double share =
                static_cast<double>(std::fabs(value - static_cast<long double>(values(i, j))) /
                                    (static_cast<long double>(n + 2) * static_cast<long double>(unit<T>) * size));
            if (!(share <= 1)) CHECK(share <= 1);
            worst = std::max(worst, share);
          }
      }
  CHECK(worst > 1e-3);
}

// Residual and orthonormality of V, ascending order, and the eigenvalues where they are known.
template <class T, class Exec>
void check_eigen(Exec& exec, const matrix<double>& a, int how, const std::vector<double>& known = {}) {
  const index_t n = a.rows;
  placed<T> at(n, n, how);
  matrix<double> narrowed(n, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      at.view(i, j) = j > i ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(a(i, j));
      narrowed(i, j) = static_cast<double>(static_cast<T>(a(i, j)));
    }
  std::vector<T> values(static_cast<std::size_t>(3 * n + 1), T(-5));
  const auto outcome = exec.try_symmetric_eigen(at.view, vector_view<T>{values.data(), n, 3});
  CAPTURE(n, how);
  REQUIRE(outcome);
  REQUIRE(outcome->converged);
  CHECK(at.surroundings_unchanged());
  double norm = 0, orthonormality = 0;
  for (index_t i = 0; i < n; ++i)
    norm = std::max(norm, std::fabs(static_cast<double>(values[static_cast<std::size_t>(3 * i)])));
  const double step = 16 * static_cast<double>(std::max<index_t>(n, 1)) * unit<T>;
  for (index_t c = 0; c < n; ++c) {
    const double value = static_cast<double>(values[static_cast<std::size_t>(3 * c)]);
    CHECK(values[static_cast<std::size_t>(3 * c + 1)] == T(-5));
    if (c > 0) CHECK(values[static_cast<std::size_t>(3 * c)] >= values[static_cast<std::size_t>(3 * c - 3)]);
    double residual = 0;
    for (index_t i = 0; i < n; ++i) {
      double row = 0;
      for (index_t j = 0; j < n; ++j)
        row += narrowed(std::max(i, j), std::min(i, j)) * static_cast<double>(at.view(j, c));
      residual = std::hypot(residual, row - value * static_cast<double>(at.view(i, c)));
    }
    CHECK(residual <= step * norm);
    if (!known.empty()) CHECK(std::fabs(value - known[static_cast<std::size_t>(c)]) <= step * norm);
    for (index_t d = 0; d < n; ++d) {
      double dot = d == c ? -1 : 0;
      for (index_t i = 0; i < n; ++i) dot += static_cast<double>(at.view(i, c)) * static_cast<double>(at.view(i, d));
      orthonormality = std::hypot(orthonormality, dot);
    }
  }
  CHECK(orthonormality <= step);
}

template <class T, class Exec>
void eigenvectors_are_within_their_bounds(Exec& exec) {
  const auto symmetric = [](index_t n, std::uint64_t seed, double scale) {
    auto a = gaussian<double>(n, n, seed);
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) a(i, j) = j > i ? 0 : a(i, j) * scale;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = i + 1; j < n; ++j) a(i, j) = a(j, i);
    return a;
  };
  for (const index_t n : {0, 1, 2, 3, 8, 33, 64, 100})
    for (int how = 0; how < layouts; ++how) check_eigen<T>(exec, symmetric(n, 8, 1), how);
  for (const double scale : {1e-30, 1e30}) check_eigen<T>(exec, symmetric(20, 9, scale), 0);

  matrix<double> known(6, 6);  // zeros; then a diagonal with repeated values; then all ones
  check_eigen<T>(exec, known, 0, std::vector<double>(6, 0.0));
  const double diagonal[6] = {3, -2, 3, 0, 3, -7};
  for (index_t i = 0; i < 6; ++i) known(i, i) = diagonal[i];
  check_eigen<T>(exec, known, 0, {-7, -2, 0, 3, 3, 3});
  for (double& x : known.data) x = 1;
  check_eigen<T>(exec, known, 1, {0, 0, 0, 0, 0, 6});
  matrix<double> swap(4, 4);  // pairs of eigenvalues that differ in their sign alone
  swap(1, 0) = swap(0, 1) = 1, swap(3, 2) = swap(2, 3) = -2;
  check_eigen<T>(exec, swap, 0, {-2, -1, 1, 2});
  matrix<double> path(40, 40);  // second differences: 2 − 2·cos(kπ/41)
  std::vector<double> values;
  for (index_t i = 0; i < 40; ++i) {
    path(i, i) = 2;
    if (i > 0) path(i, i - 1) = path(i - 1, i) = -1;
    values.push_back(2 - 2 * std::cos(static_cast<double>(i + 1) * 3.14159265358979323846 / 41));
  }
  check_eigen<T>(exec, path, 0, values);

  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    matrix<T> a(4, 4);
    std::vector<T> w(4);
    a(3, 1) = bad;
    const auto outcome = exec.try_symmetric_eigen(a.view(), vector_view<T>{w.data(), 4});
    REQUIRE(outcome);
    CHECK_FALSE(outcome->converged);
  }
}

inline std::string message(const resect::error& e) { return std::string(e.message().view()); }

template <class Exec>
void factorizations_refuse_what_does_not_fit(Exec& exec) {
  matrix<double> wide(3, 4), square(3, 3), x(2, 4);
  std::vector<double> w(4);
  using view = matrix_view<double>;
  const auto refused = [](const auto& r) {
    REQUIRE_FALSE(r);
    return message(r.error());
  };
  CHECK(refused(exec.try_cholesky(wide.view())) == "shape mismatch: A: got 3 x 4, wanted 3 x 3");
  CHECK(refused(exec.try_cholesky(view{nullptr, 3, 3})) == "null pointer: A: got null, wanted data for 3 x 3 elements");
  CHECK(refused(exec.try_solve_right(wide.view(), x.view())) == "shape mismatch: L: got 3 x 4, wanted 3 x 3");
  CHECK(refused(exec.try_solve_right(square.view(), x.view())) == "shape mismatch: X: got 2 x 4, wanted 2 x 3");
  CHECK(refused(exec.try_solve_right(square.view(), view{nullptr, 2, 3})) ==
        "null pointer: X: got null, wanted data for 2 x 3 elements");
  CHECK(refused(exec.try_symmetric_eigen(wide.view(), vector_view<double>{w.data(), 3})) ==
        "shape mismatch: A: got 3 x 4, wanted 3 x 3");
  CHECK(refused(exec.try_symmetric_eigen(square.view(), vector_view<double>{w.data(), 4})) ==
        "shape mismatch: w: got 4 x 1, wanted 3 x 1");
  CHECK(refused(exec.try_symmetric_eigen(square.view(), vector_view<double>{nullptr, 3})) ==
        "null pointer: w: got null, wanted data for 3 x 1 elements");
  CHECK(refused(exec.try_symmetric_eigen(square.view(), vector_view<double>{w.data(), 3, 0})) ==
        "bad stride: w: got strides 0, 1, wanted strides >= 1");
}

}  // namespace factoring
