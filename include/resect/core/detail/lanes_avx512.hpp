// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/instruction_set.hpp>

#if defined(__x86_64__)
#include <cstdint>

// Lanes of AVX-512: 64 bytes. <immintrin.h> costs as much to compile as everything in core, so there are vector types
// and four instructions by name. Multiply–add by name also means that the bits do not depend on -ffp-contract.
namespace RESECT_NAMESPACE::detail::avx512 {

inline constexpr int width = 8;
using f64 [[gnu::vector_size(64)]] = double;
using u64 [[gnu::vector_size(64)]] = std::uint64_t;
using f32 [[gnu::vector_size(64)]] = float;
using i32 [[gnu::vector_size(64)]] = std::int32_t;

[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f64 all(double x) noexcept { return f64{} + x; }
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f64 load(const float* x) noexcept {
  struct row_part {
    float element[width];
  };
  f64 v;
  asm("vcvtps2pd {%1, %0|%0, %1}" : "=v"(v) : "m"(*reinterpret_cast<const row_part*>(x)));
  return v;
}
// a·b, rounded by itself.
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f64 product(f64 a, f64 b) noexcept {
  f64 p;
  asm("vmulpd {%2, %1, %0|%0, %1, %2}" : "=v"(p) : "v"(a), "v"(b));
  return p;
}
// a·b + c, rounded once.
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f64 multiply_add(f64 a, f64 b, f64 c) noexcept {
  asm("vfmadd213pd {%2, %1, %0|%0, %1, %2}" : "+v"(a) : "v"(b), "v"(c));
  return a;
}
// The same into the register of c, for running sums.
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f64 add_product(f64 c, f64 a, f64 b) noexcept {
  asm("vfmadd231pd {%2, %1, %0|%0, %1, %2}" : "+v"(c) : "v"(a), "v"(b));
  return c;
}
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f32 add_product(f32 c, f32 a, f32 b) noexcept {
  asm("vfmadd231ps {%2, %1, %0|%0, %1, %2}" : "+v"(c) : "v"(a), "v"(b));
  return c;
}

}  // namespace RESECT_NAMESPACE::detail::avx512
#endif
