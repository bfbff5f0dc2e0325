// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/finite.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/scratch.hpp>
#include <resect/core/shared_value.hpp>
#include <resect/residual/plan.hpp>
#include <resect/residual/row_store.hpp>

// Rows, or a subspace of rows, replaced by those of another text.
namespace RESECT_NAMESPACE::residual {

// The direction of a patch; the two are different experiments, so it has no default. denoise: rows of the clean text go
// into the corrupt one (what suffices to restore the answer); noise: rows of the corrupt text into the clean one (what is
// needed for it).
enum class patch_direction : std::uint8_t { denoise, noise };

namespace detail {

// The stored rows that an operator reads, and which row stands for which.
struct row_source {
  shared_value<row_store> store;
  place_map map;
  std::uint64_t hash = 0;  // of what is read

  std::span<const float> find(int layer, const row_meta& row) const noexcept {
    token_place room;
    const token_place* from = map.find(row.place(), room);
    return from ? store->find(layer, *from) : std::span<const float>{};
  }
  status check_row(std::string_view id, int layer, const row_meta& row) const noexcept {
    if (!find(layer, row).empty()) return {};
    token_place room;
    const token_place* from = map.find(row.place(), room);
    return error{errc::invalid_argument, text("source of ", plain_name(id)),
                 from ? text("no row of sequence ", from->seq, " position ", from->pos, " in layer ", layer)
                      : text("no place for sequence ", row.seq, " position ", row.pos),
                 "a row of the row_store"};
  }
};

// A source that holds rows of this site in these layers.
template <class = void>
result<row_source> try_source(std::string_view id, layer_range where, site at, shared_value<row_store> store,
                              place_map map) {
  if (store->where() != at || store->holds_block_deltas())
    return error{errc::conflict, text("source of ", plain_name(id)),
                 store->holds_block_deltas() ? text("deltas of blocks") : text("rows of ", name(store->where())),
                 text("rows of ", name(at))};
  const layer_range held = store->layers();
  if (where.first < held.first || where.last > held.last)
    return error{errc::invalid_argument, text("source of ", plain_name(id)),
                 text("layers [", held.first, ", ", held.last, ")"),
                 text("layers [", where.first, ", ", where.last, ")")};
  const std::uint64_t hash = fingerprint{}.add(store->hash(where)).add(map.hash()).value();
  return row_source{std::move(store), std::move(map), hash};
}

}  // namespace detail

namespace operators {

// h_t := h^src_map(t).
template <patch_direction Direction>
struct patch {
  static constexpr std::string_view id =
      Direction == patch_direction::denoise ? "resect.patch.denoise/1" : "resect.patch.noise/1";
  detail::row_source source;

  operator_facts facts() const noexcept { return {.overwrites = true, .width = source.store->width()}; }
  void fields(field_visitor& v) const { v.key("source", source.hash); }
  status check_row(int layer, const row_meta& row) const noexcept { return source.check_row(id, layer, row); }
  status apply(const tap& at, matrix_view<const float>, matrix_view<float> h) const noexcept {
    for (index_t r = 0; r < h.rows; ++r) {
      const auto from = source.find(at.layer, at.rows[static_cast<std::size_t>(r)]);
      for (index_t c = 0; c < static_cast<index_t>(from.size()); ++c) h(r, c) = from[static_cast<std::size_t>(c)];
    }
    return {};
  }
};

// h_t := h_t + Q·Qᵀ·(h^src_map(t) − h_t).
struct subspace_swap {
  static constexpr std::string_view id = "resect.subspace_swap/1";
  array<float> basis;  // Qᵀ, row-major (rank, width)
  index_t rank = 0;
  detail::row_source source;

  operator_facts facts() const noexcept { return {.width = source.store->width()}; }
  void fields(field_visitor& v) const {
    v.number("rank", static_cast<double>(rank));
    v.values("basis", basis.span());
    v.key("source", source.hash);
  }
  status check_row(int layer, const row_meta& row) const noexcept { return source.check_row(id, layer, row); }
  status apply(const tap& at, matrix_view<const float>, matrix_view<float> h) const {
    scratch_frame memory{at.memory};
    const auto along = memory.take<double>(rank);
    for (index_t r = 0; r < h.rows; ++r) {
      const auto from = source.find(at.layer, at.rows[static_cast<std::size_t>(r)]);
      if (!from.empty()) swap_row(from, h.row_span(r), along);
    }
    return {};
  }

