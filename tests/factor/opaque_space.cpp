// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// All of factor/ in a memory space that the host cannot touch: what it gives has the bits of cpu.
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

#include <factor/planted.hpp>
#include <support/catch.hpp>
#include <support/opaque_space.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor.hpp>

using namespace resect;

namespace {

using resect::index_t;
using space = opaque::opaque_space;

static_assert(panel_backend<opaque::backend, float> && panel_backend<cpu<>, float>);
static_assert(!host_executor<opaque::backend>);

template <class T, class B>
matrix<T, space> placed(B& exec, const matrix<T>& from) {
  auto to = value_or_throw(try_make_matrix<T>(exec, from.rows, from.cols));
  value_or_throw(try_transfer(exec, from.view(), to.view()));
  return to;
}
template <class T>
matrix<T> fetched(opaque::backend& exec, const matrix<T, space>& from) {
  matrix<T> to(from.rows, from.cols);
  value_or_throw(try_transfer(exec, from.view(), to.view()));
  return to;
}

template <class T>
void same_bits(opaque::backend& exec, const factor::truncated_decomposition<T, space>& there,
               const factor::truncated_decomposition<T>& here) {
  CHECK(there.s == here.s);
  CHECK(there.spectrum == here.spectrum);
  CHECK(fetched(exec, there.u) == here.u);
  CHECK(fetched(exec, there.v) == here.v);
  const auto near = [](double a, double b) { return std::fabs(a - b) <= 1e-9 * std::fabs(b) || !(b == b); };
  CHECK(near(there.quality.frobenius_error, here.quality.frobenius_error));
  CHECK(near(there.quality.spectral_error.at_least, here.quality.spectral_error.at_least));
}

TEST_CASE("a truncated SVD of memory that the host cannot touch has the bits of cpu, by every method") {
  cpu host;
  opaque::backend exec;
  const auto sigma = planted::spectrum(60, [](double i) { return 1 / (1 + i); });
  auto w = planted::narrow<float>(planted::with_spectrum(90, 60, sigma, 3));
  auto of_rank_5 = planted::narrow<float>(
      planted::product(planted::gaussian<double>(60, 5, 1), planted::gaussian<double>(5, 80, 2)));
  const auto iterated = factor::svd_method::subspace_iteration;
  for (const factor::truncated_svd_options& options : {factor::truncated_svd_options{.rank = 12, .oversampling = 20},
                                                       {.rank = 12, .method = iterated},
                                                       {.rank = 60},
                                                       {.rank = 0, .error = 0.2},
                                                       {.rank = 0, .method = iterated, .energy = 0.95}})
    for (const matrix<float>* a : {&w, &of_rank_5}) {
      const auto there = placed(exec, *a);
      const auto svd = factor::try_truncated_svd(exec, there.view(), options);
      const auto want = factor::try_truncated_svd(host, a->view(), options);
      REQUIRE(svd);
      REQUIRE(want);
      same_bits(exec, *svd, *want);
      const auto pair = factor::try_balanced_factors(exec, *svd);
      REQUIRE(pair);
      const auto balanced = factor::try_balance(exec, *pair);
      REQUIRE(balanced);
      const auto expected = factor::balanced_factors(*want);
      CHECK(fetched(exec, pair->r) == expected.r);
      CHECK(fetched(exec, balanced->factors.l) == factor::try_balance(host, expected)->factors.l);
    }
}

TEST_CASE("maps, weighted pairs and products of a pair run where the host cannot touch memory, with the bits of cpu") {
  cpu host;
  opaque::backend exec;
  const auto w = planted::gaussian<double>(40, 30, 1), l = planted::gaussian<double>(40, 4, 2),
             r = planted::gaussian<double>(4, 30, 3), x = planted::gaussian<double>(5, 30, 4);
  const auto w_there = placed(exec, w), l_there = placed(exec, l), r_there = placed(exec, r), x_there = placed(exec, x);
  const auto residual = [](auto a, auto b, auto c) { return factor::sum_map{a, factor::product_map{b, c}, 1.0, -0.5}; };
  const factor::truncated_svd_options options{.rank = 6, .method = factor::svd_method::subspace_iteration};
  using there = factor::dense_map<double, space>;
  using here = factor::dense_map<double>;
  const auto svd = factor::try_truncated_svd_of_map<double>(
      exec, residual(there{w_there.view()}, there{l_there.view()}, there{r_there.view()}), options);
  const auto want =
      factor::try_truncated_svd_of_map<double>(host, residual(here{w.view()}, here{l.view()}, here{r.view()}), options);
  REQUIRE(svd);
  REQUIRE(want);
  same_bits(exec, *svd, *want);

  const auto h = planted::product(planted::transposed(w), w);
  const auto pair = factor::try_weighted_low_rank(exec, w_there.view(), h, {.rank = 5});
  const auto expected = factor::try_weighted_low_rank(host, w.view(), h, {.rank = 5});
  REQUIRE(pair);
  REQUIRE(expected);
  CHECK(fetched(exec, pair->factors.l) == expected->factors.l);
  CHECK(fetched(exec, pair->factors.r) == expected->factors.r);
  CHECK(pair->quality.loss == expected->quality.loss);

  auto y = placed(exec, matrix<double>(5, 40)), dense = placed(exec, matrix<double>(40, 30)),
       work = placed(exec, matrix<double>(5, 5));
  REQUIRE(pair->factors.try_apply(exec, x_there.view(), y.view(), std::span<double>(work.data.data(), 25)));
  REQUIRE(pair->factors.try_to_dense(exec, dense.view()));
  CHECK(fetched(exec, dense) == expected->factors.to_dense(host));
  const auto error = factor::try_frobenius_error<double>(exec, w_there.view(), l_there.view(), r_there.view());
  REQUIRE(error);
  CHECK(std::fabs(*error - *factor::try_frobenius_error<double>(host, w.view(), l.view(), r.view())) < 1e-10);
}

TEST_CASE("an error of memory that cannot be had comes out by name, and a NaN is named by its place") {
  opaque::backend exec;
  auto w = planted::gaussian<float>(20, 10, 1);
  w(7, 4) = std::numeric_limits<float>::quiet_NaN();
  const auto spoiled = placed(exec, w);
  const auto svd = factor::try_truncated_svd(exec, spoiled.view(), {.rank = 2});
  REQUIRE_FALSE(svd);
  CHECK(svd.error().message() == "not finite: W: got NaN or infinity at (7, 4), wanted finite elements");
  while (exec.try_allocate<float>(1 << 20)) {
  }
  w(7, 4) = 1;
  const auto none = factor::try_truncated_svd(exec, spoiled.view(), {.rank = 2});
  REQUIRE_FALSE(none);
}

// A backend that scales columns as if they were host memory.
struct careless : opaque::backend {};
status try_scale_columns(careless& exec, const opaque::view<const float>& from, std::span<const column_scale> by,
                         const opaque::view<float>& to) {
  return resect::try_scale_columns(
      exec.core(), matrix_view<const float>{from.data, from.rows, from.cols, from.row_stride, from.col_stride}, by,
      exec.opened(to));
}

// Whether a truncated SVD on this backend ends well, in a child.
template <class Backend>
bool survives() {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    Backend exec;
    const auto w = placed(exec, planted::gaussian<float>(20, 16, 1));
    std::_Exit(factor::try_truncated_svd(exec, w.view(), {.rank = 3}) ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_CASE("a planted host access is noticed: the child that makes it does not end well") {
  CHECK(survives<opaque::backend>());
  CHECK_FALSE(survives<careless>());
}

}  // namespace
