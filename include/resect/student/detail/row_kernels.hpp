// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/core/detail/lanes_avx2.hpp>
#include <resect/core/detail/lanes_avx512.hpp>
#include <resect/core/detail/lanes_portable.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/types.hpp>

// Loops over one row of d elements, which the trainers of students and of sparse autoencoders share: of floats by kernels of
// an instruction set, of doubles in plain loops.
namespace RESECT_NAMESPACE::student::detail {

// The numbers of one step of AdamW: g ← scale·g, m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g²,
// p ← keep·p − rate·m/(√v·root + ε), with the corrections 1 − β^t in rate and root; keep = 1 is Adam.
struct adam_numbers {
  float scale, beta1, rest1, beta2, rest2, rate, root, epsilon, keep;
};

namespace portable {
using ::resect::detail::portable::f32, ::resect::detail::portable::i32, ::resect::detail::portable::width;
[[gnu::always_inline]] inline f32 square_root(f32 x) noexcept {
  for (int k = 0; k < 2 * width; ++k) x[k] = __builtin_sqrtf(x[k]);
  return x;
}
#define RESECT_KERNEL
#include <resect/student/detail/row_kernels.inl>
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
#include <resect/student/detail/row_kernels.inl>
#undef RESECT_KERNEL
}  // namespace avx2
namespace avx512 {
using ::resect::detail::avx512::f32, ::resect::detail::avx512::i32, ::resect::detail::avx512::width;
[[RESECT_TARGET_AVX512, gnu::always_inline]] inline f32 square_root(f32 x) noexcept {
  asm("vsqrtps {%1, %0|%0, %1}" : "=v"(x) : "v"(x));
  return x;
}
#define RESECT_KERNEL RESECT_TARGET_AVX512,
#include <resect/student/detail/row_kernels.inl>
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
  // x_i ← e^(x_i − top), which is at most 1. → their sum
  float exp_below(float* x, float top, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::exp_below(x, top, n);
    if (set == instruction_set::avx2) return avx2::exp_below(x, top, n);
#endif
    return portable::exp_below(x, top, n);
  }
  double exp_below(double* x, double top, index_t n) const noexcept {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - top);
    return sum;
  }
  // y ← a·x
  void scale(float a, const float* x, float* y, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::scale(a, x, y, n);
    if (set == instruction_set::avx2) return avx2::scale(a, x, y, n);
#endif
    portable::scale(a, x, y, n);
  }
  void scale(double a, const double* x, double* y, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) y[i] = a * x[i];
  }
  // y ← a·x ∘ g
  void scaled_product(float a, const float* x, const float* g, float* y, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::scaled_product(a, x, g, y, n);
    if (set == instruction_set::avx2) return avx2::scaled_product(a, x, g, y, n);
#endif
    portable::scaled_product(a, x, g, y, n);
  }
  void scaled_product(double a, const double* x, const double* g, double* y, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) y[i] = a * x[i] * g[i];
  }
  // y += a·x ∘ g
  void add_scaled_product(float a, const float* x, const float* g, float* y, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::add_scaled_product(a, x, g, y, n);
    if (set == instruction_set::avx2) return avx2::add_scaled_product(a, x, g, y, n);
#endif
    portable::add_scaled_product(a, x, g, y, n);
  }
  void add_scaled_product(double a, const double* x, const double* g, double* y, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) y[i] += a * x[i] * g[i];
  }
  // h ← silu(gate) ∘ up, silu(x) = x/(1 + e^−x)
  void swiglu(const float* gate, const float* up, float* h, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::swiglu(gate, up, h, n);
    if (set == instruction_set::avx2) return avx2::swiglu(gate, up, h, n);
#endif
    portable::swiglu(gate, up, h, n);
  }
  void swiglu(const double* gate, const double* up, double* h, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) h[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  }
  // Where dh is ∂/∂h: gate ← ∂/∂gate, up ← ∂/∂up.
  void swiglu_back(const float* dh, float* gate, float* up, index_t n) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::swiglu_back(dh, gate, up, n);
    if (set == instruction_set::avx2) return avx2::swiglu_back(dh, gate, up, n);
#endif
    portable::swiglu_back(dh, gate, up, n);
  }
  void swiglu_back(const double* dh, double* gate, double* up, index_t n) const noexcept {
    for (index_t i = 0; i < n; ++i) {
      const double s = 1 / (1 + std::exp(-gate[i])), silu = gate[i] * s;
      gate[i] = dh[i] * up[i] * (s + silu * (1 - s));
      up[i] = dh[i] * silu;
    }
  }
  // out_j ← a·⟨x, row j⟩, row j at rows + j·stride, of `count` rows of n elements
  void dots(float a, const float* x, const float* rows, index_t stride, index_t count, index_t n,
            float* out) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::dots(a, x, rows, stride, count, n, out);
    if (set == instruction_set::avx2) return avx2::dots(a, x, rows, stride, count, n, out);
#endif
    portable::dots(a, x, rows, stride, count, n, out);
  }
  void dots(double a, const double* x, const double* rows, index_t stride, index_t count, index_t n,
            double* out) const noexcept {
    for (index_t j = 0; j < count; ++j) out[j] = a * dot(x, rows + j * stride, n);
  }
  // y += Σ_j w_j·row j, w_j at weights + j·step
  void add_rows(const float* weights, index_t step, const float* rows, index_t stride, index_t count, index_t n,
                float* y) const noexcept {
#if defined(__x86_64__)
    if (set == instruction_set::avx512) return avx512::add_rows(weights, step, rows, stride, count, n, y);
    if (set == instruction_set::avx2) return avx2::add_rows(weights, step, rows, stride, count, n, y);
#endif
    portable::add_rows(weights, step, rows, stride, count, n, y);
  }
  void add_rows(const double* weights, index_t step, const double* rows, index_t stride, index_t count, index_t n,
                double* y) const noexcept {
    for (index_t j = 0; j < count; ++j) add_scaled(weights[j * step], rows + j * stride, y, n);
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

}  // namespace RESECT_NAMESPACE::student::detail
