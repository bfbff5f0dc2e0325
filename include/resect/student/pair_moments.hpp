// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/operand.hpp>
#include <resect/quant/hessian.hpp>

namespace RESECT_NAMESPACE::student {

// Sums over pairs of rows (x, z) that every least squares fit of z by x is made of: N, Σx, Σz, Σx·xᵀ, Σx·zᵀ and Σz_c².
//   x (n numbers), z (m numbers). Sums are kept in double. Memory: n(n + 1)/2 + n·m + n + 2m doubles, and while rows
//   are added 512·(n + m) more.
//   A merge over any partition of the rows equals one pass to 1e-12 of √(Σx_i²·Σz_j²).
class pair_moments {
 public:
  pair_moments() = default;
  // The sums over no pair of rows of `inputs` and `outputs` numbers.
  pair_moments(index_t inputs, index_t outputs)
      : x_(inputs), xz_(inputs, outputs), sums_z_(outputs), squares_z_(outputs) {}

  index_t inputs() const noexcept { return x_.size(); }
  index_t outputs() const noexcept { return sums_z_.size(); }
  index_t rows() const noexcept { return x_.rows(); }
  // Σ x_i·x_j.
  double xx(index_t i, index_t j) const noexcept {
    const index_t r = algo::max(i, j), c = algo::min(i, j);
    return x_.products()[static_cast<std::size_t>(r * (r + 1) / 2 + c)];
  }
  // Σ x·zᵀ (inputs, outputs).
  matrix_view<const double> xz() const noexcept { return xz_.view(); }
  // Σ x, Σ z and Σ z_c².
  std::span<const double> sums_x() const noexcept { return x_.sums(); }
  std::span<const double> sums_z() const noexcept { return sums_z_.span(); }
  std::span<const double> squares_z() const noexcept { return squares_z_.span(); }

  // Adds the rows of X (k, inputs) with those of Z (k, outputs); float or double.
  //   Cost k·n·(n + 2m) flop by the backend's products, 512 rows at a time; relative error (k + 2)·2⁻⁵³. The bits do
  //   not depend on the number of workers where those of the backend's products do not.
  //   Errors: shape_mismatch, null_pointer, bad_stride, not_finite; then nothing is added.
  template <dense_backend<double> B, class T, class U>
    requires(std::same_as<typename B::space, host_space> && std::floating_point<std::remove_const_t<T>> &&
             std::floating_point<std::remove_const_t<U>>)
  status try_add(B& exec, matrix_view<T> x, matrix_view<U> z) {
    if (auto s = check_view(matrix_view<const std::remove_const_t<U>>(z), x.rows, outputs(), "Z"); !s) return s;
    if (auto s = check_finite(z, "Z"); !s) return s;
    if (auto s = x_.try_add(exec, x); !s) return s;
    for (index_t first = 0; first < x.rows; first += slice) {
      const index_t count = algo::min(slice, x.rows - first);
      if (auto s = add_slice(exec, x.middle_rows(first, count), z.middle_rows(first, count)); !s) return s;
    }
    return {};
  }

  // The same of any operands of float or double.
  template <dense_backend<double> B, floating_operand X, floating_operand Z>
    requires std::same_as<typename B::space, host_space>
  status try_add(B& exec, const X& x, const Z& z) {
    return on_view(x, "X",
                   [&](auto from) { return on_view(z, "Z", [&](auto to) { return try_add(exec, from, to); }); });
  }

  // Adds the sums of `other`. Error: shape_mismatch; then nothing is added.
  status try_merge(const pair_moments& other) {
    if (other.inputs() != inputs() || other.outputs() != outputs())
      return error{errc::shape_mismatch, "moments to merge", text(other.inputs(), " x ", other.outputs()),
                   text(inputs(), " x ", outputs())};
    if (auto s = x_.try_merge(other.x_); !s) return s;
    for (index_t i = 0; i < xz_.data.size(); ++i) xz_.data[i] += other.xz_.data[i];
    for (index_t c = 0; c < outputs(); ++c) {
      sums_z_[c] += other.sums_z_[c];
      squares_z_[c] += other.squares_z_[c];
    }
    return {};
  }

 private:
  static constexpr index_t slice = 512;

  template <class B, class T, class U>
  status add_slice(B& exec, matrix_view<T> x, matrix_view<U> z) {
    matrix<double> wide_x(x.rows, x.cols), wide_z(z.rows, z.cols);
    copy(x, wide_x.view());
    copy(z, wide_z.view());
    for (index_t r = 0; r < z.rows; ++r)
      for (index_t c = 0; c < z.cols; ++c) {
        sums_z_[c] += wide_z(r, c);
        squares_z_[c] += wide_z(r, c) * wide_z(r, c);
      }
    return exec.try_gemm(1.0, wide_x.view().transposed(), wide_z.view(), 1.0, xz_.view());
  }

  quant::hessian x_;
  matrix<double> xz_;
  array<double> sums_z_, squares_z_;
};

}  // namespace RESECT_NAMESPACE::student
