// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/config.hpp>

// Lanes for every machine: 16 bytes, in the vector types that g++ and clang share. A compiler may fuse a product with
// the sum it goes into wherever its flags offer such an instruction; here nothing is left to fuse, so the bits do not
// depend on flags.
namespace RESECT_NAMESPACE::detail::portable {

inline constexpr int width = 2;
using f64 [[gnu::vector_size(16)]] = double;
using u64 [[gnu::vector_size(16)]] = std::uint64_t;
using f32 [[gnu::vector_size(16)]] = float;
using i32 [[gnu::vector_size(16)]] = std::int32_t;
using f32_half [[gnu::vector_size(8)]] = float;

[[gnu::always_inline]] inline f64 all(double x) noexcept { return f64{} + x; }
[[gnu::always_inline]] inline f64 load(const float* x) noexcept {
  f32_half f;
  __builtin_memcpy(&f, x, sizeof f);
  return __builtin_convertvector(f, f64);
}
// a·b, rounded by itself: what the compiler cannot see into it cannot fuse.
[[gnu::always_inline]] inline f64 product(f64 a, f64 b) noexcept {
  f64 p = a * b;
#if defined(__x86_64__)
  asm("" : "+x"(p));
#elif defined(__aarch64__)
  asm("" : "+w"(p));
#else
  asm("" : "+m"(p));
#endif
  return p;
}
// a·b + c in two roundings; with the sum first where it runs.
[[gnu::always_inline]] inline f64 multiply_add(f64 a, f64 b, f64 c) noexcept { return product(a, b) + c; }
[[gnu::always_inline]] inline f64 add_product(f64 c, f64 a, f64 b) noexcept { return c + product(a, b); }

}  // namespace RESECT_NAMESPACE::detail::portable
