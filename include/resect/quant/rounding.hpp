// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

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
  const auto p = out.parameters[i * out.layout().per_row() + g];
  detail::for_each_code(out.format, out.rows, out.cols, i, g,
                        [&](index_t r, index_t c, index_t rows, index_t cols, index_t at) {
                          if constexpr (shape == grid_shape{}) {
                            out.codes[at] = out.format.grid.encode({w.row(r).data + c, 1}, p);
                          } else {
                            float in[static_cast<std::size_t>(shape.size())] = {};
                            for (index_t y = 0; y < rows; ++y)
                              for (index_t x = 0; x < cols; ++x) in[y * shape.cols + x] = w(r + y, c + x);
                            out.codes[at] = out.format.grid.encode(in, p);
                          }
                        });
}

// Every weight to its nearest level (every run of weights to its nearest code). Least Σ(w − ŵ)² for given parameters.
struct nearest {
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
