// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/types.hpp>

// What a layer costs as a dense matrix and as a pair L·R.
namespace RESECT_NAMESPACE::factor {

// What multiplying rows of activations by a weight takes.
struct product_cost {
  double flops = 0;  // multiplications and additions
  double bytes = 0;  // of the weight's stored numbers, each read once
};

// Y ← X·Wᵀ, X (t, n), W (m, n) with `bits` a weight: 2tmn flop, mn·bits/8 bytes.
constexpr product_cost cost_of_dense(index_t m, index_t n, index_t tokens, double bits) noexcept {
  const double weights = static_cast<double>(m) * static_cast<double>(n);
  return {2 * static_cast<double>(tokens) * weights, weights * bits / 8};
}

// Y ← (X·Rᵀ)·Lᵀ, X (t, n), L (m, r), R (r, n) with `bits` an element: 2tr(m + n) flop, r(m + n)·bits/8 bytes.
constexpr product_cost cost_of_low_rank(index_t m, index_t n, index_t rank, index_t tokens, double bits) noexcept {
  const double elements = static_cast<double>(rank) * (static_cast<double>(m) + static_cast<double>(n));
  return {2 * static_cast<double>(tokens) * elements, elements * bits / 8};
}

// The largest rank at which the pair has no more bytes than the dense matrix: ⌊mn·dense_bits/((m + n)·pair_bits)⌋. With
// equal bits it is also the largest rank at which the pair has no more flop. 0 for an empty matrix, and where pair_bits
// is not above 0.
constexpr index_t break_even_rank(index_t m, index_t n, double dense_bits = 1, double pair_bits = 1) noexcept {
  if (m < 1 || n < 1 || !(pair_bits > 0) || !(dense_bits > 0)) return 0;
  const double rows = static_cast<double>(m), cols = static_cast<double>(n);
  return static_cast<index_t>(rows * cols * dense_bits / ((rows + cols) * pair_bits));
}

}  // namespace RESECT_NAMESPACE::factor
