// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/backend.hpp>
#include <resect/core/memory.hpp>
#include <resect/core/operand.hpp>

namespace RESECT_NAMESPACE::factor {

// W ≈ L·R: two thin factors in place of a weight (out, in). r·(m + n) numbers instead of m·n.
template <class T, class Space = host_space>
struct low_rank {
  matrix<T, Space> l;  // (m, r)
  matrix<T, Space> r;  // (r, n)

  index_t rows() const noexcept { return l.rows; }
  index_t cols() const noexcept { return r.cols; }
  index_t rank() const noexcept { return l.cols; }

  // Whether L and R are a pair. Errors: shape_mismatch.
  status check() const noexcept {
    if (auto s = check_view(l.view(), "L"); !s) return s;
    return check_view(r.view(), l.cols, r.cols, "R");
  }

  // Elements that try_apply needs to work in, for so many rows of X.
  std::size_t workspace_size(index_t tokens) const noexcept { return static_cast<std::size_t>(tokens * rank()); }

  // Y ← X·(L·R)ᵀ = (X·Rᵀ)·Lᵀ: what the layer does to rows of activations.
  //   X (t, n), any strides; Y (t, m), as try_gemm asks of an output; work ≥ workspace_size(t). 2t·r·(m + n) flop in T.
  //   |error| ≤ (n + r + 4)·u·|X|·|R|ᵀ·|L|ᵀ to first order. Allocates nothing beyond what try_gemm does.
  //   Errors: shape_mismatch, null_pointer, bad_stride. Y must not overlap X, the factors or `work`.
  template <dense_backend<T> B>
    requires std::same_as<typename B::space, Space>
  status try_apply(B& exec, matrix_view<const T, Space> x, matrix_view<T, Space> y, std::span<T> work) const {
    if (auto s = check(); !s) return s;
    if (auto s = check_view(x, x.rows, cols(), "X"); !s) return s;
    if (auto s = check_view(y, x.rows, rows(), "Y"); !s) return s;
    if (work.size() < workspace_size(x.rows))
      return error{errc::shape_mismatch, "work", text(work.size(), " elements"),
                   text("at least ", workspace_size(x.rows))};
    const matrix_view<T, Space> hidden{work.data(), x.rows, rank()};
    if (auto s = exec.try_gemm(T{1}, x, r.view().transposed(), T{0}, hidden); !s) return s;
    return exec.try_gemm(T{1}, hidden, l.view().transposed(), T{0}, y);
  }

  // W ← L·R. W (m, n), as try_gemm asks of an output. 2mnr flop. Errors: shape_mismatch, null_pointer, bad_stride.
  template <dense_backend<T> B>
    requires std::same_as<typename B::space, Space>
  status try_to_dense(B& exec, matrix_view<T, Space> w) const {
    if (auto s = check(); !s) return s;
    if (auto s = check_view(w, rows(), cols(), "W"); !s) return s;
    return exec.try_gemm(T{1}, l.view(), r.view(), T{0}, w);
  }

  // Both of any operands.
  template <dense_backend<T> B, operand_of<T> X, output_of<T> Y>
  status try_apply(B& exec, const X& x, Y& y, std::span<T> work) const {
    return on_view(x, "X", [&](matrix_view<const T> from) {
      return on_output(y, "Y", [&](matrix_view<T> to) { return try_apply(exec, from, to, work); });
    });
  }
  template <dense_backend<T> B, output_of<T> W>
  status try_to_dense(B& exec, W& w) const {
    return on_output(w, "W", [&](matrix_view<T> to) { return try_to_dense(exec, to); });
  }

#if RESECT_EXCEPTIONS
  template <dense_backend<T> B>
    requires std::same_as<typename B::space, Space>
  void apply(B& exec, matrix_view<const T, Space> x, matrix_view<T, Space> y, std::span<T> work) const {
    value_or_throw(try_apply(exec, x, y, work));
  }
  template <dense_backend<T> B>
    requires std::same_as<typename B::space, Space>
  matrix<T, Space> to_dense(B& exec) const {
    auto w = value_or_throw(try_make_matrix<T>(exec, rows(), cols()));
    value_or_throw(try_to_dense(exec, w.view()));
    return w;
  }
#endif
};

}  // namespace RESECT_NAMESPACE::factor
