// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <resect/core/algorithm.hpp>
#include <type_traits>

#include <resect/core/operand.hpp>
#include <resect/quant/hessian.hpp>

namespace RESECT_NAMESPACE::quant {

// H of a matrix with n columns, read only: a hessian, or any symmetric matrix of float or double, both of whose triangles are
// there. Refers to it. `ridge` is added to the diagonal.
class moment_view {
 public:
  moment_view() = default;
  moment_view(const hessian& h) noexcept : packed_(&h), n_(h.size()) {}
  moment_view(hessian&&) = delete;  // it would be gone before the view
  moment_view(matrix_view<const double> h) noexcept : wide_(h), n_(h.rows) {}
  moment_view(matrix_view<double> h) noexcept : moment_view(matrix_view<const double>(h)) {}
  moment_view(matrix_view<const float> h) noexcept : narrow_(h), n_(h.rows) {}
  moment_view(matrix_view<float> h) noexcept : moment_view(matrix_view<const float>(h)) {}
  // Of Eigen, xtensor, mdspan, resect's own matrix, DLPack: `check` finds what is wrong with it.
  template <floating_operand M>
    requires requires(const M& h) { as_view(h); }
  moment_view(const M& h) noexcept : moment_view(matrix_view<const matrix_element<const M&>>(as_view(h))) {}
  // Of a matrix that would be gone before the view.
  template <class M>
    requires(floating_operand<std::remove_cvref_t<M>> && !resect::detail::outlives_call<M>)
  moment_view(M&& h) = delete;

  index_t size() const noexcept { return n_; }
  double operator()(index_t i, index_t j) const noexcept {
    const index_t r = algo::max(i, j), c = algo::min(i, j);
    const double h = packed_ != nullptr      ? (*packed_)(r, c)
                     : wide_.data != nullptr ? wide_(r, c)
                                             : static_cast<double>(narrow_(r, c));
    return i == j ? h + ridge_ : h;
  }
  // What damped() has added to the diagonal.
  double ridge() const noexcept { return ridge_; }
  // The matrix that reads these rows, where it is said.
  hessian_owner owner() const { return packed_ != nullptr ? packed_->owner() : hessian_owner{}; }

  // Of all that it holds.
  std::uint64_t hash() const noexcept {
    fingerprint f;
    f.add(static_cast<std::uint64_t>(n_)).add(ridge_);
    if (packed_ != nullptr) return f.add(packed_->hash()).value();
    for (index_t i = 0; i < n_; ++i)
      for (index_t j = 0; j <= i; ++j) f.add((*this)(i, j));
    return f.value();
  }

  // The same with damping·(mean of the diagonal) added to the diagonal.
  moment_view damped(double damping) const noexcept {
    moment_view out = *this;
    double trace = 0;
    for (index_t i = 0; i < n_; ++i) trace += (*this)(i, i);
    if (n_ > 0) out.ridge_ += damping * trace / static_cast<double>(n_);
    return out;
  }

  // Whether this is H of a matrix with n columns. Errors: shape_mismatch, null_pointer, bad_stride, not_finite,
  // invalid_argument (a hessian without rows, an element of the diagonal below 0, a trace above 1e300, h_ij and h_ji
  // further apart than 2⁻²²·tr(H) and 2⁻¹⁰·√(h_ii·h_jj)).
  template <executor E>
  status check(E& exec, index_t n) const {
    const auto shape = [&](const auto& h) -> status { return check_view(h, n, n, "H"); };
    if (packed_ != nullptr) {
      if (n_ != n) return error{errc::shape_mismatch, "H", text(n_, " x ", n_), text(n, " x ", n)};
      if (n > 0 && packed_->rows() == 0) return error{errc::invalid_argument, "rows of H", "0", "at least 1"};
    } else if (auto s = narrow_.data != nullptr ? shape(narrow_) : shape(wide_); !s) {
      return s;
    }
    const index_t bad = parallel_reduce(
        exec, n, 16, n,
        [&](index_t first, index_t last) {
          for (index_t i = first; i < last; ++i)
            if (first_bad(i) <= i) return i;
          return n;
        },
        [](index_t a, index_t b) { return algo::min(a, b); });
    if (bad == n) {
      if (auto s = check_trace(); !s) return s;
      if (narrow_.data != nullptr) return check_symmetry(exec, narrow_);
      return wide_.data != nullptr ? check_symmetry(exec, wide_) : status{};
    }
    const index_t j = first_bad(bad);
    const double h = (*this)(bad, j);
    const bool finite = h - h == 0;
    return error{finite ? errc::invalid_argument : errc::not_finite, text("H, row ", bad, ", column ", j), text(h),
                 finite ? "a diagonal of at least 0" : "a finite number"};
  }

 private:
  // Errors: invalid_argument (a trace above 1e300, which damping and losses could not hold).
  status check_trace() const {
    double trace = 0;
    for (index_t i = 0; i < n_; ++i) trace += (*this)(i, i);
    if (trace <= 1e300) return {};
    return error{errc::invalid_argument, "trace of H", text(trace), "at most 1e300"};
  }
  // Tile by tile, so that columns are read by lines of the cache. Errors: invalid_argument.
  template <class T, executor E>
  static status check_symmetry(E& exec, const matrix_view<const T>& h) {
    constexpr index_t tile = 32;
    const index_t n = h.rows;
    double trace = 0;
    for (index_t i = 0; i < n; ++i) trace += static_cast<double>(h(i, i));
    const auto apart = [&](index_t i, index_t j) {
      const double d = static_cast<double>(h(i, j)) - static_cast<double>(h(j, i));
      if (d <= 0x1p-22 * trace && -d <= 0x1p-22 * trace) return false;
      return !(d * d <= 0x1p-20 * static_cast<double>(h(i, i)) * static_cast<double>(h(j, j)));
    };
    const index_t bad = parallel_reduce(
        exec, (n + tile - 1) / tile, 1, n * n,
        [&](index_t first, index_t) {
          const index_t begin = first * tile, end = algo::min(n, begin + tile);
          for (index_t from = 0; from < end; from += tile)
            for (index_t i = begin; i < end; ++i)
              for (index_t j = from; j < algo::min(i, from + tile); ++j)
                if (apart(i, j)) return i * n + j;
          return n * n;
        },
        [](index_t a, index_t b) { return algo::min(a, b); });
    if (bad == n * n) return {};
    const index_t i = bad / n, j = bad % n;
    if (const double above = static_cast<double>(h(j, i)); !(above - above == 0))
      return error{errc::not_finite, text("H, row ", j, ", column ", i), text(above), "a finite number"};
    return error{errc::invalid_argument, text("H, row ", j, ", column ", i), text(static_cast<double>(h(j, i))),
                 text(static_cast<double>(h(i, j)), ", as in row ", i, ", column ", j, ": a symmetric H")};
  }
  // Column of the first element of the lower triangle's row i that no H has; i + 1: none.
  index_t first_bad(index_t i) const noexcept {
    for (index_t j = 0; j <= i; ++j) {
      const double h = (*this)(i, j);
      if (!(h - h == 0) || (i == j && h < 0)) return j;
    }
    return i + 1;
  }

  const hessian* packed_ = nullptr;
  matrix_view<const double> wide_;
  matrix_view<const float> narrow_;
  index_t n_ = 0;
  double ridge_ = 0;
};

// A row of H at columns [first, first + count).
inline void read_row(const moment_view& h, index_t row, index_t first, index_t count, double* out) noexcept {
  for (index_t j = 0; j < count; ++j) out[j] = h(row, first + j);
}

}  // namespace RESECT_NAMESPACE::quant
