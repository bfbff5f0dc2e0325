// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

#include <quant/rounding_cases.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/h_loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/mse.hpp>

using namespace resect;
using namespace resect::quant;
using namespace tests;
using support::expect_error;

namespace {

using resect::index_t;

constexpr column_order orders[] = {column_order::natural, column_order::by_diagonal, column_order::group_aware};

// (H_RR)⁻¹'s row of column j, over the columns of R, by elimination with exchanges of rows.
std::vector<double> inverse_row(const matrix<double>& h, const std::vector<index_t>& r, std::size_t j) {
  const std::size_t n = r.size();
  std::vector<std::vector<double>> a(n, std::vector<double>(n + 1));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) a[i][k] = h(r[i], r[k]);
    a[i][n] = i == j;
  }
  for (std::size_t p = 0; p < n; ++p) {
    std::size_t best = p;
    for (std::size_t i = p; i < n; ++i) best = std::fabs(a[i][p]) > std::fabs(a[best][p]) ? i : best;
    std::swap(a[p], a[best]);
    for (std::size_t i = p + 1; i < n; ++i) {
      const double f = a[i][p] / a[p][p];
      if (f == 0) continue;
      for (std::size_t k = p; k <= n; ++k) a[i][k] -= f * a[p][k];
    }
  }
  std::vector<double> x(n);
  for (std::size_t p = n; p-- > 0;) {
    x[p] = a[p][n];
    for (std::size_t k = p + 1; k < n; ++k) x[p] -= a[p][k] * x[k];
    x[p] /= a[p][p];
  }
  return x;
}

// Rounds columns in an order; before each, the columns left are where the loss is least for the errors made so far, by a
// linear system of its own. Shares nothing with the kernel.
struct naive_row {
  std::vector<int> codes;  // by column
  index_t compared;        // columns, in the order of rounding, before the first one near a boundary
};
template <class F>
std::vector<naive_row> round_naively(const matrix<float>& w, const matrix<double>& h, const quantized<F>& fitted,
                                     std::span<const index_t> order) {
  const index_t n = w.cols;
  matrix<double> error(w.rows, n);
  std::vector<naive_row> out(static_cast<std::size_t>(w.rows), {std::vector<int>(static_cast<std::size_t>(n)), n});
  for (index_t k = 0; k < n; ++k) {
    const std::vector<index_t> left(order.begin() + k, order.end());
    const auto row = inverse_row(h, left, 0);
    std::vector<double> weight(static_cast<std::size_t>(n));  // of each error made so far
    for (index_t s = 0; s < k; ++s)
      for (std::size_t i = 0; i < left.size(); ++i)
        weight[static_cast<std::size_t>(s)] += row[i] * h(left[i], order[static_cast<std::size_t>(s)]);
    const index_t c = order[static_cast<std::size_t>(k)];
    for (index_t r = 0; r < w.rows; ++r) {
      double goal = static_cast<double>(w(r, c));
      for (index_t s = 0; s < k; ++s)
        goal += weight[static_cast<std::size_t>(s)] * error(r, order[static_cast<std::size_t>(s)]);
      const auto& p = fitted.parameters_at(r, c);
      const auto code = fitted.format.grid.encode(static_cast<float>(goal), p);
      error(r, c) = static_cast<double>(w(r, c)) - static_cast<double>(fitted.format.grid.decode(code, p));
      naive_row& mine = out[static_cast<std::size_t>(r)];
      mine.codes[static_cast<std::size_t>(c)] = code;
      const double steps = goal / static_cast<double>(p.scale), off = steps - std::floor(steps) - 0.5;
      if (std::fabs(off) < 1e-9 && mine.compared == n) mine.compared = k;
    }
  }
  return out;
}

template <class F>
quantized<F> rounded(const matrix<float>& w, const matrix<double>& h, const F& f, gptq_options o, double damping = 0) {
  cpu exec;
  o.damping = damping;
  return quantize(exec, w, f, gptq{h, o});
}

template <class F>
std::vector<double> row_losses(const matrix<float>& w, const quantized<F>& q, const matrix<double>& h) {
  cpu exec;
  auto loss = try_h_loss(exec, w.view(), q, h);
  REQUIRE(loss);
  return {loss->rows.begin(), loss->rows.end()};
}
double sum(const std::vector<double>& x) {
  double s = 0;
  for (const double v : x) s += v;
  return s;
}

