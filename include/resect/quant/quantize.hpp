// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/quant/detail/check_weights.hpp>
#include <resect/quant/detail/lost_scales.hpp>
#include <resect/quant/rounding.hpp>

namespace RESECT_NAMESPACE::quant {

namespace detail {
// W with contiguous rows of floats: itself, or a copy in `memory`.
template <executor E, class T>
matrix_view<const float> contiguous_floats(E& exec, matrix_view<const T> w, array<float>& memory) {
  if constexpr (std::same_as<T, float>)
    if (w.rows_contiguous()) return w;
  memory.resize(w.rows * w.cols);
  exec.bulk(w.rows, [&](index_t r) {
    for (index_t c = 0; c < w.cols; ++c) memory[r * w.cols + c] = static_cast<float>(w(r, c));
  });
  return {memory.data(), w.rows, w.cols};
}
}  // namespace detail

// W (out, in) in a format, rounding before search:
//   quantize(exec, W, affine<4>{.group = 64})
//   quantize(exec, W, affine_symmetric<3>{.group = 128}, nearest{}, mse_scale{.steps = 40})
//   quantize(exec, W, format<nf4, f16_store>{.group = 64}, nearest{}, exact{})
// Any shape; any strides (rows that are not contiguous are copied once). Of the executor `nearest` asks `bulk` alone. The
// same bits for any number of workers and any compiler. Memory: the result, of scalar grids a byte a weight and the
// parameters of groups.
// The outcome counts the groups whose scales the store does not hold: f16 has nothing above 65504 and below 2⁻²⁵.
// Errors: invalid_argument (group, options of the search, |w| > largest_weight), not_finite (the first such weight is
// named by row and column; parameters that a user's grid or search makes), shape_mismatch, null_pointer, bad_stride;
// what the rounding rule reports.
template <executor E, static_format F, class R = nearest, class S = min_max>
  requires(rounding_rule<R, E, F, S> && scale_search<S, typename F::grid_type, typename F::store_type>)
result<quantized<F>> try_quantize(E& exec, matrix_view<const float> W, const F& format, const R& rule = {},
                                  const S& search = {}) {
  quantized<F> out;
  out.format = format;
  if (status s = check_view(W, "W"); !s) return s.error();
  if (status s = check_format(format, W.rows, W.cols); !s) return s.error();
  if (status s = detail::check_search(search, format.grid, W.cols); !s) return s.error();
  if (status s = detail::check_weights(exec, W, largest_weight); !s) return s.error();
  array<float> copy;
  W = detail::contiguous_floats(exec, W, copy);
  if (status s = out.try_resize(W.rows, W.cols); !s) return s.error();
  if (status s = rule.round(exec, W, search, out); !s) return s.error();
  detail::note_lost_scales(exec, W, out);
  return out;
}

// Of a view of f16 or bf16, which is widened first.
template <executor E, small_float T, static_format F, class R = nearest, class S = min_max>
  requires(rounding_rule<R, E, F, S>)
result<quantized<F>> try_quantize(E& exec, matrix_view<const T> W, const F& format, const R& rule = {},
                                  const S& search = {}) {
  if (status s = check_view(W, "W"); !s) return s.error();
  if (status s = check_format(format, W.rows, W.cols); !s) return s.error();
  array<float> copy;
  return try_quantize(exec, detail::contiguous_floats(exec, W, copy), format, rule, search);
}

// Of any operand of f32, f16, bf16: a matrix of Eigen, xtensor, mdspan, resect's own.
template <executor E, operand W, static_format F, class R = nearest, class S = min_max>
  requires(widens_to_float<matrix_element<W>> && rounding_rule<R, E, F, S>)
result<quantized<F>> try_quantize(E& exec, const W& w, const F& format, const R& rule = {}, const S& search = {}) {
  return on_view(w, "W", [&](auto view) { return try_quantize(exec, view, format, rule, search); });
}

#if RESECT_EXCEPTIONS
template <executor E, static_format F, class R = nearest, class S = min_max>
  requires(rounding_rule<R, E, F, S>)
quantized<F> quantize(E& exec, matrix_view<const float> W, const F& format, const R& rule = {}, const S& search = {}) {
  return value_or_throw(try_quantize(exec, W, format, rule, search));
}
template <executor E, class W, static_format F, class R = nearest, class S = min_max>
  requires requires(E& e, const W& w, const F& f, const R& r, const S& s) { try_quantize(e, w, f, r, s); }
quantized<F> quantize(E& exec, const W& w, const F& format, const R& rule = {}, const S& search = {}) {
  return value_or_throw(try_quantize(exec, w, format, rule, search));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
