// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/balance.hpp>
#include <resect/factor/cost.hpp>
#include <resect/factor/weighted_low_rank.hpp>

using namespace resect;

namespace {

using planted::widen;
using resect::index_t;

// XᵀX/N of `rows` Gaussian rows whose column j has standard deviation of(j/n).
matrix<double> moments(index_t n, index_t rows, double (*of)(double)) {
  auto x = planted::gaussian<double>(rows, n, 61);
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < n; ++c)
      x(r, c) *= of(static_cast<double>(c) / static_cast<double>(n)) / std::sqrt(static_cast<double>(rows));
  return planted::product(planted::transposed(x), x);
}

struct named {
  const char* what;
  matrix<double> values;
};

std::vector<named> torture_moments(index_t n) {
  std::vector<named> out;
  out.push_back({"full", moments(n, 3 * n, [](double) { return 1.0; })});
  out.push_back({"singular", moments(n, std::max<index_t>(n / 2, 1), [](double t) { return t < 0.7 ? 1.0 : 0.0; })});
  out.push_back({"rank 1", moments(n, 1, [](double) { return 1.0; })});
  out.push_back({"condition 1e14", moments(n, 3 * n, [](double t) { return std::pow(10.0, -7 * t); })});
  out.push_back({"zero", matrix<double>(n, n)});
  return out;
}

std::vector<named> torture_weights() {
  std::vector<named> out;
  out.push_back({"more columns", planted::gaussian<double>(40, 64, 5)});
  out.push_back({"more rows", planted::gaussian<double>(90, 36, 6)});
  out.push_back({"zero", matrix<double>(24, 30)});
  out.push_back({"rank 3", planted::product(planted::gaussian<double>(48, 3, 7), planted::gaussian<double>(3, 40, 8))});
  out.push_back({"one row", planted::gaussian<double>(1, 33, 9)});
  out.push_back({"one column", planted::gaussian<double>(33, 1, 10)});
  matrix<double> repeated(40, 44);
  for (index_t i = 0; i < 40; ++i)
    for (index_t j = 0; j < 44; ++j) repeated(i, j) = (i / 4 + j) % 3 == 0 ? 1.0 : -0.5;
  out.push_back({"repeated values", repeated});
  matrix<double> same(30, 30);
  for (index_t i = 0; i < 30; ++i) same(i, i) = 2;
  out.push_back({"a multiple of the identity", same});
  return out;
}

// tr(E·H·Eᵀ)
double loss_of(const matrix<double>& e, const matrix<double>& h) {
  const auto image = planted::product(e, h);
  double sum = 0;
  for (index_t i = 0; i < e.data.size(); ++i) sum += e.data[i] * image.data[i];
  return sum;
}

matrix<double> magnitudes(matrix<double> a) {
  for (double& x : a.data) x = std::fabs(x);
  return a;
}

// Eigenvalues of A·H·Aᵀ, descending.
array<double> spectrum_of(const matrix<double>& a, const matrix<double>& h) {
  cpu exec;
  auto m = planted::product(planted::product(a, h), planted::transposed(a));
  array<double> ascending(a.rows), out(a.rows);
  REQUIRE(exec.try_symmetric_eigen(m.view(), vector_view<double>{ascending.data(), a.rows}));
  for (index_t i = 0; i < a.rows; ++i) out[i] = std::max(0.0, ascending[a.rows - 1 - i]);
  return out;
}

template <class T>
double loss_of_pair(const matrix<double>& a, const matrix<double>& h, const factor::low_rank<T>& pair) {
  return loss_of(planted::difference(a, planted::product(widen(pair.l.view()), widen(pair.r.view()))), h);
}

