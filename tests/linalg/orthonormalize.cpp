// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/linalg/orthonormalize.hpp>

using namespace resect;
using linalg::orthonormalization;

namespace {

using planted::widen;
using resect::index_t;

// What holds for every Y: an orthonormal Q, an echelon R with zero rows below the rank, and Y = Q·R column by column.
// Returns the larger of the two errors as a share of its bound.
template <class T>
double share_of_bounds(matrix_view<const T> y, const linalg::orthonormal_basis<T>& basis) {
  const index_t n = y.cols;
  const auto q = widen(basis.q.view());
  REQUIRE(basis.q.rows == y.rows);
  REQUIRE(basis.q.cols == n);
  REQUIRE(basis.r.rows == n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j)
      if (j < i || i >= basis.rank) REQUIRE(basis.r(i, j) == 0);
  double worst = n > 0 ? planted::orthonormality_error(q) / linalg::orthonormality_bound<T>(y.rows, n) : 0;
  const auto left = planted::difference(planted::product(q, basis.r), widen(y));
  for (index_t j = 0; j < n; ++j) {
    double norm = 0, error = 0;
    for (index_t i = 0; i < y.rows; ++i)
      norm = std::hypot(norm, static_cast<double>(y(i, j))), error = std::hypot(error, left(i, j));
    const double bound = static_cast<double>(4 * n + 16) * planted::unit<T> * std::sqrt(static_cast<double>(n)) * norm;
    if (error > 0) worst = std::max(worst, error / bound);
  }
  return worst;
}

TEMPLATE_TEST_CASE("Gaussian columns become orthonormal within the stated bounds, by CholeskyQR", "", float, double) {
  cpu exec;
  double worst = 0;
  for (const index_t m : {1, 2, 3, 17, 64, 65, 200, 1025, 3000})
    for (const index_t n : {1, 2, 5, 16, 63, 64, 65, 138}) {
      if (n > m || m * n > 200000) continue;
      const auto y = planted::gaussian<TestType>(m, n, 3);
      const auto basis = linalg::try_orthonormalize(exec, y.view());
      REQUIRE(basis);
      CAPTURE(m, n);
      CHECK(basis->rank == n);
      const double share = share_of_bounds<TestType>(y.view(), *basis);
      CHECK(share <= 1);
      worst = std::max(worst, share);
      if (m > 2 * n) CHECK(basis->method == orthonormalization::cholesky_qr);
      for (index_t i = 0; i < n; ++i) CHECK(basis->r(i, i) > 0);
    }
  CHECK(worst > 0.01);  // the bounds say something
}

TEMPLATE_TEST_CASE("ill-conditioned columns are orthonormalized to the same bound", "", float, double) {
  using T = TestType;
  cpu exec;
  const double limit = 0.02 / planted::unit<T>;
  bool shifted = false;
  for (double condition = 1e2; condition < limit; condition *= 30)
    for (const index_t n : {2, 20, 70}) {
      const auto sigma =
          planted::spectrum(n, [&](double i) { return std::pow(condition, -i / static_cast<double>(n - 1)); });
      const auto y = planted::narrow<T>(planted::with_spectrum(300, n, sigma, 5));
      const auto basis = linalg::try_orthonormalize(exec, y.view());
      REQUIRE(basis);
      CAPTURE(condition, n, static_cast<int>(basis->method));
      CHECK(share_of_bounds<T>(y.view(), *basis) <= 1);
      if (condition * std::sqrt(static_cast<double>(n)) < 1e-2 * limit) CHECK(basis->rank == n);
      shifted |= basis->method == orthonormalization::shifted_cholesky_qr;
    }
  if constexpr (std::is_same_v<T, double>) CHECK(shifted);
}

TEST_CASE("the Gram matrix in double keeps float columns with a condition of 1e5 on two passes without a shift") {
  cpu exec;
  const auto sigma = planted::spectrum(30, [](double i) { return std::pow(10.0, -5 * i / 29); });
  const auto y = planted::narrow<float>(planted::with_spectrum(500, 30, sigma, 6));
  const auto basis = linalg::try_orthonormalize(exec, y.view());
  REQUIRE(basis);
  CHECK(basis->method == orthonormalization::cholesky_qr);
  CHECK(basis->rank == 30);
}

TEMPLATE_TEST_CASE("dependent columns are counted, and Q is completed", "", float, double) {
  using T = TestType;
  cpu exec;
  const index_t m = 90, n = 12;
  const auto base = planted::gaussian<T>(m, n, 9);
  struct example {
    const char* what;
    index_t rank;
    std::vector<index_t> dependent;  // columns that are combinations of those before them
    void (*spoil)(matrix<T>&);
  };
  const auto set = [](matrix<T>& y, index_t to, T factor, index_t from) {
    for (index_t r = 0; r < y.rows; ++r) y(r, to) = factor * y(r, from);
  };
  static const auto column = set;
  const example examples[] = {
      {"a zero column", 11, {4}, [](matrix<T>& y) { column(y, 4, T{0}, 4); }},
      {"the first column is zero", 11, {0}, [](matrix<T>& y) { column(y, 0, T{0}, 0); }},
      {"a repeated column", 11, {7}, [](matrix<T>& y) { column(y, 7, T{1}, 2); }},
      {"a multiple of a column", 11, {1}, [](matrix<T>& y) { column(y, 1, T(-3.7), 0); }},
      {"all columns but two are one column",
       3,
       {1, 2, 3, 4, 6, 7, 8, 9, 10},
       [](matrix<T>& y) {
         for (const index_t c : {1, 2, 3, 4, 6, 7, 8, 9, 10}) column(y, c, T(0.3) * T(c), 0);
       }},
      {"a sum of three columns",
       11,
       {11},
       [](matrix<T>& y) {
         for (index_t r = 0; r < y.rows; ++r) y(r, 11) = y(r, 0) + y(r, 3) - T(2) * y(r, 8);
       }},
      {"nothing but zeros",
       0,
       {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
       [](matrix<T>& y) { std::fill(y.data.begin(), y.data.end(), T{0}); }},
      {"integers of rank two",
       2,
       {2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
       [](matrix<T>& y) {
         for (index_t r = 0; r < y.rows; ++r)
           for (index_t c = 0; c < y.cols; ++c) y(r, c) = static_cast<T>((r % 5) * (c + 1) + (r % 7 - 3) * c * c);
       }},
  };
  for (const auto& e : examples) {
    auto y = base;
    e.spoil(y);
    const auto before = y;
    const auto basis = linalg::try_orthonormalize(exec, y.view());
    REQUIRE(basis);
    CAPTURE(e.what);
    CHECK(basis->rank == e.rank);
    CHECK(basis->method == orthonormalization::gram_schmidt);
    CHECK(share_of_bounds<T>(y.view(), *basis) <= 1);
    CHECK(y == before);
    // every independent column opens a row of R, no other does
    index_t row = 0;
    for (index_t c = 0; c < n; ++c) {
      const bool dependent = std::find(e.dependent.begin(), e.dependent.end(), c) != e.dependent.end();
      if (!dependent) CHECK(basis->r(row++, c) > 0);
      else if (row < n) CHECK(basis->r(row, c) == 0);
    }
  }
}

TEMPLATE_TEST_CASE("as many columns as rows, dependent or not", "", float, double) {
  using T = TestType;
  cpu exec;
  for (const index_t n : {1, 2, 3, 20, 80}) {
    auto y = planted::gaussian<T>(n, n, 31);
    for (index_t c = 1; c < n; c += 3)
      for (index_t r = 0; r < n; ++r) y(r, c) = y(r, 0);
    const auto basis = linalg::try_orthonormalize(exec, y.view());
    REQUIRE(basis);
    CHECK(basis->rank == n - (n + 1) / 3);
    CHECK(share_of_bounds<T>(y.view(), *basis) <= 1);
  }
}

TEMPLATE_TEST_CASE("near dependence is resolved down to the stated distance", "", float, double) {
  using T = TestType;
  cpu exec;
  const double tolerance = 16 * std::sqrt(3.0) * planted::unit<T>;
  for (const double distance : {100 * tolerance, 1e4 * tolerance, tolerance / 200}) {
    const auto q = planted::orthonormal(400, 3, 12);
    matrix<double> y(400, 3);
    for (index_t r = 0; r < 400; ++r) {
      y(r, 0) = q(r, 0);
      y(r, 1) = q(r, 0) + distance * q(r, 1);
      y(r, 2) = q(r, 2);
    }
    const auto narrow = planted::narrow<T>(y);
    const auto basis = linalg::try_orthonormalize(exec, narrow.view());
    REQUIRE(basis);
    CAPTURE(distance / tolerance);
    CHECK(basis->rank == (distance > tolerance ? 3 : 2));
    CHECK(share_of_bounds<T>(narrow.view(), *basis) <= 1);
  }
}

TEMPLATE_TEST_CASE("scaling a column by a power of two scales its column of R and changes no bit of Q", "", float,
                   double) {
  using T = TestType;
  cpu exec;
  for (const bool dependent : {false, true}) {
    auto y = planted::gaussian<T>(150, 9, 13);
    if (dependent)
      for (index_t r = 0; r < 150; ++r) y(r, 6) = y(r, 2);
    const auto plain = linalg::try_orthonormalize(exec, y.view());
    REQUIRE(plain);
    const int reach = std::numeric_limits<T>::max_exponent - 6;
    const int exponent[9] = {0, reach, 12 - reach, 5, -60, 60, 30, reach - 1, 1};
    auto scaled = y;
    for (index_t r = 0; r < 150; ++r)
      for (index_t c = 0; c < 9; ++c) {
        if (std::fabs(y(r, c)) < T(1e-3)) y(r, c) = scaled(r, c) = T(0.5);  // nothing that would become subnormal
        scaled(r, c) = std::ldexp(y(r, c), exponent[c]);
      }
    const auto first = linalg::try_orthonormalize(exec, y.view()),
               second = linalg::try_orthonormalize(exec, scaled.view());
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first->q == second->q);
    for (index_t i = 0; i < 9; ++i)
      for (index_t c = 0; c < 9; ++c) CHECK(second->r(i, c) == std::ldexp(first->r(i, c), exponent[c]));
  }
}

TEMPLATE_TEST_CASE("columns of subnormal numbers have a direction too", "", float, double) {
  using T = TestType;
  cpu exec;
  matrix<T> y(3, 2);
  y(0, 0) = std::numeric_limits<T>::denorm_min();
  y(1, 1) = 4 * std::numeric_limits<T>::denorm_min();
  y(0, 1) = 4 * std::numeric_limits<T>::denorm_min();
  const auto basis = linalg::try_orthonormalize(exec, y.view());
  REQUIRE(basis);
  CHECK(basis->rank == 2);
  CHECK(std::fabs(basis->q(0, 0) - 1) < 1e-6);
  CHECK(std::fabs(basis->q(1, 1) - 1) < 1e-6);
  CHECK(planted::orthonormality_error(widen(basis->q.view())) < 1e-6);
}

TEMPLATE_TEST_CASE("any strides give the same bits, and so does any number of workers", "", float, double) {
  using T = TestType;
  for (const bool dependent : {false, true})
    for (const index_t m : {70, 2100}) {
      auto y = planted::gaussian<T>(m, 33, 14);
      if (dependent)
        for (index_t r = 0; r < m; ++r) y(r, 20) = y(r, 3) - y(r, 19);
      cpu exec;
      const auto want = linalg::try_orthonormalize(exec, y.view());
      REQUIRE(want);
      for (const int workers : {1, 2, 3, 7, 64}) {
        cpu pool{threads{workers}};
        const auto got = linalg::try_orthonormalize(pool, y.view());
        REQUIRE(got);
        CHECK(got->q == want->q);
        CHECK(got->r == want->r);
      }
      std::vector<T> memory(static_cast<std::size_t>(m * 33 * 6), T(99));
      for (const auto& view :
           {matrix_view<T>{memory.data(), m, 33, 1, m}, matrix_view<T>{memory.data(), m, 33, 70, 2}}) {
        for (index_t r = 0; r < m; ++r)
          for (index_t c = 0; c < 33; ++c) view(r, c) = y(r, c);
        const auto got = linalg::try_orthonormalize(exec, view);
        REQUIRE(got);
        CHECK(got->q == want->q);
      }
    }
}

TEST_CASE("no columns are a basis of nothing") {
  cpu exec;
  for (const index_t m : {0, 5}) {
    const matrix<float> y(m, 0);
    const auto basis = linalg::try_orthonormalize(exec, y.view());
    REQUIRE(basis);
    CHECK(basis->rank == 0);
    CHECK(basis->q.rows == m);
  }
}

TEST_CASE("what cannot have orthonormal columns is refused, by name") {
  cpu exec;
  matrix<float> y(4, 5);
  const auto message = [&](auto view) {
    const auto basis = linalg::try_orthonormalize(exec, view);
    REQUIRE_FALSE(basis);
    return std::string(basis.error().message().view());
  };
  CHECK(message(y.view()) == "shape mismatch: Y: got 4 x 5, wanted at least as many rows as columns");
  CHECK(message(matrix_view<float>{nullptr, 4, 2}) == "null pointer: Y: got null, wanted data for 4 x 2 elements");
  y = planted::gaussian<float>(9, 4, 1);
  y(8, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(y.view()) == "not finite: Y: got NaN or infinity in column 2, wanted finite elements");
  y(0, 1) = -std::numeric_limits<float>::infinity();
  CHECK(message(y.view()) == "not finite: Y: got NaN or infinity in column 1, wanted finite elements");
  CHECK_THROWS_AS(linalg::orthonormalize(exec, y.view()), resect::exception);
}

}  // namespace
