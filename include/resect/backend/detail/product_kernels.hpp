// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/types.hpp>

// Register kernels of products, once for each instruction set that has them from one text, and what chooses between them.
namespace RESECT_NAMESPACE::detail {

// What becomes of C: C ← α·s, or C ← C + α·s.
enum class into : unsigned char { replace, add };

#if defined(__x86_64__)
// Register tiles: as many sums as there are registers beside those of one row of B and of elements of A. 4 × 24 floats
// read seven vectors for twelve multiply–adds, 12 × 32 fourteen for twenty-four: both keep the multipliers busy. Panels
// are so deep that reading and writing C costs little, and as long as a strip of B does not hold up the multipliers: with
// 32 bytes a multiply–add it stays in a first cache of 32 KiB, with 64 it may come from the second.
namespace avx2 {
inline constexpr unsigned tile_rows = 4, row_step = 4, tile_vectors = 3, direct_rows = 4, deepest = 320;
#define RESECT_KERNEL RESECT_TARGET_AVX2,
#include <resect/backend/detail/product_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
inline constexpr unsigned tile_rows = 12, row_step = 4, tile_vectors = 2, direct_rows = 6, deepest = 1024;
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/backend/detail/product_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx512
#endif

// The kernels of one set, the widths of the strips that they take, and how deep a panel should be at most.
template <class T>
struct product_kernels {
  index_t tile_rows = 0, row_step = 1, tile_cols = 0, col_step = 1, deepest = 0;
  void (*pack)(const T* in, index_t across, index_t along, index_t count, index_t full, index_t step, index_t k,
               T* out) = nullptr;
  void (*multiply)(index_t m, index_t n, index_t k, T alpha, const T* a, const T* b, into how, T* c,
                   index_t stride) = nullptr;
  // Products that leave A as it lies: rows of a tile, and the kernel.
  index_t direct_rows = 0;
  void (*multiply_direct)(index_t m, index_t n, index_t k, T alpha, const T* a, index_t across, index_t along,
                          const T* b, into how, T* c, index_t stride) = nullptr;

  explicit operator bool() const noexcept { return multiply != nullptr; }
};

// Those of `set`, which the machine must have; none for sets without kernels of their own.
template <class T>
product_kernels<T> product_kernels_of(instruction_set set) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512)
    return {avx512::tile_rows,          avx512::row_step,    avx512::tile_cols<T>,
            avx512::vector_width<T>,    avx512::deepest,     avx512::pack<T>,
            avx512::multiply_packed<T>, avx512::direct_rows, avx512::multiply_direct<T>};
  if (set == instruction_set::avx2)
    return {avx2::tile_rows, avx2::row_step,           avx2::tile_cols<T>, avx2::vector_width<T>,   avx2::deepest,
            avx2::pack<T>,   avx2::multiply_packed<T>, avx2::direct_rows,  avx2::multiply_direct<T>};
#endif
  static_cast<void>(set);
  return {};
}

}  // namespace RESECT_NAMESPACE::detail
