// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/linalg/positive_definite.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/student/pair_moments.hpp>

// Ridge regression from moments, its penalty chosen by cross-validation over moments of folds.
namespace RESECT_NAMESPACE::student {

// Options of a ridge fit: the penalties to choose from, in units of the mean variance of an input.
struct ridge_options {
  array<double> lambdas{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0};
};

// What a ridge fit chose, and on what. With fewer rows than inputs least squares has no unique answer: the penalty
// decides among the answers, and `fewer_rows_than_inputs` says so.
struct ridge_choice {
  double lambda = 0;        // chosen, in units of the mean variance of an input
  index_t rows = 0;         // rows of all folds
  index_t inputs = 0;       // numbers that a fit combines, the constant not counted
  array<double> lambdas{};  // the penalties that were tried
  array<double> cv_fvu{};  // held-out Σ‖z − ẑ‖²/Σ‖z − z̄‖² of each, over all folds; NaN where the factorization failed

  bool fewer_rows_than_inputs() const noexcept { return rows <= inputs; }
  // The held-out FVU of the chosen penalty.
  double held_out_fvu() const noexcept {
    for (index_t i = 0; i < lambdas.size(); ++i)
      if (lambdas[i] == lambda) return cv_fvu[i];
    return 0;
  }
};

// ẑ = W·x + b, with what the fit chose.
struct ridge_fit {
  matrix<double> weights;  // W (outputs, inputs)
  array<double> bias;      // b (outputs)
  ridge_choice choice;
};

namespace detail {

// Moments about their means, with Σx·xᵀ in full.
struct centred_moments {
  index_t rows = 0;
  matrix<double> xx, zx;  // (inputs, inputs), (outputs, inputs)
  array<double> mean_x, mean_z;
  double zz = 0;  // Σ‖z − z̄‖²

  // 0 where the rows are all the same: what is left of Σx·xᵀ about the mean is rounding then.
  double mean_variance() const noexcept {
    double trace = 0, squares = 0;  // squares: of the means, rows times
    for (index_t i = 0; i < xx.rows; ++i) {
      trace += xx(i, i);
      squares += static_cast<double>(rows) * mean_x[i] * mean_x[i];
    }
    return xx.rows > 0 && trace > 0x1p-40 * squares ? trace / static_cast<double>(xx.rows) : 0.0;
  }
};

// The moments of `all` less those of `left_out` (none where it is null), about their means.
template <class = void>
centred_moments centre(const pair_moments& all, const pair_moments* left_out = nullptr) {
  const index_t n = all.inputs(), m = all.outputs();
  const auto less = [&](double whole, double part) { return left_out ? whole - part : whole; };
  centred_moments out{
      all.rows() - (left_out ? left_out->rows() : 0), matrix<double>(n, n), matrix<double>(m, n), {}, {}, 0};
  const double count = static_cast<double>(out.rows), scale = out.rows > 0 ? 1 / count : 0.0;
  for (index_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    out.mean_x.push_back(scale * less(all.sums_x()[at], left_out ? left_out->sums_x()[at] : 0));
  }
  for (index_t c = 0; c < m; ++c) {
    const auto at = static_cast<std::size_t>(c);
    out.mean_z.push_back(scale * less(all.sums_z()[at], left_out ? left_out->sums_z()[at] : 0));
    out.zz +=
        less(all.squares_z()[at], left_out ? left_out->squares_z()[at] : 0) - count * out.mean_z[c] * out.mean_z[c];
  }
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j <= i; ++j)
      out.xx(i, j) = out.xx(j, i) =
          less(all.xx(i, j), left_out ? left_out->xx(i, j) : 0) - count * out.mean_x[i] * out.mean_x[j];
    for (index_t c = 0; c < m; ++c)
      out.zx(c, i) = less(all.xz()(i, c), left_out ? left_out->xz()(i, c) : 0) - count * out.mean_x[i] * out.mean_z[c];
  }
  return out;
}

// W = Σzxᵀ·(Σxxᵀ + λ·v·I)⁻¹ and b = z̄ − W·x̄, v the mean variance; false where the factorization fails. Without variance
// of x the weights are zero.
template <class B>
result<bool> try_solve_ridge(B& exec, const centred_moments& m, double lambda, ridge_fit& out) {
  out.weights = m.zx;
  out.bias = m.mean_z;
  const double v = m.mean_variance();
  if (!(v > 0)) {
    for (double& w : out.weights.data) w = 0;
    return true;
  }
  matrix<double> a = m.xx;
  for (index_t i = 0; i < a.rows; ++i) a(i, i) += lambda * v;
  auto outcome = linalg::try_solve_positive_definite(exec, a.view(), out.weights.view());
  if (!outcome) return outcome.error();
  if (!outcome->positive_definite()) return false;
  for (index_t c = 0; c < out.bias.size(); ++c)
    for (index_t i = 0; i < m.mean_x.size(); ++i) out.bias[c] -= out.weights(c, i) * m.mean_x[i];
  return true;
}

