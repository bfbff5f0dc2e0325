// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/hash.hpp>
#include <resect/residual/place_index.hpp>
#include <resect/residual/step.hpp>

// Rows of the stream that were captured in a pass, found by token place.
namespace RESECT_NAMESPACE::residual {

// The rows of one site of some layers, or the deltas of whole blocks, by token place (sequence, position): what patches,
// swaps, resampling and teachers read. `try_add` fills it in a pass (residual::try_capture); pads are left out, and a place
// holds one row of one token. Memory: layers·most·(4·width + 5) bytes, 16 more a row of deltas, taken when it is made; a pass
// with more places than `most` is an error. As a value it is immutable where operators share it.
class row_store {
 public:
  // The rows at a site of the layers. Errors: invalid_argument (no layer, no column, room for fewer than 0 places, or for
  // more values than an index counts).
  static result<row_store> try_make(site where, layer_range layers, index_t width, index_t most) {
    if (auto s = check(layers, width, most); !s) return s.error();
    return result<row_store>(row_store(where, false, layers, width, most));
  }
  // The deltas Δ_l = h_{l+1} − h_l of whole blocks, as float(h_{l+1} − h_l). Errors: the same.
  static result<row_store> try_block_deltas(layer_range layers, index_t width, index_t most) {
    if (auto s = check(layers, width, most); !s) return s.error();
    return result<row_store>(row_store(site::resid_post, true, layers, width, most));
  }
#if RESECT_EXCEPTIONS
  // The throwing forms.
  row_store(site where, layer_range layers, index_t width, index_t most)
      : row_store(value_or_throw(try_make(where, layers, width, most))) {}
  static row_store of_block_deltas(layer_range layers, index_t width, index_t most) {
    return value_or_throw(try_block_deltas(layers, width, most));
  }
#endif

  site where() const noexcept { return site_; }
  bool holds_block_deltas() const noexcept { return deltas_; }
  layer_range layers() const noexcept { return layers_; }
  index_t width() const noexcept { return width_; }
  index_t size() const noexcept { return places_.size(); }
  index_t most() const noexcept { return most_; }
  // The sites that a pass must show to fill the store.
  site_set sites() const noexcept { return deltas_ ? site_set{site::resid_pre, site::resid_post} : site_set{site_}; }
  // The places in the order of their slots.
  const place_index& places() const noexcept { return places_; }

  // Adds the rows of a tap, if it is one of the store's. Errors (the store stays as it was): shape_mismatch for rows of
  // another width, invalid_argument for more places than `most`, conflict for a known place with another token or with other
  // values (a second text or a second plan in the same store; the same row again is no error).
  status try_add(const tap& at, matrix_view<const float> h) {
    if (!sites().contains(at.where) || at.layer < layers_.first || at.layer >= layers_.last) return {};
    if (h.cols != width_)
      return error{errc::shape_mismatch, text("rows of ", name(at.where), " in layer ", at.layer),
                   text(h.cols, " columns"), text(width_, " columns, as the row_store")};
    index_t fresh = 0;
    for (const row_meta& row : at.rows) fresh += (row.flags & row_meta::pad) == 0 && places_.find(row.place()) < 0;
    if (places_.size() + fresh > most_)
      return error{errc::invalid_argument, "places of a row_store", text(places_.size() + fresh),
                   text(most_, " at most")};
    for (index_t r = 0; r < h.rows; ++r)
      if (auto s = check_known(at, at.rows[static_cast<std::size_t>(r)], h, r); !s) return s;
    for (index_t r = 0; r < h.rows; ++r) {
      const row_meta& row = at.rows[static_cast<std::size_t>(r)];
      if ((row.flags & row_meta::pad) != 0) continue;
      const index_t slot = places_.add(row.place());
      if (slot == tokens_.size()) tokens_.push_back(row.token);
      put(at, slot, h, r);
    }
    return {};
  }

  // Begins a pass, and takes back what has been added since then.
  void begin_pass() noexcept {
    ++pass_;
    places_before_ = places_.size();
  }
  void undo_pass() noexcept {
    for (index_t i = 0; i < state_.size(); ++i)
      if (state_[i] != absent && added_[i] == pass_) drop(i);
    places_.shrink(places_before_);
    tokens_.resize(places_before_);
  }

