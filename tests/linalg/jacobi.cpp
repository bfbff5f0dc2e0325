// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <limits>

#include <support/catch.hpp>

#include <resect/linalg/jacobi.hpp>
#include <resect/core/threads.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::linalg;

namespace {

using resect::index_t;

matrix<double> gaussian(index_t k, index_t m, std::uint64_t seed) {
  matrix<double> a(k, m);
  for (resect::index_t i = 0; i < a.data.size(); ++i) a.data[i] = random::gaussian(seed, 0, static_cast<std::uint64_t>(i));
  return a;
}

double dot_of_rows(const matrix<double>& a, index_t i, index_t j) {
  double s = 0;
  for (index_t c = 0; c < a.cols; ++c) s += a(i, c) * a(j, c);
  return s;
}

constexpr double tolerance = 1e-14;

}  // namespace

TEST_CASE("rows become orthogonal, and the rotations give the rows back") {
  inline_executor exec;
  for (const index_t k : {0, 1, 2, 3, 8, 17, 40, 65})
    for (const index_t m : {1, 7, 8, 40, 100}) {
      const auto before = gaussian(k, m, 3);
      auto x = before;
      matrix<double> v(k, k);
      for (index_t i = 0; i < k; ++i) v(i, i) = 1;
      const auto outcome = one_sided_jacobi(exec, x.view(), v.view(), tolerance, 1e-12);
      CAPTURE(k, m, outcome.sweeps);
      REQUIRE(outcome.converged);
      double worst = 0, orthonormality = 0, back = 0;
      for (index_t i = 0; i < k; ++i)
        for (index_t j = 0; j < k; ++j) {
          orthonormality = std::max(orthonormality, std::fabs(dot_of_rows(v, i, j) - (i == j)));
          if (i < j) worst = std::max(worst, std::fabs(dot_of_rows(x, i, j)));
        }
      for (index_t i = 0; i < k; ++i)
        for (index_t c = 0; c < m; ++c) {
          double s = 0;
          for (index_t p = 0; p < k; ++p) s += v(p, i) * x(p, c);
          back = std::max(back, std::fabs(s - before(i, c)));
        }
      CHECK(worst < 1e-11);
      CHECK(orthonormality < 1e-13);
      CHECK(back < 1e-12);
    }
}

TEST_CASE("singular values of rows of widely different norms keep their relative accuracy") {
  // D·B with B well conditioned: Demmel & Veselić. Two rows have a closed form.
  inline_executor exec;
  matrix<double> x(2, 2);
  x(0, 0) = 1, x(0, 1) = 1, x(1, 0) = 1e-12, x(1, 1) = -3e-12;
  REQUIRE(one_sided_jacobi(exec, x.view(), {}, tolerance).converged);
  const double a = std::sqrt(dot_of_rows(x, 0, 0)), b = std::sqrt(dot_of_rows(x, 1, 1));
  const double large = std::max(a, b), small = std::min(a, b);
  CHECK(std::fabs(large / std::sqrt(2.0) - 1) < 1e-14);
  CHECK(std::fabs(large * small / 4e-12 - 1) < 1e-14);  // |det|
  CHECK(std::fabs(dot_of_rows(x, 0, 1)) <= tolerance * large * small);
}

TEST_CASE("what is orthogonal stays as it is, after one sweep; NaN never converges") {
  inline_executor exec;
  matrix<double> x(3, 4);
  x(0, 1) = 2, x(1, 0) = -1, x(2, 3) = 1e-200;
  const auto before = x;
  const auto outcome = one_sided_jacobi(exec, x.view(), {}, tolerance);
  CHECK(outcome.converged);
  CHECK(outcome.sweeps == 1);
  CHECK(x == before);
  x(0, 0) = std::numeric_limits<double>::quiet_NaN();
  const auto spoiled = one_sided_jacobi(exec, x.view(), {}, tolerance, 0, 5);
  CHECK_FALSE(spoiled.converged);
  CHECK(spoiled.sweeps == 5);
}

TEST_CASE("negligible rows are left alone") {
  inline_executor exec;
  matrix<double> x(2, 2);
  x(0, 0) = 1, x(1, 0) = 1e-20;
  CHECK(one_sided_jacobi(exec, x.view(), {}, tolerance, 1e-16).sweeps == 1);
  CHECK(x(1, 0) == 1e-20);
  CHECK(one_sided_jacobi(exec, x.view(), {}, tolerance).converged);
  CHECK(std::min(std::fabs(x(0, 0)), std::fabs(x(1, 0))) == 0);
}

TEST_CASE("the same bits for any number of workers") {
  const auto before = gaussian(37, 50, 5);
  auto want = before;
  inline_executor exec;
  const auto outcome = one_sided_jacobi(exec, want.view(), {}, tolerance);
  for (const int workers : {1, 2, 3, 7, 64}) {
    const threads pool{workers};
    auto x = before;
    const auto again = one_sided_jacobi(pool, x.view(), {}, tolerance);
    CHECK(again.sweeps == outcome.sweeps);
    CHECK(x == want);
  }
}
