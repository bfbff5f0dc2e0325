// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <concepts>
#include <span>

#include <resect/core/algorithm.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/core/matrix.hpp>

// What algorithms do to the elements of a tall panel, beside products: free functions that are found by the type of the
// backend. Those of host memory are here; a backend of another space brings its own, in its own namespace:
//   try_column_norms(exec, A, out)        out[c] ← the measure of column c, on the host
//   try_scale_columns(exec, A, by, B)     B ← A with column c times by[c]; B may be A
//   try_gram(exec, A, G)                  G (n, n) on the host ← AᵀA in double
//   try_convert(exec, A, B)               B ← A in another element type
//   try_fill(exec, omega, A, origin)      A ← a block of a random test matrix (see random/test_matrix.hpp)
namespace RESECT_NAMESPACE {

// The size of a column, and where it is not finite.
struct column_measure {
  double extreme = 0;    // the element of largest magnitude, the first of them
  double mantissa = 0;   // ‖column‖₂ = mantissa·2^exponent with mantissa in [½, 1); 0 for a zero column
  int exponent = 0;      // 0 for a zero column
  index_t bad_row = -1;  // the first row that holds a NaN or an infinity; −1 if none does

  bool finite() const noexcept { return bad_row < 0; }
  double norm() const noexcept { return std::ldexp(mantissa, exponent); }
};

// factor·2^exponent. A factor of 1 scales without rounding, whatever the exponent.
struct column_scale {
  double factor = 1;
  int exponent = 0;
};

// An executor whose operands lie in host memory.
template <class E>
concept host_executor = executor<E> && std::same_as<typename E::space, host_space>;

namespace detail {
inline constexpr index_t columns_a_task = 16;
inline constexpr index_t rows_a_task = 64;

// The measures of eight columns of floats that lie side by side, in one pass: squares of floats are exact in double and
// do not overflow there. False where a sum is not finite; `out` then holds nothing.
inline bool measure_eight_columns(const matrix_view<const float>& a, column_measure* out) noexcept {
  using eight_floats [[gnu::vector_size(32)]] = float;
  using eight_doubles [[gnu::vector_size(64)]] = double;
  eight_floats high{}, low{};
  eight_doubles squares{};
  for (index_t r = 0; r < a.rows; ++r) {
    eight_floats x;
    __builtin_memcpy(&x, a.data + r * a.row_stride, sizeof x);
    const auto wide = __builtin_convertvector(x, eight_doubles);
    squares += wide * wide;
    high = x > high ? x : high;
    low = x < low ? x : low;
  }
  for (int c = 0; c < 8; ++c) {
    const double top = static_cast<double>(high[c]), bottom = static_cast<double>(low[c]);
    if (!is_finite(squares[c])) return false;
    out[c] = {top >= -bottom ? top : bottom, 0, 0, -1};
    if (top == -bottom && top > 0) {  // the first of them
      index_t r = 0;
      while (std::fabs(a(r, c)) != high[c]) ++r;
      out[c].extreme = static_cast<double>(a(r, c));
    }
    if (squares[c] > 0) out[c].mantissa = std::frexp(std::sqrt(squares[c]), &out[c].exponent);
  }
  return true;
}
}  // namespace detail

// Measures of the columns of A (m, n), sums in double. out.size() = n.
template <host_executor E, class T>
status try_column_norms(E& exec, const matrix_view<T>& a, std::span<column_measure> out) {
  constexpr index_t width = detail::columns_a_task;
  exec.bulk((a.cols + width - 1) / width, [&](index_t task) {
    const index_t first = task * width, count = algo::min(width, a.cols - first);
    if constexpr (std::same_as<std::remove_const_t<T>, float>) {
      column_measure* const here = out.data() + first;
      if (count == width && a.col_stride == 1 && detail::measure_eight_columns(a.block(0, first, a.rows, 8), here) &&
          detail::measure_eight_columns(a.block(0, first + 8, a.rows, 8), here + 8))
        return;
    }
    double largest[width] = {}, extreme[width] = {}, squares[width] = {}, scale[width] = {};
    index_t bad[width];
    for (index_t& b : bad) b = -1;
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t c = 0; c < count; ++c) {
        const double value = static_cast<double>(a(r, first + c)), x = std::fabs(value);
        if (!(x <= largest[c])) largest[c] = x, extreme[c] = value;  // a NaN goes in; what follows does not matter
        if (!is_finite(x) && bad[c] < 0) bad[c] = r;
      }
    int exponent[width] = {};
    for (index_t c = 0; c < count; ++c) {
      if (bad[c] < 0) std::frexp(largest[c], &exponent[c]);
      exponent[c] = algo::max(exponent[c], -1000);
      scale[c] = std::ldexp(1.0, -exponent[c]);
    }
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t c = 0; c < count; ++c) {
        const double x = static_cast<double>(a(r, first + c)) * scale[c];
        squares[c] += x * x;
      }
    for (index_t c = 0; c < count; ++c) {
      column_measure& m = out[static_cast<std::size_t>(first + c)];
      m = {extreme[c], 0, 0, bad[c]};
      if (bad[c] >= 0 || largest[c] == 0) continue;
      m.mantissa = std::frexp(std::sqrt(squares[c]), &m.exponent);
      m.exponent += exponent[c];
    }
  });
  return {};
}

