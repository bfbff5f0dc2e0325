// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/math.hpp>
#include <resect/core/operand.hpp>
#include <resect/quant/detail/check_weights.hpp>
#include <resect/quant/rounding.hpp>

namespace RESECT_NAMESPACE::quant {

// W (out, in) on the format's grid, groups along the columns of each row:
//   quantize(exec, W, affine<4>{.group = 64})
//   quantize(exec, W, affine_symmetric<3>{.group = 128}, mse_scale{.steps = 40})
//   quantize(exec, W, affine_format{.bits = bits, .group = 32}, min_max{}, nearest{})
// Any shape; any strides (rows that are not contiguous are copied once). Only `bulk` is asked of the executor. The
// same bits for any number of workers and any compiler. Memory: the result, n·(1 + 5/group) bytes.
// Errors: invalid_argument (bits, group, options of the search, |w| > largest_weight), not_finite (the first such
// weight is named by row and column), shape_mismatch, null_pointer, bad_stride; what the rounding rule reports.
template <executor E, static_format F, scale_search S = min_max, rounding_rule R = nearest>
result<quantized> try_quantize(E& exec, matrix_view<const float> W, const F& format, const S& search = {},
                               const R& rule = {}) {
  quantized out;
  out.format = format;
  out.rows = W.rows;
  out.cols = W.cols;
  if (status s = check_view(W, "W"); !s) return s.error();
  if (status s = out.layout().check(); !s) return s.error();
  if (status s = search.check(W.cols); !s) return s.error();
  if (status s = detail::check_weights(exec, W, largest_weight); !s) return s.error();

  array<float> copy;
  if (!W.rows_contiguous()) {
    copy.resize(W.rows * W.cols);
    exec.bulk(W.rows, [&](index_t r) {
      for (index_t c = 0; c < W.cols; ++c) copy[r * W.cols + c] = W(r, c);
    });
    W = {copy.data(), W.rows, W.cols};
  }
  const index_t groups = out.layout().count();
  out.codes.resize(W.rows * W.cols);
  out.scales.resize(groups);
  if (out.format.zero == zero_point::integer) out.zeros.resize(groups);
  if (status s = rule.template round<typename F::grid>(exec, W, search, out); !s) return s.error();
  return out;
}

// A format that is known at run time.
template <executor E, scale_search S = min_max, rounding_rule R = nearest>
result<quantized> try_quantize(E& exec, matrix_view<const float> W, const affine_format& format, const S& search = {},
                               const R& rule = {}) {
  return try_visit(format, [&](auto f) -> result<quantized> { return try_quantize(exec, W, f, search, rule); });
}

// The same of any operand: a matrix of Eigen, xtensor, mdspan, resect's own.
template <executor E, operand_of<float> W, class F, scale_search S = min_max, rounding_rule R = nearest>
  requires(static_format<F> || std::same_as<F, affine_format>)
result<quantized> try_quantize(E& exec, const W& w, const F& format, const S& search = {}, const R& rule = {}) {
  return on_view(w, "W", [&](matrix_view<const float> view) { return try_quantize(exec, view, format, search, rule); });
}

// What quantizing cost.
struct quantization_loss {
  double relative_frobenius = 0.0;  // ‖W − Ŵ‖_F / ‖W‖_F, 0/0 = 0
  double mean_square = 0.0;         // of W − Ŵ over all weights
  double largest = 0.0;             // |w − ŵ|
  index_t clipped = 0;                // weights with |w − ŵ| > |s|/2·(1 + 2^(b−13)): beyond the last level
};

// Compares a quantized matrix with what it came from, in double. The same bits for any number of workers.
// Errors: what q.check finds; shape_mismatch where the extents differ; as try_quantize for W.
template <executor E>
result<quantization_loss> try_loss(E& exec, matrix_view<const float> W, const quantized& q) {
  if (status s = q.check(); !s) return s.error();
  if (status s = check_view(W, q.rows, q.cols, "W"); !s) return s.error();
  if (status s = detail::check_weights(exec, W, largest_weight); !s) return s.error();
  struct sums {
    double error = 0.0, weights = 0.0, largest = 0.0;
    index_t clipped = 0;
  };
  const group_layout layout = q.layout();
  const double slack = 0.5 * (1.0 + math::ldexp(1.0, q.format.bits - 13));
  return try_visit(q.format, [&](auto format) -> result<quantization_loss> {
    using grid = typename decltype(format)::grid;
    const sums all = parallel_reduce(
        exec, q.rows, 1, sums{},
        [&](index_t r, index_t) {
          sums s;
          for (index_t g = 0; g < layout.per_row(); ++g) {
            const group_parameters p = q.parameters(r, g);
            const double bound = slack * math::fabs(static_cast<double>(p.scale));
            for (index_t c = layout.first(g); c < layout.first(g) + layout.size(g); ++c) {
              const double w = W(r, c);
              const double e = math::fabs(w - grid::decode(q.codes[r * q.cols + c], p));
              s.error = fma_rn(e, e, s.error);
              s.weights = fma_rn(w, w, s.weights);
              s.largest = s.largest > e ? s.largest : e;
              s.clipped += e > bound;
            }
          }
          return s;
        },
        [](const sums& a, const sums& b) {
          return sums{a.error + b.error, a.weights + b.weights, a.largest > b.largest ? a.largest : b.largest,
                      a.clipped + b.clipped};
        });
    quantization_loss out;
    out.relative_frobenius = all.error == 0 ? 0.0 : math::sqrt(all.error / all.weights);
    out.mean_square = q.codes.empty() ? 0.0 : all.error / static_cast<double>(q.codes.size());
    out.largest = all.largest;
    out.clipped = all.clipped;
    return out;
  });
}

// The same of any operand.
template <executor E, operand_of<float> W>
result<quantization_loss> try_loss(E& exec, const W& w, const quantized& q) {
  return on_view(w, "W", [&](matrix_view<const float> view) { return try_loss(exec, view, q); });
}

#if RESECT_EXCEPTIONS
template <executor E, class F, scale_search S = min_max, rounding_rule R = nearest>
requires(static_format<F> || std::same_as<F, affine_format>) quantized
    quantize(E& exec, matrix_view<const float> W, const F& format, const S& search = {}, const R& rule = {}) {
  return value_or_throw(try_quantize(exec, W, format, search, rule));
}
template <executor E, operand_of<float> W, class F, scale_search S = min_max, rounding_rule R = nearest>
  requires(static_format<F> || std::same_as<F, affine_format>)
quantized quantize(E& exec, const W& w, const F& format, const S& search = {}, const R& rule = {}) {
  return value_or_throw(try_quantize(exec, w, format, search, rule));
}
template <executor E, operand_of<float> W>
quantization_loss loss(E& exec, const W& w, const quantized& q) {
  return value_or_throw(try_loss(exec, w, q));
}
template <executor E>
quantization_loss loss(E& exec, matrix_view<const float> W, const quantized& q) {
  return value_or_throw(try_loss(exec, W, q));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
