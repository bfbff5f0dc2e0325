// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/detail/lanes_portable.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/types.hpp>

// The loops in which the tridiagonal eigensolver spends its time, once for each instruction set from one text.
namespace RESECT_NAMESPACE::linalg::detail {

// x ← c·x − s·y, y ← s·x + c·y of row x and the next one, y.
struct plane_rotation {
  index_t row = 0;
  double cosine = 1, sine = 0;
};

// Columns that `rotate` turns in one call: so few that some hundred rows of them stay in the first cache.
inline constexpr index_t rotated_columns = 16;

namespace portable {
using ::resect::detail::portable::add_product, ::resect::detail::portable::all, ::resect::detail::portable::f64,
    ::resect::detail::portable::product, ::resect::detail::portable::width;
#define RESECT_KERNEL
#include <resect/linalg/detail/eigen_kernels.inl>
#undef RESECT_KERNEL
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
using ::resect::detail::avx2::add_product, ::resect::detail::avx2::all, ::resect::detail::avx2::f64,
    ::resect::detail::avx2::product, ::resect::detail::avx2::width;
#define RESECT_KERNEL RESECT_TARGET_AVX2,
#include <resect/linalg/detail/eigen_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
using ::resect::detail::avx512::add_product, ::resect::detail::avx512::all, ::resect::detail::avx512::f64,
    ::resect::detail::avx512::product, ::resect::detail::avx512::width;
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/linalg/detail/eigen_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx512
#endif

// The kernels of an instruction set, which the machine must have.
struct eigen_kernels {
  double (*dot)(const double*, const double*, index_t, index_t) noexcept;
  void (*update_and_multiply)(double*, index_t, index_t, const double*, const double*, const double*, const double*,
                              const double*, index_t, index_t, double*) noexcept;
  void (*reflect)(double*, index_t, index_t, const double*, double, index_t, index_t) noexcept;
  void (*rotate)(double*, const plane_rotation*, index_t) noexcept;

  static eigen_kernels of(instruction_set set) noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512)
      return {avx512::dot, avx512::update_and_multiply, avx512::reflect, avx512::rotate};
    if (set == instruction_set::avx2) return {avx2::dot, avx2::update_and_multiply, avx2::reflect, avx2::rotate};
#endif
    static_cast<void>(set);
    return {portable::dot, portable::update_and_multiply, portable::reflect, portable::rotate};
  }
};

}  // namespace RESECT_NAMESPACE::linalg::detail
