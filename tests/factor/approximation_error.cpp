// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/factor/approximation_error.hpp>

using namespace resect;

namespace {

using planted::widen;
using resect::index_t;

TEMPLATE_TEST_CASE("the range of a matrix: largest element, norm, and the first element that is not finite", "", float,
                   double) {
  using T = TestType;
  cpu exec;
  for (const auto& [m, n] : {std::pair<index_t, index_t>{1, 1}, {3, 70001}, {500, 3}, {37, 41}, {1000, 130}}) {
    auto w = planted::gaussian<T>(m, n, 4);
    w(m / 2, n / 3) = T(-50);
    const auto range = linalg::range_of<T>(exec, w.view());
    CHECK(range.largest == 50);
    CHECK(range.finite());
    const double norm = planted::frobenius(widen(w.view()));
    CHECK(std::fabs(range.frobenius - norm) <= 1e-11 * norm);
    for (const int workers : {2, 7}) {
      const threads pool{workers};
      CHECK(linalg::range_of<T>(pool, w.view()).frobenius == range.frobenius);
    }
    auto spoiled = w;
    spoiled(m - 1, n - 1) = std::numeric_limits<T>::quiet_NaN();
    spoiled(m / 2, n / 3) = std::numeric_limits<T>::infinity();
    const auto bad = linalg::range_of<T>(exec, spoiled.view());
    CHECK_FALSE(bad.finite());
    const bool only_one = m == 1 && n == 1;
    CHECK((bad.bad_row == (only_one ? 0 : m / 2) && bad.bad_col == (only_one ? 0 : n / 3)));
  }
  const T top = std::ldexp(T(1), std::numeric_limits<T>::max_exponent - 3),
          bottom = std::numeric_limits<T>::denorm_min();
  for (const T size : {top, bottom * 16}) {
    const T pair[] = {3 * (size / 4), 4 * (size / 4)};
    const auto range = linalg::range_of<T>(exec, matrix_view<const T>{pair, 1, 2});
    CHECK(std::fabs(range.frobenius / (5 * (static_cast<double>(size) / 4)) - 1) < 1e-15);
  }
  const matrix<T> zero(3, 3);
  CHECK(linalg::range_of<T>(exec, zero.view()).frobenius == 0);
  CHECK(linalg::range_of<T>(exec, matrix<T>(0, 3).view()).finite());
}

TEMPLATE_TEST_CASE("the measured Frobenius error is that of the numbers, slice by slice", "", float, double) {
  using T = TestType;
  cpu exec;
  for (const index_t m : {1, 30, 384, 385, 900}) {
    const auto w = planted::gaussian<T>(m, 25, 1), l = planted::gaussian<T>(m, 3, 2),
               r = planted::gaussian<T>(3, 25, 3);
    const auto error = factor::try_frobenius_error<T>(exec, w.view(), l.view(), r.view());
    REQUIRE(error);
    const double want =
        planted::frobenius(planted::difference(widen(w.view()), planted::product(widen(l.view()), widen(r.view()))));
    CHECK(std::fabs(*error - want) <= 20 * planted::unit<T> * want);
    const auto exact = factor::try_frobenius_error<T>(exec, matrix<T>(m, 25).view(), l.view(), matrix<T>(3, 25).view());
    REQUIRE(exact);
    CHECK(*exact == 0);
  }
}

TEMPLATE_TEST_CASE("the spectral error lies between its two bounds, no further apart than stated", "", float, double) {
  using T = TestType;
  cpu exec;
  const auto l = planted::gaussian<T>(60, 4, 2), r = planted::gaussian<T>(4, 45, 3);
  for (const double decay : {0.0, 0.01, 0.3, 3.0}) {
    const auto sigma = planted::spectrum(45, [&](double i) { return std::exp(-decay * i); });
    auto w = planted::with_spectrum(60, 45, sigma, 7);
    const auto product = planted::product(widen(l.view()), widen(r.view()));
    for (resect::index_t i = 0; i < w.data.size(); ++i) w.data[i] += product.data[i];
    const auto narrow = planted::narrow<T>(w);
    int above = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto found = factor::try_spectral_error<T>(exec, narrow.view(), l.view(), r.view(), {.seed = seed});
      REQUIRE(found);
      CHECK(found->at_least <= 1 + 2000 * planted::unit<T>);
      CHECK(found->at_most >= 1 - 2000 * planted::unit<T>);
      CHECK(found->at_most <= std::pow(8 * std::sqrt(45.0) * 1.6, 0.2));  // no probe is longer than 1.6·√n
      CHECK(found->at_least >= 0.8);
      if (decay >= 0.3) CHECK(found->at_most <= 2);
      const auto one = factor::try_spectral_error<T>(exec, narrow.view(), l.view(), r.view(),
                                                     {.probes = 1, .power_iterations = 20, .seed = seed});
      REQUIRE(one);
      above += one->at_most >= 1 - 2000 * planted::unit<T>;
      if (decay >= 0.3) CHECK(std::fabs(one->at_least - 1) < 1e-3);
    }
    CHECK(above >= 15);
  }
}