// Σ‖z − W·x − b‖² over the rows of `m`.
template <class B>
result<double> try_squared_error(B& exec, const centred_moments& m, const ridge_fit& fit) {
  matrix<double> image(fit.weights.rows, fit.weights.cols);
  const matrix_view<const double> w = fit.weights.view(), xx = m.xx.view();
  if (auto s = exec.try_gemm(1.0, w, xx, 0.0, image.view()); !s) return s.error();
  double out = m.zz;
  for (index_t c = 0; c < w.rows; ++c) {
    double offset = m.mean_z[c] - fit.bias[c];
    for (index_t i = 0; i < w.cols; ++i) {
      out += w(c, i) * (image(c, i) - 2 * m.zx(c, i));
      offset -= w(c, i) * m.mean_x[i];
    }
    out += static_cast<double>(m.rows) * offset * offset;
  }
  return out > 0 ? out : 0.0;
}

template <class = void>
status check_ridge(std::span<const pair_moments> folds, const ridge_options& o) {
  if (folds.size() < 2) return error{errc::invalid_argument, "folds of a ridge fit", text(folds.size()), "2 or more"};
  for (const pair_moments& fold : folds) {
    if (fold.inputs() != folds.front().inputs() || fold.outputs() != folds.front().outputs())
      return error{errc::shape_mismatch, "moments of a fold", text(fold.inputs(), " x ", fold.outputs()),
                   text(folds.front().inputs(), " x ", folds.front().outputs())};
    if (fold.rows() < 1) return error{errc::invalid_argument, "rows of a fold", text(fold.rows()), "1 or more"};
  }
  if (o.lambdas.empty()) return error{errc::invalid_argument, "lambdas", "none", "1 or more"};
  for (const double l : o.lambdas)
    if (!is_finite(l) || l <= 0) return error{errc::invalid_argument, "lambdas", text(l), "numbers above 0"};
  return {};
}

}  // namespace detail

// The ridge fit of z by x at one penalty: W = C_zx·(C_xx + λ·v·I)⁻¹, b = z̄ − W·x̄, with C the moments about their means
// and v = tr(C_xx)/n. The penalty does not act on b. Cost n³/3 + 2mn² flop in double.
// Errors: invalid_argument (no row; λ not above 0; C_xx + λ·v·I not positive definite to rounding).
template <core_backend B>
result<ridge_fit> try_ridge(B& exec, const pair_moments& moments, double lambda) {
  if (moments.rows() < 1) return error{errc::invalid_argument, "rows of the moments", "0", "1 or more"};
  if (!is_finite(lambda) || lambda <= 0)
    return error{errc::invalid_argument, "lambda", text(lambda), "a number above 0"};
  ridge_fit out;
  auto solved = detail::try_solve_ridge(exec, detail::centre(moments), lambda, out);
  if (!solved) return solved.error();
  if (!*solved)
    return error{errc::invalid_argument, "lambda", text(lambda), "a penalty that makes the moments positive definite"};
  out.choice = {lambda, moments.rows(), moments.inputs(), {}, {}};
  return out;
}

// The ridge fit of z by x with the penalty of least held-out error: for every fold the fit is made from all moments less
// those of the fold, and judged on the fold's; the chosen penalty then fits all rows.
//   folds     moments of disjoint rows of the same kind; rows that belong together (of one text) go into one fold
//   Cost (folds·lambdas + 1)·(n³/3 + 2mn²) + 2·folds·lambdas·mn² flop in double; 3n² + 4nm doubles of memory.
//   Determinism: as that of the backend's products.
//   Errors: shape_mismatch (folds differ); invalid_argument (below 2 folds, a fold without rows, λ not above 0).
// Source: Hoerl & Kennard, "Ridge regression", Technometrics 12 (1970).
template <core_backend B>
result<ridge_fit> try_ridge(B& exec, std::span<const pair_moments> folds, const ridge_options& options = {}) {
  if (auto s = detail::check_ridge(folds, options); !s) return s.error();
  pair_moments all = folds.front();
  for (std::size_t k = 1; k < folds.size(); ++k)
    if (auto s = all.try_merge(folds[k]); !s) return s.error();
  const index_t tried = options.lambdas.size();
  array<double> errors(tried);
  double total = 0;
  ridge_fit fit;
  for (const pair_moments& fold : folds) {
    const auto train = detail::centre(all, &fold), held_out = detail::centre(fold);
    double offset = 0;
    for (index_t c = 0; c < fold.outputs(); ++c) {
      const double d = held_out.mean_z[c] - train.mean_z[c];
      offset += d * d;
    }
    total += held_out.zz + static_cast<double>(held_out.rows) * offset;
    for (index_t i = 0; i < tried; ++i) {
      auto solved = detail::try_solve_ridge(exec, train, options.lambdas[i], fit);
      if (!solved) return solved.error();
      auto e = *solved ? detail::try_squared_error(exec, held_out, fit) : result<double>(metrics::nan);
      if (!e) return e.error();
      errors[i] += *e;
    }
  }
  ridge_choice choice{0, all.rows(), all.inputs(), options.lambdas, {}};
  double least = metrics::nan;
  for (index_t i = 0; i < tried; ++i) {
    choice.cv_fvu.push_back(total > 0 ? errors[i] / total : 0.0);
    if (errors[i] <= least || (least != least && errors[i] == errors[i])) {  // of equal ones the largest
      least = errors[i];
      choice.lambda = options.lambdas[i];
    }
  }
  if (least != least)
    return error{errc::invalid_argument, "lambdas", text("up to ", options.lambdas[tried - 1]),
                 "a penalty that makes the moments of every fold positive definite"};
  auto out = try_ridge(exec, all, choice.lambda);
  if (!out) return out;
  out->choice = std::move(choice);
  return out;
}

}  // namespace RESECT_NAMESPACE::student