// to(r, c) = T(from(r, c)·factor[c])·2^exponent[c], without an overflow on the way. `to` may be `from`.
template <host_executor E, class U, class T>
status try_scale_columns(E& exec, const matrix_view<U>& from, std::span<const column_scale> by,
                         const matrix_view<T>& to) {
  exec.bulk((from.rows + detail::rows_a_task - 1) / detail::rows_a_task, [&](index_t task) {
    const index_t first = task * detail::rows_a_task, end = algo::min(from.rows, first + detail::rows_a_task);
    for (index_t c = 0; c < from.cols; ++c) {
      const column_scale s = by[static_cast<std::size_t>(c)];
      const int half = s.exponent / 2;
      const T one = std::ldexp(T{1}, half), two = std::ldexp(T{1}, s.exponent - half);
      for (index_t r = first; r < end; ++r)
        to(r, c) = static_cast<T>(static_cast<double>(from(r, c)) * s.factor) * one * two;
    }
  });
  return {};
}

namespace detail {
// G ← AᵀA + β·G of a panel of doubles: the lower triangle in blocks of columns, which are then mirrored.
template <class E>
status add_gram(E& exec, matrix_view<const double> a, double beta, matrix_view<double> g) {
  constexpr index_t width = 64;
  for (index_t first = 0; first < a.cols; first += width) {
    const index_t count = algo::min(width, a.cols - first), below = a.cols - first;
    const auto left = a.block(0, first, a.rows, below);
    const auto to = g.block(first, first, below, count);
    if (auto s = exec.try_gemm(1.0, left.transposed(), left.block(0, 0, a.rows, count), beta, to); !s) return s;
  }
  return {};
}
template <class T>
void mirror_lower(matrix_view<T> g) {
  for (index_t i = 0; i < g.rows; ++i)
    for (index_t j = i + 1; j < g.rows; ++j) g(i, j) = g(j, i);
}
}  // namespace detail

// G ← AᵀA in double; a float panel is widened in slices of a fixed height.
template <host_executor E, class T>
  requires dense_backend<E, double>
status try_gram(E& exec, const matrix_view<T>& a, matrix_view<double> g) {
  if constexpr (std::same_as<std::remove_const_t<T>, double>) {
    if (auto s = detail::add_gram(exec, a, 0, g); !s) return s;
  } else {
    constexpr index_t height = 256;
    matrix<double> wide(algo::min(height, a.rows), a.cols);
    for (index_t first = 0; first == 0 || first < a.rows; first += height) {
      const auto part = a.middle_rows(first, algo::min(height, a.rows - first));
      const auto slice = wide.view().middle_rows(0, part.rows);
      copy(exec, part, slice);
      if (auto s = detail::add_gram(exec, slice, first == 0 ? 0.0 : 1.0, g); !s) return s;
    }
  }
  detail::mirror_lower(g);
  return {};
}

// to ← from in another element type.
template <host_executor E, class U, class T>
status try_convert(E& exec, const matrix_view<U>& from, const matrix_view<T>& to) {
  copy(exec, from, to);
  return {};
}

// A factoring backend whose panels have these functions: what linalg/ and factor/ run on.
template <class B, class T>
concept panel_backend =
    factoring_backend<B, T> &&
    requires(B& b, matrix_view<const T, typename B::space> from, matrix_view<T, typename B::space> to,
             matrix_view<double> core, std::span<column_measure> measures, std::span<const column_scale> scales) {
      { try_column_norms(b, from, measures) } -> std::same_as<status>;
      { try_scale_columns(b, from, scales, to) } -> std::same_as<status>;
      { try_gram(b, from, core) } -> std::same_as<status>;
      { try_convert(b, from, to) } -> std::same_as<status>;
    };

// Measures of columns, as an array.
template <class B, class T, class Space>
result<array<column_measure>> try_column_norms(B& exec, const matrix_view<T, Space>& a) {
  array<column_measure> out(a.cols);
  if (auto s = try_column_norms(exec, a, out.span()); !s) return s.error();
  return out;
}

}  // namespace RESECT_NAMESPACE
