// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/hash.hpp>
#include <resect/residual/operation.hpp>
#include <resect/residual/selection.hpp>

namespace RESECT_NAMESPACE::residual {

// A range of layers [first, last).
struct layer_range {
  int first = 0;
  int last = 0;
  friend constexpr bool operator==(layer_range, layer_range) noexcept = default;
};
// The range of layer l alone.
constexpr layer_range layer(int l) noexcept { return {l, l + 1}; }
// The range of layers [first, last).
constexpr layer_range layers(int first, int last) noexcept { return {first, last}; }

// The weights of a layer that a step changes: all, or the one with this name. Every layer of the range must then have
// it, with these extents if they are not 0.
struct weight_selector {
  short_text<48> name;
  index_t rows = 0;
  index_t cols = 0;

  bool all() const noexcept { return name.empty(); }
  bool selects(const weight_desc& w) const noexcept { return all() || name == w.name.view(); }
};

// One change to a model: an operator, and where it acts. The functions in operators.hpp make steps; any named_operator
// becomes one by a constructor.
//   step{layers(2, 5), site::resid_post, my_operator{…}}
struct step {
  using kind = form;

  step() = default;
  // An operator on blocks, spans or weights. One on rows has no site yet, and a plan refuses it so.
  step(layer_range where_, operation o) : op(std::move(o)), what(op.facts().what), range(where_) {
    name = plain_name(op.id());
    if (what == form::rows) where = site::embed_out;  // of no layer
  }
  // An operator on the rows at a site.
  step(layer_range where_, site at, operation o) : step(where_, std::move(o)) {
    what = form::rows;
    where = at;
  }

  operation op;
  form what = form::rows;
  layer_range range;
  site where = site::resid_post;  // rows: the site; others act on the whole block
  selection rows;                 // rows, block: the rows that it acts on
  array<operation> after;         // norm matching of the rows that the operator has changed, in this order
  weight_selector weight;         // weights, products: the selected ones; others are not even read
  int priority = 0;               // order among steps at one place, ascending; then by first layer, then as added
  short_text<48> name;            // shown in errors and tables; nothing depends on it

  bool covers(int l) const noexcept { return l >= range.first && l < range.last; }
  bool reads_original() const noexcept {
    for (const operation& o : after)
      if (o.facts().reads_original) return true;
    return false;
  }
  // block: whether the layer must run, for this step or for the rows that it leaves alone.
  bool reads_output() const noexcept { return op.facts().reads_output || !rows.every_row() || reads_original(); }
  // block: whether the layer is skipped for the chosen rows, although it runs for the others.
  bool removes_rows() const noexcept { return !op.facts().reads_output && !rows.every_row() && !reads_original(); }
  // Columns that the step expects, 0 for any.
  index_t width() const noexcept {
    index_t n = op.facts().width;
    for (const operation& o : after)
      if (n == 0) n = o.facts().width;
    return n;
  }

  // A hash of everything that changes the step's effect in a layer. The range is left out, except for a replaced
  // span.
  std::uint64_t identity() const noexcept {
    fingerprint f;
    const site place = what == form::rows ? where : site::resid_post;  // others act on whole layers
    f.add(op.id()).add(op.hash()).add(static_cast<std::uint64_t>(place)).add(static_cast<std::uint64_t>(what));
    f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(priority))).add(weight.name.view());
    if (what == form::replace)
      f.add(static_cast<std::uint64_t>(range.first)).add(static_cast<std::uint64_t>(range.last));
    if (!rows.every_row()) f.add(rows.hash());
    for (const operation& o : after) f.add(o.id()).add(o.hash());
    return f.value();
  }
};

}  // namespace RESECT_NAMESPACE::residual
