// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>

#include <resect/core/types.hpp>

// Eight lanes of double or int32 in the vector types that g++ and clang share. Lane j of a kernel takes elements
// j, j + 8, …, whatever the machine's registers hold, so the order of summation does not follow the instruction set.
namespace resect::inline RESECT_NAMESPACE_TAG::metrics::detail {

#if defined(__AVX__)
inline constexpr int pack_width = 4;
#else
inline constexpr int pack_width = 2;
#endif
inline constexpr int pack_lanes = 8;
inline constexpr int pack_parts = pack_lanes / pack_width;

using part_f64 [[gnu::vector_size(8 * pack_width)]] = double;
using part_u64 [[gnu::vector_size(8 * pack_width)]] = std::uint64_t;
using part_f32 [[gnu::vector_size(4 * pack_width)]] = float;

// 16 bytes exist everywhere.
inline constexpr int key_width = 4;
using part_i32 [[gnu::vector_size(4 * key_width)]] = std::int32_t;

struct pack {
  part_f64 part[pack_parts] = {};

  double sum() const noexcept {
    double lane[pack_lanes];
    __builtin_memcpy(lane, part, sizeof lane);
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  }
};

// Elements of part p of the eight floats at x, as double. No alignment is needed.
[[gnu::always_inline]] inline part_f64 load_part(const float* x, int p) noexcept {
  part_f32 f;
  __builtin_memcpy(&f, x + p * pack_width, sizeof f);
  return __builtin_convertvector(f, part_f64);
}

// The last n < 8 floats at x, filled up with `fill`.
inline void load_rest(const float* x, index n, float fill, float* out) noexcept {
  for (index j = 0; j < pack_lanes; ++j) out[j] = j < n ? x[j] : fill;
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::metrics::detail
