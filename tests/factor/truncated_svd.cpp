// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>
#include <string>

#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/truncated_svd.hpp>

using namespace resect;

namespace {

using planted::widen;
using resect::index_t;

template <class T>
matrix<double> reconstruct(const factor::truncated_decomposition<T>& svd) {
  auto u = widen(svd.u.view());
  for (index_t r = 0; r < u.rows; ++r)
    for (index_t c = 0; c < u.cols; ++c) u(r, c) *= svd.s[c];
  return planted::product(u, planted::transposed(widen(svd.v.view())));
}

// ‖W − U·diag(s)·Vᵀ‖_F in double, after checking what holds for every W: shapes, orthonormal factors, descending
// values, the sign rule, and that the reported errors are those of these very factors.
template <class T>
double checked_error(const matrix<double>& w, const factor::truncated_decomposition<T>& svd, index_t rank,
                     index_t searched) {
  REQUIRE(svd.u.rows == w.rows);
  REQUIRE(svd.u.cols == rank);
  REQUIRE(svd.v.rows == w.cols);
  REQUIRE(svd.v.cols == rank);
  REQUIRE(static_cast<index_t>(svd.s.size()) == rank);
  CHECK(svd.quality.converged);
  const double bound = 2 * linalg::orthonormality_bound<T>(std::max(w.rows, w.cols), searched);
  CHECK(planted::orthonormality_error(widen(svd.u.view())) <= bound);
  CHECK(planted::orthonormality_error(widen(svd.v.view())) <= bound);
  for (index_t i = 0; i < rank; ++i) {
    CHECK(svd.s[i] >= 0);
    if (i > 0) CHECK(svd.s[i] <= svd.s[i - 1]);
    double extreme = 0;
    for (index_t r = 0; r < w.rows; ++r)
      if (std::fabs(static_cast<double>(svd.u(r, i))) > std::fabs(extreme)) extreme = static_cast<double>(svd.u(r, i));
    CHECK(extreme > 0);
  }
  const auto left = planted::difference(w, reconstruct(svd));
  const double error = planted::frobenius(left), norm = planted::frobenius(w);
  CHECK(std::fabs(svd.quality.frobenius_norm - norm) <= 1e-12 * norm);
  CHECK(std::fabs(svd.quality.frobenius_error - error) <= 0.01 * error + 40 * planted::unit<T> * norm);
  const double spectral = planted::singular_values(left).front(), rounding = 40 * planted::unit<T> * norm;
  CHECK(svd.quality.spectral_error.at_least <= spectral + rounding);
  CHECK(svd.quality.spectral_error.at_most >= spectral - rounding);
  CHECK(svd.quality.spectral_error.at_most <= svd.quality.frobenius_error + rounding);
  return error;
}

struct shape {
  index_t m, n;
};

TEMPLATE_TEST_CASE("every direction searched: the exact decomposition up to rounding, for every shape", "", float,
                   double) {
  using T = TestType;
  cpu exec;
  for (const auto& [m, n] :
       {shape{1, 1}, {1, 9}, {9, 1}, {2, 3}, {20, 20}, {64, 30}, {30, 64}, {5, 70}, {70, 5}, {66, 66}}) {
    const auto w = planted::gaussian<T>(m, n, 21);
    const auto wide = widen(w.view());
    const auto sigma = planted::singular_values(wide);
    const index_t smaller = std::min(m, n);
    for (const index_t rank : {index_t{1}, (smaller + 1) / 2, smaller}) {
      const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = rank, .oversampling = smaller - rank});
      REQUIRE(svd);
      CAPTURE(m, n, rank);
      const double norm = planted::frobenius(wide), error = checked_error(wide, *svd, rank, smaller);
      const double rounding = 16 * std::sqrt(static_cast<double>(smaller)) * planted::unit<T> * norm;
      for (index_t i = 0; i < rank; ++i) CHECK(std::fabs(svd->s[i] - sigma[static_cast<std::size_t>(i)]) <= rounding);
      CHECK(std::fabs(error - planted::tail(sigma, rank)) <= rounding);
      if (rank < smaller) CHECK(error > 100 * rounding);
    }
  }
}

