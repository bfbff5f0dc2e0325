// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <resect/core/backend.hpp>
#include <resect/core/instruction_set.hpp>
#include <resect/core/matrix.hpp>
#include <resect/linalg/detail/eigen_kernels.hpp>
#include <resect/linalg/detail/scaled_symmetric.hpp>

namespace RESECT_NAMESPACE::linalg {

namespace detail {

// Kernels begin and end at multiples of this; rows are padded with zeros to whole slices of `rotate`.
inline constexpr index_t eigen_lanes = 8;

// QᵀAQ = T: d and e of T, and Q = H_0·H_1·…, H_k = I − scale_k·v_k·v_kᵀ, v_k in row k.
struct tridiagonal_form {
  index_t n = 0, length = 0;
  array<double> reflectors, scale, d, e;

  const double* reflector(index_t k) const noexcept { return reflectors.data() + k * length; }
  double* reflector(index_t k) noexcept { return reflectors.data() + k * length; }
};

// v ← x − α·e_at, the reflector that takes column x (zero before `at`) to α·e_at. Returns its scale, 0 where x has
// nothing below `at`.
inline double make_reflector(const eigen_kernels& kernels, double* v, index_t at, index_t length,
                             double& alpha) noexcept {
  const index_t start = at & ~(eigen_lanes - 1);
  double below = 0;
  for (index_t i = at + 1; i < length; ++i) below = std::max(below, std::fabs(v[i]));
  alpha = v[at];
  if (below == 0) {
    for (index_t i = at; i < length; ++i) v[i] = 0;
    return 0;
  }
  const double norm = std::sqrt(kernels.dot(v, v, start, length));
  alpha = v[at] > 0 ? -norm : norm;
  v[at] -= alpha;
  return 1 / (norm * std::fabs(v[at]));
}

// Householder's reduction; a pass over what remains of A updates it by one reflector and multiplies it by the next.
inline tridiagonal_form reduce_to_tridiagonal(const eigen_kernels& kernels, matrix_view<const double> from) {
  tridiagonal_form f;
  const index_t n = f.n = from.rows, length = f.length = (n + rotated_columns - 1) / rotated_columns * rotated_columns;
  array<double> a(n * length), w(length), product(length), zero(length);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) a[i * length + j] = from(i, j);
  f.reflectors.resize(n * length), f.scale.resize(n), f.d.resize(n), f.e.resize(n);
  const double* last = zero.data();  // the reflector whose update of A is due
  for (index_t k = 0; k < n; ++k) {
    double* const v = f.reflector(k);
    const auto updated = [&](index_t i) { return a[k * length + i] - last[i] * w[k] - w[i] * last[k]; };
    f.d[k] = updated(k);
    if (k + 1 == n) break;
    for (index_t i = k + 1; i < n; ++i) v[i] = updated(i);
    f.scale[k] = make_reflector(kernels, v, k + 1, length, f.e[k]);
    const index_t start = (k + 1) & ~(eigen_lanes - 1);
    kernels.update_and_multiply(a.data() + (k + 1) * length, length, n - k - 1, last + k + 1, w.data(),
                                w.data() + k + 1, last, v, start, length, product.data() + k + 1);
    for (index_t i = 0; i < length; ++i) product[i] = i > k && i < n ? f.scale[k] * product[i] : 0.0;
    const double half = f.scale[k] / 2 * kernels.dot(product.data(), v, start, length);
    for (index_t i = 0; i < length; ++i) w[i] = product[i] - half * v[i];
    last = v;
  }
  return f;
}

// √(x² + y²), by std::hypot where a square would overflow or lose digits.
inline double norm_of_two(double x, double y) noexcept {
  const double squares = x * x + y * y;
  return squares > 0x1p-900 && squares < 0x1p900 ? std::sqrt(squares) : std::hypot(x, y);
}

// QL sweeps with implicit shifts: d becomes the eigenvalues of T, and apply(rotations) gets what made them, in order.
// Returns false where an eigenvalue does not converge.
template <class Apply>
bool implicit_ql(array<double>& d, array<double>& e, Apply apply) {
  const index_t n = d.size();
  array<plane_rotation> rotations;
  for (index_t low = 0; low < n; ++low)
    for (int sweep = 0;; ++sweep) {
      index_t high = low;
      while (high + 1 < n && std::fabs(e[high]) > std::numeric_limits<double>::epsilon() / 2 *
                                                      (std::fabs(d[high]) + std::fabs(d[high + 1])))
        ++high;
      if (high == low) break;
      if (sweep == 60) return false;
      const double gap = (d[low + 1] - d[low]) / (2 * e[low]), root = norm_of_two(gap, 1);
      double shifted = d[high] - d[low] + e[low] / (gap + (gap < 0 ? -root : root));
      double s = 1, c = 1, carried = 0;
      bool split = false;
      for (index_t i = high - 1; i >= low; --i) {
        const double bulge = s * e[i], kept = c * e[i], norm = norm_of_two(bulge, shifted);
        e[i + 1] = norm;
        if (norm == 0) {
          d[i + 1] -= carried;
          e[high] = 0;
          split = true;
          break;
        }
        s = bulge / norm, c = shifted / norm;
        const double base = d[i + 1] - carried, step = (d[i] - base) * s + 2 * c * kept;
        carried = s * step;
        d[i + 1] = base + carried;
        shifted = c * step - kept;
        rotations.push_back({i, c, s});
      }
      if (split) continue;
      d[low] -= carried;
      e[low] = shifted;
      e[high] = 0;
      if (rotations.size() > 1 << 15) apply(rotations), rotations.clear();
    }
  apply(rotations);
  return true;
}

}  // namespace detail

