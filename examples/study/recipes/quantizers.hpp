// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <resect/model/weight.hpp>
#include <resect/quant/hessian.hpp>
#include <study/recipes/bench.hpp>

// The ways to quantize a matrix that the recipe `quantize` compares.
namespace studies {

// Integer grids are symmetric, with scales of f16 in groups; the other formats keep their own groups.
enum class quantizer : std::uint8_t {
  min_max,          // scales that hold all weights
  mse,              // the best of many clipping ratios, both signs
  exact,            // the least error over all scales that exist
  sinq,             // exact, after rows and columns were brought to about one mean square
  two_level,        // float minimums, scales and minimums of 6 bits under units of a super-block
  nf4,              // exact
  mxfp4,            // exact
  nvfp4,            // exact
  weighted_mse,     // mse with the diagonal of H as weights
  awq,              // weighted mse, after columns were multiplied by a power of their activations
  gptq,             // the scales of mse, feedback by H
  ldlq,             // the scales of weighted mse, feedback by H and sweeps of coordinate descent
  ldlq_refit,       // the same, scales fitted again in the norm of H
  e8,               // a lattice of 8 weights a code, feedback by H and sweeps
  rotated_nearest,  // weighted_mse of the matrix between two randomized Hadamard-type transforms
  rotated_ldlq,     // ldlq of it
};

struct quantizer_info {
  quantizer what;
  std::string_view name;    // "weighted-mse": in options, tables and reports
  bool calibrated;          // reads activations
  bool full_h;              // all of H, not its diagonal
  std::vector<int> widths;  // for which it exists
};

// All of them, in the order of tables.
const std::vector<quantizer_info>& all_quantizers();
const quantizer_info& info(quantizer q);

struct quantizer_options {
  resect::index_t group = 64;  // of integer grids
  std::uint64_t seed = 1;      // of transforms
};

// values (w.rows, w.cols) become what the matrix is after it was quantized at these nominal bits; → stored bits, with all
// overhead. `h` is asked by calibrated ones.
resect::result<double> try_quantize_matrix(backend& exec, quantizer q, int bits, const quantizer_options& options,
                                           const resect::model::weight_desc& w, const resect::quant::hessian& h,
                                           resect::matrix_view<float> values);

// The matrix as a format of 4 bits with float minimums in groups of 32 has it (ggml's Q4_1): the trap of files that were stored
// so. → stored bits.
resect::result<double> try_store_as_q4_1(backend& exec, resect::matrix_view<float> values);

}  // namespace studies
