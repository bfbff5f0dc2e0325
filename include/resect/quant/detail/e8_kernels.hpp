// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/detail/lanes_portable.hpp>
#include <resect/core/instruction_set.hpp>

// The search for the nearest magnitudes of E8, once for each instruction set from one text; all find the same.
namespace RESECT_NAMESPACE::quant::detail {

// The patterns side by side.
struct e8_lanes {
  std::int32_t twice[8][256];  // twice the magnitude: 1, 3 or 5
  std::int32_t squares[256];   // Σ x²·2¹⁸
  std::int32_t parity[256];    // of the sum of digits
};

namespace portable {
using ::resect::detail::portable::i32, ::resect::detail::portable::width;
#define RESECT_KERNEL
#include <resect/quant/detail/e8_kernels.inl>
#undef RESECT_KERNEL
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
using ::resect::detail::avx2::i32, ::resect::detail::avx2::width;
#define RESECT_KERNEL RESECT_TARGET_AVX2,
#include <resect/quant/detail/e8_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
using ::resect::detail::avx512::i32, ::resect::detail::avx512::width;
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/quant/detail/e8_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx512
#endif

// The kernel of `set`, which the machine must have.
inline int nearest_e8_pattern(instruction_set set, const e8_lanes& table, const std::int32_t* magnitudes,
                              std::int32_t odd) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::nearest_e8_pattern(table, magnitudes, odd);
  if (set == instruction_set::avx2) return avx2::nearest_e8_pattern(table, magnitudes, odd);
#endif
  static_cast<void>(set);
  return portable::nearest_e8_pattern(table, magnitudes, odd);
}

}  // namespace RESECT_NAMESPACE::quant::detail
