// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/quant/detail/paley.hpp>

// Kronecker products of Hadamard matrices, planned for an order and applied to several vectors side by side.
namespace RESECT_NAMESPACE::quant::detail {

inline constexpr index_t hadamard_lanes = 16;     // vectors side by side
inline constexpr index_t largest_paley = 512;     // a factor of order P costs P operations an element
inline constexpr index_t most_paley_factors = 4;  // 12⁴ = 20736

// n = 2^doublings · Π paley[i].
struct hadamard_plan {
  int doublings = 0;
  int factors = 0;
  index_t paley[most_paley_factors] = {};
  index_t cost = -1;  // operations an element; −1: no such product

  constexpr bool exists() const noexcept { return cost >= 0; }
};

// The cheapest product of order n with factors of at least `least`.
constexpr hadamard_plan plan_hadamard(index_t n, index_t least = 12, int room = most_paley_factors) noexcept {
  hadamard_plan best;
  if (n > 0 && (n & (n - 1)) == 0) {
    for (best.cost = 0; n > 1; n /= 2) ++best.doublings, ++best.cost;
    return best;
  }
  if (room == 0) return best;
  for (index_t p = least; p <= largest_paley && p <= n; p += 4) {
    if (n % p != 0 || (p & (p - 1)) == 0 || paley_field(p) == 0) continue;
    hadamard_plan rest = plan_hadamard(n / p, p, room - 1);
    if (!rest.exists() || (best.exists() && rest.cost + p >= best.cost)) continue;
    rest.paley[rest.factors++] = p;
    rest.cost += p;
    best = rest;
  }
  return best;
}

enum class direction : unsigned char { forward, inverse };

// The matrix of a plan over √n, orthogonal.
class hadamard {
 public:
  hadamard() = default;
  explicit hadamard(const hadamard_plan& plan) : order_(index_t{1} << plan.doublings), doublings_(plan.doublings) {
    for (int f = 0; f < plan.factors; ++f) {
      factors_.push_back({plan.paley[f], order_, paley_signs(plan.paley[f])});
      order_ *= plan.paley[f];
    }
  }

  index_t order() const noexcept { return order_; }

  // x (order × lanes) ← the matrix times x, or its transpose times x. `work` holds 512 × lanes.
  template <class T>
  void apply(T* x, T* work, direction d) const noexcept {
    for (index_t block = 0; block < order_; block += index_t{1} << doublings_)
      double_up(x + block * hadamard_lanes, index_t{1} << doublings_);
    for (const factor& f : factors_) multiply(f, x, work, d);
    const T scale = static_cast<T>(1 / math::sqrt(static_cast<double>(order_)));
    for (index_t i = 0; i < order_ * hadamard_lanes; ++i) x[i] *= scale;
  }

 private:
  struct factor {
    index_t order = 0, inner = 0;
    array<float> signs;
  };

  template <class T>
  static void double_up(T* x, index_t n) noexcept {
    for (index_t half = 1; half < n; half *= 2)
      for (index_t first = 0; first < n; first += 2 * half)
        for (index_t i = first * hadamard_lanes; i < (first + half) * hadamard_lanes; ++i) {
          const T a = x[i], b = x[i + half * hadamard_lanes];
          x[i] = a + b;
          x[i + half * hadamard_lanes] = a - b;
        }
  }

  template <class T>
  void multiply(const factor& f, T* x, T* work, direction d) const noexcept {
    const index_t across = d == direction::forward ? 1 : f.order, down = d == direction::forward ? f.order : 1;
    for (index_t outer = 0; outer < order_; outer += f.order * f.inner)
      for (index_t j = outer; j < outer + f.inner; ++j) {
        for (index_t r = 0; r < f.order; ++r) {
          T sum[hadamard_lanes] = {};
          const float* sign = f.signs.data() + r * down;
          for (index_t c = 0; c < f.order; ++c) {
            const T s = static_cast<T>(sign[c * across]);
            const T* from = x + (j + c * f.inner) * hadamard_lanes;
            for (index_t k = 0; k < hadamard_lanes; ++k) sum[k] += s * from[k];
          }
          for (index_t k = 0; k < hadamard_lanes; ++k) work[r * hadamard_lanes + k] = sum[k];
        }
        for (index_t r = 0; r < f.order; ++r)
          for (index_t k = 0; k < hadamard_lanes; ++k)
            x[(j + r * f.inner) * hadamard_lanes + k] = work[r * hadamard_lanes + k];
      }
  }

  index_t order_ = 1;
  int doublings_ = 0;
  array<factor> factors_;
};

}  // namespace RESECT_NAMESPACE::quant::detail
