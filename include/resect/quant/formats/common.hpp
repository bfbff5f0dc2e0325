// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/format.hpp>
#include <resect/quant/grids/codebook.hpp>
#include <resect/quant/grids/e8.hpp>
#include <resect/quant/grids/integer.hpp>
#include <resect/quant/grids/minimum.hpp>
#include <resect/quant/stores/e8m0.hpp>
#include <resect/quant/stores/six_bit.hpp>
#include <resect/quant/stores/tensor_scaled.hpp>

// Formats by the names under which they are known, in our own bytes (quant/packed.hpp). Scales are f16 where the format
// does not say otherwise; `group` can be changed everywhere.
namespace RESECT_NAMESPACE::quant {

// Integer codes with a float minimum and a scale, both f16 (ggml's Q4_1 has groups of 32).
template <int Bits, class Store = f16_store>
using affine_minimum = format<minimum_grid<Bits>, Store>;
// NF4 with scales of f16, or of another store: bitsandbytes keeps f32 and groups of 64.
using nf4 = format<nf4_grid, f16_store, 64>;
// FP4 of bitsandbytes.
using fp4 = format<fp4_grid, f16_store, 64>;
// MXFP4 of OCP: E2M1 and a power of two for each 32.
using mxfp4 = format<e2m1_grid, e8m0_store, 32>;
// NVFP4: E2M1, an E4M3 scale for each 16, an f32 scale for the matrix.
using nvfp4 = format<e2m1_grid, tensor_scaled_store<fp8_e4m3>, 16>;
// Two levels: integer codes, scales and minimums of 6 bits for each 32, two f16 for each 256. Four bits are 4.5 in all.
template <int Bits>
using two_level = format<minimum_grid<Bits>, six_bit_store<minimum_parameters>, 32>;
// Two levels about zero: signed scales of 6 bits for each 16, an f16 for each 128.
template <int Bits>
using two_level_symmetric = format<integer_grid<Bits, zero_point::symmetric>, six_bit_store<scale_parameters>, 16>;
// E8 at two bits: a scale of f16 a row.
using e8 = format<e8_grid, f16_store>;
// A codebook that is given at run time.
using codebook_format = format<codebook_grid, f16_store>;

}  // namespace RESECT_NAMESPACE::quant
