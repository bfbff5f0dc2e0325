// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/random/test_matrix.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/threads.hpp>

namespace tests {

using namespace resect;
using random::block_origin;
using random::gaussian_matrix;
using random::rademacher_matrix;
using resect::index_t;

static_assert(random::test_matrix<gaussian_matrix> && random::test_matrix<rademacher_matrix>);

template <class M, class T>
std::vector<T> filled(const M& omega, index_t rows, index_t cols, block_origin origin = {}) {
  std::vector<T> out(static_cast<std::size_t>(rows * cols));
  inline_executor exec;
  REQUIRE(random::try_fill(exec, omega, matrix_view<T>{out.data(), rows, cols}, origin));
  return out;
}

template <class M>
void blocks_equal_the_whole(const M& omega) {
  constexpr index_t rows = 70, cols = 300;
  const auto whole = filled<M, double>(omega, rows, cols);
  const matrix_view<const double> all{whole.data(), rows, cols};
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c) REQUIRE(all(r, c) == omega(r, c));

  inline_executor exec;
  for (const block_origin at : {block_origin{0, 0}, {3, 1}, {40, 127}, {69, 128}, {33, 131}}) {
    const index_t m = rows - at.row, n = 150;
    std::vector<float> storage(static_cast<std::size_t>(2 * m * n), 7.0f);
    const matrix_view<float> row_major{storage.data(), m, n, 2 * n, 2}, column_major{storage.data(), m, n, 1, m};
    for (const auto& block : {row_major, column_major}) {
      REQUIRE(random::try_fill(exec, omega, block, at));
      for (index_t r = 0; r < m; ++r)
        for (index_t c = 0; c < n; ++c) REQUIRE(block(r, c) == static_cast<float>(omega(at.row + r, at.col + c)));
    }
  }
  // A wider matrix begins with the narrower one.
  const auto wider = filled<M, double>(omega, rows, cols + 77);
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c) REQUIRE(wider[static_cast<std::size_t>(r * (cols + 77) + c)] == all(r, c));
}

TEST_CASE("an element of a test matrix depends on its position alone: blocks equal the whole") {
  blocks_equal_the_whole(gaussian_matrix{7, 3});
  blocks_equal_the_whole(rademacher_matrix{7, 3});
}

TEST_CASE("row 0 of a test matrix is the stream, and rows, columns, seeds and streams differ") {
  const random::philox_stream s{7, 3};
  for (index_t c = 0; c < 300; ++c) {
    REQUIRE(gaussian_matrix{7, 3}(0, c) == random::gaussian(s, static_cast<std::uint64_t>(c)));
    REQUIRE(rademacher_matrix{7, 3}(0, c) == random::rademacher(s, static_cast<std::uint64_t>(c)));
  }
  const double x = gaussian_matrix{7, 3}(5, 8);
  CHECK(x != gaussian_matrix{7, 3}(8, 5));
  CHECK(x != gaussian_matrix{7, 3}(5, 9));
  CHECK(x != gaussian_matrix{7, 4}(5, 8));
  CHECK(x != gaussian_matrix{8, 3}(5, 8));
  CHECK(x != gaussian_matrix{7, 3}(5 + (index_t{1} << 40), 8));
}

TEST_CASE("the number of workers changes nothing") {
  const gaussian_matrix omega{1, 2};
  const auto one = filled<gaussian_matrix, float>(omega, 100, 9);
  for (const int workers : {1, 2, 3, 7}) {
    threads pool{workers};
    std::vector<float> out(900);
    REQUIRE(random::try_fill(pool, omega, matrix_view<float>{out.data(), 100, 9}));
    CHECK(out == one);
  }
}

template <class M>
void moments(const M& omega, double fourth) {
  constexpr index_t rows = 512, cols = 256;
  const auto x = filled<M, double>(omega, rows, cols);
  const double n = static_cast<double>(x.size());
  double m1 = 0, m2 = 0, m4 = 0, across = 0, down = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    m1 += x[i] / n;
    m2 += x[i] * x[i] / n;
    m4 += x[i] * x[i] * x[i] * x[i] / n;
    if (i % cols != 0) across += x[i] * x[i - 1] / n;
    if (i >= cols) down += x[i] * x[i - cols] / n;
  }
  // Five standard errors each.
  const double se = 5 / std::sqrt(n);
  CHECK(std::fabs(m1) < se);
  CHECK(std::fabs(m2 - 1) <= se * std::sqrt(fourth - 1) + 1e-12);
  CHECK(std::fabs(m4 - fourth) <= se * (fourth > 1 ? std::sqrt(96.0) : 0) + 1e-12);
  CHECK(std::fabs(across) < se);
  CHECK(std::fabs(down) < se);
}

TEST_CASE("entries have mean 0, variance 1, the fourth moment of their kind and independent neighbours") {
  moments(gaussian_matrix{99, 1}, 3);
  moments(rademacher_matrix{99, 1}, 1);
}

// E ‖xᵀΩ‖²/k = ‖x‖² with variance (E ω⁴ − 3)·Σx⁴/k + 2‖x‖⁴/k.
TEST_CASE("projections on k columns keep squared lengths on average, within five computed standard errors") {
  constexpr index_t n = 40, k = 20000;
  std::vector<double> x(n);
  double norm2 = 0, norm4 = 0;
  for (index_t i = 0; i < n; ++i) {
    x[static_cast<std::size_t>(i)] = 1.0 / static_cast<double>(1 + i);
    const double square = x[static_cast<std::size_t>(i)] * x[static_cast<std::size_t>(i)];
    norm2 += square;
    norm4 += square * square;
  }
  const auto projected = [&](const auto& omega) {
    const auto values = filled<std::remove_cvref_t<decltype(omega)>, double>(omega, n, k);
    double sum = 0;
    for (index_t c = 0; c < k; ++c) {
      double dot = 0;
      for (index_t r = 0; r < n; ++r)
        dot += x[static_cast<std::size_t>(r)] * values[static_cast<std::size_t>(r * k + c)];
      sum += dot * dot;
    }
    return sum / static_cast<double>(k);
  };
  const double variance = 2 * norm2 * norm2 / static_cast<double>(k);
  CHECK(std::fabs(projected(gaussian_matrix{4, 4}) - norm2) < 5 * std::sqrt(variance));
  CHECK(std::fabs(projected(rademacher_matrix{4, 4}) - norm2) <
        5 * std::sqrt(variance - 2 * norm4 / static_cast<double>(k)));
}

TEST_CASE("a block that cannot be filled is refused and stays as it was") {
  std::vector<float> out(12, 3.0f);
  inline_executor exec;
  const gaussian_matrix omega{1};
  const auto s = random::try_fill(exec, omega, matrix_view<float>{out.data(), 3, 4}, {-1, 0});
  REQUIRE_FALSE(s);
  CHECK(s.error().code == errc::invalid_argument);
  CHECK(s.error().got == "-1, 0");
  CHECK_FALSE(random::try_fill(exec, omega, matrix_view<float>{out.data(), 3, 4, 2}));
  CHECK_FALSE(random::try_fill(exec, omega, matrix_view<float>{nullptr, 3, 4}));
  CHECK(out == std::vector<float>(12, 3.0f));
  CHECK_THROWS_AS(random::fill(exec, omega, matrix_view<float>{nullptr, 3, 4}), resect::exception);
}

}  // namespace tests
