// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>

#include <support/catch.hpp>

#include <resect/core/matrix.hpp>
#include <resect/core/threads.hpp>
#include <resect/quant/incoherence.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::quant;

namespace {

using resect::index_t;

template <class T>
matrix<T> identity(index_t n) {
  matrix<T> m(n, n);
  for (index_t i = 0; i < n; ++i) m(i, i) = 1;
  return m;
}

// Row i is Q·e_i: Qᵀ, all of it.
template <class T>
matrix<T> dense(const rotation& q) {
  inline_executor exec;
  auto m = identity<T>(q.size());
  REQUIRE(q.try_rotate_rows(exec, m.view()));
  return m;
}

template <class T>
double departure_from_orthogonal(const matrix<T>& q) {
  double worst = 0;
  for (index_t i = 0; i < q.rows; ++i)
    for (index_t j = 0; j <= i; ++j) {
      double s = 0;
      for (index_t c = 0; c < q.cols; ++c) s += static_cast<double>(q(i, c)) * static_cast<double>(q(j, c));
      worst = std::max(worst, std::fabs(s - (i == j)));
    }
  return worst;
}

}  // namespace

TEST_CASE("Paley's matrices of every order up to 128 have orthogonal rows of ±1, fields of prime powers included") {
  int found = 0;
  for (index_t order = 4; order <= 128; order += 4) {
    if (quant::detail::paley_field(order) == 0) continue;
    ++found;
    const auto h = quant::detail::paley_signs(order);
    for (index_t i = 0; i < order; ++i)
      for (index_t j = 0; j <= i; ++j) {
        float s = 0;
        for (index_t c = 0; c < order; ++c) s += h[i * order + c] * h[j * order + c];
        if (s != (i == j ? static_cast<float>(order) : 0.0f)) FAIL("order " << order << ", rows " << i << ", " << j);
      }
  }
  CHECK(found == 22);
  CHECK(quant::detail::paley_field(28) == 27);    // 3³
  CHECK(quant::detail::paley_field(52) == 25);    // 5², second kind
  CHECK(quant::detail::paley_field(344) == 343);  // 7³
  CHECK(quant::detail::paley_field(148) == 73);
  CHECK(quant::detail::paley_field(92) == 0);
}

TEST_CASE("a rotation of every small order is orthogonal, and an exact one has entries of one size") {
  for (index_t n = 1; n <= 70; ++n) {
    const auto q = rotation::try_make(n, 7);
    REQUIRE(q);
    const auto m = dense<double>(*q);
    CAPTURE(n, q->factors());
    CHECK(departure_from_orthogonal(m) < 1e-13);
    CHECK(q->exact() == (n <= 2 || n % 4 == 0));
    if (!q->exact()) continue;
    for (const double x : m.data) CHECK(std::fabs(std::fabs(x) * std::sqrt(static_cast<double>(n)) - 1) < 1e-13);
  }
}

TEST_CASE("widths of real models have one cheap product where such a product exists at all") {
  struct {
    index_t n;
    std::string_view factors;
  } cases[] = {{576, "12·12·4"},   {1536, "12·128"}, {11008, "344·32"},
               {18944, "148·128"}, {2880, ""},       {14336, "28·512"}};
  for (const auto& c : cases) {
    const auto q = rotation::try_make(c.n, 1);
    REQUIRE(q);
    CAPTURE(c.n, q->factors());
    CHECK(q->exact());
    if (!c.factors.empty()) CHECK(q->factors() == c.factors);
  }
  CHECK(!rotation::try_make(13696, 1)->exact());  // 107·128
  CHECK(!rotation::try_make(10920, 1)->exact());  // order 5460 alone
}

