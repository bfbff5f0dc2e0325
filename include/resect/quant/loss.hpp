// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/core/reduce.hpp>
#include <resect/quant/detail/check_weights.hpp>
#include <resect/quant/quantized.hpp>

namespace RESECT_NAMESPACE::quant {

// What quantizing cost.
struct quantization_loss {
  double relative_frobenius = 0.0;  // ‖W − Ŵ‖_F / ‖W‖_F, 0/0 = 0
  double mean_square = 0.0;         // of W − Ŵ over all weights
  double largest = 0.0;             // |w − ŵ|
  // Scalar grids: weights more than half the outermost step (times 1 + 2^(b−13)) beyond the first or last level; else 0.
  index_t clipped = 0;
};

namespace detail {

// How far a weight that is not clipped may lie from its value, where that is beyond all inner levels' reach too: half of
// the larger outermost step.
template <grid G>
double clipping_bound(const G& g, const typename G::parameters& p) noexcept {
  const double slack = 0.5 * (1.0 + math::ldexp(1.0, g.code_bits() - 13));
  if constexpr (level_grid<G>) {
    const int last = g.level_count() - 1;
    const double lower = g.level(0, 1) - g.level(0, 0), upper = g.level(0, last) - g.level(0, last - 1);
    return slack * (lower > upper ? lower : upper) * math::fabs(static_cast<double>(p.scale));
  } else if constexpr (offset_grid<G>) {
    return slack * math::fabs(static_cast<double>(p.scale));
  } else {
    return static_cast<double>(std::numeric_limits<float>::max());
  }
}

}  // namespace detail

// Compares a quantized matrix with what it came from, in double. The same bits for any number of workers.
// Errors: what q.check finds; shape_mismatch where the extents differ; as try_quantize for W.
template <executor E, static_format F>
result<quantization_loss> try_loss(E& exec, matrix_view<const float> W, const quantized<F>& q) {
  if (status s = q.check(); !s) return s.error();
  if (status s = check_view(W, q.rows, q.cols, "W"); !s) return s.error();
  if (status s = detail::check_weights(exec, W, largest_weight); !s) return s.error();
  struct sums {
    double error = 0.0, weights = 0.0, largest = 0.0;
    index_t clipped = 0;
  };
  using G = typename F::grid_type;
  const block_layout layout = q.layout();
  const sums all = parallel_reduce(
      exec, layout.down(), 1, sums{},
      [&](index_t i, index_t) {
        sums s;
        for (index_t g = 0; g < layout.per_row(); ++g) {
          const auto p = q.parameters[i * layout.per_row() + g];
          const double bound = detail::clipping_bound(q.format.grid, p);
          detail::for_each_code(
              q.format, q.rows, q.cols, i, g, [&](index_t r, index_t c, index_t rows, index_t cols, index_t at) {
                float values[static_cast<std::size_t>(grid_shape{G::shape}.size())];
                q.format.grid.decode(q.codes[at], p, values);
                for (index_t y = 0; y < rows; ++y)
                  for (index_t x = 0; x < cols; ++x) {
                    const double w = W(r + y, c + x);
                    const double e = math::fabs(w - static_cast<double>(values[y * grid_shape{G::shape}.cols + x]));
                    s.error = fma_rn(e, e, s.error);
                    s.weights = fma_rn(w, w, s.weights);
                    s.largest = s.largest > e ? s.largest : e;
                    s.clipped += e > bound;
                  }
              });
        }
        return s;
      },
      [](const sums& a, const sums& b) {
        return sums{a.error + b.error, a.weights + b.weights, a.largest > b.largest ? a.largest : b.largest,
                    a.clipped + b.clipped};
      });
  quantization_loss out;
  const double n = static_cast<double>(q.rows) * static_cast<double>(q.cols);
  out.relative_frobenius = all.error == 0 ? 0.0 : math::sqrt(all.error / all.weights);
  out.mean_square = n == 0 ? 0.0 : all.error / n;
  out.largest = all.largest;
  out.clipped = all.clipped;
  return out;
}

// The same of any operand.
template <executor E, operand_of<float> W, static_format F>
result<quantization_loss> try_loss(E& exec, const W& w, const quantized<F>& q) {
  return on_view(w, "W", [&](matrix_view<const float> view) { return try_loss(exec, view, q); });
}

#if RESECT_EXCEPTIONS
template <executor E, operand_of<float> W, static_format F>
quantization_loss loss(E& exec, const W& w, const quantized<F>& q) {
  return value_or_throw(try_loss(exec, w, q));
}
template <executor E, static_format F>
quantization_loss loss(E& exec, matrix_view<const float> W, const quantized<F>& q) {
  return value_or_throw(try_loss(exec, W, q));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
