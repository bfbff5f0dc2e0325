// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <limits>

#include <resect/core/array.hpp>
#include <resect/core/matrix.hpp>

// What a truncated SVD is asked for, and what it gives.
namespace RESECT_NAMESPACE::factor {

// Where the leading directions are sought.
enum class svd_method : std::uint8_t {
  block_krylov,        // in the space of all powers of W·Wᵀ on a small block: two products a direction
  subspace_iteration,  // in the last power of W·Wᵀ on a block of all directions: 2q + 2 products a direction
};

// How many directions are searched, and how.
struct truncated_svd_options {
  index_t rank = 0;  // 1 … min(m, n); beside a target, the most that is taken, 0: no limit
  // Further directions that are searched and then dropped; as many as there are, at most. −1: 10 for subspace iteration,
  // krylov_oversampling(rank) for a Krylov space.
  index_t oversampling = -1;
  int power_iterations = 2;  // of subspace iteration: 0 is for spectra that fall fast; a flat one gains up to about 4
  std::uint64_t seed = 1;
  int error_probes = 6;  // see try_spectral_error; 0 leaves it out, which saves up to 5 passes over W
  svd_method method = svd_method::block_krylov;
  index_t block = 0;  // columns of a step of a Krylov space; 0: krylov_block(rank)
  // How often W·Wᵀ is applied to the first block of a Krylov space before it is kept: a space that begins at higher
  // powers needs fewer columns, at 2·block products each time. −1: krylov_start_powers.
  int start_powers = -1;
  // Targets, in (0, 1]; 0: none. The least rank is taken that keeps Σs² ≥ energy·‖W‖²_F and leaves an error of at most
  // error·‖W‖_F.
  double energy = 0;
  double error = 0;
};

// Where a reported error comes from.
enum class error_source : std::uint8_t {
  none,           // there is no error: NaN
  difference,     // √(‖W‖² − Σs²)
  residual,       // the norm of W − U·diag(s)·Vᵀ itself, where the difference would be rounding
  leave_one_out,  // an estimate
};

// ‖E‖₂ between two numbers, E = W − L·R.
struct spectral_norm_estimate {
  double at_least = 0;  // ‖E·x‖ of a unit vector x, as computed
  // Not exceeded except with probability 10^−probes over the seed.
  double at_most = std::numeric_limits<double>::infinity();
};

// What was left of W, and how sure that is.
struct truncation_quality {
  double frobenius_norm = 0;   // ‖W‖_F
  double frobenius_error = 0;  // ‖W − U·diag(s)·Vᵀ‖_F
  error_source source = error_source::none;
  spectral_norm_estimate spectral_error;
  bool converged = false;   // the SVD of the small core
  bool target_met = false;  // the targets were reached within the rank that was allowed; true where there are none
};

// W ≈ U·diag(s)·Vᵀ.
template <class T, class Space = host_space>
struct truncated_decomposition {
  matrix<T, Space> u;      // (m, r), orthonormal columns; the element of largest magnitude in each is positive
  array<double> s;         // (r), descending
  matrix<T, Space> v;      // (n, r), orthonormal columns
  array<double> spectrum;  // (k) all values that were searched, descending; beyond r lower bounds of those of W
  truncation_quality quality;
};

}  // namespace RESECT_NAMESPACE::factor
