// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>

#include <resect/core/backend.hpp>
#include <resect/quant/moment_view.hpp>
#include <resect/quant/quantized.hpp>

// What quantizing costs on what a matrix reads: the mean square of x·(W − Ŵ)ᵀ.
namespace RESECT_NAMESPACE::quant {

// Σ over rows, and each.
struct h_loss {
  array<double> rows;  // (w − ŵ)·H·(w − ŵ)ᵀ of each row
  double total = 0;    // tr(E·H·Eᵀ), E = W − Ŵ
  double weights = 0;  // tr(W·H·Wᵀ)
  double relative() const noexcept { return total == 0 ? 0.0 : total / weights; }  // definitions: H-loss
};

namespace detail {
inline constexpr double least_loss =
    0x1p-22;  // of ‖e‖²·tr(H): below −that no rounding of a semi-definite H brings a loss
}  // namespace detail

// tr(E·H·Eᵀ) of W (m, n) and Ŵ (m, n), float, any strides, with H of n columns.
//   In double, in slices of 512 rows: relative error ≤ 2n·2⁻⁵³·(|E|·|H|·|E|ᵀ). Cost 4mn² flop, memory 32·512·n bytes for a
//   slice, of E and W and their products with H, and 8·128·n bytes for rows of H. Same bits for any number of workers, if the
//   backend's products have that.
//   A semi-definite H gives no loss below 0 but by rounding, of these sums and of an H that was itself rounded to float: a
//   row's loss e·H·eᵀ ≥ −2⁻²²·‖e‖²·tr(H) counts as 0, and one below that is an error, as is such a w·H·wᵀ.
//   Errors: shape_mismatch, null_pointer, bad_stride; those of moment_view::check and of the backend; invalid_argument (H is
//   not semi-definite). Weights that are not finite make losses that are not.
template <dense_backend<double> B>
  requires std::same_as<typename B::space, host_space>
result<h_loss> try_h_loss(B& exec, matrix_view<const float> w, matrix_view<const float> approximation,
                          const moment_view& h) {
  if (auto s = check_view(w, "W"); !s) return s.error();
  if (auto s = check_view(approximation, w.rows, w.cols, "the approximation"); !s) return s.error();
  if (auto s = h.check(exec, w.cols); !s) return s.error();
  constexpr index_t slice = 512, columns = 128;
  double trace = 0;
  for (index_t i = 0; i < w.cols; ++i) trace += h(i, i);
  h_loss out;
  out.rows.resize(w.rows);
  matrix<double> h_rows(algo::min(columns, w.cols), w.cols);
  for (index_t first = 0; first < w.rows && w.cols > 0; first += slice) {
    const index_t rows = algo::min(slice, w.rows - first);
    matrix<double> x(2 * rows, w.cols), xh(2 * rows, w.cols);  // errors above weights
    exec.bulk(rows, [&](index_t r) {
      for (index_t c = 0; c < w.cols; ++c) {
        const double value = w(first + r, c);
        x(rows + r, c) = value;
        x(r, c) = value - static_cast<double>(approximation(first + r, c));
      }
    });
    for (index_t c = 0; c < w.cols; c += columns) {
      const index_t n = algo::min(columns, w.cols - c);
      exec.bulk(n, [&](index_t i) { read_row(h, c + i, 0, w.cols, &h_rows(i, 0)); });
      const matrix_view<const double> left = x.view().block(0, c, 2 * rows, n), right = h_rows.view().middle_rows(0, n);
      if (auto s = exec.try_gemm(1.0, left, right, c == 0 ? 0.0 : 1.0, xh.view()); !s) return s.error();
    }
    for (index_t r = 0; r < 2 * rows; ++r) {
      double sum = 0, square = 0;
      for (index_t c = 0; c < w.cols; ++c) {
        sum += x(r, c) * xh(r, c);
        square += x(r, c) * x(r, c);
      }
      const bool of_errors = r < rows;
      const index_t row = first + (of_errors ? r : r - rows);
      if (sum < -detail::least_loss * square * trace)
        return error{errc::invalid_argument, text("H, its product with row ", row, of_errors ? " of W − Ŵ" : " of W"),
                     text(sum), text("at least ", -detail::least_loss * square * trace, ", as of a semi-definite H")};
      if (of_errors) out.total += out.rows[row] = sum < 0 ? 0.0 : sum;
      else out.weights += sum < 0 ? 0.0 : sum;
    }
  }
  return out;
}

// Of a quantized matrix.
template <dense_backend<double> B, static_format F>
  requires std::same_as<typename B::space, host_space>
result<h_loss> try_h_loss(B& exec, matrix_view<const float> w, const quantized<F>& q, const moment_view& h) {
  matrix<float> values(q.rows, q.cols);
  if (auto s = try_dequantize(exec, q, values.view()); !s) return s.error();
  return try_h_loss(exec, w, matrix_view<const float>(values.view()), h);
}

// Both of any operands of float.
template <dense_backend<double> B, operand_of<float> W, operand_of<float> A>
  requires std::same_as<typename B::space, host_space>
result<h_loss> try_h_loss(B& exec, const W& w, const A& approximation, const moment_view& h) {
  return on_view(w, "W", [&](matrix_view<const float> of) {
    return on_view(approximation, "the approximation",
                   [&](matrix_view<const float> by) { return try_h_loss(exec, of, by, h); });
  });
}
template <dense_backend<double> B, operand_of<float> W, static_format F>
  requires std::same_as<typename B::space, host_space>
result<h_loss> try_h_loss(B& exec, const W& w, const quantized<F>& q, const moment_view& h) {
  return on_view(w, "W", [&](matrix_view<const float> of) { return try_h_loss(exec, of, q, h); });
}

}  // namespace RESECT_NAMESPACE::quant
