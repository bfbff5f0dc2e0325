// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/quant/detail/hadamard.hpp>
#include <resect/random/rademacher.hpp>

// Incoherence: a random orthogonal transform spreads what stands out in a matrix over all its entries, so that one grid
// fits them all.
namespace RESECT_NAMESPACE::quant {

// A seeded orthogonal matrix Q (n, n) that is applied in O(n log n), for every n.
//   Where n = 2^k·Π P_i with orders P_i ≤ 512 of Paley's matrices: Q = n^(−½)·(P_1 ⊗ … ⊗ H_2^k)·diag(s), s random signs,
//   and every |q_ij| = n^(−½). The cheapest product of this kind is taken.
//   Other n: with a the largest order below n that has such a product, Q = (I ⊕ Q_a)·(Q_a ⊕ I), each with signs of its
//   own: the first a coordinates are mixed, then the last a. (There are Hadamard matrices of orders 1, 2 and multiples of
//   4 alone.)
//   Signs: random::rademacher of (seed, stream) in rows 0 and 1.
//   Cost k + ΣP_i additions an element (two parts: of both). Float: |error of an entry of Q·x| ≤ (k + ΣP_i + 3)·2⁻²⁴·‖x‖₂
//   a part. Memory 4·ΣP_i² bytes. Same bits for any number of workers: every vector is transformed by itself.
//   Source: Ailon & Chazelle, "Approximate nearest neighbors and the fast Johnson–Lindenstrauss transform", STOC 2006
//   (signs before Hadamard); Tseng et al., "QuIP#", ICML 2024 (its use on weights); Paley (1933).
class rotation {
 public:
  rotation() = default;

  // Errors: invalid_argument (n < 0).
  static result<rotation> try_make(index_t n, std::uint64_t seed, std::uint64_t stream = 0) {
    const random::philox_stream signs{seed, stream};
    return make(n, [&](index_t part, index_t i) {
      return static_cast<float>(
          random::rademacher(signs, static_cast<std::uint64_t>(part), static_cast<std::uint64_t>(i)));
    });
  }
  // The same product with all signs +1: a fixed basis, no random one. Errors: invalid_argument (n < 0).
  static result<rotation> try_make_without_signs(index_t n) {
    return make(n, [](index_t, index_t) { return 1.0f; });
  }

  index_t size() const noexcept { return n_; }
  // Whether Q is one product: every entry is ±n^(−½) then.
  bool exact() const noexcept { return parts_ <= 1; }
  // The orders of the product, "36·16"; of the part that is applied twice where Q is not exact.
  std::string_view factors() const noexcept { return factors_.view(); }

  // x ← Q·x for every row (column) x of a matrix: W·Qᵀ (Q·W). A view or an operand (core/operand.hpp) of float or double
  // that can be written, with any strides of an output.
  //   Errors: shape_mismatch, null_pointer, bad_stride.
  template <executor E, class T>
    requires std::floating_point<T>
  status try_rotate_rows(E& exec, matrix_view<T> w) const {
    return along_rows(exec, w, detail::direction::forward);
  }
  template <executor E, floating_output W>
  status try_rotate_rows(E& exec, W&& w) const {
    return on_output(w, name, [&](auto view) { return try_rotate_rows(exec, view); });
  }
  template <executor E, class T>
    requires std::floating_point<T>
  status try_rotate_columns(E& exec, matrix_view<T> w) const {
    return along_rows(exec, w.transposed(), detail::direction::forward);
  }
  template <executor E, floating_output W>
  status try_rotate_columns(E& exec, W&& w) const {
    return on_output(w, name, [&](auto view) { return try_rotate_columns(exec, view); });
  }
  // x ← Qᵀ·x for every row (column), which undoes that.
  template <executor E, class T>
    requires std::floating_point<T>
  status try_restore_rows(E& exec, matrix_view<T> w) const {
    return along_rows(exec, w, detail::direction::inverse);
  }
  template <executor E, floating_output W>
  status try_restore_rows(E& exec, W&& w) const {
    return on_output(w, name, [&](auto view) { return try_restore_rows(exec, view); });
  }
  template <executor E, class T>
    requires std::floating_point<T>
  status try_restore_columns(E& exec, matrix_view<T> w) const {
    return along_rows(exec, w.transposed(), detail::direction::inverse);
  }
  template <executor E, floating_output W>
  status try_restore_columns(E& exec, W&& w) const {
    return on_output(w, name, [&](auto view) { return try_restore_columns(exec, view); });
  }

