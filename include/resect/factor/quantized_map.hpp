// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>

#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/quant/packed.hpp>

namespace RESECT_NAMESPACE::factor {

// A quantized matrix as a linear map: products with its values in fp32, a tile of about 64 rows decoded at a time, so that
// the dense matrix never exists. Refers to the packed matrix. Host memory; 64·n floats a product.
template <quant::static_format F>
struct quantized_map {
  const quant::packed_matrix<F>* packed = nullptr;

  index_t rows() const noexcept { return packed->rows(); }
  index_t cols() const noexcept { return packed->cols(); }
  template <dense_backend<float> B>
    requires std::same_as<typename B::space, host_space>
  status try_multiply(B& exec, float alpha, matrix_view<const float> x, float beta, matrix_view<float> y) const {
    return over_tiles(exec, [&](index_t first, matrix_view<const float> values) {
      return exec.try_gemm(alpha, values, x, beta, y.middle_rows(first, values.rows));
    });
  }
  template <dense_backend<float> B>
    requires std::same_as<typename B::space, host_space>
  status try_multiply_transposed(B& exec, float alpha, matrix_view<const float> x, float beta,
                                 matrix_view<float> y) const {
    return over_tiles(exec, [&](index_t first, matrix_view<const float> values) {
      return exec.try_gemm(alpha, values.transposed(), x.middle_rows(first, values.rows), first == 0 ? beta : 1.0f, y);
    });
  }

 private:
  static constexpr index_t shape = quant::grid_shape{F::grid_type::shape}.rows;
  static constexpr index_t tile = (64 + shape - 1) / shape * shape;

  template <class B, class Multiply>
  status over_tiles(B& exec, Multiply multiply) const {
    matrix<float> values(std::min(tile, rows()), cols());
    for (index_t first = 0; first < rows(); first += tile) {
      const index_t count = std::min(tile, rows() - first);
      const auto here = values.view().middle_rows(0, count);
      exec.bulk((count + shape - 1) / shape, [&](index_t i) {
        const index_t r = i * shape;
        packed->decode_rows(first + r, here.middle_rows(r, std::min(shape, count - r)));
      });
      if (auto s = multiply(first, matrix_view<const float>(here)); !s) return s;
    }
    return {};
  }
};

}  // namespace RESECT_NAMESPACE::factor
