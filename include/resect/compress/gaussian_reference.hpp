// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <span>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::compress {

// The least tr(E·H·Eᵀ) at which a matrix (rows, n) of independent normal numbers of a variance is described by `bits` bits
// a weight, after its parts in the `rank` largest directions of H were described for nothing:
//   rows·variance·Σ_{j>rank} min(θ, h_j),  θ from Σ_{j>rank} max(0, ½·log₂(h_j/θ)) = n·bits,
// h_j the eigenvalues of H, descending (values below 0 count as 0). The rate–distortion function of a Gaussian source: a
// reference for a code, no bound for a given matrix, which is neither normal nor independent of H.
// Errors: invalid_argument (bits below 0 or not finite, rank outside 0 … n, variance below 0).
// Source: Cover & Thomas, "Elements of Information Theory", 2nd ed., Theorem 10.3.3 (reverse water-filling).
inline result<double> try_gaussian_reference(std::span<const double> h, index_t rows, double variance, double bits,
                                             index_t rank) {
  const auto n = static_cast<index_t>(h.size());
  if (!(bits >= 0 && bits <= 1e6))
    return error{errc::invalid_argument, "bits of the Gaussian reference", text(bits), "at least 0"};
  if (rank < 0 || rank > n)
    return error{errc::invalid_argument, "rank of the Gaussian reference", text(rank), text("0 to ", n)};
  if (!(variance >= 0))
    return error{errc::invalid_argument, "variance of the Gaussian reference", text(variance), "at least 0"};
  const auto at = [&](index_t j) { return h[static_cast<std::size_t>(j)] > 0 ? h[static_cast<std::size_t>(j)] : 0.0; };
  // with k directions above θ: log₂θ = (Σ log₂h_j − 2·n·bits)/k; the most directions that are all above it
  double logs = 0, theta = 0;
  index_t above = rank;
  for (index_t j = rank; j < n && at(j) > 0; ++j) {
    logs += std::log2(at(j));
    const double next = std::exp2((logs - 2 * static_cast<double>(n) * bits) / static_cast<double>(j + 1 - rank));
    if (next >= at(j) && j > rank) break;
    theta = next < at(j) ? next : at(j);
    above = j + 1;
  }
  double sum = static_cast<double>(above - rank) * theta;
  for (index_t j = above; j < n; ++j) sum += at(j);
  return static_cast<double>(rows) * variance * sum;
}

#if RESECT_EXCEPTIONS
inline double gaussian_reference(std::span<const double> h, index_t rows, double variance, double bits, index_t rank) {
  return value_or_throw(try_gaussian_reference(h, rows, variance, bits, rank));
}
#endif

}  // namespace RESECT_NAMESPACE::compress
