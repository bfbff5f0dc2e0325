// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <support/catch.hpp>
#include <support/instruction_sets.hpp>

#include <resect/core/threads.hpp>
#include <resect/linalg/tridiagonal_eigen.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::linalg;

namespace {

using resect::index_t;

struct decomposition {
  matrix<double> vectors;
  array<double> values;
  bool converged = false;
};

decomposition eigen(const matrix<double>& a, instruction_set set, executor_ref exec) {
  decomposition d{a, array<double>(a.rows)};
  for (index_t i = 0; i < a.rows; ++i)  // the upper triangle is not read
    for (index_t j = i + 1; j < a.rows; ++j) d.vectors(i, j) = std::numeric_limits<double>::quiet_NaN();
  const auto outcome = tridiagonal_symmetric_eigen(exec, set, d.vectors.view(), {d.values.data(), a.rows});
  REQUIRE(outcome);
  d.converged = outcome->converged;
  return d;
}

// What is stated of every symmetric A: ‖A·v − λ·v‖ ≤ 16·n·2⁻⁵³·‖A‖₂, ‖VᵀV − I‖_F ≤ 16·n·2⁻⁵³, values ascending.
// Returns the decomposition.
decomposition checked(const matrix<double>& a, instruction_set set) {
  inline_executor exec;
  const index_t n = a.rows;
  auto d = eigen(a, set, exec);
  CHECK(d.converged);
  const double step = 16 * static_cast<double>(n) * 0x1p-53;
  double norm = 0, worst = 0, orthonormality = 0;
  for (const double x : d.values) norm = std::max(norm, std::fabs(x));
  for (index_t c = 0; c < n; ++c) {
    if (c > 0) CHECK(d.values[c] >= d.values[c - 1]);
    double residual = 0;
    for (index_t i = 0; i < n; ++i) {
      double row = 0;
      for (index_t j = 0; j < n; ++j) row += a(i, j) * d.vectors(j, c);
      residual = std::hypot(residual, row - d.values[c] * d.vectors(i, c));
    }
    worst = std::max(worst, residual);
    for (index_t e = 0; e <= c; ++e) {
      double dot = e == c ? -1 : 0;
      for (index_t i = 0; i < n; ++i) dot += d.vectors(i, c) * d.vectors(i, e);
      orthonormality = std::hypot(orthonormality, e == c ? dot : std::sqrt(2.0) * dot);
    }
  }
  CHECK(worst <= step * norm);
  CHECK(orthonormality <= step);
  return d;
}

// Q·diag(values)·Qᵀ with Q three reflections.
matrix<double> planted(const array<double>& values, std::uint64_t seed) {
  const index_t n = values.size();
  matrix<double> a(n, n);
  for (index_t i = 0; i < n; ++i) a(i, i) = values[i];
  for (std::uint64_t turn = 0; turn < 3; ++turn) {
    array<double> v(n), av(n);
    double size = 0, vav = 0;
    for (index_t i = 0; i < n; ++i)
      v[i] = random::gaussian(seed, turn, static_cast<std::uint64_t>(i)), size += v[i] * v[i];
    for (index_t i = 0; i < n; ++i) {
      for (index_t j = 0; j < n; ++j) av[i] += a(i, j) * v[j];
      vav += v[i] * av[i];
    }
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j)
        a(i, j) += (4 * vav / size * v[i] * v[j] - 2 * v[i] * av[j] - 2 * av[i] * v[j]) / size;
  }
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < i; ++j) a(j, i) = a(i, j);
  return a;
}

// The same, and every eigenvalue within 16·n·2⁻⁵³·‖A‖ of the planted one, whose own rounding has as much again.
void check_planted(array<double> values, instruction_set set) {
  const auto d = checked(planted(values, 7), set);
  std::sort(values.begin(), values.end());
  const double norm = std::max(std::fabs(values.front()), std::fabs(values.back()));
  for (index_t i = 0; i < values.size(); ++i) {
    CAPTURE(i);
    CHECK(std::fabs(d.values[i] - values[i]) <= 32 * static_cast<double>(values.size()) * 0x1p-53 * norm);
  }
}

template <class F>
array<double> values_of(index_t n, F f) {
  array<double> values(n);
  for (index_t i = 0; i < n; ++i) values[i] = f(static_cast<double>(i));
  return values;
}

}  // namespace

