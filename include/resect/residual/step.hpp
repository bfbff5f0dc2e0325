// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>

#include <resect/core/executor.hpp>
#include <resect/core/fields.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/residual/selection.hpp>
#include <resect/residual/words.hpp>

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

// The answer of a step on one weight: true if it wrote other values, false if it kept them, or an error.
class weight_change {
 public:
  template <std::same_as<bool> B>
  weight_change(B changed) noexcept : changed_(changed) {}
  weight_change(const resect::error& e) noexcept : outcome_(e) {}

  explicit operator bool() const noexcept { return changed_; }
  const status& outcome() const noexcept { return outcome_; }

 private:
  status outcome_;
  bool changed_ = false;
};

// The weights of a layer that a step changes: all, or the one with this name. Every layer of the range must then have
// it, with these extents if they are not 0.
struct weight_selector {
  short_text<48> name;
  index_t rows = 0;
  index_t cols = 0;

  bool all() const noexcept { return name.empty(); }
  bool selects(const weight_desc& w) const noexcept { return all() || name == w.name.view(); }
};

// One change to a model: an operator with the layers and the site at which it acts. The functions in operators.hpp
// make steps; a user's own operator is a step too.
struct step {
  enum class kind : std::uint8_t {
    rows,     // edits the rows at one site of each layer
    block,    // sees each layer's input and output, decides the output
    replace,  // one function in place of the whole range
    weights,  // other values for each layer's weights
  };
  using rows_function = shared_function<void(const tap&, matrix_view<float>)>;
  using block_function = shared_function<void(const tap&, matrix_view<const float>, matrix_view<float>)>;
  using replace_function = shared_function<status(const tap&, matrix_view<const float>, matrix_view<float>)>;
  using weight_function = shared_function<weight_change(const weight_desc&, matrix_view<float>, executor_ref)>;

  kind what = kind::rows;
  layer_range range;
  site where = site::resid_post;      // rows: the site; others act on the whole block
  bool overwrites = true;             // does not use the old rows: at most one such step a place
  bool reads_output = true;           // block: needs the layer to run; false lets a host leave it out
  index_t width = 0;                  // columns that the step expects, 0 for any
  selection rows;                     // rows, block: the rows that it acts on (`at` sets this and wraps the functions)
  bool removes = false;               // block: the layer is skipped for these rows, although it runs for the others
  weight_selector weight;             // weights: the selected ones; others are not even read
  int priority = 0;                   // order among steps at one place, ascending; then by first layer, then as added
  short_text<48> name;                // shown in errors and tables; nothing depends on it
  std::string_view id;                // "resect.skip/1": the operator and its revision; a literal, kept by reference
  std::uint64_t hash = 0;             // hash of everything else that changes the result of the step
  field_list fields;                  // parameters, as reports list them
  std::optional<std::uint64_t> seed;  // seed of a step that draws random numbers
  status outcome;                     // an error in the step's arguments, if any: plans refuse the step then

  rows_function on_rows;        // rows(tap, h): changes h
  block_function on_block;      // block(tap, h_l, h): h holds h_{l+1} (h_l where reads_output is false)
  replace_function on_replace;  // replace(tap, h_i, h): writes h_j to h
  weight_function on_weight;    // weights(w, values, exec): changes them (row-major), or returns false

  // A hash of everything that changes the step's effect in a layer. The range is left out, except for a replaced
  // span.
  std::uint64_t identity() const noexcept {
    fingerprint f;
    f.add(id).add(hash).add(static_cast<std::uint64_t>(where)).add(static_cast<std::uint64_t>(what));
    f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(priority))).add(weight.name.view());
    if (what == kind::replace)
      f.add(static_cast<std::uint64_t>(range.first)).add(static_cast<std::uint64_t>(range.last));
    return f.value();
  }
};

}  // namespace RESECT_NAMESPACE::residual
