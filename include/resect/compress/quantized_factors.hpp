// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/quant/quantized.hpp>

namespace RESECT_NAMESPACE::compress {

// A format for the factors of L·R: codes of one weight each, groups along a component (a column of L, a row of R; group = 0:
// the whole component), parameters without headers. affine_symmetric<4, f16_store>{} has one scale a component.
template <class F>
concept factor_format =
    quant::static_format<F> && quant::scalar_grid<typename F::grid_type> && F::store_type::header_bits == 0;

// L·R whose factors are quantized, component by component: row i of `l` is column i of L (m, r), row i of `r` is row i of
// R (r, n).
template <factor_format F>
struct quantized_factors {
  quant::quantized<F> l;  // (r, m)
  quant::quantized<F> r;  // (r, n)

  index_t rows() const noexcept { return l.cols; }
  index_t cols() const noexcept { return r.cols; }
  index_t rank() const noexcept { return r.rows; }
  double stored_bits() const noexcept { return rank() == 0 ? 0.0 : l.stored_bits() + r.stored_bits(); }

  // Whether L and R are a pair. Errors: shape_mismatch, what quantized::check finds.
  status check() const noexcept {
    if (auto s = l.check(); !s) return s;
    if (auto s = r.check(); !s) return s;
    if (l.rows == r.rows) return {};
    return error{errc::shape_mismatch, "L", text(l.rows, " components"), text(r.rows, ", those of R")};
  }

  // out ← L·R, in double and rounded once. Cost 2mnr flop and 8r(m + n) bytes. Errors: what check finds; shape_mismatch,
  // null_pointer or bad_stride for `out`; those of the backend.
  template <dense_backend<double> B>
    requires std::same_as<typename B::space, host_space>
  status try_to_dense(B& exec, matrix_view<double> out) const {
    if (auto s = check(); !s) return s;
    if (auto s = check_view(out, rows(), cols(), "out"); !s) return s;
    const auto left = try_values(exec, l);
    if (!left) return left.error();
    const auto right = try_values(exec, r);
    if (!right) return right.error();
    return exec.try_gemm(1.0, left->view().transposed(), right->view(), 0.0, out);
  }

  // The values of one factor, (r, m) or (r, n), as doubles.
  template <executor E>
  static result<matrix<double>> try_values(E& exec, const quant::quantized<F>& factor) {
    matrix<float> narrow(factor.rows, factor.cols);
    if (auto s = quant::try_dequantize(exec, factor, narrow.view()); !s) return s.error();
    matrix<double> wide(factor.rows, factor.cols);
    for (index_t i = 0; i < wide.data.size(); ++i) wide.data[i] = static_cast<double>(narrow.data[i]);
    return wide;
  }
};

}  // namespace RESECT_NAMESPACE::compress