// A (n, n), its lower triangle read ← orthonormal eigenvectors as columns; w ← eigenvalues, ascending.
//   Householder's reduction to tridiagonal form, QL sweeps with implicit shifts, the rotations applied to slices of columns
//   by the workers; loops by kernels of `set`, which the machine must have. ‖A·v − λ·v‖₂ and ‖VᵀV − I‖_F ≤ 16·n·2⁻⁵³·(‖A‖₂
//   and 1); small eigenvalues without the relative accuracy of jacobi_symmetric_eigen. About 2n³ + 6n³ + 2n³ flop, 8 ms at
//   n = 256 with AVX-512 on one thread; memory 8·4n² bytes. Same bits for any number of workers on one instruction set.
//   Not converged: a NaN or an infinity.
//   Source: Bowdler, Martin, Reinsch & Wilkinson, "The QR and QL algorithms for symmetric matrices", Numer. Math. 11
//   (1968); Golub & Van Loan, "Matrix Computations", 4th ed., §8.3.
inline result<eigen_outcome> tridiagonal_symmetric_eigen(executor_ref exec, instruction_set set, matrix_view<double> a,
                                                         vector_view<double> w) {
  const index_t n = a.rows;
  detail::scaled_symmetric scaled(a);
  if (!scaled.finite) return eigen_outcome{false};
  const int exponent = scaled.exponent;
  const auto kernels = detail::eigen_kernels::of(set);
  auto form = detail::reduce_to_tridiagonal(kernels, scaled.whole.view());
  const index_t length = form.length;
  // The eigenvectors of T as rows, which are cut into slices of columns, one behind the other in memory.
  constexpr index_t width = detail::rotated_columns;
  array<double> slices(n * length), rows(n * length);
  for (index_t i = 0; i < n; ++i) slices[(i / width * n + i) * width + i % width] = 1;
  const auto rotate = [&](const array<detail::plane_rotation>& rotations) {
    exec.bulk(length / width, [&](index_t slice) {
      kernels.rotate(slices.data() + slice * n * width, rotations.data(), rotations.size());
    });
  };
  if (!detail::implicit_ql(form.d, form.e, rotate)) return eigen_outcome{false};

  constexpr index_t rows_a_task = 8;
  exec.bulk((n + rows_a_task - 1) / rows_a_task, [&](index_t task) {
    const index_t begin = task * rows_a_task, end = std::min(n, begin + rows_a_task);
    for (index_t r = begin; r < end; ++r)
      for (index_t j = 0; j < length; j += width)
        std::copy_n(slices.data() + j * n + r * width, width, rows.data() + r * length + j);
    for (index_t k = n - 1; k-- > 0;) {
      const double* const v = form.reflector(k);
      const index_t start = (k + 1) & ~(detail::eigen_lanes - 1);
      kernels.reflect(rows.data() + begin * length, length, end - begin, v, form.scale[k], start, length);
    }
  });
  array<index_t> order(n);
  std::iota(order.begin(), order.end(), index_t{0});
  std::stable_sort(order.begin(), order.end(), [&](index_t i, index_t j) { return form.d[i] < form.d[j]; });
  for (index_t c = 0; c < n; ++c) w[c] = std::ldexp(form.d[order[c]], exponent);
  for (index_t first = 0; first < n; first += rows_a_task)  // some columns at a time: whole lines are written
    for (index_t r = 0; r < n; ++r)
      for (index_t c = first; c < std::min(n, first + rows_a_task); ++c) a(r, c) = rows[order[c] * length + r];
  return eigen_outcome{true};
}

}  // namespace RESECT_NAMESPACE::linalg
