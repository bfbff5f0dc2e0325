// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <iostream>

#include <backend/factoring.hpp>

// Built against a BLAS where one was found; RESECT_TEST_BLAS says so.
#ifndef RESECT_TEST_BLAS

TEST_CASE("cblas: skipped without a BLAS") {
  std::cout << "skipped: built without a BLAS and LAPACK (Debian: libopenblas-dev)\n";
}

#else

#include <resect/backend/cblas.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/apply.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/hessian.hpp>
#include <resect/quant/quantize.hpp>

using namespace resect;

namespace {

using resect::index_t;

static_assert(factoring_backend<cblas<>, float> && factoring_backend<cblas<threads>, double>);
static_assert(!dense_backend<cblas<>, int>);

TEMPLATE_TEST_CASE("cblas: a product differs from cpu's by no more than both bounds, in every pair of layouts", "",
                   float, double) {
  using T = TestType;
  cblas exec;
  cpu reference;
  for (const auto& [m, n, k] : {std::tuple<index_t, index_t, index_t>{1, 1, 1},
                                {1, 9, 5},
                                {9, 1, 5},
                                {7, 8, 1},
                                {33, 20, 300},
                                {4, 3, 0},
                                {0, 3, 4},
                                {70, 65, 64}})
    for (int how_a = 0; how_a < factoring::layouts; ++how_a)
      for (int how_b = 0; how_b < factoring::layouts; ++how_b)
        for (int how_c = 0; how_c < 3; ++how_c)
          for (const T beta : {T(0), T(0.5)}) {
            factoring::placed<T> a(m, k, how_a), b(k, n, how_b), c(m, n, how_c), d(m, n, how_c);
            const auto fill = [](matrix_view<T> to, std::uint64_t seed) {
              const auto from = factoring::gaussian<T>(to.rows, to.cols, seed);
              for (index_t i = 0; i < to.rows; ++i)
                for (index_t j = 0; j < to.cols; ++j) to(i, j) = from(i, j);
            };
            fill(a.view, 1), fill(b.view, 2), fill(c.view, 3), fill(d.view, 3);
            if (beta == T(0) && !c.view.empty()) c.view(0, 0) = std::numeric_limits<T>::quiet_NaN();
            const auto before_a = a.memory, before_b = b.memory;
            REQUIRE(exec.try_gemm(T(-0.75), a.view, b.view, beta, c.view));
            REQUIRE(reference.try_gemm(T(-0.75), a.view, b.view, beta, d.view));
            CHECK(a.memory == before_a);
            CHECK(b.memory == before_b);
            CHECK(c.surroundings_unchanged());
            for (index_t i = 0; i < m; ++i)
              for (index_t j = 0; j < n; ++j) {
                double size = std::fabs(static_cast<double>(d.view(i, j)));
                for (index_t p = 0; p < k; ++p)
                  size += std::fabs(static_cast<double>(a.view(i, p)) * static_cast<double>(b.view(p, j)));
                const double off = std::fabs(static_cast<double>(c.view(i, j)) - static_cast<double>(d.view(i, j)));
                if (!(off <= 3 * static_cast<double>(k + 4) * factoring::unit<T> * size)) {
                  CAPTURE(m, n, k, how_a, how_b, how_c);
                  CHECK(off <= 3 * static_cast<double>(k + 4) * factoring::unit<T> * size);
                }
              }
          }
}

TEMPLATE_TEST_CASE("cblas: repeated rows and elements are operands too", "", float, double) {
  using T = TestType;
  cblas exec;
  const T row[3] = {1, 2, 3};
  const matrix_view<const T> repeated{row, 4, 3, 0, 1}, element{row, 3, 2, 0, 0};
  matrix<T> c(4, 2);
  REQUIRE(exec.try_gemm(T(1), repeated, element, T(0), c.view()));
  for (const T x : c.data) CHECK(x == T(6));
}

TEMPLATE_TEST_CASE("cblas: factorizations keep to the bounds that cpu keeps to", "", float, double) {
  cblas exec;
  factoring::cholesky_is_within_its_bound<TestType>(exec);
  factoring::cholesky_names_the_column_that_fails<TestType>(exec);
  factoring::solve_is_within_its_bound<TestType>(exec);
  factoring::eigenvectors_are_within_their_bounds<TestType>(exec);
}

TEST_CASE("cblas: what does not fit is refused by name, extents beyond 32 bits too") {
  cblas exec;
  factoring::factorizations_refuse_what_does_not_fit(exec);
  float x = 1, y = 2;
  const index_t much = index_t{1} << 31;
  const auto refused = [&](matrix_view<const float> a, matrix_view<const float> b, matrix_view<float> c) {
    const auto s = exec.try_gemm(1.0f, a, b, 0.0f, c);
    REQUIRE_FALSE(s);
    CHECK(y == 2);
    return factoring::message(s.error());
  };
  CHECK(
      refused({&x, 1, much, 0, 0}, {&x, much, 1, 0, 0}, {&y, 1, 1}) ==
      "unsupported: A: got 1 x 2147483648, strides 0, 0, wanted at most 2147483647 each: a BLAS with 32-bit integers");
  CHECK(refused({&x, 2, 1, much, 1}, {&x, 1, 1}, {&y, 2, 1}).rfind("unsupported: A", 0) == 0);
  CHECK(refused({&x, 2, 1, 1, 1}, {&x, 1, 1}, {&y, 2, 1, much, 1}).rfind("unsupported: C", 0) == 0);
  CHECK(refused({&x, 2, 2}, {&x, 2, 2}, {&y, 2, 2, 5, 2}) == "bad stride: C: got strides 5, 2, wanted one stride of 1");
}

TEMPLATE_TEST_CASE("cblas: the truncated decomposition is that of cpu, within rounding", "", float, double) {
  using T = TestType;
  cblas exec;
  cpu reference;
  auto w = factoring::gaussian<T>(120, 90, 3);
  for (index_t r = 0; r < 120; ++r)
    for (index_t c = 0; c < 90; ++c) w(r, c) /= T(1 + c);
  for (const index_t rank : {10, 90}) {
    const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = rank});
    const auto same = factor::try_truncated_svd(reference, w.view(), {.rank = rank});
    REQUIRE(svd);
    REQUIRE(same);
    CHECK(svd->quality.converged);
    for (index_t i = 0; i < svd->s.size(); ++i)
      CHECK(std::fabs(svd->s[i] - same->s[i]) <= 100 * factoring::unit<T> * svd->quality.frobenius_norm);
  }
}

