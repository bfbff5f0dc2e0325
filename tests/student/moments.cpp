// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <student/planted_spans.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/student/ridge.hpp>
#include <resect/student/span_moments.hpp>

using namespace resect;
using student::pair_moments;
using student::span_moments;

namespace {

span_moments moments_of(index_t first, index_t rows, const planted::affine_pair& p,
                        const std::vector<model::row_meta>& meta, const student::apart_rule& rule = {}) {
  cpu exec;
  auto out = value_or_throw(span_moments::try_make(p.x.cols, rule));
  value_or_throw(out.try_add(exec,
                             std::span(meta).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
                             p.x.view().middle_rows(first, rows), p.y.view().middle_rows(first, rows)));
  return out;
}

}  // namespace

TEST_CASE("span moments merged over parts equal those of one pass to 1e-12") {
  const planted::affine_pair p(230, 12, 0.1);
  const auto rows = planted::rows_of(230);
  const auto whole = moments_of(0, 230, p, rows);
  auto parts = moments_of(0, 17, p, rows);
  REQUIRE(parts.try_merge(moments_of(17, 113, p, rows)));
  REQUIRE(parts.try_merge(moments_of(130, 100, p, rows)));
  CHECK(parts.rows() == whole.rows());
  CHECK(whole.rows() == 207);  // first positions stand apart
  CHECK(parts.rows_apart() == 23);
  const auto near = [](double a, double b, double scale) { return std::fabs(a - b) <= 1e-12 * scale; };
  for (index_t i = 0; i < 12; ++i) {
    for (index_t j = 0; j < 12; ++j) {
      const double scale =
          std::sqrt(whole.xx(i) * (whole.xx(j) + whole.delta().squares_z()[static_cast<std::size_t>(j)]));
      CHECK(near(parts.delta().xx(i, j), whole.delta().xx(i, j), scale));
      CHECK(near(parts.delta().xz()(i, j), whole.delta().xz()(i, j), scale));
    }
    const auto at = static_cast<std::size_t>(i);
    CHECK(near(parts.absolutes_x()[at], whole.absolutes_x()[at], whole.absolutes_x()[at]));
    CHECK(near(parts.absolutes_y()[at], whole.absolutes_y()[at], whole.absolutes_y()[at]));
    CHECK(near(parts.apart_delta()[at], whole.apart_delta()[at], 1e3));
  }
  CHECK(near(parts.norms_x(), whole.norms_x(), whole.norms_x()));
  CHECK(near(parts.norms_y(), whole.norms_y(), whole.norms_y()));
}

TEST_CASE("rows above ten medians and first positions stand apart from the sums") {
  planted::affine_pair p(60, 8, 0.0);
  const auto rows = planted::rows_of(60);
  for (index_t c = 0; c < 8; ++c) p.x(33, c) *= 1e4f;
  const student::apart_rule rule{student::apart_limit(rows, p.x.view()), student::apart_limit(rows, p.y.view())};
  const auto m = moments_of(0, 60, p, rows, rule);
  CHECK(m.rows_apart() == 7);  // six first positions and row 33
  CHECK(m.rows() == 53);
  double norms = 0, shift = 0;
  for (index_t r = 0; r < 60; ++r) {
    if (r % 10 != 0 && r != 33) norms += student::row_norm(p.x.view(), r);
    else shift += static_cast<double>(p.y(r, 2)) - static_cast<double>(p.x(r, 2));
  }
  CHECK(std::fabs(m.norms_x() - norms) < 1e-9 * norms);
  CHECK(std::fabs(m.apart_delta()[2] - shift) < 1e-9 * std::fabs(shift));
}

