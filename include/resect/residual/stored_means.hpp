// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/residual/means.hpp>
#include <resect/residual/row_store.hpp>

namespace RESECT_NAMESPACE::residual {

// Over which rows a mean delta is taken: all rows, or the rows at each position.
enum class mean_over : std::uint8_t { all_rows, position };

// The mean deltas of a store that holds deltas (of blocks, of the attention or of the MLP), for mean_delta; `model` is the
// fingerprint of the model that they come from. Sums in double, in the order of places.
// Errors: conflict for a store of a site that shows no delta; invalid_argument where its layers do not begin at 0, it has
// no row, a row lacks a layer, or (position) no row stands at a position before the last one.
template <class = void>
result<delta_means> try_means(const row_store& store, std::uint64_t model, mean_over over = mean_over::all_rows) {
  const bool block = store.holds_block_deltas();
  if (!block && store.where() != site::attn_delta && store.where() != site::mlp_delta)
    return error{errc::conflict, "source of means", text("rows of ", name(store.where())),
                 "deltas of blocks, attn_delta or mlp_delta"};
  if (store.layers().first != 0 || store.size() == 0)
    return error{errc::invalid_argument, "source of means",
                 text(store.size(), " rows of layers from ", store.layers().first), "1 or more of layers from 0"};
  delta_means out{
      .n_layers = store.layers().last, .width = store.width(), .rows = store.size(), .model = model, .mean = {}};
  out.reference = store.hash(store.layers());
  out.what = block ? delta::block : store.where() == site::attn_delta ? delta::attention : delta::mlp;
  const place_index& places = store.places();
  for (index_t i = 0; i < places.size() && over == mean_over::position; ++i)
    out.positions = algo::max(out.positions, index_t{places.place(i).pos} + 1);
  const index_t classes = algo::max(out.positions, index_t{1});
  array<double> sum;
  array<index_t> n;
  for (int l = 0; l < out.n_layers; ++l) {
    sum.assign(classes * out.width, 0.0);
    n.assign(classes, index_t{0});
    for (index_t i = 0; i < places.size(); ++i) {
      const auto row = store.row(l, places.slot(i));
      if (row.empty())
        return error{
            errc::invalid_argument, "source of means",
            text("no row of sequence ", places.place(i).seq, " position ", places.place(i).pos, " in layer ", l),
            "rows of every layer"};
      const index_t k = over == mean_over::position ? index_t{places.place(i).pos} : 0;
      ++n[k];
      for (index_t c = 0; c < out.width; ++c)
        sum[k * out.width + c] += static_cast<double>(row[static_cast<std::size_t>(c)]);
    }
    for (index_t k = 0; k < classes; ++k) {
      if (n[k] == 0)
        return error{errc::invalid_argument, "source of means", text("no row at position ", k),
                     text("a row at each position below ", out.positions)};
      for (index_t c = 0; c < out.width; ++c)
        out.mean.push_back(static_cast<float>(sum[k * out.width + c] / static_cast<double>(n[k])));
    }
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::residual
