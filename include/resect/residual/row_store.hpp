// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/hash.hpp>
#include <resect/residual/place_index.hpp>
#include <resect/residual/step.hpp>

// Rows of the stream that were captured in a pass, found by token place.
namespace RESECT_NAMESPACE::residual {

// The rows of one site of some layers, or the deltas of whole blocks, by token place (sequence, position): what patches,
// swaps, resampling and teachers read. `try_add` fills it in a pass (residual::try_capture); the first row of a place
// stays, pads are left out. Memory: 4·layers·most·width bytes, taken when it is made; a pass with more places than `most`
// is an error. As a value it is immutable where operators share it.
class row_store {
 public:
  // The rows at a site of the layers.
  row_store(site where, layer_range layers, index_t width, index_t most)
      : row_store(where, false, layers, width, most) {}
  // The deltas Δ_l = h_{l+1} − h_l of whole blocks, as float(h_{l+1} − h_l).
  static row_store of_block_deltas(layer_range layers, index_t width, index_t most) {
    return {site::resid_post, true, layers, width, most};
  }

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
  // another width, invalid_argument for more places than `most`.
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
      if (const row_meta& row = at.rows[static_cast<std::size_t>(r)]; (row.flags & row_meta::pad) == 0)
        put(at, places_.add(row.place()), h, r);
    return {};
  }

  // The row of a place in a layer, empty where there is none.
  std::span<const float> find(int layer, token_place where) const noexcept {
    const index_t slot = places_.find(where);
    return slot < 0 ? std::span<const float>{} : row(layer, slot);
  }
  std::span<const float> row(int layer, index_t slot) const noexcept {
    if (layer < layers_.first || layer >= layers_.last || state_[number(layer, slot)] != there) return {};
    return {values_.data() + number(layer, slot) * width_, static_cast<std::size_t>(width_)};
  }
  // The rows of a layer by slot (size(), width()); rows that are not there are zeros.
  matrix_view<const float> rows(int layer) const noexcept {
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
    for (char& s : state_) s = absent;
  }

 private:
  static constexpr char absent = 0, before = 1, there = 2;

  row_store(site where, bool deltas, layer_range layers, index_t width, index_t most)
      : site_(where), deltas_(deltas), layers_(layers), width_(width), most_(most) {
    const index_t rows = index_t{layers.last - layers.first} * most;
    places_.reserve(most);
    values_.resize(rows * width);
    state_.resize(rows);
  }
  index_t number(int layer, index_t slot) const noexcept { return index_t{layer - layers_.first} * most_ + slot; }

  void put(const tap& at, index_t slot, matrix_view<const float> h, index_t r) noexcept {
    const index_t i = number(at.layer, slot);
    char& state = state_[i];
    if (state == there) return;
    float* const to = values_.data() + i * width_;
    if (!deltas_ || at.where == site::resid_pre) {
      for (index_t c = 0; c < width_; ++c) to[c] = h(r, c);
      state = deltas_ ? before : there;
    } else if (state == before) {
      for (index_t c = 0; c < width_; ++c) to[c] = h(r, c) - to[c];
      state = there;
    }
  }

  site site_;
  bool deltas_;
  layer_range layers_;
  index_t width_, most_;
  place_index places_;
  array<float> values_;
  array<char> state_;
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
  // to[i] ↦ from[i]; other places have no source.
  static place_map listed(std::span<const token_place> to, std::span<const token_place> from) {
    place_map m;
    m.is_list_ = true;
    for (std::size_t i = 0; i < to.size() && i < from.size(); ++i)
      if (m.to_.add(to[i]) == m.from_.size()) m.from_.push_back(from[i]);
    return m;
  }

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
