// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/core/float16.hpp>
#include <resect/quant/hessian.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;
using namespace resect::quant;

namespace {

using resect::index_t;

matrix<float> activations(index_t rows, index_t n, std::uint64_t seed) {
  matrix<float> x(rows, n);
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < n; ++c)
      x(r, c) = static_cast<float>(random::gaussian(seed, 0, static_cast<std::uint64_t>(r * n + c)) *
                                       (1 + static_cast<double>(c % 5)) +
                                   (c == 3 ? 20 : 0));
  return x;
}

// The largest |h_ij − g_ij| over √(h_ii·h_jj).
double distance(const hessian& h, const hessian& g) {
  double worst = 0;
  for (index_t i = 0; i < h.size(); ++i)
    for (index_t j = 0; j <= i; ++j)
      worst = std::max(worst, std::fabs(h(i, j) - g(i, j)) / std::sqrt(h(i, i) * h(j, j)));
  return worst;
}

}  // namespace

TEST_CASE("hessian: the mean of x·xᵀ and of x, against sums by definition") {
  cpu exec;
  const index_t n = 70, rows = 900;
  const auto x = activations(rows, n, 1);
  hessian h(n);
  REQUIRE(h.try_add(exec, x));
  CHECK(h.rows() == rows);
  double worst = 0;
  for (index_t i = 0; i < n; ++i) {
    double mean = 0;
    for (index_t r = 0; r < rows; ++r) mean += static_cast<double>(x(r, i)) / rows;
    CHECK(std::fabs(h.mean(i) - mean) < 1e-12);
    for (index_t j = 0; j <= i; ++j) {
      double s = 0;
      for (index_t r = 0; r < rows; ++r) s += static_cast<double>(x(r, i)) * static_cast<double>(x(r, j)) / rows;
      worst = std::max(worst, std::fabs(h(i, j) - s));
      CHECK(h(i, j) == h(j, i));
    }
  }
  CHECK(worst < 1e-11);
  CHECK(h(3, 3) > 400);
  CHECK(h.covariance(3, 3) < 30);
}

TEST_CASE("hessian: any partition of the rows merges to one pass, to 1e-12") {
  cpu exec;
  const index_t n = 300, rows = 700;
  const auto x = activations(rows, n, 2);
  hessian whole(n);
  REQUIRE(whole.try_add(exec, x));
  for (const index_t cut : {0, 1, 350, 512, 699}) {
    hessian a(n), b(n);
    REQUIRE(a.try_add(exec, x.view().middle_rows(0, cut)));
    REQUIRE(b.try_add(exec, x.view().middle_rows(cut, rows - cut)));
    REQUIRE(b.try_merge(a));
    CAPTURE(cut);
    CHECK(b.rows() == rows);
    CHECK(distance(whole, b) < 1e-12);
  }
}

TEST_CASE("hessian: f16 and bf16 rows count as the floats that they stand for") {
  cpu exec;
  const index_t n = 20, rows = 40;
  const auto x = activations(rows, n, 3);
  matrix<bf16> narrow(rows, n);
  matrix<float> wide(rows, n);
  for (index_t i = 0; i < x.data.size(); ++i) {
    narrow.data[i] = bf16(x.data[i]);
    wide.data[i] = static_cast<float>(narrow.data[i]);
  }
  hessian a(n), b(n);
  REQUIRE(a.try_add(exec, narrow.view()));
  REQUIRE(b.try_add(exec, wide.view()));
  CHECK(a == b);
}

TEST_CASE("hessian: the same bits for 1, 2, 3, 7 and 64 workers") {
  const auto x = activations(600, 280, 4);
  hessian wanted(280);
  cpu one;
  REQUIRE(wanted.try_add(one, x));
  for (const int workers : {2, 3, 7, 64}) {
    cpu exec{threads{workers}};
    hessian got(280);
    REQUIRE(got.try_add(exec, x));
    CHECK(got == wanted);
    CHECK(got.hash() == wanted.hash());
  }
}

TEST_CASE("hessian: it carries its texts and its matrix, through merging and through storage") {
  cpu exec;
  const auto x = activations(10, 6, 5);
  const model::weight_desc q{"attn.q", 2, 0, model::weight_role::matrix, 4, 6},
      k{"attn.k", 2, 1, model::weight_role::matrix, 4, 6};
  hessian a(6), b(6), other(6);
  a.set_owner(77, q);
  b.set_owner(77, q);
  other.set_owner(77, k);
  a.add_text("stories", 1);
  a.add_text("stories", 1);
  b.add_text("stories", 1);
  b.add_text("tasks", 2);
  REQUIRE(a.try_add(exec, x));
  REQUIRE(a.try_merge(b));
  REQUIRE(a.texts().size() == 2);
  CHECK(a.texts()[1].name == "tasks");
  const auto before = a;
  const auto refused = a.try_merge(other);
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::conflict);
  CHECK(refused.error().message() == "conflict: H: got layer 2, attn.k, wanted layer 2, attn.q");
  CHECK(a == before);
  const auto restored = hessian::try_restore(6, a.rows(), a.products(), a.sums());
  REQUIRE(restored);
  CHECK(restored->products().size() == 21);
  CHECK(distance(a, *restored) < 1e-15);
}

TEST_CASE("hessian: bad rows are named and add nothing") {
  cpu exec;
  hessian h(6);
  auto x = activations(10, 6, 6);
  REQUIRE(h.try_add(exec, x));
  const auto before = h;
  x(9, 4) = std::numeric_limits<float>::infinity();
  const auto bad = h.try_add(exec, x);
  REQUIRE(!bad);
  CHECK(bad.error().message() == "not finite: X, row 9, column 4: got inf, wanted a finite number");
  matrix<float> wide(2, 7);
  CHECK(h.try_add(exec, wide).error().wanted == "2 x 6");
  CHECK(h.try_merge(hessian(5)).error().code == errc::shape_mismatch);
  CHECK(h == before);
  const array<double> short_products(20), sums(6);
  CHECK(!hessian::try_restore(6, 1, short_products.span(), sums.span()));
  array<double> products(21);
  products[2] = -1;
  CHECK(hessian::try_restore(6, 1, products.span(), sums.span()).error().operand == "H, diagonal 1");
}
