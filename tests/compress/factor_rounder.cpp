// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <compress/small_problem.hpp>
#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <resect/factor/weighted_low_rank.hpp>

namespace tests {

using namespace resect::compress;
using rounder = factor_rounder<resect::cpu<resect::threads>, four_bits>;

namespace {

struct rounding_problem {
  resect::cpu<resect::threads> exec{resect::threads{1}};
  matrix<double> a, h;
  resect::factor::weighted_decomposition<double> best;

  // Rows of A whose directions fall as 1/k.
  rounding_problem(index_t m, index_t n, index_t rank, std::uint64_t seed)
      : a(m, n), h(second_moment(n, 4 * n, seed)), best{} {
    for (index_t k = 0; k < std::min(m, n); ++k) {
      const auto l = gaussian_weights(m, 1, seed + 100 + static_cast<std::uint64_t>(k)),
                 r = gaussian_weights(1, n, seed + 200 + static_cast<std::uint64_t>(k));
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < n; ++j)
          a(i, j) += static_cast<double>(l(i, 0)) * static_cast<double>(r(0, j)) / static_cast<double>(k + 1);
    }
    best = value_or_throw(resect::factor::try_weighted_low_rank(exec, a.view(), h, {.rank = rank}));
  }
  rounded_factors<four_bits> round(const factor_options& o) {
    auto made = value_or_throw(rounder::try_make(exec, h.view(), four_bits{}, o));
    matrix<double> l, r;
    value_or_throw(made.try_basis(a.view(), best.factors.l, best.spectrum.span(), l, r));
    return value_or_throw(made.try_round(a.view(), best.quality.total, std::move(l), std::move(r)));
  }
  double loss(const quantized_factors<four_bits>& f) {
    matrix<double> lr(a.rows, a.cols);
    value_or_throw(f.try_to_dense(exec, lr.view()));
    double sum = 0;
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t i = 0; i < a.cols; ++i)
        for (index_t j = 0; j < a.cols; ++j) sum += (a(r, i) - lr(r, i)) * h(i, j) * (a(r, j) - lr(r, j));
    return sum;
  }
  // What rounding added to the loss of the best pair, as a share of tr(A·H·Aᵀ).
  double excess(const factor_options& o) { return (round(o).loss - best.quality.loss) / best.quality.total; }
};

}  // namespace

TEST_CASE("factors: the loss that rounding reports is that of the stored values") {
  rounding_problem p(30, 40, 6, 1);
  for (const auto basis : {rank_basis::spectral, rank_basis::rotated})
    for (const auto codes : {code_choice::nearest, code_choice::feedback}) {
      const auto f = p.round({.basis = basis, .codes = codes});
      CAPTURE(static_cast<int>(basis), static_cast<int>(codes));
      CHECK(f.loss == Approx(p.loss(f.factors)).epsilon(1e-9));
      CHECK(f.loss >= p.best.quality.loss);
      CHECK(f.factors.rank() == 6);
      CHECK(f.factors.stored_bits() == 6 * (30 + 40) * 4 + 2 * 6 * 16);
    }
}

TEST_CASE("factors: rotating rank space, feedback in the norm of H, and refitting each lessen what rounding costs") {
  rounding_problem p(64, 64, 8, 2);
  const double plain = p.excess({.basis = rank_basis::spectral, .codes = code_choice::nearest, .rounds = 1});
  const double rotated = p.excess({.codes = code_choice::nearest, .rounds = 1});
  const double feedback = p.excess({.codes = code_choice::feedback, .rounds = 1});
  const double refitted = p.excess({.codes = code_choice::feedback, .rounds = 5});
  CAPTURE(plain, rotated, feedback, refitted);
  CHECK(plain > 0);
  CHECK(rotated < 0.8 * plain);
  CHECK(feedback < 0.63 * rotated);  // 0.67 without the feedback from row to row of R
  CHECK(refitted < feedback);
  CHECK(refitted >= 0);
}

TEST_CASE("factors: groups along a component have scales of their own, in both factors") {
  rounding_problem p(30, 40, 4, 3);
  auto made = value_or_throw(rounder::try_make(p.exec, p.h.view(), four_bits{.group = 16}, {}));
  matrix<double> l, r;
  value_or_throw(made.try_basis(p.a.view(), p.best.factors.l, p.best.spectrum.span(), l, r));
  const auto f = value_or_throw(made.try_round(p.a.view(), p.best.quality.total, std::move(l), std::move(r)));
  CHECK(f.factors.l.parameters.size() == 4 * 2);
  CHECK(f.factors.r.parameters.size() == 4 * 3);
  CHECK(f.loss == Approx(p.loss(f.factors)).epsilon(1e-9));
}

TEST_CASE("factors: bad options are refused by name") {
  rounding_problem p(8, 8, 2, 4);
  using resect::errc;
  support::expect_error(rounder::try_make(p.exec, p.h.view(), four_bits{}, {.rounds = 0}), errc::invalid_argument,
                        {"rounds of factors", "0", "at least 1"});
  support::expect_error(rounder::try_make(p.exec, p.h.view(), four_bits{.group_rows = 0}, {}), errc::invalid_argument,
                        {"rows of a group of factors", "0", "1"});
}

}  // namespace tests
