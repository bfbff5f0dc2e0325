// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/detail/lanes_portable.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/types.hpp>

// Loops over one row of d elements: of floats by kernels of an instruction set, of doubles in plain loops.
namespace RESECT_NAMESPACE::sae::detail {

// The numbers of one step of Adam: g ← scale·g, m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g²,
// p ← p − rate·m/(√v·root + ε), with the corrections 1 − β^t in rate and root.
struct adam_numbers {
  float scale, beta1, rest1, beta2, rest2, rate, root, epsilon;
};

namespace portable {
using ::resect::detail::portable::f32, ::resect::detail::portable::i32, ::resect::detail::portable::width;
[[gnu::always_inline]] inline f32 square_root(f32 x) noexcept {
  for (int k = 0; k < 2 * width; ++k) x[k] = __builtin_sqrtf(x[k]);
  return x;
}
#define RESECT_KERNEL
#include <resect/sae/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
using ::resect::detail::avx2::f32, ::resect::detail::avx2::i32, ::resect::detail::avx2::width;
[[RESECT_TARGET_AVX2, gnu::always_inline]] inline f32 square_root(f32 x) noexcept {
  asm("vsqrtps {%1, %0|%0, %1}" : "=x"(x) : "x"(x));
  return x;
}
#define RESECT_KERNEL RESECT_TARGET_AVX2,
#include <resect/sae/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
using ::resect::detail::avx512::f32, ::resect::detail::avx512::i32, ::resect::detail::avx512::width;
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f32 square_root(f32 x) noexcept {
  asm("vsqrtps {%1, %0|%0, %1}" : "=v"(x) : "v"(x));
  return x;
}
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/sae/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx512
#endif

// The loops of an instruction set, which the machine must have.
struct row_loops {
  instruction_set set = instruction_set::portable;

  float dot(const float* a, const float* b, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::dot(a, b, n);
    if (set == instruction_set::avx2) return avx2::dot(a, b, n);
#endif
    return portable::dot(a, b, n);
  }
  double dot(const double* a, const double* b, index_t n) const noexcept {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
  }
  // y += a·x
  void add_scaled(float a, const float* x, float* y, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::add_scaled(a, x, y, n);
    if (set == instruction_set::avx2) return avx2::add_scaled(a, x, y, n);
#endif
    portable::add_scaled(a, x, y, n);
  }
  void add_scaled(double a, const double* x, double* y, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) y[i] += a * x[i];
  }
  // y += x
  void add(const float* x, float* y, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::add(x, y, n);
    if (set == instruction_set::avx2) return avx2::add(x, y, n);
#endif
    portable::add(x, y, n);
  }
  void add(const double* x, double* y, index_t n) const noexcept { add_scaled(1.0, x, y, n); }
  // The first i ≥ from with x_i > bound; n where there is none.
  index_t next_above(const float* x, index_t from, index_t n, float bound) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::next_above(x, from, n, bound);
    if (set == instruction_set::avx2) return avx2::next_above(x, from, n, bound);
#endif
    return portable::next_above(x, from, n, bound);
  }
  index_t next_above(const double* x, index_t from, index_t n, double bound) const noexcept {
    while (from < n && !(x[from] > bound)) ++from;
    return from;
  }
  // Asks for n elements that will be read soon.
  template <class T>
  void prefetch(const T* x, index_t n) const noexcept {
    constexpr index_t line = static_cast<index_t>(64 / sizeof(T));
    for (index_t i = 0; i < n; i += line) __builtin_prefetch(x + i);
  }
  void adam(const adam_numbers& s, const float* g, float* m, float* v, float* p, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::adam(s, g, m, v, p, n);
    if (set == instruction_set::avx2) return avx2::adam(s, g, m, v, p, n);
#endif
    portable::adam(s, g, m, v, p, n);
  }
};

}  // namespace RESECT_NAMESPACE::sae::detail
