// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include <resect/core/executor.hpp>
#include <resect/core/operand.hpp>
#include <resect/core/view.hpp>
#include <resect/random/distributions.hpp>
#include <resect/random/rademacher.hpp>

// Random test matrices Ω for range finders and sketches (Y = A·Ω): endless in both directions, never stored, read by
// position. Element (r, c) depends on seed, stream, r and c alone: a block filled by itself equals the block of the
// whole, a wider Ω has the narrower one as its first columns (a rank can grow), workers and devices change nothing.
// Entries are independent, with mean 0 and variance 1, and not scaled by 1/√k.
// Source: Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 53 (2011), algorithm 4.1;
// Achlioptas, "Database-friendly random projections", J. Comput. Syst. Sci. 66 (2003), theorem 1.1 (signs).
namespace RESECT_NAMESPACE::random {

// Standard normal entries: Φ⁻¹ of the half c mod 2 of block (r, c div 2). Row 0 is the stream of `gaussian`.
class gaussian_matrix {
 public:
  RESECT_HD constexpr explicit gaussian_matrix(std::uint64_t seed, std::uint64_t stream = 0) noexcept
      : stream_(seed, stream) {}

  RESECT_HD double operator()(index_t r, index_t c) const noexcept {
    const auto column = static_cast<std::uint64_t>(c);
    return of(stream_.block(static_cast<std::uint64_t>(r), column / 2).pair(static_cast<int>(column % 2)));
  }

  // out[j] = T(element (r, first + j)).
  template <std::floating_point T>
  void fill_row(index_t r, index_t first, vector_view<T> out) const noexcept {
    philox_words block;
    for (index_t j = 0; j < out.size; ++j) {
      const auto column = static_cast<std::uint64_t>(first + j);
      if (j == 0 || column % 2 == 0) block = stream_.block(static_cast<std::uint64_t>(r), column / 2);
      out[j] = static_cast<T>(of(block.pair(static_cast<int>(column % 2))));
    }
  }

 private:
  RESECT_HD static double of(std::uint64_t bits) noexcept { return gaussian(uniform_open_f64(bits)); }
  philox_stream stream_;
};

// Signs +1 and −1, addressed as in rademacher.hpp: far cheaper than normal entries, exact in every type, and with the
// same guarantees up to small constants.
class rademacher_matrix {
 public:
  RESECT_HD constexpr explicit rademacher_matrix(std::uint64_t seed, std::uint64_t stream = 0) noexcept
      : stream_(seed, stream) {}

  RESECT_HD constexpr double operator()(index_t r, index_t c) const noexcept {
    return rademacher(stream_, static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(c));
  }

  template <std::floating_point T>
  void fill_row(index_t r, index_t first, vector_view<T> out) const noexcept {
    detail::each_sign(stream_, static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(first),
                      static_cast<std::size_t>(out.size),
                      [&](std::size_t j, bool negative) { out[static_cast<index_t>(j)] = negative ? T{-1} : T{1}; });
  }

 private:
  philox_stream stream_;
};

// What try_fill fills from; a third kind of entries needs these two members.
template <class M>
concept test_matrix = requires(const M& omega, index_t i, vector_view<float> f, vector_view<double> d) {
  { omega(i, i) } -> std::convertible_to<double>;
  omega.fill_row(i, i, f);
  omega.fill_row(i, i, d);
};

// Where a block begins in the matrix that it is part of.
struct block_origin {
  index_t row = 0;
  index_t col = 0;
};

// out(r, c) = T(Ω(origin.row + r, origin.col + c)) for out (m, n), any strides. T is float or double; computed in
// double and rounded once. Cost: a Philox block for 2 normal entries or for 128 signs. The same bits for any executor.
//   Errors: shape_mismatch, null_pointer, bad_stride (see check_view), invalid_argument (an origin below 0).
template <executor E, test_matrix M, std::floating_point T>
status try_fill(E& exec, const M& omega, matrix_view<T> out, block_origin origin = {}) {
  if (auto s = check_view(out, "out"); !s) return s;
  if (origin.row < 0 || origin.col < 0)
    return error{errc::invalid_argument, "origin", text(origin.row, ", ", origin.col), "a position >= 0"};
  constexpr index_t rows_a_task = 32;
  exec.bulk((out.rows + rows_a_task - 1) / rows_a_task, [&](index_t task) {
    const index_t first = task * rows_a_task;
    for (index_t r = first; r < first + rows_a_task && r < out.rows; ++r)
      omega.fill_row(origin.row + r, origin.col, out.row(r));
  });
  return {};
}

// The same into any operand of float or double.
template <executor E, test_matrix M, floating_output Out>
status try_fill(E& exec, const M& omega, Out& out, block_origin origin = {}) {
  return on_output(out, "out", [&](auto view) { return try_fill(exec, omega, view, origin); });
}

#if RESECT_EXCEPTIONS
template <executor E, test_matrix M, floating_output Out>
void fill(E& exec, const M& omega, Out& out, block_origin origin = {}) {
  value_or_throw(try_fill(exec, omega, out, origin));
}
template <executor E, test_matrix M, std::floating_point T>
void fill(E& exec, const M& omega, matrix_view<T> out, block_origin origin = {}) {
  value_or_throw(try_fill(exec, omega, out, origin));
}
#endif

}  // namespace RESECT_NAMESPACE::random
