// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <quant/rounding_cases.hpp>
#include <resect/backend/cpu_extern.hpp>
#include <resect/compress/decompose.hpp>
#include <resect/compress/packing_method.hpp>
#include <resect/quant/affine.hpp>

// Small matrices with second moments, and the formats that the tests of Q + L·R share: instantiated in decompose.cpp alone.
namespace tests {

using two_bits = resect::quant::affine_symmetric<2, resect::quant::f16_store>;
using four_bits = resect::quant::affine_symmetric<4, resect::quant::f16_store>;
using small_pair = resect::compress::decomposition<two_bits, four_bits>;

inline resect::compress::decompose_options small_options(index_t rank, int rounds = 4) {
  resect::compress::decompose_options out;
  out.rank = rank;
  out.rounds = rounds;
  out.trial_rounds = 1;
  out.feedback.sweeps = 2;
  out.factors.rounds = 3;
  return out;
}

// tr(E·H·Eᵀ), E = W − V, by plain loops in double.
inline double loss_of(const matrix<float>& w, const matrix<float>& v, const matrix<double>& h) {
  double sum = 0;
  for (index_t r = 0; r < w.rows; ++r)
    for (index_t i = 0; i < w.cols; ++i)
      for (index_t j = 0; j < w.cols; ++j)
        sum += (static_cast<double>(w(r, i)) - static_cast<double>(v(r, i))) * h(i, j) *
               (static_cast<double>(w(r, j)) - static_cast<double>(v(r, j)));
  return sum;
}

resect::result<small_pair> try_small_decompose(const matrix<float>& w, const resect::quant::moment_view& h,
                                               const resect::compress::decompose_options& o, int workers = 1);

// pack_decomposed of these formats.
resect::compress::packing_method small_packing(resect::cpu<resect::threads>& exec,
                                               std::span<const resect::quant::hessian> hessians,
                                               const resect::compress::decompose_options& o);

}  // namespace tests

extern template class resect::compress::factor_rounder<resect::cpu<resect::threads>, tests::four_bits>;
