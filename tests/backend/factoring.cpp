// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>

#include <backend/factoring.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/truncated_svd.hpp>

using namespace resect;

namespace {

using resect::index_t;  // and not the one of <strings.h>

// --- the least that a backend for float can be: the members that the concepts name, made of plain loops -----------

struct tasks {
  using space = host_space;
  void bulk(index_t n, function_ref<void(index_t)> f) {
    for (index_t i = n; i-- > 0;) f(i);
  }
};
struct products {
  status try_gemm(float alpha, matrix_view<const float> a, matrix_view<const float> b, float beta,
                  matrix_view<float> c) {
    return plain(alpha, a, b, beta, c);
  }
  status try_gemm(double alpha, matrix_view<const double> a, matrix_view<const double> b, double beta,
                  matrix_view<double> c) {
    return plain(alpha, a, b, beta, c);
  }

 private:
  template <class T>
  static status plain(T alpha, matrix_view<const T> a, matrix_view<const T> b, T beta, matrix_view<T> c) {
    for (index_t i = 0; i < c.rows; ++i)
      for (index_t j = 0; j < c.cols; ++j) {
        T s = 0;
        for (index_t p = 0; p < a.cols; ++p) s += a(i, p) * b(p, j);
        c(i, j) = alpha * s + (beta == T{0} ? T{0} : beta * c(i, j));
      }
    return {};
  }
};
struct cholesky {
  result<cholesky_outcome> try_cholesky(matrix_view<double> a) {
    for (index_t j = 0; j < a.rows; ++j)
      for (index_t i = j; i < a.rows; ++i) {
        double s = a(i, j);
        for (index_t p = 0; p < j; ++p) s -= a(i, p) * a(j, p);
        if (i == j && !(s > 0)) return cholesky_outcome{j};
        a(i, j) = i == j ? std::sqrt(s) : s / a(j, j);
      }
    return cholesky_outcome{};
  }
};
struct solve_of_cores {
  status try_solve_right(matrix_view<const double> l, matrix_view<double> x) { return plain(l, x); }

 protected:
  template <class T>
  static status plain(matrix_view<const T> l, matrix_view<T> x) {
    for (index_t i = 0; i < x.rows; ++i)
      for (index_t j = 0; j < x.cols; ++j) {
        for (index_t p = 0; p < j; ++p) x(i, j) -= x(i, p) * l(j, p);
        x(i, j) /= l(j, j);
      }
    return {};
  }
};
struct solve : solve_of_cores {
  using solve_of_cores::try_solve_right;
  status try_solve_right(matrix_view<const float> l, matrix_view<float> x) { return plain(l, x); }
};
struct eigen {  // two-sided cyclic Jacobi
  result<eigen_outcome> try_symmetric_eigen(matrix_view<double> a, vector_view<double> w) {
    const index_t n = a.rows;
    matrix<double> s(n, n), v(n, n);
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) s(i, j) = a(std::max(i, j), std::min(i, j)), v(i, j) = i == j;
    for (int sweep = 0; sweep < 15; ++sweep)
      for (index_t p = 0; p < n; ++p)
        for (index_t q = p + 1; q < n; ++q) {
          const double angle = 0.5 * std::atan2(2 * s(p, q), s(p, p) - s(q, q)), c = std::cos(angle),
                       d = std::sin(angle);
          const auto turn = [&](double& x, double& y) {
            const double keep = x;
            x = c * keep + d * y, y = c * y - d * keep;
          };
          for (index_t r = 0; r < n; ++r) turn(s(r, p), s(r, q));
          for (index_t r = 0; r < n; ++r) turn(s(p, r), s(q, r));
          for (index_t r = 0; r < n; ++r) turn(v(r, p), v(r, q));
        }
    for (index_t c = 0; c < n; ++c) {  // selection sort, columns along
      index_t least = c;
      for (index_t j = c; j < n; ++j)
        if (s(j, j) < s(least, least)) least = j;
      w[c] = s(least, least), s(least, least) = s(c, c);
      for (index_t r = 0; r < n; ++r) a(r, c) = v(r, least), v(r, least) = v(r, c);
    }
    return eigen_outcome{true};
  }
};
struct least : tasks, products, cholesky, solve, eigen {};

static_assert(dense_backend<least, float> && dense_backend<least, double>);
static_assert(factoring_backend<least, float> && factoring_backend<least, double>);
static_assert(panel_backend<least, float> && panel_backend<least, double>);
static_assert(factoring_backend<cpu<>, float> && factoring_backend<cpu<threads>, double>);

