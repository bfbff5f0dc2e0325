// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/range_finder.hpp>

using namespace resect;

namespace {

using planted::widen;
using resect::index_t;

TEMPLATE_TEST_CASE("a range of low rank is found with every direction asked for, by any number of power iterations", "",
                   float, double) {
  using T = TestType;
  cpu exec;
  const auto sigma = planted::spectrum(30, [](double i) { return i < 5 ? 1 / (1 + i) : 0.0; });
  const auto w = planted::narrow<T>(planted::with_spectrum(40, 30, sigma, 3));
  for (const int power_iterations : {0, 1, 3})
    for (const index_t k : {5, 8, 30}) {
      const auto q = factor::try_find_range<T>(exec, w.view(), k, power_iterations, 1);
      REQUIRE(q);
      CHECK((q->rows == 40 && q->cols == k));
      CHECK(planted::orthonormality_error(widen(q->view())) < 400 * planted::unit<T>);
      const auto basis = widen(q->view());
      const auto kept = planted::product(basis, planted::product(planted::transposed(basis), widen(w.view())));
      CHECK(planted::frobenius(planted::difference(widen(w.view()), kept)) < 400 * planted::unit<T>);
    }
  const auto wide = factor::try_find_range<T>(exec, matrix_view<const T>(w.view()).transposed(), 5, 1, 1);
  REQUIRE(wide);
  CHECK((wide->rows == 30 && wide->cols == 5));
}

TEST_CASE("a range that cannot be searched is refused by name, and nothing is thrown") {
  cpu exec;
  const matrix<float> w(4, 5);
  const auto refused = [&](matrix_view<const float> a, index_t k, int power_iterations) {
    const auto q = factor::try_find_range<float>(exec, a, k, power_iterations, 1);
    REQUIRE_FALSE(q);
    return std::string(q.error().message().view());
  };
  constexpr index_t most = std::numeric_limits<index_t>::max();
  CHECK(refused(w.view(), -1, 1) == "invalid argument: k: got -1, wanted 1 to 4");
  CHECK(refused(w.view(), 0, 1) == "invalid argument: k: got 0, wanted 1 to 4");
  CHECK(refused(w.view(), 5, 1) == "invalid argument: k: got 5, wanted 1 to 4");
  CHECK(refused(w.view(), most, 1).substr(0, 19) == "invalid argument: k");
  CHECK(refused(w.view(), 2, -1) == "invalid argument: power_iterations: got -1, wanted at least 0");
  CHECK(refused({w.data.data(), -4, 5}, 2, 1) == "shape mismatch: W: got -4 x 5, wanted extents that are not negative");
  CHECK(refused({nullptr, 4, 5}, 2, 1) == "null pointer: W: got null, wanted data for 4 x 5 elements");
  CHECK(refused({w.data.data(), 4, 5, -5, 1}, 2, 1) == "bad stride: W: got strides -5, 1, wanted strides >= 0");
  CHECK(refused({w.data.data(), most, most}, 2, 1).substr(0, 17) == "shape mismatch: W");
  CHECK(refused({w.data.data(), 0, 5}, 1, 1) ==
        "invalid argument: W: got 0 x 5, wanted at least one row and one column");
  matrix<float> spoiled(4, 5);
  spoiled(2, 3) = std::numeric_limits<float>::infinity();
  CHECK(refused(spoiled.view(), 2, 1).substr(0, 13) == "not finite: Y");
}

}  // namespace
