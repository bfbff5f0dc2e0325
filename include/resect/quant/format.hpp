// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>

#include <resect/core/result.hpp>
#include <resect/core/types.hpp>
#include <resect/quant/layout.hpp>
#include <resect/quant/store.hpp>

namespace RESECT_NAMESPACE::quant {

// A format: grid × layout × store, which `static_format` checks where it is used. Group and Rows are what `group` and `group_rows` are by default.
//   format<nf4, f16_store>{.group = 64}      format<codebook_grid, f16_store>{.group = 32, .grid = levels}
template <class G, class Store = f32_store, index_t Group = 0, index_t Rows = 1>
struct format {
  using grid_type = G;
  using store_type = Store;

  index_t group = Group;      // columns that share parameters; 0: the whole row
  index_t group_rows = Rows;  // rows that share them; 0: all
  [[no_unique_address]] G grid{};
  [[no_unique_address]] Store store{};

  constexpr block_layout layout(index_t rows, index_t cols) const noexcept { return {rows, cols, group_rows, group}; }
  // As files and reports call it, without the group: "int4s/f16".
  static constexpr short_text<48> name() noexcept { return text<48>(G::name, "/", Store::name); }
};

namespace detail {
template <class F>
inline constexpr bool is_format = false;
template <class G, class S, index_t Group, index_t Rows>
inline constexpr bool is_format<format<G, S, Group, Rows>> = true;

template <class F>
using parameters_of = typename F::grid_type::parameters;
template <class F>
using code_of = typename F::grid_type::code;
template <class F>
using header_of = typename F::store_type::header;
}  // namespace detail

// A format whose grid and store are known at compile time.
template <class F>
concept static_format =
    detail::is_format<F> && grid<typename F::grid_type> && store_of<typename F::store_type, detail::parameters_of<F>> &&
    store_of<typename F::store_type::relaxed, detail::parameters_of<F>>;

// How many of each part a (rows, cols) matrix has in a format.
struct part_counts {
  index_t code_rows = 0, code_cols = 0;  // codes below and beside each other
  index_t groups = 0;
  index_t supers_per_row = 0;  // super-blocks of a row of blocks; 0: one for the whole matrix
  index_t headers = 0;         // 0 where groups share nothing
  friend constexpr bool operator==(const part_counts&, const part_counts&) noexcept = default;
};
// Those of a (rows, cols) matrix, whose layout fits (check_format).
template <static_format F>
constexpr part_counts count_parts(const F& f, index_t rows, index_t cols) noexcept {
  constexpr grid_shape shape = F::grid_type::shape;
  constexpr index_t super = F::store_type::super_groups;
  const block_layout layout = f.layout(rows, cols);
  part_counts out;
  out.code_rows = rows / shape.rows + (rows % shape.rows != 0);
  out.code_cols = cols / shape.cols + (cols % shape.cols != 0);
  out.groups = layout.count();
  if constexpr (super > 0) out.supers_per_row = layout.per_row() / super + (layout.per_row() % super != 0);
  if (F::store_type::header_bits > 0)
    out.headers = super == 0 ? index_t{out.groups > 0} : layout.down() * out.supers_per_row;
  return out;
}

// Bits of a (rows, cols) matrix in a format: codes, parameters, headers, and what the grid holds itself (state_bits() of a
// grid that has it: a codebook). Tail groups in full; the name and the extents of the matrix are the container's.
template <static_format F>
double stored_bits(const F& f, index_t rows, index_t cols) noexcept {
  const part_counts n = count_parts(f, rows, cols);
  double bits = static_cast<double>(n.code_rows) * static_cast<double>(n.code_cols) * f.grid.code_bits() +
                static_cast<double>(n.groups) * f.store.template bits<detail::parameters_of<F>>() +
                static_cast<double>(n.headers) * F::store_type::header_bits;
  if constexpr (requires {
                  { f.grid.state_bits() } -> std::convertible_to<index_t>;
                })
    bits += static_cast<double>(f.grid.state_bits());
  return bits;
}

// Whether a matrix of these extents fits a format: codes of more than one weight must not belong to two groups.
// Errors: what layout.check finds; invalid_argument (group); what the grid's own check() finds.
template <static_format F>
status check_format(const F& f, index_t rows, index_t cols) noexcept {
  constexpr grid_shape shape = F::grid_type::shape;
  const block_layout layout = f.layout(rows, cols);
  if (status s = layout.check(); !s) return s;
  if (layout.width() % shape.cols != 0 && layout.per_row() > 1)
    return error{errc::invalid_argument, "group", text(f.group), text("a multiple of ", shape.cols, " columns")};
  if (layout.height() % shape.rows != 0 && layout.down() > 1)
    return error{errc::invalid_argument, "rows of a group", text(f.group_rows), text("a multiple of ", shape.rows)};
  if constexpr (requires {
                  { f.grid.check() } -> std::same_as<status>;
                })
    return f.grid.check();
  return {};
}

}  // namespace RESECT_NAMESPACE::quant