TEMPLATE_TEST_CASE("the error is near the optimum for spectra that fall and for flat ones", "", float, double) {
  using T = TestType;
  cpu exec;
  struct example {
    const char* what;
    double (*sigma)(double);
    double excess;  // allowed over Eckart–Young
  };
  const example examples[] = {{"1/i", [](double i) { return 1 / (i + 1); }, 1.01},
                              {"1/sqrt i", [](double i) { return 1 / std::sqrt(i + 1); }, 1.02},
                              {"0.8^i", [](double i) { return std::pow(0.8, i); }, 1.001},
                              {"flat", [](double) { return 1.0; }, 1.03},
                              {"a step", [](double i) { return i < 12 ? 10.0 : 0.1; }, 1.001}};
  for (const auto& e : examples)
    for (const auto& [m, n] : {shape{130, 100}, {100, 160}}) {
      const auto sigma = planted::spectrum(100, e.sigma);
      const auto w = planted::narrow<T>(planted::with_spectrum(m, n, sigma, 8));
      const auto wide = widen(w.view());
      for (const index_t rank : {1, 12, 30}) {
        const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = rank});
        REQUIRE(svd);
        CAPTURE(e.what, m, n, rank);
        const double error = checked_error(wide, *svd, rank, rank + 10), best = planted::tail(sigma, rank);
        CHECK(error <= e.excess * best);
        CHECK(error >= best * (1 - 1e-3) - 40 * planted::unit<T> * planted::frobenius(wide));
        CHECK(svd->s.front() <= sigma.front() * (1 + 1e-5));
        if (e.sigma(1) < e.sigma(0)) CHECK(std::fabs(svd->s.front() / sigma.front() - 1) < 1e-3);
      }
    }
}

TEST_CASE("vectors of well separated values are those that were planted") {
  cpu exec;
  const index_t m = 120, n = 90;
  const auto sigma = planted::spectrum(90, [](double i) { return std::pow(0.5, i); });
  const auto u = planted::orthonormal(m, 90, 2 * 4), v = planted::orthonormal(n, 90, 2 * 4 + 1);
  const auto w = planted::with_spectrum(m, n, sigma, 4);
  const auto krylov = factor::try_truncated_svd(exec, w.view(), {.rank = 20});
  const auto iterated = factor::try_truncated_svd(
      exec, w.view(), {.rank = 20, .oversampling = 5, .method = factor::svd_method::subspace_iteration});
  for (const auto* svd : {&krylov, &iterated})
    for (index_t i = 0; i < 20; ++i) {
      REQUIRE(*svd);
      double uu = 0, vv = 0;
      for (index_t r = 0; r < m; ++r) uu += u(r, i) * (*svd)->u(r, i);
      for (index_t r = 0; r < n; ++r) vv += v(r, i) * (*svd)->v(r, i);
      CHECK(std::fabs(std::fabs(uu) - 1) < 1e-12);
      CHECK(std::fabs(std::fabs(vv) - 1) < 1e-12);
      CHECK(uu * vv > 0);
      CHECK(std::fabs((*svd)->s[i] / sigma[static_cast<std::size_t>(i)] - 1) < 1e-9);
    }
}

TEST_CASE("in double, small singular values are not lost to a squared condition number") {
  cpu exec;
  const auto sigma = planted::spectrum(40, [](double i) { return std::pow(10.0, -13 * i / 39); });
  for (const auto& [m, n] : {shape{80, 40}, {40, 80}}) {
    const auto w = planted::with_spectrum(m, n, sigma, 15);
    const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 40});
    REQUIRE(svd);
    for (index_t i = 0; i < 40; ++i) CHECK(std::fabs(svd->s[i] - sigma[static_cast<std::size_t>(i)]) < 2e-15);
  }
  const auto w = planted::with_spectrum(200, 150, sigma, 15);
  const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 30});
  REQUIRE(svd);
  for (index_t i = 0; i < 30; ++i) CHECK(std::fabs(svd->s[i] - sigma[static_cast<std::size_t>(i)]) < 2e-15);
  CHECK(checked_error(w, *svd, 30, 40) <= 1.01 * planted::tail(sigma, 30));
}

