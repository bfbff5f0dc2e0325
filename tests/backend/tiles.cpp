// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <support/catch.hpp>
#include <support/expect_error.hpp>
#include <support/instruction_sets.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/core/threads.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;

namespace {

using resect::index_t;

static_assert(tiling_backend<cpu<>, float> && tiling_backend<cpu<threads>, double>);

template <class T>
matrix<T> drawn(index_t m, index_t n, std::uint64_t seed) {
  matrix<T> out(m, n);
  for (index_t i = 0; i < out.data.size(); ++i)
    out.data[i] = static_cast<T>(random::gaussian(seed, 0, static_cast<std::uint64_t>(i)));
  return out;
}

// The product as its tiles say it; NaN where none came. A tile is overwritten after it was read, as a caller may.
template <class T, class B>
matrix<T> assembled(B& exec, matrix_view<const T> a, matrix_view<const T> b) {
  matrix<T> out(a.rows, b.cols);
  for (T& x : out.data) x = std::numeric_limits<T>::quiet_NaN();
  array<index_t> next(a.rows), wrong(a.rows);
  const auto take = [&](index_t r, index_t c, matrix_view<T> tile) {
    for (index_t i = 0; i < tile.rows; ++i) {
      wrong[r + i] += next[r + i] == c ? 0 : 1;
      next[r + i] = c + tile.cols;
      for (index_t j = 0; j < tile.cols; ++j) {
        out(r + i, c + j) = tile(i, j);
        tile(i, j) = T{-1};
      }
    }
  };
  REQUIRE(exec.try_gemm_tiles(a, b, function_ref<void(index_t, index_t, matrix_view<T>)>(take)));
  for (index_t r = 0; r < a.rows; ++r) {
    INFO("row " << r);
    CHECK(wrong[r] == 0);
    CHECK(next[r] == b.cols);
  }
  return out;
}

}  // namespace

TEMPLATE_TEST_CASE(
    "backend: tiles cover a product once, a row's in ascending order, with the bits of the whole product", "", float,
    double) {
  using T = TestType;
  struct extents {
    index_t m, n, k;
  };
  for (const auto set : tests::instruction_sets())
    for (const extents e : {extents{5, 300, 40}, {300, 700, 96}, {40, 3000, 1500}, {133, 9, 64}, {20, 30, 0}}) {
      INFO(name(set) << ", " << e.m << " x " << e.n << ", k " << e.k);
      cpu one{inline_executor{}, set};
      cpu three{threads{3}, set};
      const auto a = drawn<T>(e.m, e.k, 1), b = drawn<T>(e.n, e.k, 2);  // B as the transpose of a table
      const auto x = a.view(), y = b.view().transposed();
      const auto got = assembled<T>(one, x, y);
      CHECK(assembled<T>(three, x, y) == got);
      matrix<T> want(e.m, e.n);
      REQUIRE(one.try_gemm(T{1}, x, y, T{0}, want.view()));
      if (set != instruction_set::portable && e.m >= 8 && e.k > 0) {
        CHECK(got == want);
        continue;
      }
      double worst = 0;
      for (index_t i = 0; i < got.data.size(); ++i)
        worst = std::max(worst, std::fabs(static_cast<double>(got.data[i]) - static_cast<double>(want.data[i])));
      CHECK(worst <= 40 * static_cast<double>(e.k + 2) * static_cast<double>(std::numeric_limits<T>::epsilon()));
    }
}

TEST_CASE("backend: a product in tiles refuses operands as a product does") {
  cpu exec;
  matrix<float> a(3, 4), b(5, 6);
  const auto take = [](index_t, index_t, matrix_view<float>) { FAIL("a tile of what was refused"); };
  support::expect_error(
      exec.try_gemm_tiles(a.view(), b.view(), function_ref<void(index_t, index_t, matrix_view<float>)>(take)),
      errc::shape_mismatch, {"B", "5 x 6", "4 x 6"});
  matrix<float> none(0, 4), wide(4, 6);
  CHECK(exec.try_gemm_tiles(none.view(), wide.view(), function_ref<void(index_t, index_t, matrix_view<float>)>(take)));
}