TEST_CASE("without an error both bounds are zero; huge and tiny errors neither overflow nor vanish") {
  cpu exec;
  const auto l = planted::gaussian<double>(20, 2, 2), r = planted::gaussian<double>(2, 15, 3);
  const auto none =
      factor::try_spectral_error<double>(exec, matrix<double>(20, 15).view(), matrix<double>(20, 2).view(), r.view());
  REQUIRE(none);
  CHECK(none->at_least == 0);
  CHECK(none->at_most == 0);
  for (const double scale : {1e250, 1e-250}) {
    auto w = planted::with_spectrum(20, 15, planted::spectrum(15, [](double i) { return 1 / (1 + i); }), 3);
    for (double& x : w.data) x *= scale;
    const auto found = factor::try_spectral_error<double>(exec, w.view(), matrix<double>(20, 2).view(), r.view());
    REQUIRE(found);
    CHECK(found->at_least / scale > 0.9);
    CHECK(found->at_most / scale < 2);
  }
}

TEST_CASE("errors of subnormal numbers are bounded but for the rounding that is stated") {
  cpu exec;
  const double smallest = std::numeric_limits<float>::denorm_min();
  for (const index_t n : {5, 40})
    for (const double scale : {1e-40, 1e-42, 1e-44}) {
      auto w = planted::with_spectrum(n, n, planted::spectrum(n, [](double i) { return 1 / (1 + i); }), 3);
      for (double& x : w.data) x *= scale;
      const auto narrow = planted::narrow<float>(w);
      const auto found = factor::try_spectral_error<float>(exec, narrow.view(), matrix<float>(n, 1).view(),
                                                           matrix<float>(1, n).view());
      REQUIRE(found);
      double norm = 0;  // of what the narrow matrix holds, by power iterations
      matrix<double> x(n, 1);
      for (index_t i = 0; i < n; ++i) x(i, 0) = 1 + static_cast<double>(i % 3);
      const auto a = widen(narrow.view());
      for (int i = 0; i < 200; ++i) {
        x = planted::product(a, x);
        for (double& e : x.data) e /= scale;
        x = planted::product(planted::transposed(a), x);
        norm = planted::frobenius(x);
        for (double& e : x.data) e /= norm;
      }
      norm = std::sqrt(norm * scale);
      CHECK(found->at_least <= norm + std::sqrt(static_cast<double>(n)) * static_cast<double>(n + 2) * smallest);
    }
}

TEST_CASE("factors that do not fit, and senseless options, are refused by name") {
  cpu exec;
  const matrix<float> w(4, 6), l(4, 2), r(2, 6);
  const auto refused = [](const auto& result) {
    REQUIRE_FALSE(result);
    return std::string(result.error().message().view());
  };
  CHECK(refused(factor::try_frobenius_error<float>(exec, w.view(), r.view(), r.view())) ==
        "shape mismatch: L: got 2 x 6, wanted 4 x 6");
  CHECK(refused(factor::try_frobenius_error<float>(exec, w.view(), l.view(), w.view())) ==
        "shape mismatch: R: got 4 x 6, wanted 2 x 6");
  CHECK(refused(factor::try_spectral_error<float>(exec, w.view(), l.view(), w.view())) ==
        "shape mismatch: R: got 4 x 6, wanted 2 x 6");
  CHECK(refused(factor::try_spectral_error<float>(exec, w.view(), l.view(), r.view(), {.probes = 0})) ==
        "invalid argument: options: got 0 probes, 2 power iterations, wanted at least 1 and 0");
  CHECK(refused(factor::try_spectral_error<float>(exec, w.view(), l.view(), r.view(), {.power_iterations = -1})) ==
        "invalid argument: options: got 6 probes, -1 power iterations, wanted at least 1 and 0");
}

}  // namespace
