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

// Layers [first, last).
struct layer_range {
  int first = 0;
  int last = 0;
  friend constexpr bool operator==(layer_range, layer_range) noexcept = default;
};
// Layer l alone.
constexpr layer_range layer(int l) noexcept { return {l, l + 1}; }
// Layers [first, last).
constexpr layer_range layers(int first, int last) noexcept { return {first, last}; }

// What a step did to one weight: true, it wrote other values; false, it left them; or what went wrong.
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

// Which weights of a layer a step is about: all of them, or the one of this name, which every layer of the range must
// then have, with these extents where they are given.
struct weight_selector {
  short_text<48> name;
  index_t rows = 0;
  index_t cols = 0;

  bool all() const noexcept { return name.empty(); }
  bool selects(const weight_desc& w) const noexcept { return all() || name == w.name.view(); }
};

// One change to a model: which layers, where in them, and what is done. Made by the functions in
// operators.hpp; a user's own operator is a step too.
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
  site where = site::resid_post;  // rows: the site; others act on the whole block
  bool overwrites = true;         // leaves nothing of what was there: at most one such step a place
  bool reads_output = true;       // block: needs the layer to run; false lets a host leave it out
  index_t width = 0;              // columns that it expects, 0 for any
  selection rows;                 // rows, block: which rows it acts on (set by `at`, which makes its functions do so)
  bool removes = false;           // block: of those rows' layer nothing is left, although it runs for the others
  weight_selector weight;         // weights: which ones; others are not even read
  int priority = 0;               // order among steps at one place, ascending; then by first layer, then as added
  short_text<48> name;            // as errors and tables show it; nothing depends on it
  std::string_view id;            // "resect.skip/1": the operator and its revision; a literal, kept by reference
  std::uint64_t hash = 0;         // of everything else that changes what it does
  field_list fields;              // the same for people, as reports list it
  std::optional<std::uint64_t> seed;  // of what is drawn
  status outcome;                     // what is wrong with what it was made of, if anything: no plan takes it then

  rows_function on_rows;        // rows(tap, h): changes h
  block_function on_block;      // block(tap, h_l, h): h holds h_{l+1} (h_l where reads_output is false)
  replace_function on_replace;  // replace(tap, h_i, h): h is to become h_j
  weight_function on_weight;    // weights(w, values, exec): changes them (row-major), or returns false

  // Of everything that changes what the step does in a layer, its range excepted (a replaced span includes it).
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
