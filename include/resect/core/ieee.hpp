// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/config.hpp>

// Leaf arithmetic with one rounding, the same on host and device. Compilers may fuse a·b + c on their own
// (g++ does so by default wherever the machine has the instruction), which changes bits between builds. Code
// whose bits are promised writes every multiply–add with these, so that nothing is left to fuse.
namespace RESECT_NAMESPACE {

// Computes a·b + c with one rounding. On a host without the instruction this is a call into the C library, still
// exact.
RESECT_HD inline double fma_rn(double a, double b, double c) noexcept {
#if defined(__CUDA_ARCH__)
  return __fma_rn(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}
RESECT_HD inline float fma_rn(float a, float b, float c) noexcept {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

// √x, correctly rounded.
RESECT_HD inline double sqrt_rn(double x) noexcept {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

// a/b, correctly rounded.
RESECT_HD inline double div_rn(double a, double b) noexcept {
#if defined(__CUDA_ARCH__)
  return __ddiv_rn(a, b);
#else
  return a / b;
#endif
}

// The bits of a floating-point number; also on a device and in constant expressions.
RESECT_HD constexpr std::uint64_t bits_of(double x) noexcept { return __builtin_bit_cast(std::uint64_t, x); }
RESECT_HD constexpr std::uint32_t bits_of(float x) noexcept { return __builtin_bit_cast(std::uint32_t, x); }
// The floating-point number with these bits.
RESECT_HD constexpr double double_of(std::uint64_t bits) noexcept { return __builtin_bit_cast(double, bits); }
// The floating-point number with these bits.
RESECT_HD constexpr float float_of(std::uint32_t bits) noexcept { return __builtin_bit_cast(float, bits); }

// a·b rounded once; a product that is then added to something cannot be fused with it.
RESECT_HD inline double mul_rn(double a, double b) noexcept { return fma_rn(a, b, -0.0); }

}  // namespace RESECT_NAMESPACE
