// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/executor.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/metrics/rows/detail/row_kernels.hpp>
#include <resect/metrics/rows/detail/widened_piece.hpp>

// The four sums behind cosine, norms and relative error of two rows, in one pass over both.
namespace RESECT_NAMESPACE::metrics {

// The four sums of two rows: ⟨a, b⟩, |a|², |b|² and |a − b|².
struct row_sums {
  double dot = 0;
  double aa = 0;
  double bb = 0;
  double dd = 0;
};

namespace detail {
inline constexpr index_t product_chunk = 2048;

inline void add(row_sums& sums, const product_result& p) noexcept {
  sums.dot += p.dot;
  sums.aa += p.aa;
  sums.bb += p.bb;
  sums.dd += p.dd;
}

// Copies rows with strided elements to contiguous memory and widens small types, a chunk at a time.
template <class A, class B>
row_sums products_of(instruction_set set, vector_view<const A> a, vector_view<const B> b) noexcept {
  row_sums sums;
  widened_piece<A, product_chunk> piece_a;
  widened_piece<B, product_chunk> piece_b;
  for (index_t i = 0; i < a.size; i += product_chunk) {
    const index_t n = algo::min(product_chunk, a.size - i);
    if (a.contiguous() && b.contiguous()) {
      add(sums, products(set, piece_a.of(a.data + i, n), piece_b.of(b.data + i, n), n));
    } else {
      float x[product_chunk], y[product_chunk];
      for (index_t j = 0; j < n; ++j) {
        x[j] = static_cast<float>(a[i + j]);
        y[j] = static_cast<float>(b[i + j]);
      }
      add(sums, products(set, static_cast<const float*>(x), static_cast<const float*>(y), n));
    }
  }
  return sums;
}

template <class A, class B>
row_sums row_products(instruction_set set, std::span<const A> a, std::span<const B> b) noexcept {
  if (a.size() != b.size()) return {nan, nan, nan, nan};
  const index_t n = static_cast<index_t>(a.size());
  return products_of<A, B>(set, {a.data(), n}, {b.data(), n});
}

template <executor E, class A, class B>
status try_row_products(instruction_set set, E& exec, matrix_view<const A> a, matrix_view<const B> b,
                        std::span<row_sums> out) noexcept {
  if (status s = check_view(a, "a"); !s) return s;
  if (status s = check_view(b, a.rows, a.cols, "b"); !s) return s;
  if (static_cast<index_t>(out.size()) != a.rows)
    return error{errc::shape_mismatch, "out", text(out.size(), " entries"), text(a.rows, ", one a row")};
  const instruction_set run = runnable(set);
  constexpr index_t task_size = 65536;  // elements
  const index_t rows = algo::max(index_t{1}, task_size / algo::max(index_t{1}, a.cols));
  exec.bulk((a.rows + rows - 1) / rows, [&](index_t task) {
    const index_t last = algo::min((task + 1) * rows, a.rows);
    for (index_t r = task * rows; r < last; ++r)
      out[static_cast<std::size_t>(r)] = products_of<A, B>(run, a.row(r), b.row(r));
  });
  return {};
}
}  // namespace detail

// Computes the four sums ⟨a, b⟩, |a|², |b|² and |a − b|² of two rows in one pass. Rows are floats, or a small type
// (f16, bf16, fp8) in any contiguous range, which gives the bits of the floats that it stands for. Floats are widened
// to double first, so ⟨·,·⟩ and squares add exact products, and differences are rounded once; double, eight lanes,
// chunks of 2,048 added in order. Every operation is rounded by itself: the same bits on every machine, instruction
// set, compiler and flag but -ffast-math. Relative error of the squares ≤ (n/8 + 4)·2⁻⁵³ (n ≤ 2,048; 260·2⁻⁵³ +
// n·2⁻⁶⁴ above), of ⟨a, b⟩ the same relative to Σ|a_i·b_i|. All NaN for rows of different lengths. Streams rows of
// floats as fast as one thread reads them (avx512, avx2; portable 0.7 to 0.9 of that). No allocation.
inline row_sums row_products(instruction_set set, std::span<const float> a, std::span<const float> b) noexcept {
  return detail::row_products(runnable(set), a, b);
}
inline row_sums row_products(std::span<const float> a, std::span<const float> b) noexcept {
  return row_products(best_instruction_set(), a, b);
}
template <widening_row A, widening_row B>
  requires(small_row<A> || small_row<B>)
row_sums row_products(instruction_set set, const A& a, const B& b) noexcept {
  return detail::row_products(runnable(set), detail::row_of(a), detail::row_of(b));
}
template <widening_row A, widening_row B>
  requires(small_row<A> || small_row<B>)
row_sums row_products(const A& a, const B& b) noexcept {
  return row_products(best_instruction_set(), a, b);
}

// Computes out[r] = row_products of rows r of a and b, both (rows, cols), any strides. The executor's workers share
// the rows, which changes no bit; the instruction set is the backend's. Errors, with `out` untouched: b of another
// shape, `out` without one entry for each row, null data, bad strides.
template <executor E>
status try_row_products(instruction_set set, E& exec, matrix_view<const float> a, matrix_view<const float> b,
                        std::span<row_sums> out) noexcept {
  return detail::try_row_products(set, exec, a, b, out);
}
template <executor E>
status try_row_products(E& exec, matrix_view<const float> a, matrix_view<const float> b,
                        std::span<row_sums> out) noexcept {
  return try_row_products(instructions_of(exec), exec, a, b, out);
}
template <executor E, class A, class B>
  requires(detail::small_pair<A, B>)
status try_row_products(instruction_set set, E& exec, matrix_view<A> a, matrix_view<B> b,
                        std::span<row_sums> out) noexcept {
  return detail::try_row_products<E, std::remove_const_t<A>, std::remove_const_t<B>>(set, exec, a, b, out);
}
template <executor E, class A, class B>
  requires(detail::small_pair<A, B>)
status try_row_products(E& exec, matrix_view<A> a, matrix_view<B> b, std::span<row_sums> out) noexcept {
  return try_row_products(instructions_of(exec), exec, a, b, out);
}

// The same of any operands of floats.
template <executor E, operand_of<float> A, operand_of<float> B>
status try_row_products(E& exec, const A& a, const B& b, std::span<row_sums> out) {
  return on_view(a, "a", [&](matrix_view<const float> va) {
    return on_view(b, "b", [&](matrix_view<const float> vb) { return try_row_products(exec, va, vb, out); });
  });
}

#if RESECT_EXCEPTIONS
// The throwing form.
template <executor E, operand_of<float> A, operand_of<float> B>
void row_products(E& exec, const A& a, const B& b, std::span<row_sums> out) {
  value_or_throw(try_row_products(exec, a, b, out));
}
// The throwing form.
template <executor E>
void row_products(E& exec, matrix_view<const float> a, matrix_view<const float> b, std::span<row_sums> out) {
  value_or_throw(try_row_products(exec, a, b, out));
}
// The throwing form.
template <executor E>
void row_products(instruction_set set, E& exec, matrix_view<const float> a, matrix_view<const float> b,
                  std::span<row_sums> out) {
  value_or_throw(try_row_products(set, exec, a, b, out));
}
// The throwing form.
template <executor E, class A, class B>
  requires(detail::small_pair<A, B>)
void row_products(E& exec, matrix_view<A> a, matrix_view<B> b, std::span<row_sums> out) {
  value_or_throw(try_row_products(exec, a, b, out));
}
// The throwing form.
template <executor E, class A, class B>
  requires(detail::small_pair<A, B>)
void row_products(instruction_set set, E& exec, matrix_view<A> a, matrix_view<B> b, std::span<row_sums> out) {
  value_or_throw(try_row_products(set, exec, a, b, out));
}
#endif

}  // namespace RESECT_NAMESPACE::metrics