TEST_CASE("cblas: GPTQ with sweeps and refits loses what it loses on cpu, and H is gathered the same") {
  cblas exec;
  cpu reference;
  const index_t n = 90;
  const auto x = factoring::gaussian<float>(200, n, 4);
  const auto w = factoring::gaussian<float>(30, n, 5);
  quant::hessian h(n), same(n);
  REQUIRE(h.try_add(exec, x));
  REQUIRE(same.try_add(reference, x));
  for (index_t i = 0; i < n; ++i) CHECK(std::fabs(h(i, i) / same(i, i) - 1) < 1e-13);
  const quant::gptq_options options{.sweeps = 2, .refits = 1, .result = quant::keep::best};
  const auto a = quant::try_quantize(exec, w, quant::affine<3>{.group = 32}, quant::gptq{h, options});
  const auto b = quant::try_quantize(reference, w, quant::affine<3>{.group = 32}, quant::gptq{same, options});
  REQUIRE(a);
  REQUIRE(b);
  CHECK(std::fabs(a->outcome.loss / b->outcome.loss - 1) < 1e-2);
  CHECK(a->outcome.loss < 0.8 * a->outcome.nearest_loss);
}

TEST_CASE("cblas: products with packed weights differ from cpu's by no more than both bounds") {
  cblas exec;
  cpu reference;
  const auto w = factoring::gaussian<float>(70, 90, 5), x = factoring::gaussian<float>(9, 90, 6);
  const auto bytes = quant::try_pack(*quant::try_quantize(reference, w, quant::affine<4>{.group = 32}));
  REQUIRE(bytes);
  const auto packed = quant::packed_matrix<quant::affine<4> >::try_make(bytes->view());
  REQUIRE(packed);
  scratch memory;
  matrix<float> y(9, 70), same(9, 70);
  REQUIRE(quant::try_apply(exec, *packed, x.view(), y.view(), memory));
  REQUIRE(quant::try_apply(reference, *packed, x.view(), same.view(), memory));
  matrix<float> values(70, 90);
  packed->decode_rows(0, values.view());
  for (index_t r = 0; r < y.rows; ++r)
    for (index_t c = 0; c < y.cols; ++c) {
      double size = 0;
      for (index_t k = 0; k < 90; ++k)
        size += std::fabs(static_cast<double>(x(r, k)) * static_cast<double>(values(c, k)));
      INFO("element (" << r << ", " << c << ")");
      CHECK(std::fabs(static_cast<double>(y(r, c)) - static_cast<double>(same(r, c))) <= 2 * 90 * 0x1p-24 * size);
    }
}

TEST_CASE("cblas: tasks run on the executor that it was given") {
  cblas pool{threads{3}};
  std::vector<int> slots(50, 0);
  pool.bulk(50, [&](index_t i) { slots[static_cast<std::size_t>(i)] += 1; });
  CHECK(slots == std::vector<int>(50, 1));
}

}  // namespace
#endif
