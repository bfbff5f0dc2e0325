// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/storage_float.hpp>

// 16-bit storage types; conversions, constants and what is left out on purpose: storage_float.hpp.
namespace RESECT_NAMESPACE {

// IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits; largest 65504, smallest normal 2⁻¹⁴, smallest 2⁻²⁴, epsilon
// 2⁻¹⁰. Too large becomes infinity unless `overflow::saturate` is asked for. The bits of CUDA's __half.
using f16 = storage_float<std::uint16_t, 5, top_exponent::infinity_and_nan, overflow::non_finite>;

// bfloat16, the upper half of a float: 1 sign, 8 exponent, 7 mantissa bits; largest (2 − 2⁻⁷)·2¹²⁷, smallest normal
// 2⁻¹²⁶, smallest 2⁻¹³³, epsilon 2⁻⁷. Too large becomes infinity unless `overflow::saturate` is asked for. The bits
// of CUDA's __nv_bfloat16.
using bf16 = storage_float<std::uint16_t, 8, top_exponent::infinity_and_nan, overflow::non_finite>;

}  // namespace RESECT_NAMESPACE