TEST_CASE("what cannot be added or merged is refused, and nothing is added") {
  planted::affine_pair p(20, 6, 0.0);
  const auto rows = planted::rows_of(20);
  cpu exec;
  auto m = moments_of(0, 20, p, rows);
  support::expect_error(m.try_add(exec, rows, p.x.view().block(0, 0, 20, 5), p.y.view()), errc::shape_mismatch, {"x"});
  p.y(13, 4) = std::numeric_limits<float>::quiet_NaN();
  support::expect_error(m.try_add(exec, rows, p.x.view(), p.y.view()), errc::not_finite, {"y, row 13, column 4"});
  CHECK(m.rows() == 18);
  support::expect_error(m.try_merge(value_or_throw(span_moments::try_make(5))), errc::shape_mismatch, {"width 5", "6"});
  support::expect_error(m.try_merge(value_or_throw(span_moments::try_make(6, {.limit_x = 3}))), errc::conflict,
                        {"rows apart"});
  CHECK(m.rows() == 18);
  support::expect_error(span_moments::try_make(0), errc::invalid_argument, {"width of span moments", "0"});
}

TEST_CASE("cross-validation over moments of folds equals cross-validation over rows") {
  cpu exec;
  const planted::affine_pair p(90, 5, 2.0);
  std::vector<pair_moments> folds;
  for (index_t k = 0; k < 3; ++k) {
    folds.push_back(pair_moments(5, 5));
    REQUIRE(folds.back().try_add(exec, p.x.view().middle_rows(30 * k, 30), p.y.view().middle_rows(30 * k, 30)));
  }
  const student::ridge_options options{.lambdas = {1e-3, 0.3}};
  const auto fit = value_or_throw(student::try_ridge(exec, std::span<const pair_moments>(folds), options));
  for (index_t i = 0; i < 2; ++i) {
    double error = 0, total = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      pair_moments train(5, 5);
      for (std::size_t j = 0; j < 3; ++j)
        if (j != k) REQUIRE(train.try_merge(folds[j]));
      const auto without = value_or_throw(student::try_ridge(exec, train, options.lambdas[i]));
      for (index_t r = 30 * static_cast<index_t>(k); r < 30 * static_cast<index_t>(k + 1); ++r)
        for (index_t c = 0; c < 5; ++c) {
          const double y = static_cast<double>(p.y(r, c));
          double e = y - without.bias[c];
          for (index_t j = 0; j < 5; ++j) e -= without.weights(c, j) * static_cast<double>(p.x(r, j));
          const double d = y - train.sums_z()[static_cast<std::size_t>(c)] / 60;
          error += e * e;
          total += d * d;
        }
    }
    INFO("lambda " << options.lambdas[i] << ": " << fit.choice.cv_fvu[i] << " and " << error / total);
    CHECK(std::fabs(fit.choice.cv_fvu[i] - error / total) < 1e-10);
  }
  CHECK(fit.choice.lambda == (fit.choice.cv_fvu[0] < fit.choice.cv_fvu[1] ? 1e-3 : 0.3));
}

TEST_CASE("ridge says where there are fewer rows than inputs, and refuses what it cannot choose from") {
  cpu exec;
  const planted::affine_pair p(12, 9, 0.1);
  std::vector<pair_moments> folds(2, pair_moments(9, 9));
  REQUIRE(folds[0].try_add(exec, p.x.view().middle_rows(0, 4), p.y.view().middle_rows(0, 4)));
  support::expect_error(student::try_ridge(exec, std::span<const pair_moments>(folds)), errc::invalid_argument,
                        {"rows of a fold", "0", "1 or more"});
  REQUIRE(folds[1].try_add(exec, p.x.view().middle_rows(4, 4), p.y.view().middle_rows(4, 4)));
  const auto few = value_or_throw(student::try_ridge(exec, std::span<const pair_moments>(folds)));
  CHECK(few.choice.fewer_rows_than_inputs());
  CHECK(few.choice.rows == 8);
  CHECK(few.choice.inputs == 9);
  for (const double w : few.weights.data) CHECK(std::isfinite(w));
  support::expect_error(student::try_ridge(exec, std::span(folds).first(1)), errc::invalid_argument, {"folds", "1"});
  support::expect_error(student::try_ridge(exec, std::span<const pair_moments>(folds), {.lambdas = {0.1, -1}}),
                        errc::invalid_argument, {"lambdas", "-1"});
  folds.push_back(pair_moments(8, 9));
  support::expect_error(student::try_ridge(exec, std::span<const pair_moments>(folds)), errc::shape_mismatch,
                        {"moments of a fold", "8 x 9", "9 x 9"});
}