TEST_CASE("eigenvalues of the second difference are 2 - 2 cos(k pi / (n + 1)), for every length of the last lanes") {
  for (const auto set : tests::instruction_sets())
    for (const index_t n : {1, 2, 3, 7, 8, 9, 16, 17, 31, 40, 130}) {
      matrix<double> a(n, n);
      for (index_t i = 0; i < n; ++i) {
        a(i, i) = 2;
        if (i > 0) a(i, i - 1) = a(i - 1, i) = -1;
      }
      CAPTURE(n, name(set));
      const auto d = checked(a, set);
      for (index_t k = 0; k < n; ++k) {
        const double want = 2 - 2 * std::cos(M_PI * static_cast<double>(k + 1) / static_cast<double>(n + 1));
        CHECK(std::fabs(d.values[k] - want) <= 64 * static_cast<double>(n) * 0x1p-53);
      }
    }
}

TEST_CASE("planted spectra are found again: graded, repeated, of both signs, of low rank") {
  for (const auto set : tests::instruction_sets()) {
    CAPTURE(name(set));
    check_planted(values_of(50, [](double i) { return std::pow(10.0, -i / 3); }), set);
    check_planted(values_of(50, [](double i) { return std::pow(10.0, (i - 49) / 3); }), set);
    check_planted(values_of(45, [](double i) { return i < 20 ? 3.0 : i < 40 ? -3.0 : i; }), set);
    check_planted(values_of(33, [](double i) { return i == 4 ? -7.0 : 0.0; }), set);
    check_planted(values_of(64, [](double) { return 1.0; }), set);
  }
}

TEST_CASE("a dense matrix beyond the size that Jacobi is for, its parts of every size") {
  for (const auto set : tests::instruction_sets())
    for (const index_t n : {20, 150}) {
      matrix<double> a(n, n);
      for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j <= i; ++j)
          a(i, j) = a(j, i) = random::gaussian(3, 0, static_cast<std::uint64_t>(i * n + j)) * (i < n / 2 ? 1.0 : 1e-9);
      CAPTURE(n, name(set));
      checked(a, set);
    }
}

TEST_CASE("zero, diagonal and split matrices take no rotation, or one of each part") {
  for (const auto set : tests::instruction_sets()) {
    CAPTURE(name(set));
    matrix<double> a(9, 9);
    auto d = checked(a, set);
    for (const double x : d.values) CHECK(x == 0);
    const double diagonal[9] = {3, -2, 3, 0, 3, -7, 1e-300, 5, -2}, sorted[9] = {-7, -2, -2, 0, 1e-300, 3, 3, 3, 5};
    for (index_t i = 0; i < 9; ++i) a(i, i) = diagonal[i];
    d = checked(a, set);
    for (index_t i = 0; i < 9; ++i) CHECK(std::fabs(d.values[i] - sorted[i]) <= 1e-14);
    matrix<double> swap(4, 4);  // pairs that differ in their sign alone
    swap(1, 0) = swap(0, 1) = 1, swap(3, 2) = swap(2, 3) = -2;
    d = checked(swap, set);
    const double pairs[4] = {-2, -1, 1, 2};
    for (index_t i = 0; i < 4; ++i) CHECK(std::fabs(d.values[i] - pairs[i]) <= 1e-14);
  }
}

TEST_CASE("scaling A by a power of two scales the values and leaves the vectors, bit for bit") {
  inline_executor exec;
  const auto a = planted(values_of(30, [](double i) { return 1 / (1 + i); }), 5);
  const auto d = eigen(a, best_instruction_set(), exec);
  for (const int power : {-500, 500}) {
    auto scaled = a;
    for (double& x : scaled.data) x = std::ldexp(x, power);
    const auto e = eigen(scaled, best_instruction_set(), exec);
    CHECK(e.vectors == d.vectors);
    for (index_t i = 0; i < 30; ++i) CHECK(e.values[i] == std::ldexp(d.values[i], power));
  }
}

TEST_CASE("the bits do not depend on the number of workers") {
  const auto a = planted(values_of(140, [](double i) { return std::cos(i); }), 6);
  for (const auto set : tests::instruction_sets()) {
    inline_executor alone;
    const auto d = eigen(a, set, alone);
    for (const int workers : {1, 2, 3, 7, 64}) {
      threads pool{workers};
      const auto e = eigen(a, set, pool);
      CAPTURE(workers, name(set));
      CHECK(e.vectors == d.vectors);
      CHECK(std::equal(e.values.begin(), e.values.end(), d.values.begin()));
    }
  }
}

TEST_CASE("a NaN or an infinity in the lower triangle does not converge, and is no error") {
  inline_executor exec;
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    auto a = planted(values_of(12, [](double i) { return i; }), 5);
    a(7, 3) = bad;
    CHECK_FALSE(eigen(a, best_instruction_set(), exec).converged);
  }
}