// one member less
struct no_tasks : products, cholesky, solve, eigen {
  using space = host_space;
};
struct no_space : products, cholesky, solve, eigen {
  void bulk(index_t, function_ref<void(index_t)>) {}
};
struct no_products : tasks, cholesky, solve, eigen {};
struct no_cholesky : tasks, products, solve, eigen {};
struct no_solve : tasks, products, cholesky, eigen {};
struct no_float_solve : tasks, products, cholesky, solve_of_cores, eigen {};
struct no_eigen : tasks, products, cholesky, solve {};
struct only_float_products : tasks, cholesky, solve, eigen {
  status try_gemm(float, matrix_view<const float>, matrix_view<const float>, float, matrix_view<float>) { return {}; }
};
struct bare_cholesky : tasks, products, solve, eigen {  // says nothing of failure
  status try_cholesky(matrix_view<double>) { return {}; }
};
struct bare_eigen : tasks, products, cholesky, solve {
  status try_symmetric_eigen(matrix_view<double>, vector_view<double>) { return {}; }
};
static_assert(!factoring_backend<no_tasks, float> && !factoring_backend<no_space, float>);
static_assert(!factoring_backend<no_products, float> && !factoring_backend<no_cholesky, float>);
static_assert(!factoring_backend<no_solve, float> && !factoring_backend<no_eigen, float>);
static_assert(!factoring_backend<no_float_solve, float> && factoring_backend<no_float_solve, double>);
static_assert(!factoring_backend<only_float_products, float>);
static_assert(!factoring_backend<bare_cholesky, float> && !factoring_backend<bare_eigen, float>);
static_assert(!factoring_backend<inline_executor, float> && !factoring_backend<least, int>);

// A backend of another space without memory of its own, and one without a core.
struct on_a_device {
  using space = cuda_space;
  cpu<> host;
  void bulk(index_t, function_ref<void(index_t)>) {}
  template <class T>
  status try_gemm(T, matrix_view<const T, cuda_space>, matrix_view<const T, cuda_space>, T,
                  matrix_view<T, cuda_space>) {
    return {};
  }
  template <class T>
  status try_solve_right(matrix_view<const T, cuda_space>, matrix_view<T, cuda_space>) {
    return {};
  }
  cpu<>& core() noexcept { return host; }
};
static_assert(dense_backend<on_a_device, float> && !memory_backend<on_a_device, float>);
static_assert(!factoring_backend<on_a_device, float> && core_backend<cpu<>> && !core_backend<on_a_device>);

template <class B, class T>
constexpr bool orthonormalizes = requires(B& b, matrix_view<T> y) { linalg::try_orthonormalize(b, y); };
static_assert(orthonormalizes<least, float> && orthonormalizes<least, const double> && !orthonormalizes<least, int>);
static_assert(!orthonormalizes<no_eigen, float> && !orthonormalizes<on_a_device, float>);

TEST_CASE("the least backend satisfies the checks of a backend") {
  least exec;
  factoring::solve_is_within_its_bound<float>(exec);
  factoring::solve_is_within_its_bound<double>(exec);
  factoring::check_eigen<double>(exec, factoring::positive_definite<double>(30, 2), 0);
}

TEMPLATE_TEST_CASE("the least backend runs every algorithm, with the results of cpu", "", float, double) {
  using T = TestType;
  least exec;
  cpu eigen_exec;
  const double u = factoring::unit<T>;
  auto w = factoring::gaussian<T>(40, 26, 3);
  for (index_t r = 0; r < 40; ++r)
    for (index_t c = 0; c < 26; ++c) w(r, c) *= std::pow(T(0.7), T(c));
  const auto own = linalg::try_orthonormalize(exec, w.view()), other = linalg::try_orthonormalize(eigen_exec, w.view());
  REQUIRE(own);
  REQUIRE(other);
  CHECK(own->rank == 26);
  for (index_t i = 0; i < own->r.data.size(); ++i)
    CHECK(std::fabs(own->r.data[i] - other->r.data[i]) <= 500 * u * std::fabs(own->r(0, 0)));

  for (const index_t rank : {3, 26}) {
    const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = rank});
    const auto same = factor::try_truncated_svd(eigen_exec, w.view(), {.rank = rank});
    REQUIRE(svd);
    REQUIRE(same);
    CHECK(svd->quality.converged);
    for (index_t i = 0; i < svd->s.size(); ++i)
      CHECK(std::fabs(svd->s[i] - same->s[i]) <= 50 * u * svd->quality.frobenius_norm);
    const auto pair = factor::balanced_factors(*svd);
    matrix<T> dense(40, 26), y(5, 40), want(5, 40);
    REQUIRE(pair.try_to_dense(exec, dense.view()));
    const auto x = factoring::gaussian<T>(5, 26, 4);
    std::vector<T> work(pair.workspace_size(5));
    REQUIRE(pair.try_apply(exec, x.view(), y.view(), std::span<T>(work)));
    REQUIRE(exec.try_gemm(T(1), x.view(), dense.view().transposed(), T(0), want.view()));
    for (index_t i = 0; i < y.data.size(); ++i)
      CHECK(std::fabs(static_cast<double>(y.data[i]) - static_cast<double>(want.data[i])) <=
            400 * u * svd->quality.frobenius_norm);
  }
}

