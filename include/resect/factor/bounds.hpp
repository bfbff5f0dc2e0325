// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/types.hpp>

// The constants of what factor/ promises: docs, comments and tests name these.
namespace RESECT_NAMESPACE::factor {

// The loss of a weighted low-rank pair exceeds the best loss by a factor of at most this at the default depth, and by
// `deep_loss_excess` where the Krylov space has `deep_columns(rank)` columns, beside the rounding of weighted_loss_bound.
inline constexpr double default_loss_excess = 1.01;
inline constexpr double deep_loss_excess = 1.001;
constexpr index_t deep_columns(index_t rank) noexcept { return 4 * rank + 32; }

// c·ε of T, where c·ε·tr(A·H·Aᵀ) is what rounding adds to the loss of a weighted low-rank pair. Products in T err by
// ε·√(sum of n terms) and the loss by their square and by the angle between computed and true eigenvectors; c = 4 is
// above everything that the torture suite shows.
template <class T>
constexpr double weighted_loss_bound() noexcept {
  return 4 * std::numeric_limits<T>::epsilon();
}

// Directions that subspace iteration searches beside those that are wanted, by default.
inline constexpr index_t subspace_oversampling = 10;
// The same of a Krylov space, the columns of its block, and how often W·Wᵀ is applied to the first one before it is kept.
// Rank 128 of 2048 x 2048 is then 0.9 % above the best error for Gaussian elements, and less for spectra that fall.
constexpr index_t krylov_oversampling(index_t rank) noexcept { return rank / 2 + 32; }
constexpr index_t krylov_block(index_t rank) noexcept { return rank < 24 ? 8 : (rank / 4 + 7) / 8 * 8; }
inline constexpr int krylov_start_powers = 3;

}  // namespace RESECT_NAMESPACE::factor