TEMPLATE_TEST_CASE("torture: no H and no W makes the weighted pair fail, and its loss is near the best", "", float,
                   double) {
  using T = TestType;
  cpu exec;
  for (const auto& w : torture_weights())
    for (const auto& m : torture_moments(w.values.cols)) {
      const auto a = widen(planted::narrow<T>(w.values).view()), h = widen(planted::narrow<T>(m.values).view());
      const auto lambda = spectrum_of(a, h);
      const double total = loss_of(a, h), size = loss_of(magnitudes(a), magnitudes(h));
      const auto narrow = planted::narrow<T>(a), narrow_h = planted::narrow<T>(h);
      const index_t smaller = std::min(a.rows, a.cols);
      const double sums = static_cast<double>(2 * a.cols + 8 * a.rows) * planted::unit<T>;  // of rounding in traces
      for (const index_t rank : {index_t{1}, (smaller + 2) / 3, smaller}) {
        CAPTURE(w.what, m.what, rank);
        double best = 0;
        for (index_t i = rank; i < lambda.size(); ++i) best += lambda[i];
        const double rounding = factor::weighted_loss_bound<T>() * total;
        const auto plain = factor::try_weighted_low_rank(exec, narrow.view(), narrow_h, {.rank = rank});
        const auto deep = factor::try_weighted_low_rank(
            exec, narrow.view(), narrow_h, {.rank = rank, .block = 8, .depth = factor::deep_columns(rank) / 8});
        REQUIRE(plain);
        REQUIRE(deep);
        CHECK(plain->quality.converged);
        CHECK(planted::orthonormality_error(widen(plain->factors.l.view())) <=
              2 * linalg::orthonormality_bound<T>(a.rows, static_cast<index_t>(plain->spectrum.size())));
        const double loss = loss_of_pair(a, h, plain->factors);
        CHECK(loss <= factor::default_loss_excess * best + rounding);
        CHECK(loss_of_pair(a, h, deep->factors) <= factor::deep_loss_excess * best + rounding);
        CHECK(std::fabs(plain->quality.loss - loss) <= 0.01 * loss + sums * size);
        CHECK(std::fabs(plain->quality.total - total) <= sums * size);
        CHECK(std::fabs(plain->quality.captured + loss - total) <= sums * size);
        for (index_t i = 0; i < rank; ++i) CHECK(plain->spectrum[i] <= lambda[i] + sums * size);
      }
    }
}

TEST_CASE("a hessian's packed mean and a dense H give the same pair; scales of A and H change nothing but scales") {
  cpu exec;
  quant::hessian packed(20);
  const auto x = planted::gaussian<double>(50, 20, 3);
  REQUIRE(packed.try_add(exec, x.view()));
  matrix<double> dense(20, 20);
  for (index_t i = 0; i < 20; ++i)
    for (index_t j = 0; j < 20; ++j) dense(i, j) = packed(i, j);
  auto a = planted::gaussian<float>(30, 20, 4);
  const auto one = factor::try_weighted_low_rank(exec, a.view(), packed, {.rank = 5});
  const auto two = factor::try_weighted_low_rank(exec, a, dense, {.rank = 5});
  REQUIRE(one);
  REQUIRE(two);
  CHECK(one->factors.l == two->factors.l);
  CHECK(one->factors.r == two->factors.r);
  for (float& v : a.data) v = std::ldexp(v, -60);
  for (double& v : dense.data) v = std::ldexp(v, 200);
  const auto scaled = factor::try_weighted_low_rank(exec, a, dense, {.rank = 5});
  REQUIRE(scaled);
  CHECK(scaled->factors.l == one->factors.l);
  CHECK(scaled->quality.loss == std::ldexp(one->quality.loss, 80));
  const auto unmeasured =
      factor::try_weighted_low_rank(exec, a, dense, {.rank = 5, .loss = factor::loss_report::left_out});
  REQUIRE(unmeasured);
  CHECK(unmeasured->factors.r == scaled->factors.r);
  CHECK(unmeasured->quality.captured == scaled->quality.captured);
  CHECK(std::isnan(unmeasured->quality.loss));
}