 private:
  static constexpr std::string_view name = "the matrix to rotate";
  static constexpr index_t lanes = detail::hadamard_lanes;

  template <class Sign>
  static result<rotation> make(index_t n, Sign sign) {
    if (n < 0) return error{errc::invalid_argument, "order of a rotation", text(n), "at least 0"};
    rotation q;
    q.n_ = n;
    if (n == 0) return q;
    index_t covered = n;
    detail::hadamard_plan plan = detail::plan_hadamard(covered);
    while (!plan.exists()) plan = detail::plan_hadamard(--covered);
    q.transform_ = detail::hadamard(plan);
    for (int f = 0; f < plan.factors; ++f) q.factors_.append(plan.paley[f]).append("·");
    q.factors_.append(index_t{1} << plan.doublings);
    q.parts_ = covered == n ? 1 : 2;
    q.signs_.resize(q.parts_ * covered);
    for (index_t p = 0; p < q.parts_; ++p)
      for (index_t i = 0; i < covered; ++i) q.signs_[p * covered + i] = sign(p, i);
    return q;
  }

  template <class E, class T>
  status along_rows(E& exec, matrix_view<T> w, detail::direction d) const {
    if (auto s = check_view(w, w.rows, n_, name); !s) return s;
    if (w.empty()) return {};
    constexpr index_t tiles_a_task = 4;
    const index_t tiles = (w.rows + lanes - 1) / lanes;
    exec.bulk((tiles + tiles_a_task - 1) / tiles_a_task, [&](index_t task) {
      array<T> memory((n_ + detail::largest_paley) * lanes);
      for (index_t t = task * tiles_a_task; t < algo::min(tiles, (task + 1) * tiles_a_task); ++t)
        rotate_tile(w.middle_rows(t * lanes, algo::min(lanes, w.rows - t * lanes)), memory.data(), d);
    });
    return {};
  }

  template <class T>
  void rotate_tile(matrix_view<T> w, T* x, detail::direction d) const noexcept {
    if (w.row_stride == 1) {
      for (index_t c = 0; c < n_; ++c)
        for (index_t r = 0; r < w.rows; ++r) x[c * lanes + r] = w(r, c);
    } else {
      for (index_t r = 0; r < w.rows; ++r)
        for (index_t c = 0; c < n_; ++c) x[c * lanes + r] = w(r, c);
    }
    for (index_t c = 0; c < n_; ++c)
      for (index_t r = w.rows; r < lanes; ++r) x[c * lanes + r] = T{0};
    const index_t covered = transform_.order();
    for (index_t k = 0; k < parts_; ++k) {
      const index_t part = d == detail::direction::forward ? k : parts_ - 1 - k;
      T* const here = x + (part == 0 ? 0 : n_ - covered) * lanes;
      const float* const sign = signs_.data() + part * covered;
      if (d == detail::direction::forward) flip(here, sign, covered);
      transform_.apply(here, x + n_ * lanes, d);
      if (d == detail::direction::inverse) flip(here, sign, covered);
    }
    if (w.row_stride == 1) {
      for (index_t c = 0; c < n_; ++c)
        for (index_t r = 0; r < w.rows; ++r) w(r, c) = x[c * lanes + r];
    } else {
      for (index_t r = 0; r < w.rows; ++r)
        for (index_t c = 0; c < n_; ++c) w(r, c) = x[c * lanes + r];
    }
  }
  template <class T>
  static void flip(T* x, const float* sign, index_t n) noexcept {
    for (index_t c = 0; c < n; ++c)
      for (index_t r = 0; r < lanes; ++r) x[c * lanes + r] *= static_cast<T>(sign[c]);
  }

  index_t n_ = 0, parts_ = 0;
  short_text<48> factors_;
  detail::hadamard transform_;
  array<float> signs_;
};

#if RESECT_EXCEPTIONS
// The rotation of order n, or resect::exception.
inline rotation make_rotation(index_t n, std::uint64_t seed, std::uint64_t stream = 0) {
  return value_or_throw(rotation::try_make(n, seed, stream));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