struct no_convergence : cpu<> {
  int asked = 0;
  result<eigen_outcome> try_symmetric_eigen(matrix_view<double> a, vector_view<double>) {
    ++asked;
    for (index_t i = 0; i < a.rows; ++i)
      for (index_t j = 0; j < a.rows; ++j) a(i, j) = std::numeric_limits<double>::quiet_NaN();
    return eigen_outcome{false};
  }
};

TEST_CASE("an eigendecomposition that does not converge costs time, not the result") {
  no_convergence exec;
  cpu reference;
  const auto w = factoring::gaussian<double>(50, 31, 9);
  const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 31});
  const auto same = factor::try_truncated_svd(reference, w.view(), {.rank = 31});
  REQUIRE(svd);
  REQUIRE(same);
  CHECK(exec.asked == 1);
  CHECK(svd->quality.converged);
  for (index_t i = 0; i < 31; ++i) CHECK(std::fabs(svd->s[i] - same->s[i]) < 1e-13);
}

struct fails_after : cpu<> {
  int calls = 0;
  result<cholesky_outcome> try_cholesky(matrix_view<double> a) {
    if (calls-- == 0) return error{errc::out_of_memory, "workspace", "", ""};
    return cpu<>::try_cholesky(a);
  }
};

TEST_CASE("an error of the backend comes out of every depth") {
  const auto w = factoring::gaussian<float>(50, 40, 9);
  int calls = 0;
  for (;; ++calls) {
    fails_after exec;
    exec.calls = calls;
    const auto svd = factor::try_truncated_svd(exec, w.view(), {.rank = 5});
    if (svd) break;
    CHECK(svd.error().code == errc::out_of_memory);
    CHECK(svd.error().operand == "workspace");
  }
  CHECK(calls == 16);  // two factors for each of three powers of the first block and of five blocks in the space
}

// --- cpu ----------------------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("cpu: a Cholesky factor is within its bound in every layout", "", float, double) {
  cpu exec;
  factoring::cholesky_is_within_its_bound<TestType>(exec);
}
TEMPLATE_TEST_CASE("cpu: a matrix that is not positive definite is no error, and the column is named", "", float,
                   double) {
  cpu exec;
  factoring::cholesky_names_the_column_that_fails<TestType>(exec);
}
TEMPLATE_TEST_CASE("cpu: a triangular solve is within its bound in every layout, and reads no upper triangle", "",
                   float, double) {
  cpu exec;
  factoring::solve_is_within_its_bound<TestType>(exec);
}
TEMPLATE_TEST_CASE("cpu: eigenvectors and eigenvalues are within their bounds in every layout", "", float, double) {
  cpu exec;
  factoring::eigenvectors_are_within_their_bounds<TestType>(exec);
}
TEST_CASE("cpu: a factorization names the operand that does not fit") {
  cpu exec;
  factoring::factorizations_refuse_what_does_not_fit(exec);
}

TEMPLATE_TEST_CASE("cpu: factorizations have the same bits for any number of workers", "", float, double) {
  using T = TestType;
  cpu exec;
  const auto a = factoring::positive_definite<T>(150, 1), x = factoring::gaussian<T>(700, 150, 2);
  auto l = a, q = x, v = a;
  std::vector<T> w(150);
  REQUIRE(exec.try_cholesky(l.view()));
  REQUIRE(exec.try_solve_right(l.view(), q.view()));
  REQUIRE(exec.try_symmetric_eigen(v.view(), vector_view<T>{w.data(), 150}));
  for (const int workers : {1, 2, 3, 7, 64}) {
    cpu pool{threads{workers}};
    auto l2 = a, q2 = x, v2 = a;
    std::vector<T> w2(150);
    REQUIRE(pool.try_cholesky(l2.view()));
    REQUIRE(pool.try_solve_right(l2.view(), q2.view()));
    REQUIRE(pool.try_symmetric_eigen(v2.view(), vector_view<T>{w2.data(), 150}));
    CHECK(l2 == l);
    CHECK(q2 == q);
    CHECK(v2 == v);
    CHECK(w2 == w);
  }
}

}  // namespace
