// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <resect/core/operand.hpp>
#include <resect/factor/approximation_error.hpp>
#include <resect/factor/detail/krylov_svd.hpp>
#include <resect/factor/detail/svd_results.hpp>
#include <resect/factor/leave_one_out.hpp>
#include <resect/factor/low_rank.hpp>
#include <resect/factor/range_finder.hpp>

namespace RESECT_NAMESPACE::factor {

namespace detail {

// Every direction of a tall matrix: A = Q·R, right is the identity and stays empty.
template <class T, panel_backend<T> B>
result<bilateral_bases<T, typename B::space>> all_directions(B& exec, view_of<const T, B> a) {
  auto q = linalg::try_orthonormalize(exec, a);
  if (!q) return q.error();
  auto core = svd_of_core(core_of(exec), q->r);
  if (!core) return core.error();
  return bilateral_bases<T, typename B::space>{std::move(q->q), {}, *std::move(core)};
}

// k leading directions by subspace iteration: Q from the range finder, then Aᵀ·Q = P·R. `loo` gets the leave-one-out
// error of Q.
template <class T, panel_backend<T> B, class A>
result<bilateral_bases<T, typename B::space>> iterated_directions(B& exec, const A& a, index_t k,
                                                                  const truncated_svd_options& options, double& loo) {
  auto found = try_search_range<T>(exec, a, k, options.power_iterations, options.seed);
  if (!found) return found.error();
  if (k == std::min<index_t>(a.rows(), a.cols())) {
    loo = 0;  // the basis is complete
  } else if constexpr (!is_dense_map<A>) {
    const auto left_out = try_leave_one_out<T>(exec, *found);
    if (!left_out) return left_out.error();
    loo = *left_out;
  }
  auto image = try_make_matrix<T>(exec, a.cols(), k);
  if (!image) return image.error();
  if (auto s = a.try_multiply_transposed(exec, T{1}, view_of<const T, B>(found->q.view()), T{0}, image->view()); !s)
    return s.error();
  auto p = linalg::try_orthonormalize(exec, view_of<const T, B>(image->view()));
  if (!p) return p.error();
  auto core = svd_of_core(core_of(exec), p->r);
  if (!core) return core.error();
  std::swap(core->u, core->v);  // of Rᵀ
  return bilateral_bases<T, typename B::space>{std::move(found->q), std::move(p->q), *std::move(core)};
}

// What a search found: bases, how many of their directions are wanted, the leave-one-out error where there is one.
template <class T, class Space>
struct svd_search {
  bilateral_bases<T, Space> bases;
  index_t rank = 0;
  double left_out = std::numeric_limits<double>::quiet_NaN();
  int exponent = 0;  // the map that was searched is the one that is meant, times 2^−exponent
};

// Searches with more and more columns, until as many as the rank asks for have been searched. `norm` is ‖A‖_F, NaN where
// it is not known. Krylov spaces grow; subspace iteration starts anew.
template <class T, panel_backend<T> B, class A>
result<svd_search<T, typename B::space>> search_directions(B& exec, const A& a, const truncated_svd_options& options,
                                                           double norm) {
  const index_t smaller = std::min<index_t>(a.rows(), a.cols());
  const index_t most = options.rank > 0 ? options.rank : smaller;
  const bool target = has_target(options);
  index_t guess = target ? std::min<index_t>(most, 16) : most;
  svd_search<T, typename B::space> out;
  bilateral_space<T, typename B::space> space;
  for (;;) {
    const index_t k = searched_columns(options, guess, smaller);
    core_svd core;
    double tail = 0;
    if (options.method == svd_method::block_krylov) {
      const index_t b = std::min(k, options.block > 0 ? options.block : default_block(guess));
      if (auto s = grow<T>(exec, a, space, k, b, start_powers(options), options.seed); !s) return s.error();
      auto found = gram_svd<T>(exec, space.image_view());
      if (!found) return found.error();
      core = *std::move(found);
    } else {
      auto found = iterated_directions<T>(exec, a, k, options, out.left_out);
      if (!found) return found.error();
      out.bases = *std::move(found);
      tail = out.left_out;
    }
    const array<double>& s = options.method == svd_method::block_krylov ? core.s : out.bases.core.s;
    out.rank = target ? rank_for(options, s, norm, tail) : most;
    out.rank = std::min(out.rank, most);
    if (k == smaller || searched_columns(options, out.rank, smaller) <= k) {
      if (options.method == svd_method::block_krylov) {
        auto bases = bases_of<T>(exec, std::move(space), std::move(core), out.rank);
        if (!bases) return bases.error();
        out.bases = *std::move(bases);
      }
      return out;
    }
    guess = std::max(out.rank, std::min(most, 2 * guess));
  }
}

// ‖A − U·diag(s)·Vᵀ‖_F: of a matrix the difference of norms, or the residual itself where that is rounding; of a map
// what the leave-one-out estimate and the values that were dropped give.
template <class T, panel_backend<T> B, class A>
status measure(B& exec, const A& a, truncated_decomposition<T, typename B::space>& svd, double left_out,
               const truncated_svd_options& options) {
  truncation_quality& quality = svd.quality;
  const double norm = quality.frobenius_norm;
  if constexpr (!is_dense_map<A>) {
    double squares = left_out * left_out;
    for (index_t i = svd.s.size(); i < svd.spectrum.size(); ++i) squares += svd.spectrum[i] * svd.spectrum[i];
    double kept = squares;
    for (const double s : svd.s) kept += s * s;
    quality.frobenius_error = std::sqrt(squares);
    quality.frobenius_norm = std::sqrt(kept);
    quality.source = left_out == left_out ? error_source::leave_one_out : error_source::none;
    return {};
  } else {
    quality.spectral_error = {0, norm};
    quality.source = error_source::difference;
    if (norm == 0) return {};
    auto left = scaled_by<T>(exec, svd.u, svd.s, [](double s) { return s; });
    if (!left) return left.error();
    const auto right = std::as_const(svd.v).view().transposed();
    // ‖W‖² − Σs² is what the projection leaves, but s carries rounding: a small difference is measured instead.
    double tail = 1;
    for (const double s : svd.s) tail -= s / norm * (s / norm);
    if (tail > 0x1p13 * std::numeric_limits<T>::epsilon()) {
      quality.frobenius_error = norm * std::sqrt(tail);
    } else {
      const auto error = try_frobenius_error<T>(exec, a.view, left->view(), right);
      if (!error) return error.error();
      quality.frobenius_error = *error;
      quality.source = error_source::residual;
    }
    quality.spectral_error.at_most = quality.frobenius_error;
    if (options.error_probes == 0) return {};
    const auto spectral = try_spectral_error<T>(exec, a.view, left->view(), right,
                                                {.probes = options.error_probes, .seed = options.seed});
    if (!spectral) return spectral.error();
    quality.spectral_error.at_least = spectral->at_least;
    quality.spectral_error.at_most = std::max(spectral->at_least, std::min(spectral->at_most, quality.frobenius_error));
    return {};
  }
}

// U, s and V of rank r from the bases, with signs fixed, and measured.
template <class T, panel_backend<T> B, class A>
result<truncated_decomposition<T, typename B::space>> finish(B& exec, const A& a,
                                                             svd_search<T, typename B::space>&& found, double norm,
                                                             const truncated_svd_options& options) {
  auto& bases = found.bases;
  auto u = leading_columns<T>(exec, bases.left, bases.core.u, found.rank);
  if (!u) return u.error();
  auto v = right_columns<T>(exec, bases, found.rank);
  if (!v) return v.error();
  truncated_decomposition<T, typename B::space> svd;
  svd.u = *std::move(u), svd.v = *std::move(v);
  for (double& x : bases.core.s) x = std::ldexp(x, found.exponent);
  svd.s.assign(bases.core.s.data(), found.rank);
  svd.spectrum = std::move(bases.core.s);
  svd.quality.frobenius_norm = norm;
  svd.quality.converged = bases.core.converged;
  if (auto s = fix_signs<T>(exec, svd.u, svd.v); !s) return s.error();
  if (auto s = measure<T>(exec, a, svd, found.left_out, options); !s) return s.error();
  svd.quality.target_met = !has_target(options) || meets(options, svd.quality, svd_rounding<T>(svd.spectrum.size()));
  return svd;
}

}  // namespace detail

// The r largest singular values of W with their vectors, from a block Krylov space (the default) or by subspace
// iteration. r is given, or the least that keeps a share of ‖W‖²_F (`energy`) or leaves an error (`error`).
//   W (m, n), any strides; float or double, u = 2⁻²⁴ or 2⁻⁵³. Products with W are in T, cores in double. k directions are
//   searched, and r of them kept: k = r + oversampling, at most min(m, n).
//   k = min(m, n): nothing is random, |s_i − σ_i| and what is lost of W beyond the optimum ≤ 16·√k·u·‖W‖_F.
//   A target below that rounding counts as met there: an energy of 1 by an error of at most 16·√k·u·‖W‖_F.
//   k < min(m, n): ‖W − U·diag(s)·Vᵀ‖_F is near the optimum (Eckart–Young); `quality` measures it for any W, and
//   docs/factor.md tabulates what the options bring.
//   ‖UᵀU − I‖_F and ‖VᵀV − I‖_F ≤ 2·orthonormality_bound<T>(max(m, n), k), also where singular values are zero.
//   Scaling W by a power of two scales s and leaves U and V as they are, bit for bit, while nothing is subnormal.
//   Cost: block Krylov 2·2mn(k + block·start_powers) flop, 8·min(m, n)·k² for the basis, max(m, n)·k² in double and 10k³
//   for the core; subspace iteration (2q + 2)·2mnk flop, about 4(m + n)k² in double a half step, the core; and
//   5·(2mn + 2k(m + n))·error_probes for the error. Memory: 3(m + n)k elements. Some backends copy a W without a stride
//   of one in every product: copy it once.
//   Same bits for any number of workers, if the backend's products have that.
//   Errors: invalid_argument (rank < 1 without a target or > min(m, n), a target outside (0, 1], a negative option, ‖W‖_F
//   above 2⁻⁶ of the largest T), not_finite, null_pointer, bad_stride; those of the backend.
//   Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 53 (2011), Alg. 4.4 and 5.1;
//   Musco & Musco, "Randomized block Krylov methods for stronger and faster approximate singular value decomposition",
//   NIPS 28 (2015), Alg. 2.
template <class B, class T>
  requires panel_backend<B, std::remove_const_t<T>>
result<truncated_decomposition<std::remove_const_t<T>, typename B::space>> try_truncated_svd(
    B& exec, matrix_view<T, typename B::space> matrix_w, const truncated_svd_options& options) {
  using element = std::remove_const_t<T>;
  const view_of<const element, B> w = matrix_w;
  if (auto s = check_view(w, "W"); !s) return s.error();
  const index_t smaller = std::min(w.rows, w.cols);
  if (auto s = detail::check_options(options, w.rows, w.cols); !s) return s.error();
  const auto range = detail::range_in_space<element>(exec, w);
  if (!range) return range.error();
  if (auto s = linalg::check_range<element>(*range, "W"); !s) return s.error();

  const dense_map<element, typename B::space> map{w};
  const bool flipped = w.rows > w.cols;  // the basis lies on the shorter side
  if (!detail::has_target(options) && detail::searched_columns(options, options.rank, smaller) == smaller) {
    auto bases = detail::all_directions<element>(exec, flipped ? w : w.transposed());
    if (!bases) return bases.error();
    if (!flipped) {
      std::swap(bases->left, bases->right);
      std::swap(bases->core.u, bases->core.v);
    }
    return detail::finish<element>(exec, map, {*std::move(bases), options.rank}, range->frobenius, options);
  }
  const dense_map<element, typename B::space> searched{flipped ? w.transposed() : w};
  int exponent = 0;
  std::frexp(range->frobenius, &exponent);
  exponent = std::clamp(exponent, 2 - std::numeric_limits<element>::max_exponent,
                        std::numeric_limits<element>::max_exponent - 2);
  auto found = detail::search_directions<element>(
      exec, detail::scaled_map<dense_map<element, typename B::space>>{searched, exponent}, options,
      std::ldexp(range->frobenius, -exponent));
  if (!found) return found.error();
  found->exponent = exponent;
  auto svd = detail::finish<element>(exec, searched, *std::move(found), range->frobenius, options);
  if (!svd || !flipped) return svd;
  std::swap(svd->u, svd->v);
  if (auto s = detail::fix_signs<element>(exec, svd->u, svd->v); !s) return s.error();
  return svd;
}

// The same of any operand of float or double.
template <class B, floating_operand W>
  requires panel_backend<B, matrix_element<const W&>>
result<truncated_decomposition<matrix_element<const W&>>> try_truncated_svd(B& exec, const W& w,
                                                                            const truncated_svd_options& options) {
  return on_view(w, "W", [&](auto view) { return try_truncated_svd(exec, view, options); });
}

// The same of a linear map: a quantized matrix, a sum, a product. Of its elements nothing is known, so its error is an
// estimate: by subspace iteration err² = LOO² + Σ_{r<i≤k} s_i² (see leave_one_out.hpp; it says nothing where the rank of A
// is at most k; where k = min(m, n) nothing is left out), from a Krylov space none (NaN), and a target needs subspace iteration.
//   Errors: as above; shape_mismatch (terms of a sum or a product that do not fit); not_finite for a product that is not.
template <class T, class B, linear_map<B, T> A>
  requires panel_backend<B, T>
result<truncated_decomposition<T, typename B::space>> try_truncated_svd_of_map(B& exec, const A& a,
                                                                               const truncated_svd_options& options) {
  if (auto s = detail::check_map(a); !s) return s.error();
  if (auto s = detail::check_options(options, a.rows(), a.cols()); !s) return s.error();
  if (detail::has_target(options) && options.method == svd_method::block_krylov)
    return error{errc::unsupported, "method", "a block Krylov space", "subspace iteration, for a target of a map"};
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  auto found = detail::search_directions<T>(exec, a, options, unknown);
  if (!found) return found.error();
  return detail::finish<T>(exec, a, *std::move(found), unknown, options);
}

// L = U·diag(√s), R = diag(√s)·Vᵀ: the balanced pair, whose columns and rows have equal norms, so that neither factor's
// rounding weighs more than the other's.
template <class T, panel_backend<T> B>
result<low_rank<T, typename B::space>> try_balanced_factors(B& exec,
                                                            const truncated_decomposition<T, typename B::space>& svd) {
  const auto root = [](double s) { return std::sqrt(s); };
  auto l = detail::scaled_by<T>(exec, svd.u, svd.s, root), v = detail::scaled_by<T>(exec, svd.v, svd.s, root);
  if (!l) return l.error();
  if (!v) return v.error();
  auto r = try_make_matrix<T>(exec, svd.v.cols, svd.v.rows);
  if (!r) return r.error();
  if (auto s = try_transfer(exec, std::as_const(*v).view().transposed(), r->view()); !s) return s.error();
  return low_rank<T, typename B::space>{*std::move(l), *std::move(r)};
}
// The same in host memory.
template <class T>
low_rank<T> balanced_factors(const truncated_decomposition<T>& svd) {
  low_rank<T> pair{svd.u, matrix<T>(svd.v.cols, svd.v.rows)};
  for (index_t c = 0; c < svd.s.size(); ++c) {
    const double root = std::sqrt(svd.s[c]);
    for (index_t i = 0; i < svd.u.rows; ++i) pair.l(i, c) = static_cast<T>(static_cast<double>(svd.u(i, c)) * root);
    for (index_t i = 0; i < svd.v.rows; ++i) pair.r(c, i) = static_cast<T>(static_cast<double>(svd.v(i, c)) * root);
  }
  return pair;
}

#if RESECT_EXCEPTIONS
template <class B, class T>
  requires panel_backend<B, std::remove_const_t<T>>
truncated_decomposition<std::remove_const_t<T>, typename B::space> truncated_svd(B& exec,
                                                                                 matrix_view<T, typename B::space> w,
                                                                                 const truncated_svd_options& options) {
  return value_or_throw(try_truncated_svd(exec, w, options));
}
template <class B, floating_operand W>
  requires panel_backend<B, matrix_element<const W&>>
truncated_decomposition<matrix_element<const W&>> truncated_svd(B& exec, const W& w,
                                                                const truncated_svd_options& options) {
  return value_or_throw(try_truncated_svd(exec, w, options));
}
template <class T, class B, linear_map<B, T> A>
  requires panel_backend<B, T>
truncated_decomposition<T, typename B::space> truncated_svd_of_map(B& exec, const A& a,
                                                                   const truncated_svd_options& options) {
  return value_or_throw(try_truncated_svd_of_map<T>(exec, a, options));
}
template <class T, panel_backend<T> B>
low_rank<T, typename B::space> balanced_factors(B& exec, const truncated_decomposition<T, typename B::space>& svd) {
  return value_or_throw(try_balanced_factors(exec, svd));
}
#endif

}  // namespace RESECT_NAMESPACE::factor
