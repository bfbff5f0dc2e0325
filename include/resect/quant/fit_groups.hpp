// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/reduce.hpp>
#include <resect/quant/detail/shared_header.hpp>
#include <resect/quant/quantized.hpp>
#include <resect/quant/scale_search.hpp>

// From a search for groups to the parameters of super-blocks and matrices: what rounding rules call.
namespace RESECT_NAMESPACE::quant {

// The parameters of the groups of one super-block, and its header: by the search's own fit_super_block, else by
// detail::shared_header.
template <static_format F, class S>
detail::header_of<F> fit_super_block(const F& f, const S& search, std::span<const group_weights> groups,
                                     std::span<detail::parameters_of<F>> out) {
  if constexpr (F::store_type::header_bits == 0) {
    for (std::size_t g = 0; g < groups.size(); ++g) out[g] = search.fit(f.grid, f.store, {}, groups[g]);
    return {};
  } else if constexpr (requires { search.fit_super_block(f.grid, f.store, groups, out); }) {
    return search.fit_super_block(f.grid, f.store, groups, out);
  } else {
    return detail::shared_header(f.grid, f.store, search, groups, out).header;
  }
}

// The weights of groups, gathered where they do not lie side by side. Kept between calls, one a task.
template <class T = float>
class gathered_groups {
 public:
  // The groups [first, first + count) of row i of blocks; rows of w are contiguous, importance is that of columns.
  std::span<const group_weights> of(matrix_view<const float> w, const block_layout& layout, grid_shape shape, index_t i,
                                    index_t first, index_t count, std::span<const float> importance) {
    groups_.resize(count);
    const index_t r0 = layout.first_row(i), rows = layout.row_count(i);
    const bool in_place = rows == 1;
    if (!in_place) {
      index_t all = 0;
      for (index_t g = first; g < first + count; ++g) all += rows * layout.size(g);
      values_.resize(all);
      if (!importance.empty()) importance_.resize(all);
    }
    index_t at = 0;
    for (index_t g = first; g < first + count; ++g) {
      const index_t c0 = layout.first(g), cols = layout.size(g);
      group_weights& out = groups_[g - first];
      const auto size = static_cast<std::size_t>(rows * cols);
      if (in_place) {
        out.values = {w.row(r0).data + c0, size};
        out.importance = importance.empty() ? importance : importance.subspan(static_cast<std::size_t>(c0), size);
        continue;
      }
      const index_t begin = at;
      // the weights of one code side by side
      for (index_t r = 0; r < rows; r += shape.rows)
        for (index_t c = 0; c < cols; c += shape.cols)
          for (index_t y = r; y < rows && y < r + shape.rows; ++y)
            for (index_t x = c; x < cols && x < c + shape.cols; ++x, ++at) {
              values_[at] = w(r0 + y, c0 + x);
              if (!importance.empty()) importance_[at] = importance[static_cast<std::size_t>(c0 + x)];
            }
      out.values = {values_.data() + begin, size};
      out.importance = importance.empty() ? importance : std::span<const float>{importance_.data() + begin, size};
    }
    return groups_.span();
  }