  // The row of a place in a layer, empty where there is none.
  std::span<const float> find(int layer, token_place where) const noexcept {
    const index_t slot = places_.find(where);
    return slot < 0 ? std::span<const float>{} : row(layer, slot);
  }
  std::span<const float> row(int layer, index_t slot) const noexcept {
    if (!holds(layer) || slot < 0 || slot >= size() || state_[number(layer, slot)] != there) return {};
    return {values_.data() + number(layer, slot) * width_, static_cast<std::size_t>(width_)};
  }
  // The rows of a layer by slot (size(), width()); rows that are not there are zeros. Empty for a layer that the store does
  // not hold.
  matrix_view<const float> rows(int layer) const noexcept {
    if (!holds(layer)) return {nullptr, 0, width_};
    return {values_.data() + number(layer, 0) * width_, size(), width_};
  }
  // All values, row-major (layers, most(), width()): what a view of three dimensions adapts.
  std::span<const float> values() const noexcept { return values_.span(); }

  // A hash of the places, and of the rows of some layers.
  std::uint64_t hash(layer_range of) const noexcept {
    fingerprint f;
    f.add(static_cast<std::uint64_t>(site_)).add(static_cast<std::uint64_t>(deltas_));
    for (index_t i = 0; i < places_.size(); ++i) {
      f.add(places_.place(i).key());
      for (int l = of.first; l < of.last; ++l) f.add(row(l, places_.slot(i)));
    }
    return f.value();
  }
  void clear() noexcept {
    places_.clear();
    tokens_.clear();
    places_before_ = 0;
    for (index_t i = 0; i < state_.size(); ++i)
      if (state_[i] != absent) drop(i);
  }

 private:
  static constexpr char absent = 0, before = 1, there = 2;

  row_store(site where, bool deltas, layer_range layers, index_t width, index_t most)
      : site_(where), deltas_(deltas), layers_(layers), width_(width), most_(most) {
    const index_t rows = index_t{layers.last - layers.first} * most;
    places_.reserve(most);
    tokens_.reserve(most);
    values_.resize(rows * width);
    state_.resize(rows);
    added_.resize(rows);
    if (deltas) sources_.resize(rows);
  }
  static status check(layer_range layers, index_t width, index_t most) {
    if (layers.first < 0 || layers.last <= layers.first)
      return error{errc::invalid_argument, "layers of a row_store", text("[", layers.first, ", ", layers.last, ")"),
                   "0 <= first < last"};
    if (width < 1) return error{errc::invalid_argument, "width of a row_store", text(width), "1 or more"};
    if (most < 0) return error{errc::invalid_argument, "places of a row_store", text(most), "0 or more"};
    constexpr index_t largest = std::numeric_limits<index_t>::max() / static_cast<index_t>(sizeof(std::uint64_t));
    if (most > largest / width / (layers.last - layers.first))
      return error{errc::invalid_argument, "size of a row_store",
                   text(layers.last - layers.first, " layers x ", most, " places x ", width, " columns"),
                   text(largest, " values at most")};
    return {};
  }
  bool holds(int layer) const noexcept { return layer >= layers_.first && layer < layers_.last; }
  index_t number(int layer, index_t slot) const noexcept { return index_t{layer - layers_.first} * most_ + slot; }

  // Whether row r is what the store holds at its place, as far as it holds something there.
  status check_known(const tap& at, const row_meta& row, matrix_view<const float> h, index_t r) const {
    const index_t slot = (row.flags & row_meta::pad) != 0 ? -1 : places_.find(row.place());
    if (slot < 0) return {};
    const auto place = text("sequence ", row.seq, " position ", row.pos);
    if (tokens_[slot] != row.token)
      return error{errc::conflict, text("rows of ", name(at.where), " in layer ", at.layer),
                   text("token ", row.token, " at ", place.view()),
                   text("token ", tokens_[slot], ", which the row_store holds there")};
    const index_t i = number(at.layer, slot);
    if (state_[i] == absent || (state_[i] == before && at.where == site::resid_post)) return {};
    bool same = true;
    if (deltas_) same = hash_of(h, r) == (at.where == site::resid_pre ? sources_[i].input : sources_[i].output);
    else
      for (index_t c = 0; c < width_; ++c)
        same = same && std::bit_cast<std::uint32_t>(h(r, c)) == std::bit_cast<std::uint32_t>(values_[i * width_ + c]);
    if (same) return {};
    return error{errc::conflict, text("rows of ", name(at.where), " in layer ", at.layer),
                 text("other values at ", place.view()),
                 "those that the row_store holds there, or a store of their own"};
  }