TEMPLATE_TEST_CASE("a matrix of lower rank than asked for: zeros, and still orthonormal factors", "", float, double) {
  using T = TestType;
  cpu exec;
  for (const auto& [m, n] : {shape{90, 60}, {60, 90}, {40, 40}})
    for (const index_t true_rank : {0, 1, 5})
      for (const index_t rank : {index_t{6}, index_t{25}, std::min(m, n)}) {
        const auto sigma = planted::spectrum(true_rank, [](double i) { return 3 - i / 4; });
        const auto w = planted::narrow<T>(planted::with_spectrum(m, n, sigma, 16));
        const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = rank});
        REQUIRE(svd);
        CAPTURE(m, n, true_rank, rank);
        const double norm = planted::frobenius(widen(w.view()));
        const double error = checked_error(widen(w.view()), *svd, rank, std::min(rank + 10, std::min(m, n)));
        const index_t k = std::min(rank + 10, std::min(m, n));
        const double rounding = 16 * std::sqrt(static_cast<double>(k)) * planted::unit<T> * norm;
        CHECK(error <= rounding);
        for (index_t i = 0; i < rank; ++i) {
          const double sigma_i = i < true_rank ? sigma[static_cast<std::size_t>(i)] : 0;
          CHECK(std::fabs(svd->s[i] - sigma_i) <= rounding);
        }
      }
}

TEST_CASE("a zero matrix and a matrix of equal elements") {
  cpu exec;
  matrix<float> w(30, 20);
  auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 3, .oversampling = 2});
  REQUIRE(svd);
  CHECK(svd->s == array<double>{0, 0, 0});
  CHECK(svd->quality.frobenius_error == 0);
  CHECK(svd->quality.spectral_error.at_most == 0);
  CHECK(planted::orthonormality_error(widen(svd->u.view())) < 1e-5);
  CHECK(planted::orthonormality_error(widen(svd->v.view())) < 1e-5);
  std::fill(w.data.begin(), w.data.end(), -2.5f);
  svd = factor::try_truncated_svd(exec, w.view(), {.rank = 2, .oversampling = 1});
  REQUIRE(svd);
  CHECK(std::fabs(svd->s[0] - 2.5 * std::sqrt(600.0)) < 1e-4);
  CHECK(svd->s[1] < 1e-4);
}

TEMPLATE_TEST_CASE("the same bits for any number of workers; another seed is another draw", "", float, double) {
  using T = TestType;
  const auto w = planted::gaussian<T>(210, 333, 23);
  const factor::truncated_svd_options options{.rank = 21, .seed = 5};
  cpu exec;
  const auto want = factor::try_truncated_svd(exec, w.view(), options);
  REQUIRE(want);
  for (const int workers : {1, 2, 3, 7, 64}) {
    cpu pool{threads{workers}};
    const auto got = factor::try_truncated_svd(pool, w.view(), options);
    REQUIRE(got);
    CHECK(got->u == want->u);
    CHECK(got->v == want->v);
    CHECK(got->s == want->s);
    CHECK(got->quality.frobenius_error == want->quality.frobenius_error);
    CHECK(got->quality.spectral_error.at_least == want->quality.spectral_error.at_least);
    CHECK(got->quality.spectral_error.at_most == want->quality.spectral_error.at_most);
  }
  const auto other = factor::try_truncated_svd(exec, w.view(), {.rank = 21, .seed = 6});
  REQUIRE(other);
  CHECK_FALSE(other->s == want->s);
  CHECK(std::fabs(other->quality.frobenius_error / want->quality.frobenius_error - 1) < 0.01);
}

TEMPLATE_TEST_CASE("any strides, and the transpose, give the same decomposition; the operand stays as it was", "",
                   float, double) {
  using T = TestType;
  cpu exec;
  const index_t m = 77, n = 50;
  const auto w =
      planted::narrow<T>(planted::with_spectrum(m, n, planted::spectrum(50, [](double i) { return 1 / (i + 1); }), 2));
  const factor::truncated_svd_options options{.rank = 8, .power_iterations = 3};
  const auto want = factor::try_truncated_svd(exec, w.view(), options);
  REQUIRE(want);
  std::vector<T> memory(static_cast<std::size_t>(m * n * 8), std::numeric_limits<T>::quiet_NaN());
  for (const auto& view :
       {matrix_view<T>{memory.data(), m, n, 1, m + 2}, matrix_view<T>{memory.data(), m, n, 3 * n, 2}}) {
    for (index_t r = 0; r < m; ++r)
      for (index_t c = 0; c < n; ++c) view(r, c) = w(r, c);
    const auto before = memory;
    const auto got = factor::try_truncated_svd(exec, view, options);
    REQUIRE(got);
    CHECK(std::memcmp(memory.data(), before.data(), memory.size() * sizeof(T)) == 0);
    for (index_t i = 0; i < 8; ++i) CHECK(std::fabs(got->s[i] - want->s[i]) < 20 * planted::unit<T>);
    CHECK(planted::frobenius(planted::difference(reconstruct(*got), reconstruct(*want))) < 1000 * planted::unit<T>);
  }
  const matrix_view<const T> read_only = w.view();
  const auto got = factor::try_truncated_svd(exec, read_only.transposed(), options);
  REQUIRE(got);
  CHECK(std::fabs(got->s[0] / want->s[0] - 1) < 1e-3);
  CHECK(std::fabs(got->quality.frobenius_error / want->quality.frobenius_error - 1) < 0.01);
}