 private:
  array<group_weights> groups_;
  array<float> values_, importance_;
};

// Fits super-block `super` of row i of blocks of out from the weights w (rows contiguous, out's extents). Returns the
// first group whose parameters are not finite, or −1. Not for stores whose header is the matrix's.
template <static_format F, class S>
index_t fit_super_block(matrix_view<const float> w, const S& search, index_t i, index_t super,
                        gathered_groups<>& memory, quantized<F>& out) {
  constexpr index_t most = F::store_type::super_groups;
  static_assert(most > 0, "the groups of the whole matrix share a header: fit_all_groups fits them");
  const block_layout layout = out.layout();
  const index_t first = super * most, beyond = layout.per_row() - first;
  const index_t count = beyond < most ? beyond : most, at = i * layout.per_row() + first;
  const auto groups = memory.of(w, layout, F::grid_type::shape, i, first, count, detail::importance_of(search));
  const std::span p{out.parameters.data() + at, static_cast<std::size_t>(count)};
  const auto header = fit_super_block(out.format, search, groups, p);
  if constexpr (F::store_type::header_bits > 0) out.headers[i * out.parts().supers_per_row + super] = header;
  for (index_t g = 0; g < count; ++g)
    if (!detail::finite_parameters(out.format.grid, out.parameters[at + g])) return at + g;
  return -1;
}

namespace detail {

inline index_t first_bad(index_t a, index_t b) noexcept { return a < 0 ? b : b < 0 || a < b ? a : b; }

template <static_format F>
status not_finite_group(const quantized<F>& out, index_t group) {
  if (group < 0) return {};
  const index_t per_row = out.layout().per_row();
  return error{errc::not_finite,
               text("parameters of group ", group % per_row, " of row ", out.layout().first_row(group / per_row)),
               text("NaN or infinity from the search on grid ", std::string_view{F::grid_type::name}),
               "finite numbers"};
}

// What fitting all groups came to: the first group whose parameters are not finite, or −1, and Σ a_j·(w_j − ŵ_j)² where
// it was asked for.
struct fitted_groups {
  index_t bad = -1;
  double error = 0;
};

// Fits the groups of all rows of blocks with fit(group weights) → parameters, in parallel.
template <bool WithError, executor E, static_format F, class Fit>
fitted_groups fit_each_group(E& exec, matrix_view<const float> w, std::span<const float> importance, quantized<F>& out,
                             Fit fit) {
  const block_layout layout = out.layout();
  return parallel_reduce(
      exec, layout.down(), 1, fitted_groups{},
      [&](index_t i, index_t) {
        gathered_groups<> memory;
        fitted_groups sum;
        for (index_t g = 0; g < layout.per_row(); ++g) {
          const index_t at = i * layout.per_row() + g;
          const group_weights group = memory.of(w, layout, F::grid_type::shape, i, g, 1, importance)[0];
          out.parameters[at] = fit(group);
          if (sum.bad < 0 && !finite_parameters(out.format.grid, out.parameters[at])) sum.bad = at;
          if constexpr (WithError) sum.error += squared_error(out.format.grid, group, out.parameters[at]);
        }
        return sum;
      },
      [](const fitted_groups& a, const fitted_groups& b) {
        return fitted_groups{first_bad(a.bad, b.bad), a.error + b.error};
      });
}

// The same of a store whose header is that of the matrix: as shared_header, of all groups.
template <executor E, static_format F, class S>
status fit_under_one_header(E& exec, matrix_view<const float> w, const S& search, quantized<F>& out) {
  using P = parameters_of<F>;
  using T = typename F::store_type;
  const F& f = out.format;
  const auto importance = importance_of(search);
  tried_headers<T> tried(f.store);
  array<P> best;
  double least = 0;
  index_t bad = -1;
  auto consider = [&](const auto& asks) {
    if (bad >= 0) return;
    bad = fit_each_group<false>(exec, w, importance, out, [&](group_weights x) {
            return asks.fit(f.grid, typename T::relaxed{}, {}, x);
          }).bad;
    if (bad >= 0 || out.headers.empty()) return;
    const auto header = f.store.header_of(std::span<const P>(out.parameters.span()), 1.0);
    if (!tried.add(header)) return;
    const fitted_groups fitted = fit_each_group<has_base<S>>(
        exec, w, importance, out, [&](group_weights x) { return search.fit(f.grid, f.store, header, x); });
    bad = fitted.bad;
    if (bad >= 0 || (!best.empty() && !(fitted.error < least))) return;
    least = fitted.error;
    out.headers.front() = header;
    best = out.parameters;
  };
  for_each_base(search, consider);
  if (status s = not_finite_group(out, bad); !s) return s;
  if (!best.empty()) out.parameters = std::move(best);
  return {};
}

}  // namespace detail

// Fits all groups of out and their headers from w (rows contiguous, out's extents, finite). The same parameters for any
// number of workers. Errors: not_finite, where a grid or a search gives parameters that are no numbers.
template <executor E, static_format F, class S>
status fit_all_groups(E& exec, matrix_view<const float> w, const S& search, quantized<F>& out) {
  if constexpr (F::store_type::super_groups == 0) {
    return detail::fit_under_one_header(exec, w, search, out);
  } else {
    const index_t supers = out.parts().supers_per_row;
    return detail::not_finite_group(out, parallel_reduce(
                                             exec, out.layout().down(), 1, index_t{-1},
                                             [&](index_t i, index_t) {
                                               gathered_groups<> memory;
                                               index_t bad = -1;
                                               for (index_t s = 0; s < supers; ++s)
                                                 bad = detail::first_bad(bad,
                                                                         fit_super_block(w, search, i, s, memory, out));
                                               return bad;
                                             },
                                             detail::first_bad));
  }
}

}  // namespace RESECT_NAMESPACE::quant
