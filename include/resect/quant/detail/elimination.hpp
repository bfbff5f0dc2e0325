// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <resect/linalg/ldl.hpp>
#include <resect/quant/moment_view.hpp>

namespace RESECT_NAMESPACE::quant {

// The order in which columns are rounded. Codes and groups stay where they are: none of these needs a permutation to be
// stored.
enum class column_order : std::uint8_t {
  natural,      // from the first column to the last
  by_diagonal,  // from the largest h_jj to the smallest ("act-order", with groups as they lie)
  group_aware,  // groups by the largest h_jj in them, within a group from the largest to the smallest
};

namespace detail {

// Positions 0 … n − 1 are columns in the order in which H is eliminated, which is the reverse of the order of rounding:
// H(column, column) = L·D·Lᵀ, and what is rounded at a position gets the errors of all positions after it. Columns of
// one code are neighbours, in their own order.
struct elimination {
  index_t width = 1;        // columns of a code
  array<index_t> column;    // of a position
  array<index_t> first;     // position of a block of columns of one code, and n at the end
  matrix<double> l;         // what position k gets of the error of position t > k outside its block; inside, L itself
  array<double> d;          // pivots
  array<index_t> vanished;  // columns whose pivots vanished, ascending

  index_t blocks() const noexcept { return first.size() - 1; }
};

// Blocks of columns in the order of rounding.
inline array<index_t> rounding_order(const moment_view& h, index_t width, index_t group, column_order order) {
  const index_t n = h.size(), blocks = (n + width - 1) / width;
  array<index_t> out(blocks);
  for (index_t b = 0; b < blocks; ++b) out[b] = b;
  if (order == column_order::natural) return out;
  array<double> weight(blocks), largest(blocks);
  for (index_t c = 0; c < n; ++c) weight[c / width] += h(c, c);
  largest = weight;
  if (order == column_order::group_aware) {
    const index_t per_group = std::max<index_t>(1, group / width);
    for (index_t b = 0; b < blocks; ++b) {
      double& of_group = largest[b / per_group * per_group];
      of_group = std::max(of_group, weight[b]);
    }
    for (index_t b = 0; b < blocks; ++b) largest[b] = largest[b / per_group * per_group];
    std::stable_sort(out.begin(), out.end(), [&](index_t a, index_t b) {
      if (a / per_group == b / per_group) return weight[a] > weight[b];
      return largest[a] != largest[b] ? largest[a] > largest[b] : a / per_group < b / per_group;
    });
  } else {
    std::stable_sort(out.begin(), out.end(), [&](index_t a, index_t b) { return weight[a] > weight[b]; });
  }
  return out;
}

// L of blocks: every block column of L times the inverse of its unit triangle on the diagonal, which stays as it is.
template <executor E>
void make_block_triangular(E& exec, elimination& e) {
  const matrix_view<double> l = e.l.view();
  constexpr index_t rows_a_task = 64;
  exec.bulk((l.rows + rows_a_task - 1) / rows_a_task, [&](index_t task) {
    for (index_t t = task * rows_a_task; t < std::min(l.rows, (task + 1) * rows_a_task); ++t)
      for (index_t b = 0; b < e.blocks() && e.first[b + 1] <= t; ++b)
        for (index_t k = e.first[b + 1] - 1; k >= e.first[b]; --k)
          for (index_t p = k + 1; p < e.first[b + 1]; ++p) l(t, k) -= l(t, p) * l(p, k);
  });
}

// For codes that are `width` columns wide and groups of `group` columns. Errors: those of the backend.
template <class B>
result<elimination> try_eliminate(B& exec, const moment_view& h, index_t width, index_t group, column_order order,
                                  double tolerance) {
  const index_t n = h.size();
  elimination e;
  e.width = width;
  const array<index_t> blocks = rounding_order(h, width, group, order);
  for (index_t i = blocks.size() - 1; i >= 0; --i) {
    e.first.push_back(e.column.size());
    for (index_t c = blocks[i] * width; c < std::min(n, (blocks[i] + 1) * width); ++c) e.column.push_back(c);
  }
  e.first.push_back(n);
  e.l.resize(n, n);
  e.d.resize(n);
  constexpr index_t tile = 32;
  exec.bulk((n + tile - 1) / tile, [&](index_t task) {
    const index_t r = task * tile, rows = std::min(tile, n - r);
    for (index_t c = 0; c <= r; c += tile)
      for (index_t i = r; i < r + rows; ++i)
        for (index_t j = c; j < std::min(c + tile, i + 1); ++j) e.l(i, j) = h(e.column[i], e.column[j]);
  });
  auto outcome = linalg::try_ldl_in_place(exec, e.l.view(), e.d.span(), tolerance);
  if (!outcome) return outcome.error();
  for (const index_t k : outcome->vanished) e.vanished.push_back(e.column[k]);
  std::sort(e.vanished.begin(), e.vanished.end());
  if (width > 1) make_block_triangular(exec, e);
  return e;
}

}  // namespace detail
}  // namespace RESECT_NAMESPACE::quant
