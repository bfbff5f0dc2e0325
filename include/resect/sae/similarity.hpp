// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>

#include <resect/core/algorithm.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::sae {

namespace detail {

// Rows of norm 1; rows of zeros stay.
template <class = void>
matrix<float> unit_rows(matrix_view<const float> x) {
  matrix<float> out(x.rows, x.cols);
  for (index_t r = 0; r < x.rows; ++r) {
    double squares = 0;
    for (index_t c = 0; c < x.cols; ++c) squares += static_cast<double>(x(r, c)) * static_cast<double>(x(r, c));
    const double by = squares > 0 ? 1 / std::sqrt(squares) : 0;
    for (index_t c = 0; c < x.cols; ++c) out(r, c) = static_cast<float>(static_cast<double>(x(r, c)) * by);
  }
  return out;
}

}  // namespace detail

// mean_max_cosine (planted.hpp) by a backend's products: for each row of `of` (N, d) the largest cosine with a row of `in`
// (M, d), their mean; 0 where there is no row. Not symmetric: give both. In float, 256 rows at a time.
// Cost 2NMd flop, 256·M floats. Errors: shape_mismatch, null_pointer, those of the backend.
template <dense_backend<float> B>
result<double> try_mean_max_cosine(B& exec, matrix_view<const float> of, matrix_view<const float> in) {
  if (auto s = check_view(in, in.rows, of.cols, "in"); !s) return s.error();
  if (of.rows < 1 || in.rows < 1) return 0.0;
  if (auto s = check_view(of, of.rows, of.cols, "of"); !s) return s.error();
  const matrix<float> a = detail::unit_rows(of), b = detail::unit_rows(in);
  matrix<float> cosines(algo::min(of.rows, index_t{256}), in.rows);
  array<float> largest(of.rows);
  for (index_t first = 0; first < of.rows; first += cosines.rows) {
    const index_t n = algo::min(cosines.rows, of.rows - first);
    const matrix_view<float> some = cosines.view().middle_rows(0, n);
    if (auto s = exec.try_gemm(1.0f, a.view().middle_rows(first, n), b.view().transposed(), 0.0f, some); !s)
      return s.error();
    exec.bulk(n, [&](index_t r) {
      float best = 0;
      for (index_t j = 0; j < in.rows; ++j) best = algo::max(best, some(r, j));
      largest[first + r] = best;
    });
  }
  double sum = 0;
  for (const float x : largest) sum += static_cast<double>(x);
  return sum / static_cast<double>(of.rows);
}

}  // namespace RESECT_NAMESPACE::sae
