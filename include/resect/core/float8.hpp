// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/storage_float.hpp>

// 8-bit storage types; conversions, constants and what is left out on purpose: storage_float.hpp.
namespace RESECT_NAMESPACE {

// OCP E4M3 (also "E4M3FN"): 1 sign, 4 exponent, 3 mantissa bits; largest 448, smallest normal 2⁻⁶, smallest 2⁻⁹,
// epsilon 2⁻³; no infinity, NaN is 0x7f and 0xff. Too large, infinity included, becomes ±448; with
// `overflow::non_finite` NaN of that sign. The bits of CUDA's __nv_fp8_e4m3.
using fp8_e4m3 = storage_float<std::uint8_t, 4, top_exponent::finite_but_one, overflow::saturate>;

// OCP E5M2: 1 sign, 5 exponent, 2 mantissa bits; largest 57344, smallest normal 2⁻¹⁴, smallest 2⁻¹⁶, epsilon 2⁻². Too
// large, infinity included, becomes ±57344; with `overflow::non_finite` infinity. The bits of CUDA's __nv_fp8_e5m2.
using fp8_e5m2 = storage_float<std::uint8_t, 5, top_exponent::infinity_and_nan, overflow::saturate>;

}  // namespace RESECT_NAMESPACE