  void put(const tap& at, index_t slot, matrix_view<const float> h, index_t r) noexcept {
    const index_t i = number(at.layer, slot);
    char& state = state_[i];
    if (state == there) return;
    float* const to = values_.data() + i * width_;
    if (!deltas_ || at.where == site::resid_pre) {
      for (index_t c = 0; c < width_; ++c) to[c] = h(r, c);
      if (deltas_) sources_[i].input = hash_of(h, r);
      state = deltas_ ? before : there;
    } else if (state == before) {
      for (index_t c = 0; c < width_; ++c) to[c] = h(r, c) - to[c];
      sources_[i].output = hash_of(h, r);
      state = there;
    }
    added_[i] = pass_;
  }
  void drop(index_t i) noexcept {
    state_[i] = absent;
    for (index_t c = 0; c < width_; ++c) values_[i * width_ + c] = 0.0f;
  }
  static std::uint64_t hash_of(matrix_view<const float> h, index_t r) noexcept {
    fingerprint f;
    const auto bits = [&](index_t c) { return std::uint64_t{c < h.cols ? std::bit_cast<std::uint32_t>(h(r, c)) : 0u}; };
    for (index_t c = 0; c < h.cols; c += 2) f.add(bits(c) | bits(c + 1) << 32);
    return f.value();
  }

  site site_;
  bool deltas_;
  layer_range layers_;
  index_t width_, most_;
  place_index places_;
  array<std::int32_t> tokens_;  // of each slot
  array<float> values_;
  array<char> state_;
  struct source {
    std::uint64_t input = 0, output = 0;
  };
  array<source> sources_;       // of deltas: hashes of the rows that they are the difference of
  array<std::uint32_t> added_;  // the pass that added the row
  std::uint32_t pass_ = 0;
  index_t places_before_ = 0;
};

// The source of an edited row: the place whose stored row stands for it. The default is the row's own place; a shift reads
// another sequence (of the same batch, or of another), a list names single places.
class place_map {
 public:
  place_map() noexcept = default;
  // (seq, pos) ↦ (seq + sequences, pos + positions).
  static place_map shifted(std::int32_t sequences, std::int32_t positions = 0) noexcept {
    place_map m;
    m.shift_ = {sequences, positions};
    return m;
  }
  // to[i] ↦ from[i]; other places have no source, and of a place that stands twice the first source counts. Error:
  // shape_mismatch for lists of unequal lengths.
  static result<place_map> try_listed(std::span<const token_place> to, std::span<const token_place> from) {
    if (to.size() != from.size())
      return error{errc::shape_mismatch, "sources of a place_map", text(from.size()), text(to.size(), ", one a place")};
    place_map m;
    m.is_list_ = true;
    for (std::size_t i = 0; i < to.size(); ++i)
      if (m.to_.add(to[i]) == m.from_.size()) m.from_.push_back(from[i]);
    return result<place_map>(std::move(m));
  }
#if RESECT_EXCEPTIONS
  // The throwing form.
  static place_map listed(std::span<const token_place> to, std::span<const token_place> from) {
    return value_or_throw(try_listed(to, from));
  }
#endif

  // The source of a place; null where it has none.
  const token_place* find(token_place where, token_place& room) const noexcept {
    if (!is_list_) return room = {where.seq + shift_.seq, where.pos + shift_.pos}, &room;
    const index_t slot = to_.find(where);
    return slot < 0 ? nullptr : &from_[slot];
  }
  std::uint64_t hash() const noexcept {
    fingerprint f;
    f.add(shift_.key()).add(static_cast<std::uint64_t>(is_list_));
    for (index_t i = 0; i < to_.size(); ++i) f.add(to_.place(i).key()).add(from_[to_.slot(i)].key());
    return f.value();
  }

 private:
  token_place shift_;
  bool is_list_ = false;
  place_index to_;
  array<token_place> from_;
};

}  // namespace RESECT_NAMESPACE::residual
