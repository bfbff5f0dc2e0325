// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/factor/truncated_svd.hpp>

using namespace resect;

namespace {

using planted::widen;
using resect::index_t;

template <class T>
factor::low_rank<T> random_pair(index_t m, index_t n, index_t r) {
  return {planted::gaussian<T>(m, r, 1), planted::gaussian<T>(r, n, 2)};
}

TEMPLATE_TEST_CASE("applying the pair is applying its product, within the stated bound", "", float, double) {
  using T = TestType;
  cpu exec;
  for (const index_t tokens : {0, 1, 7, 40})
    for (const index_t rank : {1, 5, 30}) {
      const auto pair = random_pair<T>(35, 50, rank);
      CHECK((pair.rows() == 35 && pair.cols() == 50 && pair.rank() == rank));
      const auto x = planted::gaussian<T>(tokens, 50, 3);
      matrix<T> y(tokens, 35);
      std::vector<T> work(pair.workspace_size(tokens) + 3, T(-8));
      REQUIRE(pair.try_apply(exec, x.view(), y.view(), std::span<T>(work)));
      for (std::size_t i = pair.workspace_size(tokens); i < work.size(); ++i) CHECK(work[i] == T(-8));
      const auto want = planted::product(
          widen(x.view()), planted::transposed(planted::product(widen(pair.l.view()), widen(pair.r.view()))));
      auto absolute = [](matrix<double> a) {
        for (double& e : a.data) e = std::fabs(e);
        return a;
      };
      const auto size = planted::product(
          planted::product(absolute(widen(x.view())), planted::transposed(absolute(widen(pair.r.view())))),
          planted::transposed(absolute(widen(pair.l.view()))));
      for (resect::index_t i = 0; i < y.data.size(); ++i)
        CHECK(std::fabs(static_cast<double>(y.data[i]) - want.data[i]) <=
              static_cast<double>(50 + rank + 4) * planted::unit<T> * size.data[i]);
      // the same into a transposed output, from strided activations
      matrix<T> columns(35, tokens);
      REQUIRE(pair.try_apply(exec, x.view(), columns.view().transposed(), std::span<T>(work)));
      for (index_t t = 0; t < tokens; ++t)
        for (index_t c = 0; c < 35; ++c)
          CHECK(std::fabs(static_cast<double>(columns(c, t)) - static_cast<double>(y(t, c))) <=
                1000 * planted::unit<T> * 50);
    }
}

TEST_CASE("a dense copy is the product") {
  cpu exec;
  const auto pair = random_pair<double>(9, 12, 4);
  const auto dense = pair.to_dense(exec);
  CHECK(planted::frobenius(planted::difference(dense, planted::product(pair.l, pair.r))) < 1e-14);
}

TEMPLATE_TEST_CASE("balanced factors: their product is the decomposition, and each has the norms √s", "", float,
                   double) {
  using T = TestType;
  cpu exec;
  const auto w = planted::gaussian<T>(44, 31, 6);
  const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 7});
  REQUIRE(svd);
  const auto pair = factor::balanced_factors(*svd);
  CHECK((pair.l.rows == 44 && pair.l.cols == 7 && pair.r.rows == 7 && pair.r.cols == 31));
  for (index_t i = 0; i < 7; ++i) {
    double l = 0, r = 0;
    for (index_t j = 0; j < 44; ++j) l = std::hypot(l, static_cast<double>(pair.l(j, i)));
    for (index_t j = 0; j < 31; ++j) r = std::hypot(r, static_cast<double>(pair.r(i, j)));
    const double root = std::sqrt(svd->s[i]);
    CHECK(std::fabs(l - root) <= 40 * planted::unit<T> * root);
    CHECK(std::fabs(r - root) <= 40 * planted::unit<T> * root);
  }
  matrix<T> dense(44, 31);
  REQUIRE(pair.try_to_dense(exec, dense.view()));
  const double error = planted::frobenius(planted::difference(widen(w.view()), widen(dense.view())));
  CHECK(std::fabs(error - svd->quality.frobenius_error) <= 1e-4 * error);
}

TEST_CASE("a pair refuses what does not fit, by name, and writes nothing") {
  cpu exec;
  const auto pair = random_pair<float>(4, 6, 2);
  matrix<float> x(3, 6), y(3, 4);
  std::fill(y.data.begin(), y.data.end(), 9.0f);
  std::vector<float> work(6);
  const auto message = [&](matrix_view<const float> in, matrix_view<float> out, std::span<float> room) {
    const auto s = pair.try_apply(exec, in, out, room);
    REQUIRE_FALSE(s);
    CHECK(y.data == array<float>(12, 9.0f));
    return std::string(s.error().message().view());
  };
  CHECK(message(y.view(), y.view(), work) == "shape mismatch: X: got 3 x 4, wanted 3 x 6");
  CHECK(message(x.view(), x.view(), work) == "shape mismatch: Y: got 3 x 6, wanted 3 x 4");
  CHECK(message(x.view(), y.view(), std::span<float>(work).first(5)) ==
        "shape mismatch: work: got 5 elements, wanted at least 6");
  const auto s = pair.try_to_dense(exec, y.view());
  REQUIRE_FALSE(s);
  CHECK(s.error().operand == "W");

  const factor::low_rank<float> torn{matrix<float>(4, 3), matrix<float>(2, 6)};
  for (const auto& refused : {torn.check(), torn.try_apply(exec, x.view(), y.view(), std::span<float>(work)),
                              torn.try_to_dense(exec, matrix<float>(4, 6).view())}) {
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message() == "shape mismatch: R: got 2 x 6, wanted 3 x 6");
  }
  CHECK(pair.check());
  CHECK_THROWS_AS(pair.apply(exec, y.view(), x.view(), std::span<float>(work)), resect::exception);
}

}  // namespace
