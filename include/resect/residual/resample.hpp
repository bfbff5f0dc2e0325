// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/shared_value.hpp>
#include <resect/random/distributions.hpp>
#include <resect/residual/row_store.hpp>
#include <resect/residual/scale.hpp>

// Deltas replaced by those of other tokens.
namespace RESECT_NAMESPACE::residual {

// Whose delta a resampled row gets: a row at the same position of another sequence, or any other row.
enum class resample_from : std::uint8_t { same_position, any_row };

namespace detail {

// A derangement of the slots of a store: one random cycle through the places of each class (Sattolo, "An algorithm to
// generate a random cyclic permutation", Inf. Process. Lett. 22, 1986), so no place gets its own row.
template <class = void>
result<array<index_t>> try_derangement(const row_store& store, std::uint64_t seed, resample_from from) {
  struct member {
    std::int32_t position;
    index_t order, slot;
  };
  array<member> all;
  const place_index& places = store.places();
  for (index_t i = 0; i < places.size(); ++i)
    all.push_back({from == resample_from::any_row ? 0 : places.place(i).pos, i, places.slot(i)});
  algo::sort(all.begin(), all.end(), [](const member& a, const member& b) {
    return a.position != b.position ? a.position < b.position : a.order < b.order;
  });
  array<index_t> to(places.size(), index_t{0});
  for (index_t first = 0; first < all.size();) {
    index_t last = first;
    while (last < all.size() && all[last].position == all[first].position) ++last;
    if (last - first < 2)
      return error{errc::invalid_argument, "rows to resample from",
                   from == resample_from::any_row ? text("1 row")
                                                  : text("1 sequence that reaches position ", all[first].position),
                   "2 or more"};
    array<index_t> cycle;
    for (index_t i = first; i < last; ++i) cycle.push_back(all[i].slot);
    const random::philox_stream draws{seed,
                                      static_cast<std::uint64_t>(static_cast<std::uint32_t>(all[first].position))};
    for (index_t i = cycle.size() - 1; i > 0; --i)
      algo::swap(cycle[i], cycle[static_cast<index_t>(random::integer_below(draws, static_cast<std::uint64_t>(i),
                                                                            static_cast<std::uint64_t>(i)))]);
    for (index_t i = first; i < last; ++i) to[all[i].slot] = cycle[i - first];
    first = last;
  }
  return to;
}

}  // namespace detail

namespace operators {

// Δ_t := Δ_π(t).
template <delta Which>
struct resample_delta {
  static constexpr std::string_view id = Which == delta::block       ? "resect.resample_delta/1"
                                         : Which == delta::attention ? "resect.resample_delta.attention/1"
                                                                     : "resect.resample_delta.mlp/1";
  shared_value<row_store> store;
  array<index_t> to;  // slot ↦ slot
  resample_from from;
  std::uint64_t seed;
  std::uint64_t hash;  // of the rows

  operator_facts facts() const noexcept {
    operator_facts f{.overwrites = true, .width = store->width()};
    if (Which == delta::block) f.what = form::block, f.reads_output = false;
    else f.sites = {detail::site_of(Which)};
    return f;
  }
  void fields(field_visitor& v) const {
    v.word("from", from == resample_from::any_row ? "any row" : "same position");
    v.seed(seed);
    v.key("rows", hash, listed_by::source);  // reports name the reference rows beside their table
  }
  status check_row(int layer, const row_meta& row) const noexcept {
    if (!find(layer, row).empty()) return {};
    return error{errc::invalid_argument, text("source of ", plain_name(id)),
                 text("no row of sequence ", row.seq, " position ", row.pos, " in layer ", layer),
                 "a place of the row_store"};
  }
  status apply(const tap& at, matrix_view<const float> in, matrix_view<float> h) const noexcept {
    for (index_t r = 0; r < h.rows; ++r) {
      const auto d = find(at.layer, at.rows[static_cast<std::size_t>(r)]);
      for (index_t c = 0; c < static_cast<index_t>(d.size()); ++c)
        h(r, c) = Which == delta::block ? in(r, c) + d[static_cast<std::size_t>(c)] : d[static_cast<std::size_t>(c)];
    }
    return {};
  }

 private:
  std::span<const float> find(int layer, const row_meta& row) const noexcept {
    const index_t slot = store->places().find(row.place());
    return slot < 0 ? std::span<const float>{} : store->row(layer, to[slot]);
  }
};

}  // namespace operators

// Replaces the delta of each row by that of another row of a reference: Δ_t := Δ_π(t), with π a derangement of the places
// of the store, drawn with the seed: no place gets its own delta, and the rows at one position of all sequences are
// exchanged among themselves (same_position), or all rows are (any_row). A row of the batch is found by its place, so
// cuts, company and caches change nothing. The store decides which delta is meant: that of blocks, of the attention or of
// the MLP. (Resample ablation. A new draw for each of ≥ 5 seeds gives a mean and its spread.)
// Errors: conflict for a store of a site that shows no delta; invalid_argument where the store lacks a layer, or a class
// has one row alone. A pass reports invalid_argument for a row whose place is not in the store.
template <class = void>
result<step> try_resample_delta(layer_range where, shared_value<row_store> store, std::uint64_t seed,
                                resample_from from = resample_from::same_position) {
  const bool block = store->holds_block_deltas();
  const site at = store->where();
  if (!block && at != site::attn_delta && at != site::mlp_delta)
    return error{errc::conflict, "source of resample_delta", text("rows of ", name(at)),
                 "deltas of blocks, attn_delta or mlp_delta"};
  const layer_range held = store->layers();
  if (where.first < held.first || where.last > held.last)
    return error{errc::invalid_argument, "source of resample_delta", text("layers [", held.first, ", ", held.last, ")"),
                 text("layers [", where.first, ", ", where.last, ")")};
  auto to = detail::try_derangement(*store, seed, from);
  if (!to) return to.error();
  const std::uint64_t hash = store->hash(where);
  if (block)
    return step{where, operators::resample_delta<delta::block>{std::move(store), std::move(*to), from, seed, hash}};
  if (at == site::attn_delta)
    return step{where, at,
                operators::resample_delta<delta::attention>{std::move(store), std::move(*to), from, seed, hash}};
  return step{where, at, operators::resample_delta<delta::mlp>{std::move(store), std::move(*to), from, seed, hash}};
}

#if RESECT_EXCEPTIONS
template <class = void>
step resample_delta(layer_range where, shared_value<row_store> store, std::uint64_t seed,
                    resample_from from = resample_from::same_position) {
  return value_or_throw(try_resample_delta(where, std::move(store), seed, from));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