TEMPLATE_TEST_CASE("scaling by a power of two scales the values and leaves the vectors, bit for bit", "", float,
                   double) {
  using T = TestType;
  cpu exec;
  const auto w = planted::gaussian<T>(60, 45, 41);
  for (const index_t rank : {5, 45}) {
    const auto want = factor::try_truncated_svd(exec, w.view(), {.rank = rank});
    REQUIRE(want);
    const int reach = std::is_same_v<T, float> ? 90 : 900;
    for (const int exponent : {reach, -reach, 1}) {
      auto scaled = w;
      for (T& x : scaled.data) x = std::ldexp(x, exponent);
      const auto got = factor::try_truncated_svd(exec, scaled.view(), {.rank = rank});
      REQUIRE(got);
      CAPTURE(rank, exponent);
      CHECK(got->u == want->u);
      CHECK(got->v == want->v);
      for (index_t i = 0; i < want->s.size(); ++i) CHECK(got->s[i] == std::ldexp(want->s[i], exponent));
      CHECK(std::fabs(got->quality.frobenius_error - std::ldexp(want->quality.frobenius_error, exponent)) <=
            1e-6 * got->quality.frobenius_norm);
      const auto spectral = got->quality.spectral_error, plain = want->quality.spectral_error;
      CHECK(std::fabs(std::ldexp(spectral.at_least, -exponent) - plain.at_least) <= 1e-6 * plain.at_least);
      CHECK(std::fabs(std::ldexp(spectral.at_most, -exponent) - plain.at_most) <= 1e-6 * plain.at_most);
    }
  }
}

TEST_CASE("power iterations lower the error of a slowly falling spectrum, more directions too") {
  cpu exec;
  const auto sigma = planted::spectrum(120, [](double i) { return 1 / std::sqrt(i + 1); });
  const auto w = planted::with_spectrum(150, 120, sigma, 19);
  constexpr auto iterated = factor::svd_method::subspace_iteration;
  double before = 1e9;
  for (const int q : {0, 1, 2, 4}) {
    const auto svd = factor::try_truncated_svd(
        exec, w.view(), {.rank = 20, .power_iterations = q, .error_probes = 0, .method = iterated});
    REQUIRE(svd);
    CHECK(svd->quality.frobenius_error < before);
    CHECK(svd->quality.spectral_error.at_least == 0);
    CHECK(svd->quality.spectral_error.at_most == svd->quality.frobenius_error);
    before = svd->quality.frobenius_error;
  }
  const auto few = factor::try_truncated_svd(
      exec, w.view(), {.rank = 20, .oversampling = 0, .power_iterations = 0, .method = iterated});
  const auto many = factor::try_truncated_svd(
      exec, w.view(), {.rank = 20, .oversampling = 60, .power_iterations = 0, .method = iterated});
  REQUIRE(few);
  REQUIRE(many);
  CHECK(many->quality.frobenius_error < few->quality.frobenius_error);
  CHECK(few->quality.frobenius_error > 1.05 * planted::tail(sigma, 20));
}

TEST_CASE("a Krylov space that begins at a higher power reaches the error of more columns") {
  cpu exec;
  const auto w = planted::gaussian<float>(300, 260, 6);
  const double best = planted::tail(planted::singular_values(widen(w.view())), 40);
  const auto excess = [&](index_t oversampling, int powers) {
    const auto svd =
        factor::try_truncated_svd(exec, w.view(), {.rank = 40, .oversampling = oversampling, .start_powers = powers});
    REQUIRE(svd);
    return checked_error(widen(w.view()), *svd, 40, 40 + oversampling) / best - 1;
  };
  const double plain = excess(30, 0);
  CHECK(plain > 0.015);
  CHECK(excess(30, 2) < 0.6 * plain);
  CHECK(excess(30, 4) < 0.4 * plain);
  CHECK(excess(20, 4) < plain);
}

