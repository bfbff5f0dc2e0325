// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include <resect/quant/fit_groups.hpp>

// A rounding rule chooses the codes of a whole matrix. It has the groups fitted when it gets there, because rules that
// pass a column's error on to the next ones may change weights before their group is fitted.
namespace RESECT_NAMESPACE::quant {

// rule.round(exec, w, search, out) → status: w is finite with contiguous rows; out has its format, extents and room for
// all of its parts. Asked about the execution object and the format that are really used: GPTQ needs a backend, where
// nearest rounding needs bulk alone.
template <class R, class E, class F, class S>
concept rounding_rule = static_format<F> && requires(const R& rule, E& exec, matrix_view<const float> w,
                                                     const S& search, quantized<F>& out) {
  { rule.round(exec, w, search, out) } -> std::same_as<status>;
};

// The codes of block g of row i of blocks: each code the grid's own nearest, for parameters that are there already.
template <static_format F>
void encode_block(matrix_view<const float> w, index_t i, index_t g, quantized<F>& out) {
  constexpr grid_shape shape = F::grid_type::shape;
  const block_layout layout = out.layout();
  const auto p = out.parameters[i * layout.per_row() + g];
  if constexpr (shape == grid_shape{}) {
    const index_t c = layout.first(g);
    const auto size = static_cast<std::size_t>(layout.size(g));
    for (index_t r = layout.first_row(i); r < layout.first_row(i) + layout.row_count(i); ++r)
      detail::encode_row(out.format.grid, {w.row(r).data + c, size}, p, out.codes.data() + r * out.cols + c);
  } else {
    constexpr auto size = static_cast<std::size_t>(shape.size());
    constexpr index_t width = shape.cols;
    detail::for_each_code(out.format, out.rows, out.cols, i, g,
                          [&](index_t r, index_t c, index_t rows, index_t cols, index_t at) {
                            float in[size] = {};
                            for (index_t y = 0; y < rows; ++y)
                              for (index_t x = 0; x < cols; ++x) in[y * width + x] = w(r + y, c + x);
                            out.codes[at] = out.format.grid.encode(in, p);
                          });
  }
}

namespace detail {
// One row of a scalar grid whose groups share nothing: parameters and codes, group after group. Returns as fit_super_block.
template <static_format F, class S>
index_t round_row(matrix_view<const float> w, const S& search, index_t row, quantized<F>& out) {
  const block_layout layout = out.layout();
  const std::span<const float> importance = importance_of(search);
  const index_t groups = layout.per_row(), width = layout.width();
  const float* const weights = w.row(row).data;
  code_of<F>* const codes = out.codes.data() + row * out.cols;
  for (index_t g = 0; g < groups; ++g) {
    const index_t c = g * width;
    const auto size = static_cast<std::size_t>(out.cols - c < width ? out.cols - c : width);
    const std::span<const float> group{weights + c, size};
    const std::span<const float> a =
        importance.empty() ? importance : importance.subspan(static_cast<std::size_t>(c), size);
    const auto p = search.fit(out.format.grid, out.format.store, {}, group_weights{group, a});
    out.parameters[row * groups + g] = p;
    if (!finite_parameters(out.format.grid, p)) return row * groups + g;
    encode_row(out.format.grid, group, p, codes + c);
  }
  return -1;
}
}  // namespace detail

// Every weight to its nearest level (every run of weights to its nearest code). Least Σ(w − ŵ)² for given parameters.
struct nearest {
  static constexpr std::string_view name() noexcept { return "nearest"; }
  static std::uint64_t hash() noexcept { return fingerprint{}.add("resect.nearest/1").value(); }

  template <executor E, static_format F, scale_search<typename F::grid_type, typename F::store_type> S>
  static status round(E& exec, matrix_view<const float> w, const S& search, quantized<F>& out) {
    const block_layout layout = out.layout();
    if constexpr (F::store_type::super_groups == 0) {
      if (status s = fit_all_groups(exec, w, search, out); !s) return s;
      exec.bulk(layout.down(), [&](index_t i) {
        for (index_t g = 0; g < layout.per_row(); ++g) encode_block(w, i, g, out);
      });
      return {};
    } else {
      const index_t supers = out.parts().supers_per_row, most = F::store_type::super_groups;
      const index_t bad = parallel_reduce(
          exec, layout.down(), 1, index_t{-1},
          [&](index_t i, index_t) {
            if constexpr (scalar_grid<typename F::grid_type> && F::store_type::header_bits == 0)
              if (layout.height() == 1) return detail::round_row(w, search, i, out);
            gathered_groups<> memory;
            index_t first = -1;
            for (index_t s = 0; s < supers; ++s) {
              first = detail::first_bad(first, fit_super_block(w, search, i, s, memory, out));
              if (first >= 0) return first;
              for (index_t g = s * most; g < layout.per_row() && g < (s + 1) * most; ++g) encode_block(w, i, g, out);
            }
            return first;
          },
          detail::first_bad);
      return detail::not_finite_group(out, bad);
    }
  }
};

}  // namespace RESECT_NAMESPACE::quant
