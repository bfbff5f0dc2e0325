// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/error_curve.hpp>
#include <resect/factor/leave_one_out.hpp>

using namespace resect;

namespace {

using resect::index_t;

// diag(σ): with a Gaussian Ω, every matrix of this spectrum is searched alike.
struct diagonal_map {
  const std::vector<double>* sigma;

  index_t rows() const noexcept { return static_cast<index_t>(sigma->size()); }
  index_t cols() const noexcept { return rows(); }
  template <class B>
  status try_multiply(B&, double alpha, matrix_view<const double> x, double, matrix_view<double> y) const {
    for (index_t i = 0; i < x.rows; ++i)
      for (index_t j = 0; j < x.cols; ++j) y(i, j) = alpha * (*sigma)[static_cast<std::size_t>(i)] * x(i, j);
    return {};
  }
  template <class B>
  status try_multiply_transposed(B& exec, double alpha, matrix_view<const double> x, double beta,
                                 matrix_view<double> y) const {
    return try_multiply(exec, alpha, x, beta, y);
  }
};

TEST_CASE("the leave-one-out error is within a factor of 1.5 of the true one in 95 % of seeds") {
  cpu exec;
  struct example {
    const char* what;
    double (*sigma)(double);
  };
  for (const example& e : {example{"flat", [](double) { return 1.0; }},
                           {"1/sqrt k", [](double i) { return 1 / std::sqrt(i + 1); }},
                           {"1/k", [](double i) { return 1 / (i + 1); }}})
    for (const index_t rank : {8, 32, 128})
      for (const int q : {0, 2}) {
        const index_t k = rank + 10;
        const auto sigma = planted::spectrum(rank == 128 ? 200 : 100, e.sigma);
        const int seeds = rank == 128 ? 20 : 200;
        int within = 0;
        for (int seed = 0; seed < seeds; ++seed) {
          const auto found =
              factor::try_search_range<double>(exec, diagonal_map{&sigma}, k, q, static_cast<std::uint64_t>(seed));
          REQUIRE(found);
          const auto estimate = factor::try_leave_one_out<double>(exec, *found);
          REQUIRE(estimate);
          double squares = 0;  // ‖A − QQᵀA‖²: row i of I − QQᵀ has the square 1 − ‖q_i‖²
          for (index_t i = 0; i < found->q.rows; ++i) {
            double kept = 0;
            for (index_t j = 0; j < k; ++j) kept += found->q(i, j) * found->q(i, j);
            squares +=
                std::max(0.0, 1 - kept) * sigma[static_cast<std::size_t>(i)] * sigma[static_cast<std::size_t>(i)];
          }
          const double ratio = *estimate / std::sqrt(squares);
          within += ratio < 1.5 && ratio > 1 / 1.5;
        }
        CAPTURE(e.what, rank, q, within, seeds);
        CHECK(within >= 0.95 * seeds);
      }
}

TEST_CASE("a search that exhausts the range leaves nothing out") {
  cpu exec;
  const auto sigma = planted::spectrum(40, [](double i) { return i < 5 ? 1.0 : 0.0; });
  const auto found = factor::try_search_range<double>(exec, diagonal_map{&sigma}, 12, 1, 1);
  REQUIRE(found);
  CHECK(found->exhausted);
  CHECK(factor::try_leave_one_out<double>(exec, *found).value() == 0);
}

TEST_CASE("the curve of a Gaussian matrix lies on the line of Gaussian matrices, and a falling spectrum below it") {
  for (const auto& [m, n] : {std::pair<index_t, index_t>{120, 120}, {150, 60}}) {
    const auto values = planted::singular_values(planted::gaussian<double>(m, n, 3));
    const array<double> spectrum(values);
    double norm = 0;
    for (const double s : values) norm = std::hypot(norm, s);
    const auto curve = factor::try_error_curve(spectrum, norm, m, n);
    REQUIRE(curve);
    CHECK((curve->front().error == 1 && curve->front().gaussian == 1));
    for (const auto& p : *curve) CHECK(std::fabs(p.error - p.gaussian) < 0.02);
  }
  array<double> falling(50);
  for (index_t i = 0; i < 50; ++i) falling[i] = 1 / (1.0 + static_cast<double>(i));
  const auto curve = factor::try_error_curve(falling, 1.28, 50, 80);
  REQUIRE(curve);
  for (index_t r = 1; r < 40; ++r) CHECK((*curve)[r].error < (*curve)[r].gaussian);
  CHECK_FALSE(factor::try_error_curve(falling, 0, 50, 80));
  CHECK_FALSE(factor::try_error_curve(falling, 1, 40, 80));
  const auto refused = [](const array<double>& values, double of) {
    const auto c = factor::try_error_curve(values, of, 4, 4);
    return c ? std::string("accepted") : std::string(c.error().message().view());
  };
  const double infinite = std::numeric_limits<double>::infinity();
  CHECK(refused({2.0, 1.0}, 3) == "accepted");
  CHECK(refused({infinite, 1.0}, 3).find("value 0 of the spectrum: got inf") != std::string::npos);
  CHECK(refused({1.0, 2.0}, 3).find("value 1 of the spectrum: got 2, wanted 0 to 1") != std::string::npos);
  CHECK(refused({5.0, 2.0}, 3).find("0 to 3, the norm") != std::string::npos);
  CHECK(refused({2.5, 2.5}, 3).find("sum of 2 squares") != std::string::npos);
}

}  // namespace
