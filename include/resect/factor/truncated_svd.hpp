// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <resect/core/copy.hpp>
#include <resect/core/operand.hpp>
#include <resect/factor/approximation_error.hpp>
#include <resect/factor/detail/core_svd.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/factor/range_finder.hpp>

namespace RESECT_NAMESPACE::factor {

// How many directions are searched, and how.
struct truncated_svd_options {
  index_t rank = 0;           // 1 … min(m, n)
  index_t oversampling = 10;  // further directions that are searched and then dropped; as many as there are, at most
  int power_iterations = 2;   // 0 is for spectra that fall fast; a flat one gains up to about 4
  std::uint64_t seed = 1;
  int error_probes = 6;  // see try_spectral_error; 0 leaves it out, which saves up to 5 passes over W
};

// What was left of W, measured, and how sure that is.
struct truncation_quality {
  double frobenius_norm = 0;   // ‖W‖_F
  double frobenius_error = 0;  // ‖W − U·diag(s)·Vᵀ‖_F
  spectral_norm_estimate spectral_error;
  bool converged = false;  // the SVD of the small core
};

// W ≈ U·diag(s)·Vᵀ.
template <class T>
struct truncated_decomposition {
  matrix<T> u;      // (m, r), orthonormal columns; the element of largest magnitude in each is positive
  array<double> s;  // (r), descending
  matrix<T> v;      // (n, r), orthonormal columns
  truncation_quality quality;
};

namespace detail {

// A basis of the range of A (m, n), the small core, and a basis of its rows: A ≈ left·coreU·diag(s)·coreVᵀ·rightᵀ.
template <class T>
struct bilateral_bases {
  matrix<T> left, right;
  core_svd core;
};

// Every direction of a tall A: A = Q·R, right is the identity and stays empty.
template <class T, host_factoring_backend<T> B>
result<bilateral_bases<T>> all_directions(B& exec, matrix_view<const T> a) {
  auto q = linalg::try_orthonormalize(exec, a);
  if (!q) return q.error();
  auto core = svd_of_core(exec, q->r);
  if (!core) return core.error();
  return bilateral_bases<T>{std::move(q->q), {}, *std::move(core)};
}

// k leading directions: Q from the range finder, then Wᵀ·Q = P·R.
template <class T, host_factoring_backend<T> B>
result<bilateral_bases<T>> leading_directions(B& exec, matrix_view<const T> w, index_t k,
                                              const truncated_svd_options& options) {
  auto q = try_find_range<T>(exec, w, k, options.power_iterations, options.seed);
  if (!q) return q.error();
  matrix<T> image(w.cols, k);
  if (auto s = exec.try_gemm(T{1}, w.transposed(), q->view(), T{0}, image.view()); !s) return s.error();
  auto p = linalg::try_orthonormalize(exec, image.view());
  if (!p) return p.error();
  auto core = svd_of_core(exec, p->r);
  if (!core) return core.error();
  std::swap(core->u, core->v);  // of Rᵀ
  return bilateral_bases<T>{*std::move(q), std::move(p->q), *std::move(core)};
}

// basis·(the first `rank` columns of core), or those columns alone where the basis is the identity.
template <class T, host_factoring_backend<T> B>
result<matrix<T>> leading_columns(B& exec, const matrix<T>& basis, const matrix<double>& core, index_t rank) {
  matrix<T> narrow(core.rows, rank);
  copy(core.view().block(0, 0, core.rows, rank), narrow.view());
  if (basis.empty()) return narrow;
  matrix<T> out(basis.rows, rank);
  if (auto s = exec.try_gemm(T{1}, basis.view(), narrow.view(), T{0}, out.view()); !s) return s.error();
  return out;
}

// The element of largest magnitude of each column of U, the first of them, becomes positive; V follows.
template <class T>
void fix_signs(matrix<T>& u, matrix<T>& v) {
  for (index_t c = 0; c < u.cols; ++c) {
    index_t at = 0;
    for (index_t r = 1; r < u.rows; ++r)
      if (std::fabs(u(r, c)) > std::fabs(u(at, c))) at = r;
    if (!(u(at, c) < 0)) continue;
    for (index_t r = 0; r < u.rows; ++r) u(r, c) = -u(r, c);
    for (index_t r = 0; r < v.rows; ++r) v(r, c) = -v(r, c);
  }
}

// U·diag(of(s))
template <class T>
matrix<T> scale_columns(matrix<T> u, const array<double>& s, double (*of)(double)) {
  for (index_t r = 0; r < u.rows; ++r)
    for (index_t c = 0; c < u.cols; ++c) u(r, c) = static_cast<T>(static_cast<double>(u(r, c)) * of(s[c]));
  return u;
}

template <class T, host_factoring_backend<T> B>
result<truncation_quality> measure(B& exec, matrix_view<const T> w, const truncated_decomposition<T>& svd, double norm,
                                   const truncated_svd_options& options) {
  truncation_quality quality{norm, 0, {0, norm}, svd.quality.converged};
  if (norm == 0) return quality;
  const matrix<T> left = scale_columns(svd.u, svd.s, [](double s) { return s; });
  const auto right = svd.v.view().transposed();
  // ‖W‖² − Σs² is what the projection leaves, but s carries rounding: a small difference is measured instead.
  double tail = 1;
  for (const double s : svd.s) tail -= s / norm * (s / norm);
  if (tail > 0x1p13 * std::numeric_limits<T>::epsilon()) {
    quality.frobenius_error = norm * std::sqrt(tail);
  } else {
    const auto error = try_frobenius_error<T>(exec, w, left.view(), right);
    if (!error) return error.error();
    quality.frobenius_error = *error;
  }
  quality.spectral_error.at_most = quality.frobenius_error;
  if (options.error_probes == 0) return quality;
  const auto spectral =
      try_spectral_error<T>(exec, w, left.view(), right, {.probes = options.error_probes, .seed = options.seed});
  if (!spectral) return spectral.error();
  quality.spectral_error.at_least = spectral->at_least;
  quality.spectral_error.at_most = std::max(spectral->at_least, std::min(spectral->at_most, quality.frobenius_error));
  return quality;
}

}  // namespace detail

// The r largest singular values of W with their vectors, by a randomized range finder with power iterations.
//   W (m, n), any strides; float or double, u = 2⁻²⁴ or 2⁻⁵³. Products with W are in T, cores in double.
//   k = min(r + oversampling, m, n) directions are searched.
//   k = min(m, n): nothing is random, |s_i − σ_i| and what is lost of W beyond the optimum ≤ 16·√k·u·‖W‖_F.
//   k < min(m, n): ‖W − U·diag(s)·Vᵀ‖_F is near the optimum (Eckart–Young). With the defaults on 384 × 384 it is within
//   1.5 % for σ_i = 1/i, 2.5 % for 1/√i and 3 % for flat spectra of which 115 are kept; `quality` measures it for any W.
//   ‖UᵀU − I‖_F and ‖VᵀV − I‖_F ≤ 2·orthonormality_bound<T>(max(m, n), k), also where singular values are zero.
//   Scaling W by a power of two scales s and leaves U and V as they are, bit for bit, while nothing is subnormal.
//   Cost: (2q + 2)·2mnk flop in as many passes over W, about 4(m + n)k² in double a half step, 60·k³ for the core, and
//   5·(2mn + 2k(m + n))·error_probes for the error. Memory: 3(m + n)k elements. Some backends copy a W without a stride
//   of one in every product: copy it once.
//   Same bits for any number of workers, if the backend's products have that.
//   Errors: invalid_argument (rank < 1 or > min(m, n), a negative option, ‖W‖_F above 2⁻⁶ of the largest T), not_finite,
//   null_pointer, bad_stride; those of the backend.
//   Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 53 (2011), Alg. 4.4 and 5.1.
template <class B, class T>
  requires host_factoring_backend<B, std::remove_const_t<T>>
result<truncated_decomposition<std::remove_const_t<T>>> try_truncated_svd(B& exec, matrix_view<T> matrix_w,
                                                                          const truncated_svd_options& options) {
  using element = std::remove_const_t<T>;
  const matrix_view<const element> w = matrix_w;
  if (auto s = check_view(w, "W"); !s) return s.error();
  const index_t smaller = std::min(w.rows, w.cols);
  if (options.rank < 1 || options.rank > smaller)
    return error{errc::invalid_argument, "rank", text(options.rank), text("1 to ", smaller)};
  if (options.oversampling < 0 || options.power_iterations < 0 || options.error_probes < 0)
    return error{errc::invalid_argument, "options",
                 text("oversampling ", options.oversampling, ", power_iterations ", options.power_iterations,
                      ", error_probes ", options.error_probes),
                 "none below 0"};
  const auto range = linalg::range_of<element>(exec, w);
  if (auto s = linalg::check_range<element>(range, "W"); !s) return s.error();

  const index_t k = options.oversampling < smaller - options.rank ? options.rank + options.oversampling : smaller;
  const bool flipped = k == smaller && w.rows < w.cols;
  auto bases = k == smaller ? detail::all_directions<element>(exec, flipped ? w.transposed() : w)
                            : detail::leading_directions<element>(exec, w, k, options);
  if (!bases) return bases.error();
  if (flipped) {
    std::swap(bases->left, bases->right);
    std::swap(bases->core.u, bases->core.v);
  }
  auto u = detail::leading_columns(exec, bases->left, bases->core.u, options.rank);
  if (!u) return u.error();
  auto v = detail::leading_columns(exec, bases->right, bases->core.v, options.rank);
  if (!v) return v.error();

  bases->core.s.resize(options.rank);
  truncated_decomposition<element> svd{*std::move(u), std::move(bases->core.s), *std::move(v), {}};
  svd.quality.converged = bases->core.converged;
  detail::fix_signs(svd.u, svd.v);
  auto quality = detail::measure<element>(exec, w, svd, range.frobenius, options);
  if (!quality) return quality.error();
  svd.quality = *quality;
  return svd;
}

// The same of any operand of float or double.
template <class B, floating_operand W>
  requires host_factoring_backend<B, matrix_element<const W&>>
result<truncated_decomposition<matrix_element<const W&>>> try_truncated_svd(B& exec, const W& w,
                                                                            const truncated_svd_options& options) {
  return on_view(w, "W", [&](auto view) { return try_truncated_svd(exec, view, options); });
}

// L = U·diag(√s), R = diag(√s)·Vᵀ: the balanced pair, whose columns and rows have equal norms, so that neither factor's
// rounding weighs more than the other's.
template <class T>
low_rank<T> balanced_factors(const truncated_decomposition<T>& svd) {
  const auto root = [](double s) { return std::sqrt(s); };
  low_rank<T> pair{detail::scale_columns(svd.u, svd.s, root), matrix<T>(svd.v.cols, svd.v.rows)};
  const matrix<T> v = detail::scale_columns(svd.v, svd.s, root);
  for (index_t r = 0; r < v.rows; ++r)
    for (index_t c = 0; c < v.cols; ++c) pair.r(c, r) = v(r, c);
  return pair;
}

#if RESECT_EXCEPTIONS
template <class B, class T>
  requires host_factoring_backend<B, std::remove_const_t<T>>
truncated_decomposition<std::remove_const_t<T>> truncated_svd(B& exec, matrix_view<T> w,
                                                              const truncated_svd_options& options) {
  return value_or_throw(try_truncated_svd(exec, w, options));
}
template <class B, floating_operand W>
  requires host_factoring_backend<B, matrix_element<const W&>>
truncated_decomposition<matrix_element<const W&>> truncated_svd(B& exec, const W& w,
                                                                const truncated_svd_options& options) {
  return value_or_throw(try_truncated_svd(exec, w, options));
}
#endif

}  // namespace RESECT_NAMESPACE::factor
