// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/config.hpp>

// Leaf arithmetic with one rounding, the same on host and device. Compilers may fuse a·b + c on their own
// (g++ does so by default wherever the machine has the instruction), which changes bits between builds. Code
// whose bits are promised writes every multiply–add with these, so that nothing is left to fuse.
namespace resect::inline RESECT_NAMESPACE_TAG {

#if defined(__CUDA_ARCH__)
RESECT_HD inline double fma_rn(double a, double b, double c) noexcept { return __fma_rn(a, b, c); }
RESECT_HD inline float fma_rn(float a, float b, float c) noexcept { return __fmaf_rn(a, b, c); }
RESECT_HD inline double sqrt_rn(double x) noexcept { return __dsqrt_rn(x); }
RESECT_HD inline double div_rn(double a, double b) noexcept { return __ddiv_rn(a, b); }
RESECT_HD inline std::uint64_t bits_of(double x) noexcept {
  return static_cast<std::uint64_t>(__double_as_longlong(x));
}
RESECT_HD inline double double_of(std::uint64_t bits) noexcept {
  return __longlong_as_double(static_cast<long long>(bits));
}
#else
// a·b + c rounded once. Without a hardware instruction this is a call into the C library, still exact.
RESECT_HD inline double fma_rn(double a, double b, double c) noexcept { return __builtin_fma(a, b, c); }
RESECT_HD inline float fma_rn(float a, float b, float c) noexcept { return __builtin_fmaf(a, b, c); }
// √x and a/b, correctly rounded (IEEE 754 asks that of both).
RESECT_HD inline double sqrt_rn(double x) noexcept { return __builtin_sqrt(x); }
RESECT_HD inline double div_rn(double a, double b) noexcept { return a / b; }
// The 64 bits of a double and back.
RESECT_HD inline std::uint64_t bits_of(double x) noexcept {
  std::uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
RESECT_HD inline double double_of(std::uint64_t bits) noexcept {
  double x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
#endif

// a·b rounded once; a product that is then added to something cannot be fused with it.
RESECT_HD inline double mul_rn(double a, double b) noexcept { return fma_rn(a, b, -0.0); }

}  // namespace resect::inline RESECT_NAMESPACE_TAG
