// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/math.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/reduce.hpp>

namespace RESECT_NAMESPACE::linalg {

// What the sweeps reached.
struct jacobi_outcome {
  int sweeps = 0;          // the last one made no rotation where converged
  bool converged = false;  // every pair of rows is orthogonal to the tolerance
};

namespace detail {

// Rows of double, padded with zeros to whole blocks of eight, so that every loop has a fixed inner length.
class jacobi_rows {
 public:
  static constexpr index_t lanes = 8;

  explicit jacobi_rows(matrix_view<const double> a)
      : length_((a.cols + lanes - 1) / lanes * lanes), data_(a.rows * length_) {
    copy(a, matrix_view<double>{data_.data(), a.rows, a.cols, length_});
  }
  index_t length() const noexcept { return length_; }
  double* row(index_t r) noexcept { return data_.data() + r * length_; }
  void copy_to(matrix_view<double> a) const noexcept {
    copy(matrix_view<const double>{data_.data(), a.rows, a.cols, length_}, a);
  }

 private:
  index_t length_ = 0;
  array<double> data_;
};

struct row_pair {
  double aa, bb, ab;
};

inline row_pair pair_products(const double* a, const double* b, index_t n) noexcept {
  double aa[8] = {}, bb[8] = {}, ab[8] = {};
  for (index_t i = 0; i < n; i += 8)
    for (index_t j = 0; j < 8; ++j) {
      aa[j] += a[i + j] * a[i + j];
      bb[j] += b[i + j] * b[i + j];
      ab[j] += a[i + j] * b[i + j];
    }
  return {lane_sum(aa), lane_sum(bb), lane_sum(ab)};
}

// (a, b) ← (c·a − s·b, s·a + c·b)
inline void rotate_pair(double* a, double* b, index_t n, double c, double s) noexcept {
  for (index_t i = 0; i < n; i += 8) {
    double x[8], y[8];
    for (index_t j = 0; j < 8; ++j) x[j] = c * a[i + j] - s * b[i + j];
    for (index_t j = 0; j < 8; ++j) y[j] = s * a[i + j] + c * b[i + j];
    for (index_t j = 0; j < 8; ++j) a[i + j] = x[j];
    for (index_t j = 0; j < 8; ++j) b[i + j] = y[j];
  }
}

}  // namespace detail

// One-sided Jacobi: rotates pairs of rows of X (k, m) until all are orthogonal, |x_i·x_j| ≤ tolerance·‖x_i‖·‖x_j‖, and
// applies the same rotations to the rows of V (k, p), which may have no columns. With V = I before: X_before = Vᵀ·X,
// so the norms of the rows of X are its singular values, in no particular order, to a few units of rounding each
// relative to the conditioning of X with rows of norm one. Rows of norm ≤ negligible are left alone.
// For small cores: k up to a few hundred. Cost per sweep 3k²m flop for the products and 3k²(m + p) where all rotate;
// 5 to 10 sweeps, fewer where X is nearly orthogonal already; at most max_sweeps. Double throughout; entries must be
// such that squares neither overflow nor vanish (the caller scales). Pairs of a round (tournament order) are disjoint:
// same bits for any number of workers. NaN never converges.
// Source: Hestenes, "Inversion of matrices by biorthogonalization", J. SIAM 6 (1958); Demmel & Veselić, "Jacobi's
// method is more accurate than QR", SIAM J. Matrix Anal. Appl. 13 (1992).
template <executor E>
jacobi_outcome one_sided_jacobi(E& exec, matrix_view<double> x, matrix_view<double> v, double tolerance,
                                double negligible = 0, int max_sweeps = 40) {
  detail::jacobi_rows rows{x}, companions{v};
  const index_t k = x.rows, players = k + k % 2, rounds = players - 1;
  constexpr index_t chunk = 8;  // pairs a task
  const index_t pairs = players / 2, tasks = (pairs + chunk - 1) / chunk;
  array<index_t> rotated(tasks);
  jacobi_outcome outcome{0, k < 2};
  while (!outcome.converged && outcome.sweeps < max_sweeps) {
    ++outcome.sweeps;
    index_t rotations = 0;
    for (index_t round = 0; round < rounds; ++round) {
      exec.bulk(tasks, [&](index_t t) {
        index_t count = 0;
        for (index_t p = t * chunk; p < pairs && p < (t + 1) * chunk; ++p) {
          // player `rounds` stays, the others go round
          index_t i = p == 0 ? rounds : (round + p) % rounds;
          index_t j = p == 0 ? round : (round + rounds - p) % rounds;
          if (i >= k || j >= k) continue;
          if (i > j) std::swap(i, j);
          const auto [aa, bb, ab] = detail::pair_products(rows.row(i), rows.row(j), rows.length());
          if (math::fabs(ab) <= tolerance * math::sqrt(aa) * math::sqrt(bb)) continue;
          if (aa <= negligible * negligible || bb <= negligible * negligible) continue;
          const double zeta = (bb - aa) / (2 * ab);
          const double tangent = (zeta < 0 ? -1.0 : 1.0) / (math::fabs(zeta) + math::hypot(1.0, zeta));
          const double cosine = 1 / math::sqrt(1 + tangent * tangent);
          detail::rotate_pair(rows.row(i), rows.row(j), rows.length(), cosine, cosine * tangent);
          detail::rotate_pair(companions.row(i), companions.row(j), companions.length(), cosine, cosine * tangent);
          ++count;
        }
        rotated[t] = count;
      });
      for (const index_t count : rotated) rotations += count;
    }
    outcome.converged = rotations == 0;
  }
  rows.copy_to(x);
  companions.copy_to(v);
  return outcome;
}

}  // namespace RESECT_NAMESPACE::linalg
