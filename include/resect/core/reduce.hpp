// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/executor.hpp>

namespace RESECT_NAMESPACE {

// The sum of eight running sums, in the fixed order of all sums over lanes.
constexpr double lane_sum(const double (&lane)[8]) noexcept {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// The sum Σ x_i in double. Eight running sums over blocks of eight, combined in a fixed order: the same bits for
// every compiler, optimisation level and instruction set, because a float converted to double is exact. Error ≤ (n/8
// + 3) · 2⁻⁵³ · Σ|x_i|.
template <class T>
double sum(std::span<const T> x) noexcept {
  double lane[8] = {};
  const std::size_t whole = x.size() & ~std::size_t{7};
  for (std::size_t i = 0; i < whole; i += 8)
    for (std::size_t j = 0; j < 8; ++j) lane[j] += static_cast<double>(x[i + j]);
  for (std::size_t i = whole; i < x.size(); ++i) lane[i - whole] += static_cast<double>(x[i]);
  return lane_sum(lane);
}

// The inner product Σ a_i·b_i of floats in double. Every product is exact in double, so it is as reproducible as
// `sum`.
inline double dot(std::span<const float> a, std::span<const float> b) noexcept {
  double lane[8] = {};
  const std::size_t n = algo::min(a.size(), b.size());
  const std::size_t whole = n & ~std::size_t{7};
  for (std::size_t i = 0; i < whole; i += 8)
    for (std::size_t j = 0; j < 8; ++j) lane[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  for (std::size_t i = whole; i < n; ++i) lane[i - whole] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return lane_sum(lane);
}

// Reduces [0, n) in parallel: map(first, last) for each block of `block` elements, and `combine` over the results in
// a binary tree. The tree depends on n and block alone, so the number of workers changes no bit.
// map: (index first, index last) → T;  combine: (T, T) → T;  n = 0 gives `identity`.
template <executor E, class Map, class Combine, class T>
T parallel_reduce(E& exec, index_t n, index_t block, T identity, Map map, Combine combine) {
  if (n <= 0) return identity;
  const index_t blocks = (n + block - 1) / block;
  array<T> part(blocks, identity);
  exec.bulk(blocks, [&](index_t b) {
    const index_t first = b * block;
    part[b] = map(first, algo::min(first + block, n));
  });
  for (index_t width = 1; width < blocks; width *= 2)
    for (index_t i = 0; i + width < blocks; i += 2 * width) part[i] = combine(part[i], part[i + width]);
  return part.front();
}

}  // namespace RESECT_NAMESPACE