TEMPLATE_TEST_CASE("powers of the first block lose no direction: low rank, equal values, steep ones, no values", "",
                   float, double) {
  using T = TestType;
  cpu exec;
  struct example {
    const char* what;
    double (*sigma)(double);
  };
  for (const auto& e :
       {example{"rank 5", [](double i) { return i < 5 ? 1.0 : 0.0; }}, example{"equal", [](double) { return 1.0; }},
        example{"0.3^i", [](double i) { return std::pow(0.3, i); }}, example{"zero", [](double) { return 0.0; }}}) {
    const auto w = planted::narrow<T>(planted::with_spectrum(120, 90, planted::spectrum(90, e.sigma), 8));
    const auto wide = widen(w.view());
    for (const int powers : {0, 3, 9}) {
      const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 12, .start_powers = powers});
      REQUIRE(svd);
      CAPTURE(e.what, powers);
      const double error = checked_error(wide, *svd, 12, 50), norm = planted::frobenius(wide);
      CHECK(error <= 1.001 * planted::tail(planted::singular_values(wide), 12) + 40 * planted::unit<T> * norm);
    }
  }
}

TEST_CASE("what cannot be decomposed is refused, by name") {
  cpu exec;
  auto w = planted::gaussian<float>(6, 4, 1);
  const auto message = [&](auto view, const factor::truncated_svd_options& options) {
    const auto svd = factor::try_truncated_svd(exec, view, options);
    REQUIRE_FALSE(svd);
    return std::string(svd.error().message().view());
  };
  CHECK(message(w.view(), {}) == "invalid argument: rank: got 0, wanted 1 to 4");
  CHECK(message(w.view(), {.rank = 5}) == "invalid argument: rank: got 5, wanted 1 to 4");
  CHECK(message(w.view(), {.rank = 1, .oversampling = -2}) ==
        "invalid argument: options: got oversampling -2, power_iterations 2, error_probes 6, block 0, start_powers -1, "
        "wanted oversampling and start_powers at least -1, the others at least 0");
  CHECK(message(w.view(), {.rank = 1, .start_powers = -2}).find("start_powers -2") != std::string::npos);
  for (const double share : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(message(w.view(), {.energy = share}).find("energy") != std::string::npos);
    CHECK(message(w.view(), {.error = share}).find("error") != std::string::npos);
  }
  CHECK(message(w.view(), {.rank = 1, .power_iterations = -2}).find("power_iterations -2") != std::string::npos);
  CHECK(message(w.view(), {.rank = 1, .error_probes = -2}).find("error_probes -2") != std::string::npos);
  CHECK(message(matrix_view<float>{nullptr, 3, 3}, {.rank = 1}) ==
        "null pointer: W: got null, wanted data for 3 x 3 elements");
  CHECK(message(matrix_view<float>{nullptr, 0, 3}, {.rank = 1}) ==
        "invalid argument: W: got 0 x 3, wanted at least one row and one column");
  w(4, 2) = std::numeric_limits<float>::infinity();
  w(5, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(w.view(), {.rank = 1}) == "not finite: W: got NaN or infinity at (4, 2), wanted finite elements");
  w(3, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(w.view(), {.rank = 1}) == "not finite: W: got NaN or infinity at (3, 3), wanted finite elements");
  for (float& x : w.data) x = 1e37f;
  CHECK(message(w.view(), {.rank = 1}).find("Frobenius norm") != std::string::npos);
  CHECK_THROWS_AS(factor::truncated_svd(exec, w.view(), {.rank = 9}), resect::exception);
  CHECK(factor::truncated_svd(exec, planted::gaussian<float>(6, 4, 1).view(), {.rank = 2}).s.size() == 2);
}

