// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/linalg/ldl.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::linalg;

namespace {

using resect::index_t;

// Σ of `rows` outer products: rank min(n, rows).
matrix<double> moment(index_t n, index_t rows, std::uint64_t seed) {
  matrix<double> h(n, n);
  for (index_t r = 0; r < rows; ++r)
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j)
        h(i, j) += random::gaussian(seed, 0, static_cast<std::uint64_t>(r * n + i)) *
                   random::gaussian(seed, 0, static_cast<std::uint64_t>(r * n + j)) / static_cast<double>(rows);
  return h;
}

// The largest |A(order, order) − L·D·Lᵀ| over √(a_ii·a_jj).
double distance(const matrix<double>& a, std::span<const index_t> order, const ldl_factors& f) {
  double worst = 0;
  const auto at = [&](index_t k) { return order.empty() ? k : order[static_cast<std::size_t>(k)]; };
  for (index_t i = 0; i < a.rows; ++i)
    for (index_t j = 0; j <= i; ++j) {
      double s = 0;
      for (index_t p = 0; p <= j; ++p) s += f.l(i, p) * f.d[p] * f.l(j, p);
      const double size = std::sqrt(a(at(i), at(i)) * a(at(j), at(j)));
      worst = std::max(worst, std::fabs(s - a(at(i), at(j))) / (size > 0 ? size : 1));
    }
  return worst;
}

}  // namespace

TEST_CASE("ldl: L·D·Lᵀ is the matrix in the chosen order, across every edge of the blocks") {
  cpu exec;
  for (const index_t n : {0, 1, 2, 63, 64, 65, 129, 200, 321}) {
    const auto a = moment(n, n + 30, 5);
    array<index_t> order(n);
    for (index_t i = 0; i < n; ++i) order[i] = (i * 7 + 3) % n;  // a permutation where 7 does not divide n
    const auto f = try_ldl(exec, a.view(), n % 7 == 0 ? std::span<const index_t>{} : order.span(), least_pivot(n));
    CAPTURE(n);
    REQUIRE(f);
    CHECK(f->outcome.vanished.empty());
    CHECK(distance(a, n % 7 == 0 ? std::span<const index_t>{} : order.span(), *f) < 1e-13);
    for (index_t i = 0; i < n; ++i) CHECK(f->l(i, i) == 1.0);
  }
}

TEST_CASE("ldl: a semi-definite matrix has as many pivots as its rank, and what vanishes leaves no trace") {
  cpu exec;
  const index_t n = 150;
  for (const index_t rank : {0, 1, 40, 70, 149}) {
    const auto a = moment(n, rank, 9);
    const auto f = try_ldl(exec, a.view(), {}, least_pivot(n));
    CAPTURE(rank);
    REQUIRE(f);
    CHECK(f->outcome.vanished.size() == n - rank);
    CHECK(distance(a, {}, *f) < 2 * std::sqrt(least_pivot(n)));
    for (const index_t k : f->outcome.vanished) {
      CHECK(f->d[k] == 0.0);
      for (index_t i = k + 1; i < n; ++i) CHECK(f->l(i, k) == 0.0);
    }
  }
}

TEST_CASE("ldl: a dead column vanishes and the others are as if it were not there") {
  cpu exec;
  const index_t n = 90, dead = 70;
  auto a = moment(n, 120, 2);
  matrix<double> without(n - 1, n - 1);
  for (index_t i = 0; i < n; ++i) a(i, dead) = a(dead, i) = 0;
  for (index_t i = 0; i < n - 1; ++i)
    for (index_t j = 0; j < n - 1; ++j) without(i, j) = a(i + (i >= dead), j + (j >= dead));
  const auto f = try_ldl(exec, a.view(), {}, least_pivot(n));
  const auto g = try_ldl(exec, without.view(), {}, least_pivot(n));
  REQUIRE((f && g));
  REQUIRE(f->outcome.vanished.size() == 1);
  CHECK(f->outcome.vanished[0] == dead);
  double worst = 0;
  for (index_t i = 0; i < n - 1; ++i)
    for (index_t j = 0; j <= i; ++j)
      worst = std::max(worst, std::fabs(g->l(i, j) - f->l(i + (i >= dead), j + (j >= dead))));
  CHECK(worst < 1e-12);
}

TEST_CASE("ldl: an indefinite matrix does not end it") {
  cpu exec;
  matrix<double> a(3, 3);
  a(0, 0) = 1, a(1, 0) = a(0, 1) = 2, a(1, 1) = 1, a(2, 2) = 5;
  const auto f = try_ldl(exec, a.view(), {}, 1e-12);
  REQUIRE(f);
  REQUIRE(f->outcome.vanished.size() == 1);
  CHECK(f->outcome.vanished[0] == 1);
  CHECK(f->d[2] == 5.0);
}

TEST_CASE("ldl: the same bits for 1, 2, 3, 7 and 64 workers") {
  const auto a = moment(300, 200, 4);
  cpu one;
  const auto wanted = try_ldl(one, a.view(), {}, least_pivot(300));
  REQUIRE(wanted);
  for (const int workers : {2, 3, 7, 64}) {
    cpu exec{threads{workers}};
    const auto got = try_ldl(exec, a.view(), {}, least_pivot(300));
    CAPTURE(workers);
    REQUIRE(got);
    CHECK(got->l == wanted->l);
    CHECK(got->d == wanted->d);
  }
}

TEST_CASE("ldl: bad input is named") {
  cpu exec;
  matrix<double> a(3, 3), wide(2, 3);
  for (index_t i = 0; i < 3; ++i) a(i, i) = 1;
  const array<index_t> twice{0, 1, 1}, few{0, 1};
  const auto says = [](const auto& r, errc code, std::string_view part) {
    REQUIRE(!r);
    CHECK(r.error().code == code);
    CHECK(std::string(r.error().message().view()).find(part) != std::string::npos);
  };
  says(try_ldl(exec, wide.view(), {}, 0.0), errc::shape_mismatch, "A");
  says(try_ldl(exec, a.view(), twice.span(), 0.0), errc::invalid_argument, "order, place 2");
  says(try_ldl(exec, a.view(), few.span(), 0.0), errc::shape_mismatch, "order");
  says(try_ldl(exec, a.view(), {}, -1.0), errc::invalid_argument, "tolerance");
  a(2, 1) = std::numeric_limits<double>::quiet_NaN();
  says(try_ldl(exec, a.view(), {}, 0.0), errc::not_finite, "A, row 2, column 1");
}