TEST_CASE("a rotation is undone, along rows and columns, in float and double, whatever the strides") {
  inline_executor exec;
  for (const index_t n : {1, 3, 12, 36, 77, 576, 1000}) {
    const auto q = make_rotation(n, 3);
    const index_t m = 21;
    matrix<float> w(m, n);
    for (index_t i = 0; i < w.data.size(); ++i)
      w.data[i] = static_cast<float>(random::gaussian(1, 2, static_cast<std::uint64_t>(i)));
    auto by_rows = w;
    matrix<float> by_cols(n, m);
    for (index_t r = 0; r < m; ++r)
      for (index_t c = 0; c < n; ++c) by_cols(c, r) = w(r, c);
    REQUIRE(q.try_rotate_rows(exec, by_rows.view()));
    REQUIRE(q.try_rotate_columns(exec, by_cols.view()));
    double norm = 0, rotated = 0;
    for (index_t r = 0; r < m; ++r)
      for (index_t c = 0; c < n; ++c) {
        norm += static_cast<double>(w(r, c)) * static_cast<double>(w(r, c));
        rotated += static_cast<double>(by_rows(r, c)) * static_cast<double>(by_rows(r, c));
        CHECK(by_rows(r, c) == by_cols(c, r));
      }
    CAPTURE(n);
    CHECK(std::fabs(rotated / norm - 1) < 1e-5);
    REQUIRE(q.try_restore_rows(exec, by_rows.view()));
    double worst = 0;
    for (index_t i = 0; i < w.data.size(); ++i)
      worst = std::max(worst, std::fabs(static_cast<double>(by_rows.data[i] - w.data[i])));
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("every hundredth order up to 32768 is orthogonal to 1e-5 in float, by what it does to random vectors") {
  inline_executor exec;
  const index_t pairs = 2;
  for (index_t n = 1; n <= 32768; n += n < 200 ? 17 : 991) {
    const auto q = make_rotation(n, 5);
    matrix<float> x(pairs, n);
    for (index_t i = 0; i < x.data.size(); ++i)
      x.data[i] = static_cast<float>(random::gaussian(8, 1, static_cast<std::uint64_t>(i)));
    auto y = x;
    REQUIRE(q.try_rotate_rows(exec, y.view()));
    for (index_t i = 0; i < pairs; ++i)
      for (index_t j = 0; j <= i; ++j) {
        double before = 0, after = 0;
        for (index_t c = 0; c < n; ++c) {
          before += static_cast<double>(x(i, c)) * static_cast<double>(x(j, c));
          after += static_cast<double>(y(i, c)) * static_cast<double>(y(j, c));
        }
        CAPTURE(n, q.factors(), i, j);
        CHECK(std::fabs(after - before) < 1e-5 * static_cast<double>(n));
      }
  }
}

TEST_CASE("a spike is spread: no coordinate keeps more than a part in √n") {
  inline_executor exec;
  for (const index_t n : {64, 576, 1000, 13696}) {
    const auto q = make_rotation(n, 11);
    for (const index_t at : {index_t{0}, n / 2, n - 1}) {
      matrix<double> x(1, n);
      x(0, at) = 1;
      REQUIRE(q.try_rotate_rows(exec, x.view()));
      double largest = 0;
      for (const double v : x.data) largest = std::max(largest, std::fabs(v));
      CAPTURE(n, at, q.factors());
      CHECK(largest * std::sqrt(static_cast<double>(n)) < 6);
    }
  }
}

TEST_CASE("a rotation depends on seed and stream, and gives the same bits for 1, 2, 3, 7 and 64 workers") {
  const auto q = make_rotation(148, 3, 1);
  matrix<float> w(300, 148);
  for (index_t i = 0; i < w.data.size(); ++i)
    w.data[i] = static_cast<float>(random::gaussian(1, 0, static_cast<std::uint64_t>(i)));
  inline_executor one;
  auto wanted = w;
  REQUIRE(q.try_rotate_rows(one, wanted.view()));
  for (const int workers : {2, 3, 7, 64}) {
    threads exec{workers};
    auto got = w;
    REQUIRE(q.try_rotate_rows(exec, got.view()));
    CHECK(got == wanted);
  }
  auto other = w;
  REQUIRE(make_rotation(148, 3, 2).try_rotate_rows(one, other.view()));
  CHECK(!(other == wanted));
}

TEST_CASE("bad operands of a rotation are named") {
  inline_executor exec;
  matrix<float> w(3, 5);
  const auto s = make_rotation(4, 1).try_rotate_rows(exec, w.view());
  REQUIRE(!s);
  CHECK(s.error().code == errc::shape_mismatch);
  CHECK(s.error().got == "3 x 5");
  CHECK(s.error().wanted == "3 x 4");
  CHECK(!rotation::try_make(-1, 1));
}

TEST_CASE("without signs the transform is orthogonal, the same each time and another one than with signs") {
  for (const index_t n : {1, 12, 16, 36, 7}) {
    const auto q = dense<double>(value_or_throw(rotation::try_make_without_signs(n)));
    INFO("order " << n);
    CHECK(departure_from_orthogonal(q) < 1e-13);
    CHECK(q == dense<double>(value_or_throw(rotation::try_make_without_signs(n))));
    CHECK_FALSE((n > 1 && q == dense<double>(value_or_throw(rotation::try_make(n, 1)))));
  }
  const auto q = dense<double>(value_or_throw(rotation::try_make_without_signs(16)));
  for (index_t i = 0; i < 16; ++i) CHECK(std::fabs(q(0, i) - 0.25) < 1e-15);  // all of row 0 of Sylvester's matrix
}