// Formats of every kind of grid, layout and store.
template <class Visit>
void on_formats(Visit visit) {
  visit("int4z, groups", affine<4>{.group = 32});
  visit("int3s, blocks", affine_symmetric<3, f16_store>{.group = 16, .group_rows = 16});
  visit("2 bit minimum, the matrix", affine_minimum<2>{.group = 0, .group_rows = 0});
  visit("two levels", two_level<4>{});
  visit("nvfp4", nvfp4{});
  visit("e8, rows", e8{});
  visit("runs", format<run_grid, f16_store>{.group = 48});
}

}  // namespace

TEST_CASE("gptq: in double the codes are those of a naive recompute a column, in each order") {
  const index_t m = 30, n = 150, group = 32;
  const auto w = gaussian_weights(m, n, 1);
  const auto h = second_moment(n, 3 * n, 2);
  index_t cut = 0, compared = 0;
  for (const column_order order : orders) {
    const auto q = rounded(w, h, affine<4>{.group = group}, {.order = order, .precision = feedback_precision::f64});
    CHECK(q.outcome.zeroed_columns.empty());
    const auto sequence = quant::detail::rounding_order(h, 1, group, order);
    const auto naive = round_naively(w, h, q, sequence.span());
    for (index_t r = 0; r < m; ++r) {
      const naive_row& row = naive[static_cast<std::size_t>(r)];
      cut += row.compared < n;
      for (index_t k = 0; k < row.compared; ++k, ++compared) {
        const index_t c = sequence[k];
        if (q.codes[r * n + c] != row.codes[static_cast<std::size_t>(c)])
          FAIL("order " << static_cast<int>(order) << ", row " << r << ", column " << c << " (number " << k
                        << "): " << int{q.codes[r * n + c]} << ", naive " << row.codes[static_cast<std::size_t>(c)]);
      }
    }
  }
  std::cout << "  compared " << compared << " codes, " << cut << " rows cut short\n";
  CHECK(cut <= 2);
}

