// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/quant/quantize.hpp>

// Scales of whole columns and rows, with which a matrix is easier to quantize: W = diag(row)·W̃·diag(column). The caller
// quantizes W̃ and folds the column scales into what comes before (a norm's gain, a neighbouring matrix), or counts them at 16
// bits each. All scales here are powers of two times a number of 8 bits, so that they are exact in bf16.
namespace RESECT_NAMESPACE::quant {

namespace detail {
// x > 0 rounded to 8 significant bits.
inline float to_8_bits(double x) noexcept {
  constexpr int dropped = 45;
  return static_cast<float>(double_of((bits_of(x) + (std::uint64_t{1} << (dropped - 1))) >> dropped << dropped));
}

// Sums over all weights of rows [first, last) with the scales of columns, as W̃ would have them.
inline double scaled_square(float w, float row, float column) noexcept {
  const double x = div_rn(w, mul_rn(row, column));
  return mul_rn(x, x);
}
}  // namespace detail

// Columns of W that are multiplied by s_j before they are quantized, after Lin et al., AWQ (2023).
struct awq_scales {
  array<float> columns;     // s_j; W̃ = W·diag(s), and 1/s goes into what comes before
  double alpha = 0.0;       // s_j ∝ x̄_j^α; 0: no scales
  double loss = 0.0;        // Σ a_j·(w_ij − Q(w_ij·s_j)/s_j)² with them
  double plain_loss = 0.0;  // the same without
};

// Numbers of an AWQ search.
struct awq_options {
  int steps = 20;  // α of 0, 1/steps, … 1 − 1/steps
};

// The α for which W loses least when W·diag(s), s_j = max(x̄_j^α, 10⁻⁴) over √(max·min) of them, is quantized: AWQ's search, with
// the loss of the matrix under diag H in place of that of the module's output.
//   magnitude  x̄_j, mean of |x_j| over calibration rows;  importance  a_j, mean of x_j² (what the loss weighs)
// α = 0 is tried, so loss ≤ plain_loss. Cost: `steps` times quantize and dequantize. Memory: three matrices.
// Errors: as try_quantize; shape_mismatch, not_finite, invalid_argument of magnitude and importance.
template <executor E, static_format F, class R = nearest, class S = min_max>
  requires(rounding_rule<R, E, F, S>)
result<awq_scales> try_awq_scales(E& exec, matrix_view<const float> W, std::span<const float> magnitude,
                                  std::span<const float> importance, const F& format, const R& rule = {},
                                  const S& search = {}, const awq_options& options = {}) {
  if (status s = check_view(W, "W"); !s) return s.error();
  if (static_cast<index_t>(magnitude.size()) != W.cols)
    return error{errc::shape_mismatch, "magnitude", text(magnitude.size(), " columns"), text(W.cols)};
  for (std::size_t j = 0; j < magnitude.size(); ++j)
    if (!(magnitude[j] >= 0 && magnitude[j] <= largest_weight))
      return error{errc::not_finite, text("magnitude of column ", j), text(magnitude[j]),
                   "a finite number of at least 0"};
  if (importance.empty() && W.cols > 0) return error{errc::shape_mismatch, "importance", "nothing", text(W.cols)};
  if (status s = detail::check_importance(importance, W.cols); !s) return s.error();
  if (options.steps < 1) return error{errc::invalid_argument, "steps of AWQ", text(options.steps), "at least 1"};

  const index_t n = W.rows * W.cols;
  array<float> scaled(n), back(n), s(W.cols);
  awq_scales best;
  for (int step = 0; step < options.steps; ++step) {
    const double alpha = div_rn(step, options.steps);
    double lo = 0, hi = 0;
    for (index_t j = 0; j < W.cols; ++j) {
      const double x = detail::larger(magnitude[static_cast<std::size_t>(j)], 1e-30);
      const double l = alpha == 0 ? 0.0 : detail::larger(mul_rn(alpha, math::log(x)), math::log(1e-4));
      lo = j == 0 || l < lo ? l : lo;
      hi = j == 0 || l > hi ? l : hi;
      s[j] = static_cast<float>(l);
    }
    for (index_t j = 0; j < W.cols; ++j) s[j] = detail::to_8_bits(math::exp(double{s[j]} - 0.5 * (lo + hi)));
    exec.bulk(W.rows, [&](index_t r) {
      for (index_t j = 0; j < W.cols; ++j) scaled[r * W.cols + j] = W(r, j) * s[j];
    });
    const auto q = try_quantize(exec, matrix_view<const float>{scaled.data(), W.rows, W.cols}, format, rule, search);
    if (!q) return q.error();
    if (status done = try_dequantize(exec, *q, matrix_view<float>{back.data(), W.rows, W.cols}); !done)
      return done.error();
    const double loss = parallel_reduce(
        exec, W.rows, 1, 0.0,
        [&](index_t r, index_t) {
          double sum = 0;
          for (index_t j = 0; j < W.cols; ++j) {
            const double e = double{W(r, j)} - div_rn(back[r * W.cols + j], s[j]);
            sum = fma_rn(mul_rn(e, e), double{importance[static_cast<std::size_t>(j)]}, sum);
          }
          return sum;
        },
        [](double a, double b) { return a + b; });
    if (step == 0) best.plain_loss = loss;
    if (step == 0 || loss < best.loss) {
      best.columns = s;
      best.alpha = alpha;
      best.loss = loss;
    }
  }
  return best;
}

// Rows and columns that have about the same mean square once they are divided by these.
struct sinkhorn_scales {
  array<float> rows, columns;    // W̃_ij = W_ij/(row_i·column_j)
  double imbalance = 1.0;        // largest over smallest root mean square of the rows and columns of W̃
  double plain_imbalance = 1.0;  // the same of W
  int iterations = 0;            // after which it was least
};

// Data-free scales after SINQ (Müller et al., 2025): columns and rows are divided by their root mean square in turn, and the
// scales of the least imbalance are kept; none (all 1) where nothing gets better. SINQ uses standard deviations; of squares about
// zero this is Sinkhorn's iteration, which converges where W has no zeros that forbid it. Rows and columns of zeros have scale
// 1. Group quantizers absorb the row scales; what helps them are the column scales.
// Cost: 2·iterations passes over W. The same bits for any number of workers.
// Errors: shape_mismatch, null_pointer, bad_stride, not_finite, invalid_argument (|w| > largest_weight, iterations).
template <executor E>
result<sinkhorn_scales> try_sinkhorn_scales(E& exec, matrix_view<const float> W, int iterations = 16) {
  if (iterations < 0) return error{errc::invalid_argument, "iterations of Sinkhorn", text(iterations), "at least 0"};
  if (status s = detail::check_weights(exec, W, largest_weight); !s) return s.error();
  array<float> rows(W.rows, 1.0f), columns(W.cols, 1.0f);
  array<double> row_rms(W.rows), column_rms(W.cols);
  const auto measure_rows = [&] {
    exec.bulk(W.rows, [&](index_t r) {
      double sum = 0;
      for (index_t c = 0; c < W.cols; ++c) sum += detail::scaled_square(W(r, c), rows[r], columns[c]);
      row_rms[r] = sqrt_rn(div_rn(sum, static_cast<double>(W.cols)));
    });
  };
  constexpr index_t strip = 64;
  const auto measure_columns = [&] {
    exec.bulk(W.cols / strip + (W.cols % strip != 0), [&](index_t b) {
      const index_t end = (b + 1) * strip < W.cols ? (b + 1) * strip : W.cols;
      for (index_t c = b * strip; c < end; ++c) column_rms[c] = 0;
      for (index_t r = 0; r < W.rows; ++r)
        for (index_t c = b * strip; c < end; ++c) column_rms[c] += detail::scaled_square(W(r, c), rows[r], columns[c]);
      for (index_t c = b * strip; c < end; ++c)
        column_rms[c] = sqrt_rn(div_rn(column_rms[c], static_cast<double>(W.rows)));
    });
  };
  const auto imbalance = [&] {
    double lo = 0, hi = 0;
    const auto see = [&](double x) {
      if (!(x > 0)) return;
      lo = lo == 0 || x < lo ? x : lo;
      hi = x > hi ? x : hi;
    };
    for (const double x : row_rms) see(x);
    for (const double x : column_rms) see(x);
    return lo == 0 ? 1.0 : div_rn(hi, lo);
  };
  const auto divide = [](array<float>& scales, const array<double>& by) {
    for (index_t i = 0; i < scales.size(); ++i)
      if (by[i] > 0)
        scales[i] = detail::to_8_bits(detail::smaller(detail::larger(mul_rn(scales[i], by[i]), 0x1p-60), 0x1p60));
  };
  sinkhorn_scales best;
  measure_rows();
  measure_columns();
  best.rows = rows;
  best.columns = columns;
  best.imbalance = best.plain_imbalance = imbalance();
  for (int i = 1; i <= iterations; ++i) {
    divide(columns, column_rms);
    measure_rows();
    divide(rows, row_rms);
    measure_rows();
    measure_columns();
    const double now = imbalance();
    if (!(now < best.imbalance)) continue;
    best.rows = rows;
    best.columns = columns;
    best.imbalance = now;
    best.iterations = i;
  }
  return best;
}

// Both of any operand of float.
template <executor E, operand_of<float> M, static_format F, class R = nearest, class S = min_max>
  requires(rounding_rule<R, E, F, S>)
result<awq_scales> try_awq_scales(E& exec, const M& W, std::span<const float> magnitude,
                                  std::span<const float> importance, const F& format, const R& rule = {},
                                  const S& search = {}, const awq_options& options = {}) {
  return on_view(W, "W", [&](matrix_view<const float> view) {
    return try_awq_scales(exec, view, magnitude, importance, format, rule, search, options);
  });
}
// try_sinkhorn_scales of any operand of float.
template <executor E, operand_of<float> M>
result<sinkhorn_scales> try_sinkhorn_scales(E& exec, const M& W, int iterations = 16) {
  return on_view(W, "W", [&](matrix_view<const float> view) { return try_sinkhorn_scales(exec, view, iterations); });
}

#if RESECT_EXCEPTIONS
// try_awq_scales, throwing.
template <executor E, class M, static_format F, class R = nearest, class S = min_max>
awq_scales find_awq_scales(E& exec, const M& W, std::span<const float> magnitude, std::span<const float> importance,
                           const F& format, const R& rule = {}, const S& search = {}, const awq_options& options = {}) {
  return value_or_throw(try_awq_scales(exec, W, magnitude, importance, format, rule, search, options));
}
// try_sinkhorn_scales, throwing.
template <executor E, class M>
sinkhorn_scales find_sinkhorn_scales(E& exec, const M& W, int iterations = 16) {
  return value_or_throw(try_sinkhorn_scales(exec, W, iterations));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
