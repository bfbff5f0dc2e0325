// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/quant/format.hpp>

namespace RESECT_NAMESPACE::quant {

// What a rounding rule met and did. Rules fill what concerns them; losses are tr(E·H·Eᵀ), E = W − Ŵ, of a rule that knows
// H, and −1 where it did not have to compute them.
struct rounding_outcome {
  array<index_t> zeroed_columns;  // whose pivots vanished: their errors were passed on to nobody; ascending
  index_t rows_kept_nearest = 0;  // in which the nearest codes lose less: they were kept
  int sweeps = 0;                 // of coordinate descent
  index_t changed_codes = 0;      // by these
  index_t refitted_groups = 0;    // whose scale was fitted again to their codes
  index_t saturated_scales =
      0;                        // groups whose scale, minimum or header is the largest number that the store has for it
  index_t vanished_scales = 0;  // groups of weights that differ from 0 (from each other) whose scale is 0
  double loss = -1;             // of the result
  double nearest_loss = -1;     // of the nearest codes
};

// A (rows, cols) matrix in a format.
template <static_format F>
struct quantized {
  using format_type = F;
  using grid_type = typename F::grid_type;
  using store_type = typename F::store_type;

  F format{};
  index_t rows = 0;
  index_t cols = 0;
  array<detail::code_of<F>> codes{};             // row-major, one for each block of the grid's shape
  array<detail::parameters_of<F>> parameters{};  // of each group, in the order of the layout's blocks
  array<detail::header_of<F>> headers{};         // of each super-block; empty where groups share nothing
  rounding_outcome outcome{};

  block_layout layout() const noexcept { return format.layout(rows, cols); }
  part_counts parts() const noexcept { return count_parts(format, rows, cols); }
  // The parameters of a weight.
  const detail::parameters_of<F>& parameters_at(index_t row, index_t col) const noexcept {
    return parameters[layout().block_of(row, col)];
  }
  // The header of a group: of block g of row i of blocks.
  detail::header_of<F> header_at(index_t i, index_t g) const noexcept {
    constexpr index_t super = store_type::super_groups;
    if constexpr (store_type::header_bits == 0) return {};
    else if constexpr (super == 0) return headers.front();
    else return headers[i * parts().supers_per_row + g / super];
  }

  double stored_bits() const noexcept { return quant::stored_bits(format, rows, cols); }
  double bits_per_weight() const noexcept {
    return rows == 0 || cols == 0 ? 0.0 : stored_bits() / (static_cast<double>(rows) * static_cast<double>(cols));
  }

  // Room for all parts. Errors: what check_format finds.
  status try_resize(index_t new_rows, index_t new_cols) {
    if (status s = check_format(format, new_rows, new_cols); !s) return s;
    rows = new_rows;
    cols = new_cols;
    const part_counts n = parts();
    codes.resize(n.code_rows * n.code_cols);
    parameters.resize(n.groups);
    headers.resize(n.headers);
    return {};
  }

  // Whether the parts fit each other. Errors: what check_format finds, shape_mismatch.
  status check() const noexcept {
    if (status s = check_format(format, rows, cols); !s) return s;
    const part_counts n = parts();
    const auto fits = [](index_t got, index_t wanted, std::string_view operand) -> status {
      if (got == wanted) return {};
      return error{errc::shape_mismatch, operand, text(got), text(wanted)};
    };
    if (status s = fits(codes.size(), n.code_rows * n.code_cols, "codes"); !s) return s;
    if (status s = fits(parameters.size(), n.groups, "parameters"); !s) return s;
    return fits(headers.size(), n.headers, "headers");
  }
};

namespace detail {

// f(r, c, rows, cols, code index) for every code of block g of row i of blocks: its first weight, and how many of its
// rows and columns lie inside of the matrix.
template <static_format F, class Visit>
void for_each_code(const F& f, index_t rows, index_t cols, index_t i, index_t g, Visit visit) {
  constexpr grid_shape shape = F::grid_type::shape;
  const block_layout layout = f.layout(rows, cols);
  const index_t code_cols = count_parts(f, rows, cols).code_cols;
  const index_t r0 = layout.first_row(i), r1 = r0 + layout.row_count(i);
  const index_t c0 = layout.first(g), c1 = c0 + layout.size(g);
  for (index_t r = r0; r < r1; r += shape.rows)
    for (index_t c = c0; c < c1; c += shape.cols)
      visit(r, c, r1 - r < shape.rows ? r1 - r : index_t{shape.rows},
            c1 - c < shape.cols ? c1 - c : index_t{shape.cols}, r / shape.rows * code_cols + c / shape.cols);
}

// Decodes block g of row i of blocks into `out`, a view of the whole matrix.
template <static_format F>
void decode_block(const quantized<F>& q, index_t i, index_t g, matrix_view<float> out) {
  using G = typename F::grid_type;
  const auto p = q.parameters[i * q.layout().per_row() + g];
  for_each_code(q.format, q.rows, q.cols, i, g, [&](index_t r, index_t c, index_t rows, index_t cols, index_t at) {
    float values[static_cast<std::size_t>(grid_shape{G::shape}.size())];
    q.format.grid.decode(q.codes[at], p, values);
    for (index_t y = 0; y < rows; ++y)
      for (index_t x = 0; x < cols; ++x) out(r + y, c + x) = values[y * grid_shape{G::shape}.cols + x];
  });
}

}  // namespace detail

// out(r, c) := the value of its code. Cost: a decode a code.
// Errors: what q.check finds; shape_mismatch, null_pointer or bad_stride for `out`. Nothing is written then.
template <executor E, static_format F>
status try_dequantize(E& exec, const quantized<F>& q, matrix_view<float> out) {
  if (status s = q.check(); !s) return s;
  if (status s = check_view(out, q.rows, q.cols, "out"); !s) return s;
  const block_layout layout = q.layout();
  exec.bulk(layout.down(), [&](index_t i) {
    for (index_t g = 0; g < layout.per_row(); ++g) detail::decode_block(q, i, g, out);
  });
  return {};
}

// The same into any operand.
template <executor E, static_format F, output_of<float> Out>
status try_dequantize(E& exec, const quantized<F>& q, Out& out) {
  return on_output(out, "out", [&](matrix_view<float> view) { return try_dequantize(exec, q, view); });
}

#if RESECT_EXCEPTIONS
template <executor E, static_format F, output_of<float> Out>
void dequantize(E& exec, const quantized<F>& q, Out& out) {
  value_or_throw(try_dequantize(exec, q, out));
}
template <executor E, static_format F>
void dequantize(E& exec, const quantized<F>& q, matrix_view<float> out) {
  value_or_throw(try_dequantize(exec, q, out));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