TEST_CASE("a weighted pair refuses what it cannot use, by name") {
  cpu exec;
  auto a = planted::gaussian<float>(6, 4, 1);
  auto h = moments(4, 9, [](double) { return 1.0; });
  const auto refused = [&](const factor::weighted_low_rank_options& options) {
    const auto r = factor::try_weighted_low_rank(exec, a, h, options);
    REQUIRE_FALSE(r);
    return std::string(r.error().message().view());
  };
  CHECK(refused({.rank = 0}) == "invalid argument: rank: got 0, wanted 1 to 4");
  CHECK(refused({.rank = 5}) == "invalid argument: rank: got 5, wanted 1 to 4");
  CHECK(refused({.rank = 2, .block = -1}) == "invalid argument: options: got block -1, depth 0, wanted none below 0");
  h(2, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK(refused({.rank = 2}) == "not finite: H, row 2, column 1: got nan, wanted a finite number");
  h(2, 1) = h(1, 2);
  h(1, 2) = std::numeric_limits<double>::quiet_NaN();  // above the diagonal
  CHECK(refused({.rank = 2}) == "not finite: H, row 1, column 2: got nan, wanted a finite number");
  h(1, 2) = h(2, 1) = 0, h(3, 3) = -1;
  CHECK(refused({.rank = 2}) == "invalid argument: H, row 3, column 3: got -1, wanted a diagonal of at least 0");
  h = moments(5, 9, [](double) { return 1.0; });
  CHECK(refused({.rank = 2}) == "shape mismatch: H: got 5 x 5, wanted 4 x 4");
  h = moments(4, 9, [](double) { return 1.0; });
  a(5, 2) = std::numeric_limits<float>::infinity();
  CHECK(refused({.rank = 2}) == "not finite: A: got NaN or infinity at (5, 2), wanted finite elements");
}

TEMPLATE_TEST_CASE("balancing keeps the product, and gives both factors the norms √s", "", float, double) {
  using T = TestType;
  cpu exec;
  factor::low_rank<T> pair{planted::gaussian<T>(30, 6, 1), planted::gaussian<T>(6, 22, 2)};
  for (index_t i = 0; i < 30; ++i) pair.l(i, 2) *= T(1000), pair.l(i, 5) = pair.l(i, 0);  // rank 5
  const auto balanced = factor::try_balance(exec, pair);
  REQUIRE(balanced);
  const auto want = planted::product(widen(pair.l.view()), widen(pair.r.view()));
  const auto got = planted::product(widen(balanced->factors.l.view()), widen(balanced->factors.r.view()));
  const double norm = planted::frobenius(want);
  CHECK(planted::frobenius(planted::difference(want, got)) <= 128 * 2.5 * planted::unit<T> * norm);
  CHECK(balanced->spectrum[5] <= 100 * planted::unit<T> * norm);
  for (index_t i = 0; i < 5; ++i) {
    double l = 0, r = 0;
    for (index_t j = 0; j < 30; ++j) l = std::hypot(l, static_cast<double>(balanced->factors.l(j, i)));
    for (index_t j = 0; j < 22; ++j) r = std::hypot(r, static_cast<double>(balanced->factors.r(i, j)));
    const double root = std::sqrt(balanced->spectrum[i]);
    CHECK(std::fabs(l - root) <= 100 * planted::unit<T> * root);
    CHECK(std::fabs(r - root) <= 100 * planted::unit<T> * root);
  }
}

TEST_CASE("a pair at the break-even rank costs no more than the dense matrix, and one rank more does") {
  for (const auto& [m, n] : {std::pair<index_t, index_t>{2048, 2048}, {576, 1536}, {7, 5}, {1, 1}})
    for (const double bits : {4.0, 8.0, 32.0}) {
      const index_t rank = factor::break_even_rank(m, n, 16, bits);
      CHECK(factor::cost_of_low_rank(m, n, rank, 3, bits).bytes <= factor::cost_of_dense(m, n, 3, 16).bytes);
      CHECK(factor::cost_of_low_rank(m, n, rank + 1, 3, bits).bytes > factor::cost_of_dense(m, n, 3, 16).bytes);
    }
  const index_t equal = factor::break_even_rank(2048, 2048);
  CHECK(equal == 1024);
  CHECK(factor::cost_of_low_rank(2048, 2048, equal, 5, 16).flops == factor::cost_of_dense(2048, 2048, 5, 16).flops);
  CHECK(factor::break_even_rank(0, 5) == 0);
}

}  // namespace
