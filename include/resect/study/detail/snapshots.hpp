// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::study::detail {

// States of altered models that outlive a call, under a budget of bytes; the one that was not asked for the longest time
// goes first. A state is known by its layer and by the hash of what was done in the layers before.
template <class State>
class snapshots {
 public:
  explicit snapshots(double budget = 0) noexcept : budget_(budget) {}

  const State* find(int layer, std::uint64_t prefix) {
    for (entry& e : entries_)
      if (e.layer == layer && e.prefix == prefix) {
        e.used = ++clock_;
        return &e.state;
      }
    return nullptr;
  }

  // Whether a state of so many bytes that is not there yet would be kept.
  bool wants(int layer, std::uint64_t prefix, double bytes) const noexcept {
    if (layer == 0 || bytes > budget_) return false;
    for (const entry& e : entries_)
      if (e.layer == layer && e.prefix == prefix) return false;
    return true;
  }

  void put(int layer, std::uint64_t prefix, double bytes, State state) {
    if (!wants(layer, prefix, bytes)) return;
    while (held_ + bytes > budget_) drop_oldest();
    entries_.push_back({layer, prefix, bytes, ++clock_, std::move(state)});
    held_ += bytes;
  }

  double bytes() const noexcept { return held_; }

  // The same places without the states: what an estimate walks over.
  template <class Other>
  snapshots<Other> places() const {
    snapshots<Other> out(budget_);
    for (const entry& e : entries_) out.put(e.layer, e.prefix, e.bytes, Other{});
    return out;
  }

 private:
  struct entry {
    int layer;
    std::uint64_t prefix;
    double bytes;
    std::uint64_t used;
    State state;
  };

  void drop_oldest() {
    std::size_t oldest = 0;
    for (std::size_t i = 1; i < entries_.size(); ++i)
      if (entries_[i].used < entries_[oldest].used) oldest = i;
    held_ -= entries_[oldest].bytes;
    if (oldest + 1 != entries_.size()) entries_[oldest] = std::move(entries_.back());
    entries_.pop_back();
  }

  double budget_ = 0, held_ = 0;
  std::uint64_t clock_ = 0;
  std::vector<entry> entries_;
};

}  // namespace RESECT_NAMESPACE::study::detail
