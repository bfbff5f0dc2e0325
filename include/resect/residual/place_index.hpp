// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/model/row.hpp>

namespace RESECT_NAMESPACE::residual {

// Token places and the number of the slot of each: 0, 1, 2, … in the order of their first `add`. `find` is a binary
// search; `add` of places in ascending order is an append, of others it moves the later ones.
class place_index {
 public:
  // The slot of a place, or −1.
  index_t find(model::token_place where) const noexcept {
    const entry* const at = position(where);
    return at != entries_.end() && at->where == where ? at->slot : -1;
  }
  // The slot of a place, which is new if the place is.
  index_t add(model::token_place where) {
    if (const index_t known = find(where); known >= 0) return known;
    const index_t at = position(where) - entries_.begin();
    entries_.push_back({where, entries_.size()});
    for (index_t i = entries_.size() - 1; i > at; --i) algo::swap(entries_[i], entries_[i - 1]);
    return entries_.size() - 1;
  }
  // Removes the places of slots n, n + 1, …: those that came last.
  void shrink(index_t n) noexcept {
    index_t kept = 0;
    for (const entry& e : entries_)
      if (e.slot < n) entries_[kept++] = e;
    entries_.resize(kept);
  }
  index_t size() const noexcept { return entries_.size(); }
  void reserve(index_t places) { entries_.reserve(places); }
  void clear() noexcept { entries_.clear(); }

  // The i-th place in ascending order, and its slot.
  model::token_place place(index_t i) const noexcept { return entries_[i].where; }
  index_t slot(index_t i) const noexcept { return entries_[i].slot; }

 private:
  struct entry {
    model::token_place where;
    index_t slot = 0;
  };
  const entry* position(model::token_place where) const noexcept {
    if (!entries_.empty() && entries_.back().where < where) return entries_.end();
    return algo::lower_bound(entries_.begin(), entries_.end(), where,
                             [](const entry& e, model::token_place x) { return e.where < x; });
  }
  array<entry> entries_;
};

}  // namespace RESECT_NAMESPACE::residual