 private:
  // The components of the difference along Q in double, then one rounding an element.
  void swap_row(std::span<const float> from, std::span<float> h, std::span<double> along) const noexcept {
    for (std::size_t k = 0; k < along.size(); ++k) {
      const float* const q = basis.data() + k * h.size();
      along[k] = 0;
      for (std::size_t c = 0; c < h.size(); ++c)
        along[k] += static_cast<double>(q[c]) * (static_cast<double>(from[c]) - static_cast<double>(h[c]));
    }
    for (std::size_t c = 0; c < h.size(); ++c) {
      double sum = 0;
      for (std::size_t k = 0; k < along.size(); ++k)
        sum += along[k] * static_cast<double>(basis.data()[k * h.size() + c]);
      if (sum != 0) h[c] = static_cast<float>(static_cast<double>(h[c]) + sum);
    }
  }
};

}  // namespace operators

// Replaces the rows at a site of the layers by stored rows: h_t := h^src_map(t). Restrict it by `at` to patch some
// positions. A patch with the rows that stand there already changes no bit. The source is shared, not copied:
//   const shared_value<row_store> clean = captured;
//   plan{} | at(mask({{1, 4}}), patch(patch_direction::denoise, layer(3), site::resid_post, clean, place_map::shifted(-1)))
// Errors: conflict for a store of another site, invalid_argument for one that lacks a layer. A pass reports
// invalid_argument for a row without a source before it runs.
template <class = void>
result<step> try_patch(patch_direction direction, layer_range where, site at, shared_value<row_store> source,
                       place_map map = {}) {
  using clean = operators::patch<patch_direction::denoise>;
  using corrupt = operators::patch<patch_direction::noise>;
  const bool denoise = direction == patch_direction::denoise;
  auto from = detail::try_source(denoise ? clean::id : corrupt::id, where, at, std::move(source), std::move(map));
  if (!from) return from.error();
  return denoise ? step{where, at, clean{std::move(*from)}} : step{where, at, corrupt{std::move(*from)}};
}

// Replaces the part of rows in a subspace by that of stored rows: h_t := h_t + Q·Qᵀ·(h^src_map(t) − h_t), QᵀQ = I; `basis`
// is Q (d_model, rank). Where Q spans everything this is a patch up to rounding; a swap with the row itself changes no
// bit. Components in double, one rounding an element. (Interchange interventions in a rotated subspace: Geiger et al.
// 2024.)
// Errors: as try_patch; shape_mismatch for a basis of other rows than the store's width, or of no column; not_finite;
// invalid_argument where two columns are not orthonormal to 10⁻⁴.
template <class = void>
result<step> try_subspace_swap(layer_range where, site at, matrix_view<const float> basis,
                               shared_value<row_store> source, place_map map = {}) {
  constexpr double tolerance = 1e-4;
  if (auto s = check_view(basis, "basis of subspace_swap"); !s) return s.error();
  if (basis.rows != source->width() || basis.cols < 1)
    return error{errc::shape_mismatch, "basis of subspace_swap", text(basis.rows, " x ", basis.cols),
                 text(source->width(), " rows, as the row_store, and a column or more")};
  if (auto s = check_finite(basis, "basis of subspace_swap"); !s) return s.error();
  array<float> transposed;
  for (index_t k = 0; k < basis.cols; ++k)
    for (index_t c = 0; c < basis.rows; ++c) transposed.push_back(basis(c, k));
  const auto column = [&](index_t k) {
    return std::span<const float>{transposed.data() + k * basis.rows, static_cast<std::size_t>(basis.rows)};
  };
  for (index_t i = 0; i < basis.cols; ++i)
    for (index_t k = 0; k <= i; ++k)
      if (const double product = dot(column(i), column(k)); math::fabs(product - (i == k ? 1.0 : 0.0)) > tolerance)
        return error{errc::invalid_argument, text("basis of subspace_swap, columns ", k, " and ", i),
                     text("an inner product of ", product), i == k ? "1" : "0"};
  auto from = detail::try_source(operators::subspace_swap::id, where, at, std::move(source), std::move(map));
  if (!from) return from.error();
  return step{where, at, operators::subspace_swap{std::move(transposed), basis.cols, std::move(*from)}};
}

#if RESECT_EXCEPTIONS
template <class = void>
step patch(patch_direction direction, layer_range where, site at, shared_value<row_store> source, place_map map = {}) {
  return value_or_throw(try_patch(direction, where, at, std::move(source), std::move(map)));
}
template <class = void>
step subspace_swap(layer_range where, site at, matrix_view<const float> basis, shared_value<row_store> source,
                   place_map map = {}) {
  return value_or_throw(try_subspace_swap(where, at, basis, std::move(source), std::move(map)));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
