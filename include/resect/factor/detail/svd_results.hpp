// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <resect/factor/bounds.hpp>
#include <resect/factor/detail/krylov_svd.hpp>
#include <resect/factor/truncated_decomposition.hpp>

// Options of a truncated SVD, read; its factors from bases and cores.
namespace RESECT_NAMESPACE::factor::detail {

inline bool has_target(const truncated_svd_options& o) noexcept { return o.energy != 0 || o.error != 0; }

inline status check_options(const truncated_svd_options& o, index_t rows, index_t cols) noexcept {
  const index_t smaller = std::min(rows, cols);
  const bool target = has_target(o);
  if (smaller < 1)
    return error{errc::invalid_argument, "W", text(rows, " x ", cols), "at least one row and one column"};
  if (o.rank < (target ? 0 : 1) || o.rank > smaller)
    return error{errc::invalid_argument, "rank", text(o.rank), text(target ? 0 : 1, " to ", smaller)};
  if (o.oversampling < -1 || o.power_iterations < 0 || o.error_probes < 0 || o.block < 0 || o.start_powers < -1)
    return error{errc::invalid_argument, "options",
                 text("oversampling ", o.oversampling, ", power_iterations ", o.power_iterations, ", error_probes ",
                      o.error_probes, ", block ", o.block, ", start_powers ", o.start_powers),
                 "oversampling and start_powers at least -1, the others at least 0"};
  const auto outside = [](double share) { return !(share >= 0 && share <= 1); };
  if (outside(o.energy)) return error{errc::invalid_argument, "energy", text(o.energy), "above 0, at most 1"};
  if (outside(o.error)) return error{errc::invalid_argument, "error", text(o.error), "above 0, at most 1"};
  return {};
}

inline index_t default_block(index_t rank) noexcept { return krylov_block(rank); }
inline int start_powers(const truncated_svd_options& o) noexcept {
  return o.start_powers >= 0 ? o.start_powers : krylov_start_powers;
}

// Directions that are searched for so many that are wanted.
inline index_t searched_columns(const truncated_svd_options& o, index_t rank, index_t smaller) noexcept {
  const index_t extra = o.oversampling >= 0                          ? o.oversampling
                        : o.method == svd_method::subspace_iteration ? subspace_oversampling
                                                                     : krylov_oversampling(rank);
  return extra < smaller - rank ? rank + extra : smaller;
}

// The largest error that both targets allow, as a share of ‖W‖_F.
inline double allowed_error(const truncated_svd_options& o) noexcept {
  const double by_energy = o.energy != 0 ? std::sqrt(1 - o.energy) : 1;
  return o.error != 0 ? std::min(o.error, by_energy) : by_energy;
}

// What rounding may leave of W where k directions hold all of it, as a share of ‖W‖_F: no target is below.
template <class T>
double svd_rounding(index_t k) noexcept {
  return 8 * std::sqrt(static_cast<double>(k)) * std::numeric_limits<T>::epsilon();
}
inline bool meets(const truncated_svd_options& o, const truncation_quality& q, double rounding) noexcept {
  const double allowed = std::max(allowed_error(o) * (1 + 0x1p-20), rounding);
  return q.frobenius_error <= allowed * q.frobenius_norm + 0x1p-1000;
}

// The least rank whose error the targets allow; k + 1 where k values do not suffice. ‖W‖_F is `norm`, or NaN: then ‖W‖²
// is Σs² + tail², tail the estimated rest beyond the k values.
inline index_t rank_for(const truncated_svd_options& o, const array<double>& s, double norm, double tail) noexcept {
  double squares = 0;
  for (const double x : s) squares += x * x;
  const double total = norm == norm ? norm * norm : squares + tail * tail;
  const double share = allowed_error(o), allowed = share * share * total;
  double left = total;
  for (index_t r = 0; r < s.size(); ++r) {
    left -= s[r] * s[r];
    if (left <= allowed * (1 + 0x1p-20) + total * 0x1p-46) return r + 1;
  }
  return s.size() + 1;
}

// basis·(the first `rank` columns of core), or those columns alone where the basis is the identity.
template <class T, panel_backend<T> B>
result<matrix_of<T, B>> leading_columns(B& exec, const matrix_of<T, B>& basis, const matrix<double>& core,
                                        index_t rank) {
  auto narrow = try_place<T>(exec, core.view().block(0, 0, core.rows, rank));
  if (!narrow || basis.rows == 0) return narrow;
  auto out = try_make_matrix<T>(exec, basis.rows, rank);
  if (!out) return out;
  if (auto s = exec.try_gemm(T{1}, basis.view(), std::as_const(*narrow).view(), T{0}, out->view()); !s)
    return s.error();
  return out;
}

// The right vectors of bilateral bases. Those that come from AᵀQ by division carry rounding of u·s_1/s_r: where that is
// much, they are orthonormalized once more.
template <class T, panel_backend<T> B>
result<matrix_of<T, B>> right_columns(B& exec, const bilateral_bases<T, typename B::space>& bases, index_t rank) {
  const core_svd& core = bases.core;
  if (!core.v.empty() || core.u.empty()) return leading_columns<T>(exec, bases.right, core.v, rank);
  matrix<double> scaled(core.u.rows, rank);
  for (index_t i = 0; i < core.u.rows; ++i)
    for (index_t j = 0; j < rank; ++j) scaled(i, j) = core.u(i, j) / core.s[j];
  auto v = leading_columns<T>(exec, bases.right, scaled, rank);
  if (!v || core.s[0] < 4 * std::sqrt(static_cast<double>(core.u.rows)) * core.s[rank - 1]) return v;
  auto basis = linalg::try_orthonormalize(exec, view_of<const T, B>(v->view()));
  if (!basis) return basis.error();
  return std::move(basis->q);
}

// The element of largest magnitude of each column of U, the first of them, becomes positive; V follows.
template <class T, panel_backend<T> B>
status fix_signs(B& exec, matrix_of<T, B>& u, matrix_of<T, B>& v) {
  const auto measured = try_column_norms(exec, std::as_const(u).view());
  if (!measured) return measured.error();
  array<column_scale> by(u.cols);
  for (index_t c = 0; c < u.cols; ++c) by[c].factor = (*measured)[c].extreme < 0 ? -1 : 1;
  if (auto s = try_scale_columns(exec, std::as_const(u).view(), by.span(), u.view()); !s) return s;
  return try_scale_columns(exec, std::as_const(v).view(), by.span(), v.view());
}

// U·diag(of(s))
template <class T, panel_backend<T> B>
result<matrix_of<T, B>> scaled_by(B& exec, const matrix_of<T, B>& u, const array<double>& s, double (*of)(double)) {
  auto out = try_make_matrix<T>(exec, u.rows, u.cols);
  if (!out) return out;
  array<column_scale> by(u.cols);
  for (index_t c = 0; c < u.cols; ++c) by[c].factor = of(s[c]);
  if (auto status = try_scale_columns(exec, u.view(), by.span(), out->view()); !status) return status.error();
  return out;
}

}  // namespace RESECT_NAMESPACE::factor::detail
