// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/core/threads.hpp>
#include <resect/linalg/symmetric_values.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::linalg;

namespace {

using resect::index_t;

matrix<double> random_symmetric(index_t n, std::uint64_t seed) {
  matrix<double> a(n, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j <= i; ++j)
      a(i, j) = a(j, i) = random::gaussian(seed, 0, static_cast<std::uint64_t>(i * n + j));
  return a;
}

}  // namespace

TEST_CASE("eigenvalues of the second difference are known") {
  inline_executor exec;
  for (const index_t n : {1, 2, 3, 10, 65}) {
    matrix<double> a(n, n);
    for (index_t i = 0; i < n; ++i) {
      a(i, i) = 2;
      if (i > 0) a(i, i - 1) = a(i - 1, i) = -1;
    }
    const auto found = symmetric_values(exec, a.view());
    REQUIRE(found.converged);
    for (index_t k = 0; k < n; ++k) {
      CAPTURE(n, k);
      const double want = 2 - 2 * std::cos(M_PI * static_cast<double>(n - k) / static_cast<double>(n + 1));
      CHECK(found.values[k] == Approx(want).margin(1e-13));
    }
  }
}

TEST_CASE("a planted spectrum under reflections is found again, repeated and zero values too") {
  inline_executor exec;
  const index_t n = 40;
  matrix<double> a(n, n);
  array<double> want(n);
  for (index_t i = 0; i < n; ++i) want[i] = i < 10 ? 5.0 : i < 30 ? 0.0 : -std::pow(2.0, -static_cast<double>(i));
  for (index_t i = 0; i < n; ++i) a(i, i) = want[i];
  for (std::uint64_t turn = 0; turn < 3; ++turn) {  // A ← (I − 2vvᵀ)·A·(I − 2vvᵀ)
    array<double> v(n), av(n);
    double size = 0;
    for (index_t i = 0; i < n; ++i)
      size += std::pow(v[i] = random::gaussian(3, turn, static_cast<std::uint64_t>(i)), 2);
    double vav = 0;
    for (index_t i = 0; i < n; ++i) v[i] /= std::sqrt(size);
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) av[i] += a(i, j) * v[j];
    for (index_t i = 0; i < n; ++i) vav += v[i] * av[i];
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) a(i, j) += -2 * v[i] * av[j] - 2 * av[i] * v[j] + 4 * vav * v[i] * v[j];
  }
  const auto found = symmetric_values(exec, a.view());
  REQUIRE(found.converged);
  std::sort(want.begin(), want.end(), [](double x, double y) { return x > y; });
  for (index_t i = 0; i < n; ++i) CHECK(found.values[i] == Approx(want[i]).margin(8 * 40 * 0x1p-53 * 16));
}

TEST_CASE("eigenvalues: sums of powers are the traces, the upper triangle is not read, workers change no bit") {
  const auto a = random_symmetric(97, 5);
  inline_executor exec;
  threads three(3);
  auto lower = a;
  for (index_t i = 0; i < 97; ++i)
    for (index_t j = i + 1; j < 97; ++j) lower(i, j) = std::numeric_limits<double>::quiet_NaN();
  const auto one = symmetric_values(exec, lower.view()), other = symmetric_values(three, a.view());
  CHECK(one.values == other.values);
  double sum = 0, squares = 0, trace = 0, frobenius = 0;
  for (index_t i = 0; i < 97; ++i) {
    sum += one.values[i];
    squares += one.values[i] * one.values[i];
    trace += a(i, i);
    for (index_t j = 0; j < 97; ++j) frobenius += a(i, j) * a(i, j);
  }
  CHECK(sum == Approx(trace).margin(1e-11));
  CHECK(squares == Approx(frobenius).epsilon(1e-12));
}

TEST_CASE("eigenvalues: bad input is refused by name") {
  inline_executor exec;
  CHECK(symmetric_values(exec, matrix<double>(0, 0).view()).values.empty());
  support::expect_error(try_symmetric_values(exec, matrix<double>(3, 4).view()), errc::shape_mismatch, {"A", "3 x 4"});
  auto a = random_symmetric(4, 6);
  a(2, 1) = std::numeric_limits<double>::infinity();
  support::expect_error(try_symmetric_values(exec, a.view()), errc::not_finite, {"A, row 2, column 1"});
}
