// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/array.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/layout.hpp>

namespace RESECT_NAMESPACE::quant {

// A quantized (rows, cols) matrix: codes row-major, one byte each whatever their width (packed formats are made of
// it); parameters row-major, one set a group.
struct quantized {
  affine_format format;
  index_t rows = 0;
  index_t cols = 0;
  array<std::uint8_t> codes;  // (rows, cols)
  array<float> scales;        // (rows, groups a row)
  array<std::uint8_t> zeros;  // (rows, groups a row); empty for symmetric formats

  group_layout layout() const noexcept { return {rows, cols, format.group}; }

  group_parameters parameters(index_t row, index_t g) const noexcept {
    const index_t i = row * layout().per_row() + g;
    return {scales[i], zeros.empty() ? static_cast<std::uint8_t>(1 << (format.bits - 1)) : zeros[i]};
  }

  // What a packed file of it holds: codes of `bits` bits, a scale of 32 bits a group, and for integer zeros a zero
  // point of `bits` bits a group. Nothing is left out; the name and the extents of the matrix are the container's.
  double stored_bits() const noexcept {
    const auto n = static_cast<double>(rows) * static_cast<double>(cols);
    const double overhead = 32.0 + (format.zero == zero_point::integer ? format.bits : 0);
    return n * format.bits + static_cast<double>(layout().count()) * overhead;
  }
  double bits_per_weight() const noexcept {
    return rows == 0 || cols == 0 ? 0.0 : stored_bits() / (static_cast<double>(rows) * static_cast<double>(cols));
  }

  // Whether the parts fit each other. Errors: invalid_argument (bits, group), shape_mismatch.
  status check() const noexcept {
    if (format.bits < 2 || format.bits > 8) return error{errc::invalid_argument, "bits", text(format.bits), "2 to 8"};
    if (status s = layout().check(); !s) return s;
    const auto fits = [](index_t got, index_t wanted, std::string_view operand) -> status {
      if (got == wanted) return {};
      return error{errc::shape_mismatch, operand, text(got), text(wanted)};
    };
    if (status s = fits(codes.size(), rows * cols, "codes"); !s) return s;
    if (status s = fits(scales.size(), layout().count(), "scales"); !s) return s;
    return fits(zeros.size(), format.zero == zero_point::symmetric ? 0 : layout().count(), "zero points");
  }
};

// out(r, c) := s·(code − z), one rounding (none for integer zeros, whose scales have 16 significant bits).
// Errors: what q.check finds; shape_mismatch, null_pointer or bad_stride for `out`. Nothing is written then.
template <executor E>
status try_dequantize(E& exec, const quantized& q, matrix_view<float> out) {
  if (status s = q.check(); !s) return s;
  if (status s = check_view(out, q.rows, q.cols, "out"); !s) return s;
  const group_layout layout = q.layout();
  return try_visit(q.format, [&](auto format) -> status {
    using grid = typename decltype(format)::grid;
    exec.bulk(q.rows, [&](index_t r) {
      for (index_t g = 0; g < layout.per_row(); ++g) {
        const group_parameters p = q.parameters(r, g);
        const std::uint8_t* codes = q.codes.data() + r * q.cols + layout.first(g);
        for (index_t j = 0; j < layout.size(g); ++j) out(r, layout.first(g) + j) = grid::decode(codes[j], p);
      }
    });
    return {};
  });
}

// The same into any operand.
template <executor E, output_of<float> Out>
status try_dequantize(E& exec, const quantized& q, Out& out) {
  return on_output(out, "out", [&](matrix_view<float> view) { return try_dequantize(exec, q, view); });
}

#if RESECT_EXCEPTIONS
template <executor E, output_of<float> Out>
void dequantize(E& exec, const quantized& q, Out& out) {
  value_or_throw(try_dequantize(exec, q, out));
}
template <executor E>
void dequantize(E& exec, const quantized& q, matrix_view<float> out) {
  value_or_throw(try_dequantize(exec, q, out));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
