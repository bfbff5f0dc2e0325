// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/memory.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/panels.hpp>
#include <resect/factor/truncated_decomposition.hpp>
#include <resect/linalg/norms.hpp>
#include <resect/random/test_matrix.hpp>

// How far L·R is from W, measured from the numbers themselves: whatever made L and R, these hold.
namespace RESECT_NAMESPACE::factor {

// How hard the spectral norm is looked for.
struct spectral_norm_options {
  int probes = 6;
  int power_iterations = 2;
  std::uint64_t seed = 1;
};

namespace detail {

// Y ← E·X = W·X − L·(R·X), and by the transposed arguments Eᵀ·X.
template <class T, panel_backend<T> B>
status apply_residual(B& exec, view_of<const T, B> w, view_of<const T, B> l, view_of<const T, B> r,
                      view_of<const T, B> x, view_of<T, B> y) {
  auto hidden = try_make_matrix<T>(exec, r.rows, x.cols);
  if (!hidden) return hidden.error();
  if (auto s = exec.try_gemm(T{1}, w, x, T{0}, y); !s) return s;
  if (auto s = exec.try_gemm(T{1}, r, x, T{0}, hidden->view()); !s) return s;
  return exec.try_gemm(T{-1}, l, hidden->view(), T{1}, y);
}

template <class T, class Space>
status check_factors(const matrix_view<T, Space>& w, const matrix_view<T, Space>& l,
                     const matrix_view<T, Space>& r) noexcept {
  if (auto s = check_view(w, "W"); !s) return s;
  if (auto s = check_view(l, w.rows, l.cols, "L"); !s) return s;
  return check_view(r, l.cols, w.cols, "R");
}

// Divides every column by its norm; zero columns stay. Adds ln of the norms, −∞ for zero.
template <class T, panel_backend<T> B>
status normalise_columns(B& exec, view_of<T, B> x, array<double>& log_norm, array<double>& norm) {
  const auto measured = try_column_norms(exec, view_of<const T, B>(x));
  if (!measured) return measured.error();
  array<column_scale> by(x.cols);
  for (index_t c = 0; c < x.cols; ++c) {
    const column_measure& m = (*measured)[c];
    norm[c] = m.norm();
    log_norm[c] += m.mantissa == 0 ? -std::numeric_limits<double>::infinity()
                                   : std::log(m.mantissa) + m.exponent * 0.69314718055994530942;
    if (m.mantissa > 0) by[c] = {1 / m.mantissa, -m.exponent};
  }
  return try_scale_columns(exec, view_of<const T, B>(x), by.span(), x);
}

// ‖A‖_F from the norms of columns; the first element that is not finite, by rows.
template <class T, panel_backend<T> B>
result<linalg::matrix_range> range_in_space(B& exec, view_of<const T, B> a) {
  if constexpr (std::same_as<typename B::space, host_space>) {
    return linalg::range_of<T>(exec, a);
  } else {
    const auto measured = try_column_norms(exec, a);
    if (!measured) return measured.error();
    linalg::matrix_range range;
    for (index_t c = 0; c < a.cols; ++c) {
      const column_measure& m = (*measured)[c];
      range.largest = std::max(range.largest, std::fabs(m.extreme));
      range.frobenius = std::hypot(range.frobenius, m.norm());
      if (!m.finite() && (range.finite() || m.bad_row < range.bad_row)) range.bad_row = m.bad_row, range.bad_col = c;
    }
    return range;
  }
}

}  // namespace detail

// ‖W − L·R‖₂ between two bounds, by `probes` Gaussian vectors ω and q power iterations: with B = (E·Eᵀ)^q·E,
// ‖B‖ ≤ 10·√(2/π)·max‖B·ω‖ but for a probability of 10^−probes, and ‖E‖^(2q+1) = ‖B‖. at_most is above ‖E‖ by a factor
// of (8·max‖ω‖)^(1/(2q+1)) at worst, for a flat spectrum of E: 3.6 at n = 4096 with q = 2; below 2 where E has few
// leading directions. at_least is below it by a few percent in general.
//   W (m, n), L (m, r), R (r, n), any strides, finite. Products are in T: both numbers are of the residual as computed,
//   so they carry an error of about n·u·(‖W‖ + ‖L‖·‖R‖), and of √m·(n + 2r) smallest subnormal numbers of T, which
//   counts where E is not far above those: at_least may then exceed ‖E‖ by as much. (2q + 1)·(2mn + 2r(m + n))·probes
//   flop, 2q + 1 passes over W.
//   Errors: shape_mismatch, null_pointer, bad_stride, invalid_argument (probes < 1, power_iterations < 0).
//   Source: Halko, Martinsson & Tropp, SIAM Review 53 (2011), Lemma 4.1.
template <class T, panel_backend<T> B>
result<spectral_norm_estimate> try_spectral_error(B& exec, view_of<const T, B> w, view_of<const T, B> l,
                                                  view_of<const T, B> r, spectral_norm_options options = {}) {
  if (auto s = detail::check_factors(w, l, r); !s) return s.error();
  if (options.probes < 1 || options.power_iterations < 0)
    return error{errc::invalid_argument, "options",
                 text(options.probes, " probes, ", options.power_iterations, " power iterations"), "at least 1 and 0"};
  if (w.empty()) return spectral_norm_estimate{0, 0};
  const index_t probes = options.probes;
  array<double> log_norm(probes), norm(probes), start(probes);
  auto x = try_make_matrix<T>(exec, w.cols, probes), y = try_make_matrix<T>(exec, w.rows, probes);
  if (!x) return x.error();
  if (!y) return y.error();
  // another stream than the range finder's: errors are not looked for where the basis was
  if (auto s = try_fill(exec, random::gaussian_matrix{options.seed, 1}, x->view(), random::block_origin{}); !s)
    return s.error();
  if (auto s = detail::normalise_columns<T>(exec, x->view(), log_norm, start); !s) return s.error();
  spectral_norm_estimate found{0, 0};
  const auto normalise = [&](view_of<T, B> columns) {
    auto s = detail::normalise_columns<T>(exec, columns, log_norm, norm);
    for (const double n : norm) found.at_least = std::max(found.at_least, n);
    return s;
  };
  for (int i = 0;; ++i) {
    if (auto s = detail::apply_residual<T>(exec, w, l, r, x->view(), y->view()); !s) return s.error();
    if (auto s = normalise(y->view()); !s) return s.error();
    if (i == options.power_iterations) break;
    if (auto s = detail::apply_residual<T>(exec, w.transposed(), r.transposed(), l.transposed(), y->view(), x->view());
        !s)
      return s.error();
    if (auto s = normalise(x->view()); !s) return s.error();
  }
  const double log_factor = std::log(10 * std::sqrt(0.63661977236758134308));
  for (const double v : log_norm)
    if (v > -std::numeric_limits<double>::infinity())
      found.at_most = std::max(found.at_most, std::exp((v + log_factor) / (2 * options.power_iterations + 1)));
  return found;
}

// ‖W − L·R‖_F from the residual itself, in slices of rows; sums in double. W (m, n), L (m, r), R (r, n), any strides.
//   The residual is computed in T: the result carries an error of about √(mn)·(r + 2)·u·max(|L|·|R|) at most. 2mnr
//   flop, a few rows of workspace. Same bits for any number of workers. Errors: shape_mismatch, null_pointer,
//   bad_stride.
template <class T, panel_backend<T> B>
result<double> try_frobenius_error(B& exec, view_of<const T, B> w, view_of<const T, B> l, view_of<const T, B> r) {
  if (auto s = detail::check_factors(w, l, r); !s) return s.error();
  if (w.empty()) return 0.0;
  const index_t height = std::min<index_t>(384, w.rows);
  auto residual = try_make_matrix<T>(exec, height, w.cols);
  if (!residual) return residual.error();
  double norm = 0;
  for (index_t first = 0; first < w.rows; first += height) {
    const index_t count = std::min(height, w.rows - first);
    const auto here = residual->view().middle_rows(0, count);
    if (auto s = try_transfer(exec, w.middle_rows(first, count), here); !s) return s.error();
    if (auto s = exec.try_gemm(T{-1}, l.middle_rows(first, count), r, T{1}, here); !s) return s.error();
    const auto range = detail::range_in_space<T>(exec, here);
    if (!range) return range.error();
    norm = std::hypot(norm, range->frobenius);
  }
  return norm;
}

// The same of any operands of one element type.
template <floating_operand W, operand_of<matrix_element<const W&>> L, operand_of<matrix_element<const W&>> R,
          panel_backend<matrix_element<const W&>> B>
result<spectral_norm_estimate> try_spectral_error(B& exec, const W& w, const L& l, const R& r,
                                                  spectral_norm_options options = {}) {
  return on_view(w, "W", [&](auto vw) {
    return on_view(l, "L", [&](auto vl) {
      return on_view(r, "R",
                     [&](auto vr) { return try_spectral_error<matrix_element<const W&>>(exec, vw, vl, vr, options); });
    });
  });
}
// The same of any operands of one element type.
template <floating_operand W, operand_of<matrix_element<const W&>> L, operand_of<matrix_element<const W&>> R,
          panel_backend<matrix_element<const W&>> B>
result<double> try_frobenius_error(B& exec, const W& w, const L& l, const R& r) {
  return on_view(w, "W", [&](auto vw) {
    return on_view(l, "L", [&](auto vl) {
      return on_view(r, "R", [&](auto vr) { return try_frobenius_error<matrix_element<const W&>>(exec, vw, vl, vr); });
    });
  });
}

}  // namespace RESECT_NAMESPACE::factor