TEST_CASE("a target takes the least rank that meets it, and says so; a limit below that rank leaves it unmet") {
  cpu exec;
  const auto sigma = planted::spectrum(150, [](double i) { return 1 / (1 + i); });
  const auto w = planted::with_spectrum(160, 150, sigma, 19);
  const double norm = planted::tail(sigma, 0);
  for (const auto method : {factor::svd_method::block_krylov, factor::svd_method::subspace_iteration})
    for (const double share : {0.5, 0.1, 0.0}) {
      index_t least = 0;
      while (least < 150 && planted::tail(sigma, least) > std::max(share, 1e-9) * norm) ++least;
      const double energy = share == 0 ? 1.0 : 1 - share * share;
      const auto by_error =
          factor::try_truncated_svd(exec, w.view(), {.method = method, .error = std::max(share, 1e-9)});
      const auto by_energy = factor::try_truncated_svd(exec, w.view(), {.method = method, .energy = energy});
      REQUIRE(by_error);
      REQUIRE(by_energy);
      CAPTURE(share, least);
      CHECK(by_error->quality.target_met);
      CHECK((by_error->s.size() >= least && by_error->s.size() <= least + 1));
      CHECK((by_energy->s.size() >= least && by_energy->s.size() <= least + 1));
    }
  const auto limited = factor::try_truncated_svd(exec, w.view(), {.rank = 7, .error = 0.1});
  REQUIRE(limited);
  CHECK(limited->s.size() == 7);
  CHECK_FALSE(limited->quality.target_met);
}

TEST_CASE("an energy of 1 is met where all directions are kept, up to rounding, and not with fewer") {
  cpu exec;
  const auto w = planted::gaussian<float>(30, 20, 5);
  const auto all = factor::try_truncated_svd(exec, w.view(), {.energy = 1});
  REQUIRE(all);
  CAPTURE(all->s.size(), all->quality.frobenius_error / all->quality.frobenius_norm);
  CHECK(all->s.size() == 20);
  CHECK(all->quality.target_met);
  const auto some = factor::try_truncated_svd(exec, w.view(), {.rank = 19, .energy = 1});
  REQUIRE(some);
  CHECK_FALSE(some->quality.target_met);
}

TEST_CASE("maps: a complete basis leaves nothing out, and terms that do not fit are named") {
  cpu exec;
  using dense = factor::dense_map<float>;
  constexpr auto iterated = factor::svd_method::subspace_iteration;
  const auto w = planted::gaussian<float>(30, 20, 6);
  const matrix<float> zero(30, 20);
  const factor::sum_map same{dense{w.view()}, dense{zero.view()}, 1, -1};
  for (const index_t rank : {20, 12}) {
    const auto map = factor::try_truncated_svd_of_map<float>(exec, same, {.rank = rank, .method = iterated});
    const auto matrix = factor::try_truncated_svd(exec, w.view(), {.rank = rank, .method = iterated});
    REQUIRE(map);
    REQUIRE(matrix);
    const double norm = matrix->quality.frobenius_norm;
    CAPTURE(rank, map->quality.frobenius_error, matrix->quality.frobenius_error);
    CHECK(std::fabs(map->quality.frobenius_error - matrix->quality.frobenius_error) <= 1e-5 * norm);
    CHECK(map->quality.frobenius_norm == Approx(norm).epsilon(1e-5));
  }
  const auto wide = planted::gaussian<float>(30, 25, 7);
  const auto refused = [&](const auto& map) {
    const auto svd = factor::try_truncated_svd_of_map<float>(exec, map, {.rank = 3, .method = iterated});
    REQUIRE_FALSE(svd);
    return std::string(svd.error().message().view());
  };
  CHECK(refused(factor::sum_map{dense{w.view()}, dense{wide.view()}, 1, -1}) ==
        "shape mismatch: second term of a sum: got 30 x 25, wanted 30 x 20, as the first");
  const factor::product_map<dense, dense> unfit{{w.view()}, {wide.view()}};
  CHECK(refused(unfit) ==
        "shape mismatch: second factor of a product: got 30 x 25, wanted 20 rows, as the first has columns");
  CHECK(refused(factor::sum_map{same, unfit, 1, 1}).find("factor of a product") != std::string::npos);
}

TEST_CASE("an oversampling that would overflow searches every direction") {
  cpu exec;
  const auto w = planted::gaussian<double>(12, 9, 2);
  const auto all = factor::try_truncated_svd(exec, w.view(), {.rank = 3, .oversampling = 6});
  const auto more =
      factor::try_truncated_svd(exec, w.view(), {.rank = 3, .oversampling = std::numeric_limits<index_t>::max()});
  REQUIRE(all);
  REQUIRE(more);
  CHECK(all->u == more->u);
}

}  // namespace
