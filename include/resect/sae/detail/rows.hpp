// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/core/types.hpp>

// Loops over one row of d elements, in a fixed order: eight sums side by side, then their tree.
namespace RESECT_NAMESPACE::sae::detail {

template <class T>
T dot(const T* a, const T* b, index_t n) noexcept {
  T sum[8] = {};
  index_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (index_t k = 0; k < 8; ++k) sum[k] += a[i + k] * b[i + k];
  for (index_t k = 0; i < n; ++i, ++k) sum[k] += a[i] * b[i];
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}
// y += a·x
template <class T>
void add_scaled(T a, const T* x, T* y, index_t n) noexcept {
  for (index_t i = 0; i < n; ++i) y[i] += a * x[i];
}

// What Adam does in one step: p ← p − rate·(m/c₁)/(√(v/c₂) + ε), m and v the running means of g and g².
struct adam_step {
  double rate = 0, beta1 = .9, beta2 = .999, epsilon = 1e-8;
  double correction1 = 1, correction2 = 1;  // 1 − β^t
};
template <class T>
void adam(const adam_step& s, T scale, const T* g, T* m, T* v, T* p, index_t n) noexcept {
  const T b1 = static_cast<T>(s.beta1), b2 = static_cast<T>(s.beta2), r1 = static_cast<T>(1 - s.beta1),
          r2 = static_cast<T>(1 - s.beta2), rate = static_cast<T>(s.rate / s.correction1),
          root = static_cast<T>(1 / std::sqrt(s.correction2)), epsilon = static_cast<T>(s.epsilon);
  for (index_t i = 0; i < n; ++i) {
    const T x = scale * g[i];
    m[i] = b1 * m[i] + r1 * x;
    v[i] = b2 * v[i] + r2 * x * x;
    p[i] -= rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

}  // namespace RESECT_NAMESPACE::sae::detail