TEST_CASE("gptq: orders take the columns as their names say") {
  matrix<double> h(8, 8);
  const double diagonal[] = {1, 5, 2, 9, 3, 8, 4, 7};
  for (index_t i = 0; i < 8; ++i) h(i, i) = diagonal[i];
  const auto order = [&](index_t width, index_t group, column_order o) {
    return quant::detail::rounding_order(h, width, group, o);
  };
  CHECK(order(1, 4, column_order::natural) == array<index_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(order(1, 4, column_order::by_diagonal) == array<index_t>{3, 5, 7, 1, 6, 4, 2, 0});
  CHECK(order(1, 4, column_order::group_aware) == array<index_t>{3, 1, 2, 0, 5, 7, 6, 4});
  CHECK(order(2, 4, column_order::by_diagonal) == array<index_t>{1, 2, 3, 0});  // blocks: sums 6, 11, 11, 11
  CHECK(order(2, 4, column_order::group_aware) == array<index_t>{1, 0, 2, 3});
}

TEST_CASE("gptq: with H = I the codes are the nearest, for every kind of format") {
  const auto w = gaussian_weights(37, 104, 3);
  matrix<double> h(104, 104);
  for (index_t i = 0; i < 104; ++i) h(i, i) = 2;
  on_formats([&](const char* what, const auto& f) {
    INFO(what);
    cpu exec;
    const auto wanted = quantize(exec, w, f);
    for (const int sweeps : {0, 2}) {
      const auto q = rounded(w, h, f, {.sweeps = sweeps});
      CHECK(q.codes == wanted.codes);
      CHECK(q.outcome.changed_codes == 0);
    }
  });
}

TEST_CASE("gptq: feedback, sweeps and refits each lose less, for every kind of format; the outcome says how much") {
  const index_t m = 37, n = 200;
  const auto w = gaussian_weights(m, n, 4);
  const auto h = second_moment(n, 2 * n, 5);
  on_formats([&](const char* what, const auto& f) {
    cpu exec;
    const double nearest_loss = sum(row_losses(w, quantize(exec, w, f), h));
    const auto pass = rounded(w, h, f, {.order = column_order::group_aware});
    const auto swept = rounded(w, h, f, {.order = column_order::group_aware, .sweeps = 3});
    const auto refitted = rounded(w, h, f, {.order = column_order::group_aware, .sweeps = 3, .refits = 2});
    const double of_pass = sum(row_losses(w, pass, h)), of_sweeps = sum(row_losses(w, swept, h));
    const double of_refits = sum(row_losses(w, refitted, h));
    CAPTURE(what, nearest_loss, of_pass, of_sweeps, of_refits);
    CHECK(of_pass < 0.9 * nearest_loss);
    CHECK(of_sweeps < of_pass);
    CHECK(of_refits < of_sweeps);
    CHECK(std::fabs(pass.outcome.loss / of_pass - 1) < 1e-4);
    CHECK(std::fabs(swept.outcome.loss / of_sweeps - 1) < 1e-9);
    CHECK(std::fabs(refitted.outcome.loss / of_refits - 1) < 1e-9);
    CHECK(swept.outcome.changed_codes > 0);
    CHECK(refitted.outcome.refitted_groups > 0);
    CHECK(refitted.check());
  });
}

TEST_CASE("gptq: no sweep raises the loss of a row, on a singular H and after any number of them") {
  const auto w = gaussian_weights(20, 96, 6);
  for (const index_t rank : {5, 40, 300})
    for (const double damping : {0.0, 0.01}) {
      const auto h = second_moment(96, rank, 7, 1e6);
      auto before = row_losses(w, rounded(w, h, affine<2>{.group = 32}, {}, damping), h);
      for (int sweeps = 1; sweeps <= 6; ++sweeps) {
        const auto after = row_losses(w, rounded(w, h, affine<2>{.group = 32}, {.sweeps = sweeps}, damping), h);
        for (std::size_t r = 0; r < after.size(); ++r) {
          CAPTURE(rank, damping, sweeps, r, before[r], after[r]);
          CHECK(after[r] <= before[r] * (1 + 1e-9));
        }
        before = after;
      }
    }
}

TEST_CASE("gptq: keep::best never loses more than nearest in any row, also where feedback does") {
  const index_t m = 33, n = 96;
  const auto w = gaussian_weights(m, n, 8);
  const auto h = second_moment(n, 12, 9, 1e4);  // rank 12: feedback piles up
  index_t worse = 0, kept = 0;
  on_formats([&](const char* what, const auto& f) {
    cpu exec;
    const auto of_nearest = row_losses(w, quantize(exec, w, f), h);
    const auto plain = row_losses(w, rounded(w, h, f, {}), h);
    for (std::size_t r = 0; r < plain.size(); ++r) worse += plain[r] > of_nearest[r];
    for (const gptq_options& o :
         {gptq_options{.result = keep::best}, gptq_options{.sweeps = 2, .refits = 2, .result = keep::best}}) {
      const auto q = rounded(w, h, f, o, o.refits > 0 ? 0.0 : 0.01);
      kept += q.outcome.rows_kept_nearest;
      const auto best = row_losses(w, q, h);
      CHECK(std::fabs(q.outcome.nearest_loss / sum(of_nearest) - 1) < 1e-9);
      for (std::size_t r = 0; r < best.size(); ++r) {
        CAPTURE(what, o.refits, r, of_nearest[r], best[r]);
        CHECK(best[r] <= of_nearest[r] * (1 + 1e-9));
      }
    }
  });
  CHECK(worse > 0);  // else this proves nothing
  CHECK(kept > 0);
}

TEST_CASE("gptq: the loss of feedback in float is that of double to 1e-2, up to a condition of 1e14") {
  const index_t n = 256;
  double worst = 0;
  index_t differ = 0;
  const auto w = gaussian_weights(128, n, 10);
  struct {
    index_t rank;
    double spread, ridge;  // of the mean of the diagonal
  } cases[] = {{600, 10, 0},    {600, 1e7, 0},    {256, 10, 0}, {128, 10, 1e-4},
               {128, 10, 1e-8}, {128, 10, 1e-14}, {128, 10, 0}};
  for (const auto& c : cases) {
    auto h = second_moment(n, c.rank, 11, c.spread);
    double mean = 0;
    for (index_t i = 0; i < n; ++i) mean += h(i, i) / static_cast<double>(n);
    for (index_t i = 0; i < n; ++i) h(i, i) += c.ridge * mean;
    for (const column_order order : orders) {
      const affine<8> f{.group = 64};  // of small steps: in float some codes differ
      const auto narrow = rounded(w, h, f, {.order = order});
      const auto wide = rounded(w, h, f, {.order = order, .precision = feedback_precision::f64});
      const double of_narrow = sum(row_losses(w, narrow, h)), of_wide = sum(row_losses(w, wide, h));
      CAPTURE(c.rank, c.spread, c.ridge, static_cast<int>(order), of_narrow, of_wide);
      CHECK(of_narrow <= of_wide * (1 + 1e-2));
      worst = std::max(worst, of_narrow / of_wide - 1);
      for (index_t i = 0; i < narrow.codes.size(); ++i) differ += narrow.codes[i] != wide.codes[i];
    }
  }
  std::cout << "  " << differ << " codes differ, largest excess of float: " << worst << '\n';
  CHECK(differ > 0);  // else this proves nothing
}

TEST_CASE("gptq: nothing about H or the extents makes it fail") {
  struct {
    const char* what;
    index_t m, n, rank;
    double spread;
  } cases[] = {{"rank 1", 5, 70, 1, 10},
               {"no rows of activations", 5, 70, 0, 10},
               {"fewer rows than columns", 9, 200, 64, 10},
               {"condition 1e14", 9, 130, 300, 1e7},
               {"one column", 4, 1, 3, 1},
               {"a tail group", 4, 67, 100, 10},
               {"one row", 1, 140, 300, 10},
               {"no row", 0, 24, 40, 10},
               {"no column", 3, 0, 1, 1}};
  for (const auto& c : cases) {
    const auto w = gaussian_weights(c.m, c.n, 12);
    const auto h = second_moment(c.n, c.rank, 13, c.spread);
    for (const column_order order : orders)
      for (const gptq_options& o : {gptq_options{.order = order, .damping = 0}, gptq_options{.order = order},
                                    gptq_options{.order = order, .sweeps = 2, .refits = 1, .result = keep::best}}) {
        cpu exec;
        const auto check = [&](const auto& f) {
          const auto q = try_quantize(exec, w, f, gptq{h, o});
          CAPTURE(c.what, static_cast<int>(order), o.sweeps);
          REQUIRE(q);
          CHECK(q->check());
          const index_t rank = std::min(c.rank, c.n);
          if (o.damping == 0) CHECK(q->outcome.zeroed_columns.size() == (c.m == 0 ? 0 : c.n - rank));
          for (const auto loss : row_losses(w, *q, h)) CHECK(std::isfinite(loss));
        };
        check(affine<4>{.group = 32});
        check(e8{});
      }
  }
}

TEST_CASE("gptq: dead columns are listed, rounded to nearest, and leave the others as they would be") {
  const index_t m = 12, n = 80;
  const auto w = gaussian_weights(m, n, 14);
  auto h = second_moment(n, 200, 15);
  for (const index_t dead : {3, 40}) {
    for (index_t i = 0; i < n; ++i) h(i, dead) = h(dead, i) = 0;
  }
  cpu exec;
  const affine<4> f{.group = 16};
  const auto near = quantize(exec, w, f);
  const auto q = rounded(w, h, f, {.sweeps = 1});
  CHECK(q.outcome.zeroed_columns == array<index_t>{3, 40});
  for (index_t r = 0; r < m; ++r)
    for (const index_t dead : {3, 40}) CHECK(q.codes[r * n + dead] == near.codes[r * n + dead]);
  // any other weights in the dead columns, in the same groups: nothing else changes
  auto other = w;
  for (index_t r = 0; r < m; ++r) other(r, 3) = 0.5f * w(r, 2);
  const auto again = rounded(other, h, f, {.sweeps = 1});
  index_t differ = 0;
  for (index_t r = 0; r < m; ++r)
    for (index_t c = 16; c < n; ++c) differ += q.codes[r * n + c] != again.codes[r * n + c];
  CHECK(differ == 0);
}

TEST_CASE("gptq: damping stands for a ridge on H; the loss is that of H itself") {
  const auto w = gaussian_weights(10, 64, 16);
  const auto h = second_moment(64, 100, 17);
  auto ridged = h;
  double mean = 0;
  for (index_t i = 0; i < 64; ++i) mean += h(i, i) / 64;
  for (index_t i = 0; i < 64; ++i) ridged(i, i) += 0.5 * mean;
  const auto a = rounded(w, h, affine<3>{.group = 32}, {.precision = feedback_precision::f64}, 0.5);
  const auto b = rounded(w, ridged, affine<3>{.group = 32}, {.precision = feedback_precision::f64});
  CHECK(a.codes == b.codes);
  CHECK(std::fabs(a.outcome.loss / sum(row_losses(w, a, h)) - 1) < 1e-9);
}

TEST_CASE("gptq: H comes as a hessian, in float or double") {
  cpu exec;
  const index_t n = 48;
  matrix<float> x(300, n);
  random::fill_gaussian(x.data.span(), 18, 0, 0, 1.0);
  hessian packed(n);
  REQUIRE(packed.try_add(exec, x));
  matrix<double> dense(n, n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) dense(i, j) = packed(i, j);
  const auto w = gaussian_weights(9, n, 19);
  const auto a = quantize(exec, w, affine<4>{.group = 16}, gptq{packed});
  const auto b = quantize(exec, w, affine<4>{.group = 16}, gptq{dense});
  CHECK(a.codes == b.codes);
  CHECK(gptq{packed}.name() == "gptq");
  CHECK(gptq{packed}.hash() != gptq{packed, {.sweeps = 1}}.hash());
  CHECK(gptq{packed, {.order = column_order::by_diagonal, .sweeps = 2, .refits = 1}}.name() ==
        "gptq, by diagonal, 2 sweeps, 1 refit");
}

TEST_CASE("gptq: the same bits for 1, 2, 3, 7 and 64 workers") {
  const auto w = gaussian_weights(70, 260, 20);
  const auto h = second_moment(260, 400, 21);
  const gptq_options o{.order = column_order::by_diagonal, .sweeps = 2, .refits = 1, .result = keep::best};
  const auto f = affine_symmetric<4, f16_store>{.group = 64};
  const auto wanted = rounded(w, h, f, o, o.damping);
  for (const int workers : {2, 3, 7, 64}) {
    cpu exec{threads{workers}};
    const auto got = quantize(exec, w, f, gptq{h, o});
    CAPTURE(workers);
    CHECK(got.codes == wanted.codes);
    for (index_t g = 0; g < got.parameters.size(); ++g) CHECK(got.parameters[g].scale == wanted.parameters[g].scale);
    CHECK(got.outcome.loss == wanted.outcome.loss);
  }
}

// A view of a matrix that is gone is not made.
static_assert(std::is_constructible_v<moment_view, matrix<double>&> &&
              std::is_constructible_v<moment_view, const matrix<float>&> &&
              std::is_constructible_v<moment_view, matrix_view<const double>>);
static_assert(!std::is_constructible_v<moment_view, matrix<double>> &&
              !std::is_constructible_v<moment_view, const matrix<float>> &&
              !std::is_constructible_v<moment_view, hessian>);

TEST_CASE("gptq: an H of another matrix or another model is refused where W is said to be one") {
  cpu exec;
  const model::weight_desc q{"attn.q", 2, 0, model::weight_role::matrix, 4, 10};
  hessian h(10);
  REQUIRE(h.try_add(exec, gaussian_weights(30, 10, 4)));
  const auto w = gaussian_weights(4, 10, 22);
  const auto with = [&](const hessian_owner& of) { return try_quantize(exec, w, affine<4>{}, gptq{h, {}, of}); };
  CHECK(with({7, 2, "attn.q"}));  // H says nothing
  h.set_owner(7, q);
  CHECK(with({}));  // W says nothing
  CHECK(with({7, 2, "attn.q"}));
  CHECK(with({0, 2, "attn.q"}));  // of a model that is not said
  expect_error(with({7, 2, "attn.k"}), errc::conflict, {"H: got layer 2, attn.q, wanted layer 2, attn.k"});
  expect_error(with({7, 3, "attn.q"}), errc::conflict, {"got layer 2, attn.q, wanted layer 3, attn.q"});
  expect_error(
      with({8, 2, "attn.q"}), errc::conflict,
      {"got layer 2, attn.q of model 0x0000000000000007", "wanted layer 2, attn.q of model 0x0000000000000008"});
}

TEST_CASE("H-loss: what rounding leaves below 0 counts as 0, and an H that is not semi-definite is refused by row") {
  cpu exec;
  matrix<float> w(3, 2), approximation(3, 2);
  for (index_t r = 0; r < 3; ++r) w(r, 0) = w(r, 1) = static_cast<float>(r + 1);
  approximation(1, 0) = 3, approximation(1, 1) = 1;  // row 1: e = (−1, 1)
  const auto loss = [&](double off) {
    matrix<double> h(2, 2);
    h(0, 0) = h(1, 1) = 1, h(0, 1) = h(1, 0) = off;
    return try_h_loss(exec, w, approximation, h);
  };
  // (−1, 1)·H·(−1, 1)ᵀ = 2 − 2·off, ‖e‖²·tr(H) = 4: the bound is −2⁻²⁰
  const auto within = loss(1 + 0x1p-22);
  REQUIRE(within);
  CHECK(within->rows[1] == 0.0);
  CHECK(within->rows[0] == Approx(4.0));
  CHECK(within->total == within->rows[0] + within->rows[2]);
  expect_error(loss(1 + 0x1p-20), errc::invalid_argument,
               {"H, its product with row 1 of W − Ŵ", "got -1.9", "wanted at least -9.5", "semi-definite"});
  approximation = w;
  for (index_t r = 0; r < 3; ++r) w(r, 1) = -w(r, 1);
  approximation = w;
  expect_error(loss(1.5), errc::invalid_argument, {"H, its product with row 0 of W: got -1,"});
}

TEST_CASE("gptq: an H that is not symmetric is refused, to what rounding leaves") {
  cpu exec;
  const index_t n = 70;
  const auto w = gaussian_weights(4, n, 22);
  const auto refused = [&](auto change) {
    auto h = second_moment(n, 90, 23);
    change(h);
    return try_quantize(exec, w, affine<4>{}, gptq{h});
  };
  CHECK(refused([](matrix<double>&) {}));
  CHECK(refused([](matrix<double>& h) { h(3, 60) *= 1 + 0x1p-12; }));
  expect_error(refused([](matrix<double>& h) { h(3, 60) += 0.1 * h(3, 3); }), errc::invalid_argument,
               {"H, row 3, column 60", "as in row 60, column 3: a symmetric H"});
  expect_error(refused([](matrix<double>& h) { h(3, 4) = std::numeric_limits<double>::quiet_NaN(); }), errc::not_finite,
               {"H, row 3, column 4", "nan"});
  expect_error(refused([](matrix<double>& h) {
                 for (index_t i = 0; i < h.rows; ++i)
                   for (index_t j = i + 1; j < h.rows; ++j) h(i, j) = 0;  // one triangle alone
               }),
               errc::invalid_argument, {"a symmetric H"});
  matrix<float> narrow(n, n);
  for (index_t i = 0; i < n; ++i) narrow(i, i) = 1;
  narrow(69, 0) = 0.5f;
  expect_error(try_quantize(exec, w, affine<4>{}, gptq{narrow}), errc::invalid_argument, {"H, row 0, column 69"});
}

TEST_CASE("gptq: bad input is one error that names it") {
  cpu exec;
  const auto w = gaussian_weights(4, 10, 22);
  auto h = second_moment(10, 30, 23);
  const affine<4> f{.group = 5};
  const auto with = [&](const auto& m, const gptq_options& o = {}) { return try_quantize(exec, w, f, gptq{m, o}); };
  expect_error(with(second_moment(9, 20, 1)), errc::shape_mismatch, {"H", "9 x 9", "10 x 10"});
  expect_error(with(hessian(11)), errc::shape_mismatch, {"H", "11 x 11", "10 x 10"});
  expect_error(with(h, {.sweeps = -1}), errc::invalid_argument, {"sweeps of gptq", "-1", "at least 0"});
  expect_error(with(h, {.refits = -2}), errc::invalid_argument, {"refits of gptq", "-2"});
  expect_error(with(h, {.damping = std::numeric_limits<double>::quiet_NaN()}), errc::invalid_argument,
               {"damping of gptq"});
  expect_error(with(h, {.least_pivot = 1}), errc::invalid_argument, {"least pivot of gptq"});
  h(7, 2) = std::numeric_limits<double>::infinity();
  expect_error(with(h), errc::not_finite, {"H, row 7, column 2", "inf", "a finite number"});
  h(7, 2) = h(2, 7), h(4, 4) = -1;
  expect_error(with(h), errc::invalid_argument, {"H, row 4, column 4", "-1", "a diagonal of at least 0"});
  auto bad = w;
  bad(1, 2) = std::numeric_limits<float>::quiet_NaN();
  h(4, 4) = 1;
  expect_error(try_quantize(exec, bad, f, gptq{h}), errc::not_finite, {"W, row 1, column 2"});
}
