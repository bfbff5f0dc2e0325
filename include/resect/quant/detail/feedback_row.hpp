// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/detail/code_tiles.hpp>
#include <resect/quant/detail/elimination.hpp>

namespace RESECT_NAMESPACE::quant::detail {

// Rounding with feedback of a matrix of one row, in double: the codes of feedback_pass<double>, without its lanes of 16
// rows. q has its parameters. → (w − ŵ)·H·(w − ŵ)ᵀ without the ridge, up to rounding.
template <static_format F>
double round_one_row(matrix_view<const float> w, const elimination& e, double ridge, quantized<F>& q) {
  static_assert(scalar_grid<typename F::grid_type>);
  code_tiles<F> tiles(q);
  array<double> goal(w.cols);
  for (index_t k = 0; k < w.cols; ++k) goal[k] = static_cast<double>(w(0, e.column[k]));
  double loss = 0;
  for (index_t k = w.cols; k-- > 0;) {
    const index_t col = e.column[k];
    const double most = largest_weight;
    const float in = static_cast<float>(algo::min(algo::max(goal[k], -most), most));
    const auto& p = tiles.of(tiles.layout().block_of(0, col));
    tiles.at(0, col) = tiles.encoded(&in, p);
    float value = 0;
    tiles.decode(tiles.at(0, col), p, &value);
    const double error = static_cast<double>(w(0, col)) - static_cast<double>(value);
    const double z = goal[k] - static_cast<double>(value);
    loss += e.d[k] * z * z - ridge * error * error;
    const double* const factor = &e.l(k, 0);
    for (index_t i = 0; i < k; ++i) goal[i] += error * factor[i];
  }
  return loss;
}

}  // namespace RESECT_NAMESPACE::quant::detail
