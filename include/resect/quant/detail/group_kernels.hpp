// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/detail/lanes_portable.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/types.hpp>

// Kernels on the weights of a group, once for each instruction set from one text, and the choice between them. What they
// return is the same on every set, or only says where a slower way has to decide.
namespace RESECT_NAMESPACE::quant::detail {

struct value_range {
  float low, high;
};

namespace portable {
using ::resect::detail::portable::f32, ::resect::detail::portable::i32, ::resect::detail::portable::width;
// 16 numbers below 256, as bytes.
[[gnu::always_inline]] inline void put_bytes(std::uint8_t* to, const i32 (&c)[4]) noexcept {
  using bytes [[gnu::vector_size(4)]] = std::uint8_t;
  for (int k = 0; k < 4; ++k) {
    const bytes b = __builtin_convertvector(c[k], bytes);
    __builtin_memcpy(to + 4 * k, &b, sizeof b);
  }
}
#define RESECT_KERNEL
#include <resect/quant/detail/group_kernels.inl>
#undef RESECT_KERNEL
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
using ::resect::detail::avx2::f32, ::resect::detail::avx2::i32, ::resect::detail::avx2::width;
// 16 numbers below 256, as bytes. (Of a conversion of vectors g++ makes four times as much.)
[[RESECT_TARGET_AVX2, gnu::always_inline]] inline void put_bytes(std::uint8_t* to, const i32 (&c)[2]) noexcept {
  using half [[gnu::vector_size(16)]] = std::int32_t;
  const i32 order{0, 4, 1, 5, 2, 6, 3, 7};
  i32 x;
  asm("vpackusdw {%2, %1, %0|%0, %1, %2}" : "=x"(x) : "x"(c[0]), "x"(c[1]));
  asm("vpackuswb {%1, %1, %0|%0, %1, %1}" : "=x"(x) : "x"(x));
  asm("vpermd {%1, %2, %0|%0, %2, %1}" : "=x"(x) : "x"(x), "x"(order));
  half low;
  __builtin_memcpy(&low, &x, sizeof low);
  __builtin_memcpy(to, &low, sizeof low);
}
#define RESECT_KERNEL RESECT_TARGET_AVX2,
#include <resect/quant/detail/group_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
using ::resect::detail::avx512::f32, ::resect::detail::avx512::i32, ::resect::detail::avx512::width;
// 16 numbers below 256, as bytes.
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline void put_bytes(std::uint8_t* to, const i32 (&c)[1]) noexcept {
  asm("vpmovdb {%1, %0|%0, %1}" : "=m"(*reinterpret_cast<std::uint8_t(*)[16]>(to)) : "v"(c[0]));
}
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/quant/detail/group_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx512
#endif

inline constexpr index_t kernel_floats = 16;  // the most that a register holds: shorter groups take the plain way

// The kernels of `set`, which the machine must have.
inline value_range range(instruction_set set, const float* x, index_t n) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::range(x, n);
  if (set == instruction_set::avx2) return avx2::range(x, n);
#endif
  static_cast<void>(set);
  return portable::range(x, n);
}
inline std::int32_t largest_bits(instruction_set set, const float* x, index_t n) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::largest_bits(x, n);
  if (set == instruction_set::avx2) return avx2::largest_bits(x, n);
#endif
  static_cast<void>(set);
  return portable::largest_bits(x, n);
}
inline float integer_codes(instruction_set set, const float* x, index_t n, float inverse, float first, float last,
                           std::uint8_t* codes) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::integer_codes(x, n, inverse, first, last, codes);
  if (set == instruction_set::avx2) return avx2::integer_codes(x, n, inverse, first, last, codes);
#endif
  static_cast<void>(set);
  return portable::integer_codes(x, n, inverse, first, last, codes);
}

}  // namespace RESECT_NAMESPACE::quant::detail
