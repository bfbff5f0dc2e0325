// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/backend.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/scratch.hpp>
#include <resect/core/storage_float.hpp>
#include <resect/quant/packed.hpp>

// Products with packed weights in class `exact`: activations stay float, the error is that of the backend's product with
// the dequantized matrix.
namespace RESECT_NAMESPACE::quant {

namespace detail {

inline constexpr index_t apply_rows = 64;  // of weights, dequantized at a time

template <static_format F>
constexpr index_t tile_rows() noexcept {
  constexpr index_t shape = grid_shape{F::grid_type::shape}.rows;
  return (apply_rows + shape - 1) / shape * shape;
}

// Whether activations fit a matrix: X (t, in), Y (t, out).
template <class X, class Y>
status check_activations(const matrix_view<X>& x, const matrix_view<Y>& y, index_t rows, index_t cols) noexcept {
  if (status s = check_view(x, x.rows, cols, "X"); !s) return s;
  return check_view(y, x.rows, rows, "Y");
}

// Y ← X·Ŵᵀ of floats, tile by tile of Ŵ.
template <static_format F, dense_backend<float> B>
status apply_tiles(B& exec, const packed_matrix<F>& w, matrix_view<const float> x, matrix_view<float> y,
                   scratch& memory) {
  constexpr index_t rows = tile_rows<F>(), shape = grid_shape{F::grid_type::shape}.rows;
  scratch_frame frame(&memory);
  const auto tile = frame.take<float>((rows < w.rows() ? rows : w.rows()) * w.cols());
  for (index_t first = 0; first < w.rows(); first += rows) {
    const index_t count = w.rows() - first < rows ? w.rows() - first : rows;
    exec.bulk((count + shape - 1) / shape, [&](index_t i) {
      const index_t r = i * shape, height = count - r < shape ? count - r : shape;
      w.decode_rows(first + r, {tile.data() + r * w.cols(), height, w.cols()});
    });
    const matrix_view<const float> values{tile.data(), count, w.cols()};
    const matrix_view<float> out{y.data + first * y.col_stride, y.rows, count, y.row_stride, y.col_stride};
    if (status s = exec.try_gemm(1.0f, x, values.transposed(), 0.0f, out); !s) return s;
  }
  return {};
}

}  // namespace detail

// Y ← X·Ŵᵀ: what the layer does to rows of activations. X (t, in) and Y (t, out) of f32, f16 or bf16, any strides; arithmetic
// in float, Y rounded once to its type. 64 rows of Ŵ are dequantized at a time, into memory that grows once:
// 64·in floats, and t·in and t·out floats where X and Y are not floats. Error: that of try_gemm with Ŵ. The same bits
// for any number of workers where the backend's are. Y must not overlap X.
// Errors: shape_mismatch, null_pointer, bad_stride; nothing is written then.
template <dense_backend<float> B, static_format F, class T, widens_to_float Y>
  requires widens_to_float<std::remove_const_t<T>>
status try_apply(B& exec, const packed_matrix<F>& w, matrix_view<T> rows, matrix_view<Y> y, scratch& memory) {
  using X = std::remove_const_t<T>;
  const matrix_view<const X> x = rows;
  if (status s = detail::check_activations(x, y, w.rows(), w.cols()); !s) return s;
  if constexpr (std::same_as<X, float> && std::same_as<Y, float>) {
    return detail::apply_tiles(exec, w, x, y, memory);
  } else {
    scratch_frame frame(&memory);
    matrix_view<const float> from;
    if constexpr (std::same_as<X, float>) {
      from = x;
    } else {
      const auto wide = frame.take<float>(x.rows * x.cols);
      for (index_t r = 0; r < x.rows; ++r)
        for (index_t c = 0; c < x.cols; ++c)
          wide[static_cast<std::size_t>(r * x.cols + c)] = static_cast<float>(x(r, c));
      from = {wide.data(), x.rows, x.cols};
    }
    if constexpr (std::same_as<Y, float>) {
      return detail::apply_tiles(exec, w, from, y, memory);
    } else {
      const auto wide = frame.take<float>(y.rows * y.cols);
      const matrix_view<float> to{wide.data(), y.rows, y.cols};
      if (status s = detail::apply_tiles(exec, w, from, to, memory); !s) return s;
      for (index_t r = 0; r < y.rows; ++r)
        for (index_t c = 0; c < y.cols; ++c) y(r, c) = Y(to(r, c));
      return {};
    }
  }
}

// The same of a matrix whose format is known at run time, among those of List (all_formats of formats/all.hpp, or the user's).
// Each call checks the head and all parameters of the bytes first; who multiplies once a token keeps a packed_matrix.
// Errors: also what try_visit finds.
template <class List, dense_backend<float> B, class X, widens_to_float Y>
  requires widens_to_float<std::remove_const_t<X>>
status try_apply(B& exec, const packed_view& w, matrix_view<X> x, matrix_view<Y> y, scratch& memory) {
  return try_visit<List>(w, [&](const auto& m) -> status { return try_apply(exec, m, x, y, memory); });
}

// Both of any operands.
template <dense_backend<float> B, static_format F, operand X, operand Y>
  requires(widens_to_float<matrix_element<X>> && output_of<Y, matrix_element<Y>>)
status try_apply(B& exec, const packed_matrix<F>& w, const X& x, Y& y, scratch& memory) {
  return on_view(x, "X", [&](auto from) {
    return on_output(y, "Y", [&](auto to) { return try_apply(exec, w, from, to, memory); });
  });
}
template <class List, dense_backend<float> B, operand X, operand Y>
  requires(widens_to_float<matrix_element<X>> && output_of<Y, matrix_element<Y>>)
status try_apply(B& exec, const packed_view& w, const X& x, Y& y, scratch& memory) {
  return on_view(x, "X", [&](auto from) {
    return on_output(y, "Y", [&](auto to) { return try_apply<List>(exec, w, from, to, memory); });
  });
}

}  // namespace RESECT_NAMESPACE::quant
