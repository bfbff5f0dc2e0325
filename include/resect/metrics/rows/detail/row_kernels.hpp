// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/detail/lanes_portable.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/types.hpp>

// Kernels on rows, once for each instruction set from one text, and the choice between them. The results of avx2 and
// avx512 have the same bits: they do the same roundings on the same eight lanes.
namespace RESECT_NAMESPACE::metrics::detail {

inline constexpr int lanes = 8;
inline constexpr index_t group = 16;  // floats taken at once: a cache line

struct float_range {
  float low, high;
};
// Sums of exponentials are kept in units of 2^power. Logits between ln(unit) − 580 and ln(unit) + 300 (`low`, `high`)
// are safe; outside, the kernel's result is meaningless.
struct exp_unit {
  double power, magic;  // an integer; 1.5·2⁵² − power: adding it rounds to an integer less the power
  float low, high;

  bool holds(float_range r) const noexcept { return r.low >= low && r.high <= high; }
};
inline exp_unit unit_of(double power) noexcept {
  const double origin = power * 0.6931471805599453;
  return {power, 6755399441055744.0 - power, static_cast<float>(origin - 580), static_cast<float>(origin + 300)};
}
struct exp_result {
  double sum;
  float_range range;
};
struct exp_pair_result {
  exp_result x, y;
  double cross;
};
struct peak_result {
  float high;
  bool has_nan;
};
struct place_result {
  index_t first, count;
};
struct product_result {
  double dot, aa, bb, dd;
};

namespace portable {
using ::resect::detail::portable::add_product, ::resect::detail::portable::all, ::resect::detail::portable::f32,
    ::resect::detail::portable::f64, ::resect::detail::portable::i32, ::resect::detail::portable::load,
    ::resect::detail::portable::multiply_add, ::resect::detail::portable::product, ::resect::detail::portable::u64,
    ::resect::detail::portable::width;
#define RESECT_KERNEL
#include <resect/metrics/rows/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
using ::resect::detail::avx2::add_product, ::resect::detail::avx2::all, ::resect::detail::avx2::f32,
    ::resect::detail::avx2::f64, ::resect::detail::avx2::i32, ::resect::detail::avx2::load,
    ::resect::detail::avx2::multiply_add, ::resect::detail::avx2::product, ::resect::detail::avx2::u64,
    ::resect::detail::avx2::width;
#define RESECT_KERNEL RESECT_TARGET_AVX2,
#include <resect/metrics/rows/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
using ::resect::detail::avx512::add_product, ::resect::detail::avx512::all, ::resect::detail::avx512::f32,
    ::resect::detail::avx512::f64, ::resect::detail::avx512::i32, ::resect::detail::avx512::load,
    ::resect::detail::avx512::multiply_add, ::resect::detail::avx512::product, ::resect::detail::avx512::u64,
    ::resect::detail::avx512::width;
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/metrics/rows/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx512
#endif

// The kernels of `set`, which the machine must have (core/instruction_set.hpp: runnable). A set that was not compiled
// for this architecture is never runnable.
inline exp_result exp_sum(instruction_set set, const float* x, index_t n, const exp_unit& unit) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::exp_sum(x, n, unit);
  if (set == instruction_set::avx2) return avx2::exp_sum(x, n, unit);
#endif
  static_cast<void>(set);
  return portable::exp_sum(x, n, unit);
}
inline exp_pair_result exp_pair(instruction_set set, const float* x, const float* y, index_t n, const exp_unit& unit_x,
                                const exp_unit& unit_y) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::exp_pair(x, y, n, unit_x, unit_y);
  if (set == instruction_set::avx2) return avx2::exp_pair(x, y, n, unit_x, unit_y);
#endif
  static_cast<void>(set);
  return portable::exp_pair(x, y, n, unit_x, unit_y);
}
inline peak_result peak(instruction_set set, const float* x, index_t n) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::peak(x, n);
  if (set == instruction_set::avx2) return avx2::peak(x, n);
#endif
  static_cast<void>(set);
  return portable::peak(x, n);
}
inline place_result place(instruction_set set, const float* x, index_t n, float value) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::place(x, n, value);
  if (set == instruction_set::avx2) return avx2::place(x, n, value);
#endif
  static_cast<void>(set);
  return portable::place(x, n, value);
}
template <class T>
product_result products(instruction_set set, const T* a, const T* b, index_t n) noexcept {
#if defined(__x86_64__)
  if (set == instruction_set::avx512) return avx512::products(a, b, n);
  if (set == instruction_set::avx2) return avx2::products(a, b, n);
#endif
  static_cast<void>(set);
  return portable::products(a, b, n);
}

}  // namespace RESECT_NAMESPACE::metrics::detail
