// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/linalg/positive_definite.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;

namespace {

double gaussian(index_t i, index_t j) {
  return random::gaussian(9, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(j));
}

// G·Gᵀ + I.
matrix<double> positive(index_t n) {
  matrix<double> a(n, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      a(i, j) = i == j;
      for (index_t k = 0; k < n; ++k) a(i, j) += gaussian(i, k) * gaussian(j, k);
    }
  return a;
}

}  // namespace

TEST_CASE("a positive definite system is solved: X·A gives B back, for blocks and their tails") {
  cpu exec;
  for (const index_t n : {1, 5, 64, 97}) {
    const auto a = positive(n);
    matrix<double> b(3, n), factor = a;
    for (index_t r = 0; r < 3; ++r)
      for (index_t c = 0; c < n; ++c) b(r, c) = gaussian(r + 1000, c);
    auto x = b;
    REQUIRE(value_or_throw(linalg::try_solve_positive_definite(exec, factor.view(), x.view())).positive_definite());
    double worst = 0;
    for (index_t r = 0; r < 3; ++r)
      for (index_t c = 0; c < n; ++c) {
        double sum = -b(r, c);
        for (index_t k = 0; k < n; ++k) sum += x(r, k) * a(k, c);
        worst = std::fmax(worst, std::fabs(sum));
      }
    INFO("order " << n << ", residual " << worst);
    CHECK(worst < 1e-10 * static_cast<double>(n));
  }
}

TEST_CASE("a matrix that is not positive definite leaves the right side as it was, and shapes are checked") {
  cpu exec;
  matrix<double> a(2, 2), b(1, 2);
  a(0, 0) = 1;
  a(1, 1) = -1;
  b(0, 1) = 7;
  const auto outcome = value_or_throw(linalg::try_solve_positive_definite(exec, a.view(), b.view()));
  CHECK(outcome.failed_column == 1);
  CHECK(b(0, 1) == 7);
  matrix<double> wide(1, 3);
  support::expect_error(linalg::try_solve_positive_definite(exec, a.view(), wide.view()), errc::shape_mismatch,
                        {"B", "1 x 3", "1 x 2"});
}
