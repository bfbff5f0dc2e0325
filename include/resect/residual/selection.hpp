// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>

#include <resect/core/algorithm.hpp>
#include <resect/core/array.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/core/shared_function.hpp>
#include <resect/residual/words.hpp>

namespace RESECT_NAMESPACE::residual {

// The rows that a step acts on: a pure predicate over row_meta, built by the functions below and & | !. It reads
// sequence, position, token and flags of a row and never its number in a matrix, so it chooses the same rows in one
// pass, in chunks, row by row and in any batch. A row that is a pad is in no selection, nor in the complement of one.
// A step that is not restricted has the default-constructed selection: every row of the matrix, pads included.
//
// A value; copies are deep. `contains` is noexcept and allocates nothing; its cost is one visit for each part
// (a binary search where the part is a list).
class selection {
 public:
  selection() noexcept = default;

  template <class = void>
  bool contains(const row_meta& row) const noexcept {
    if (nodes_.empty()) return true;
    if ((row.flags & row_meta::pad) != 0) return false;
    return holds(nodes_.size() - 1, row, [&](const node& n) { return n.asks(row); });
  }
  // Whether it is the default: every row, pads included.
  bool every_row() const noexcept { return nodes_.empty(); }

  // The flags that the predicate reads. The maker of the batch must set sequence_end and prompt_end (mark_ends).
  template <class = void>
  std::uint32_t flags() const noexcept {
    std::uint32_t out = 0;
    for (const node& n : nodes_)
      if (n.what == kind::flag) out |= static_cast<std::uint32_t>(n.first);
    return out;
  }

  // Refuses what try_at and plans refuse; the errors are invalid_argument: a predicate without identity (two plans would be
  // one to a cache), a range that is no stretch of positions, a list without an entry.
  template <class = void>
  status check() const {
    for (const node& n : nodes_) {
      if (n.what == kind::function && n.identity == 0)
        return error{errc::invalid_argument, "identity of satisfying", "0",
                     "a number that differs between different predicates"};
      if (n.what == kind::positions && (n.first < 0 || n.last <= n.first))
        return error{errc::invalid_argument, "positions of range", text("[", n.first, ", ", n.last, ")"),
                     "0 <= first < last"};
      if ((n.what == kind::tokens || n.what == kind::list) && n.first == n.last)
        return error{errc::invalid_argument, n.what == kind::list ? "places of mask" : "ids of token_in", "none",
                     "1 or more"};
    }
    return {};
  }

  // A hash of everything that decides which rows are chosen; 0 for the default.
  template <class = void>
  std::uint64_t hash() const noexcept {
    if (nodes_.empty()) return 0;
    fingerprint f;
    for (const node& n : nodes_) {
      f.add(static_cast<std::uint64_t>(n.what)).add(n.identity);
      switch (n.what) {
        case kind::list:
        case kind::tokens:
          for (index_t i = n.first; i < n.last; ++i) f.add(values_[i].key());
          f.add(static_cast<std::uint64_t>(n.last - n.first));
          break;
        case kind::flag:
        case kind::positions: f.add(static_cast<std::uint64_t>(n.first)).add(static_cast<std::uint64_t>(n.last)); break;
        default: break;
      }
    }
    return f.value();
  }

  template <class = void>
  friend selection operator&(const selection& a, const selection& b) {
    return joined(kind::both, a, b);
  }
  template <class = void>
  friend selection operator|(const selection& a, const selection& b) {
    return joined(kind::either, a, b);
  }
  template <class = void>
  friend selection operator!(const selection& a) {
    selection out = a.nodes_.empty() ? of_text() : a;
    out.nodes_.push_back({kind::inverse, out.nodes_.back().size + 1, 0, 0, 0});
    return out;
  }

  // Whether this function can prove that no row is in both selections. Every part is constant on finitely many
  // classes of rows (stretches of positions, tokens that are named, sequences that are named, flags), so one row of
  // each class decides; predicates of the user are taken as able to hold or not on any row. False where it is not so,
  // and where there are more than 2¹⁸ classes.
  template <class = void>
  friend bool provably_disjoint(const selection& a, const selection& b) {
    return !may_meet(a, b);
  }

  static selection of_text() { return leaf({kind::text, 1, 0, 0, 0}); }
  static selection of_flag(std::uint32_t flag) { return leaf({kind::flag, 1, flag, 0, 0}); }
  static selection of_positions(std::int32_t first, std::int32_t last) {
    return leaf({kind::positions, 1, first, last, 0});
  }
  template <class = void>
  static selection of_tokens(const std::int32_t* ids, std::size_t n) {
    selection out;
    for (std::size_t i = 0; i < n; ++i) out.values_.push_back({0, ids[i]});
    return out.listed(kind::tokens);
  }
  template <class = void>
  static selection of_places(const token_place* places, std::size_t n) {
    selection out;
    for (std::size_t i = 0; i < n; ++i) out.values_.push_back(places[i]);
    return out.listed(kind::list);
  }
  static selection of_function(shared_function<bool(const row_meta&)> f, std::uint64_t identity) {
    return leaf({kind::function, 1, 0, 0, identity, std::move(f)});
  }

 private:
  enum class kind : std::uint8_t { text, flag, positions, tokens, list, function, both, either, inverse };
  // Nodes stand in postfix order. first, last: a range of positions or of values_; flag uses `first`.
  struct node {
    kind what;
    index_t size;  // nodes of the part that ends here
    index_t first, last;
    std::uint64_t identity;
    shared_function<bool(const row_meta&)> asks = {};
  };

  static selection leaf(const node& n) {
    selection out;
    out.nodes_.push_back(n);
    return out;
  }
  template <class = void>
  selection listed(kind what) && {
    keep_sorted(values_);
    nodes_.push_back({what, 1, 0, values_.size(), 0});
    return std::move(*this);
  }
  template <class = void>
  selection listed(kind what) & {
    return std::move(*this).listed(what);
  }

  template <class = void>
  static selection joined(kind how, const selection& a, const selection& b) {
    selection out = a.nodes_.empty() ? of_text() : a;
    out.append(b.nodes_.empty() ? of_text() : b);
    out.nodes_.push_back({how, out.nodes_.size() + 1, 0, 0, 0});
    return out;
  }
  template <class = void>
  void append(const selection& b) {
    for (node n : b.nodes_) {
      if (n.what == kind::tokens || n.what == kind::list) {
        n.first += values_.size();
        n.last += values_.size();
      }
      nodes_.push_back(n);
    }
    for (const token_place& value : b.values_) values_.push_back(value);
  }

  template <class = void>
  bool listed_here(const node& n, token_place wanted) const noexcept {
    const token_place* const end = values_.data() + n.last;
    const token_place* const at = algo::lower_bound(values_.data() + n.first, end, wanted);
    return at != end && *at == wanted;
  }
  // Whether the part that ends at node `at` holds; `ask(node)` answers for the user's predicates.
  template <class Ask>
  bool holds(index_t at, const row_meta& row, const Ask& ask) const noexcept {
    const node& n = nodes_[at];
    switch (n.what) {
      case kind::text: return true;
      case kind::flag: return (row.flags & n.first) != 0;
      case kind::positions: return row.pos >= n.first && row.pos < n.last;
      case kind::tokens: return listed_here(n, {0, row.token});
      case kind::list: return listed_here(n, {row.seq, row.pos});
      case kind::function: return ask(n);
      case kind::inverse: return !holds(at - 1, row, ask);
      default: break;
    }
    const bool second = holds(at - 1, row, ask);
    if (second == (n.what == kind::either)) return second;
    return holds(at - 1 - nodes_[at - 1].size, row, ask);
  }

  // Ascending, each value once.
  template <class T>
  static void keep_sorted(array<T>& x) {
    algo::sort(x.begin(), x.end());
    x.resize(algo::unique(x.begin(), x.end()) - x.begin());
  }
  // One that stands for all that are not in the list.
  template <class = void>
  static void add_unnamed(array<std::int32_t>& x) {
    keep_sorted(x);
    std::int32_t other = 0;
    for (const std::int32_t v : x) other += v == other;
    x.push_back(other);
  }
  static index_t place_of(std::uint64_t wanted, const array<std::uint64_t>& x) noexcept {
    index_t i = 0;
    while (i < x.size() && x[i] != wanted) ++i;
    return i;
  }
  template <class = void>
  static bool may_meet(const selection& a, const selection& b) {
    const selection s = a & b;
    array<std::int32_t> positions(1), tokens, sequences;
    array<std::uint64_t> functions;
    for (const node& n : s.nodes_) {
      if (n.what == kind::positions)
        for (const index_t p : {n.first, n.last}) positions.push_back(static_cast<std::int32_t>(p));
      for (index_t i = n.first; i < n.last && (n.what == kind::tokens || n.what == kind::list); ++i) {
        const token_place v = s.values_[i];
        if (n.what == kind::tokens) {
          tokens.push_back(v.pos);
          continue;
        }
        sequences.push_back(v.seq);
        positions.push_back(v.pos);  // not v.pos + 1: a later row is like one of an unnamed sequence
      }
      if (n.what == kind::function && place_of(n.identity, functions) == functions.size())
        functions.push_back(n.identity);
    }
    keep_sorted(positions);
    add_unnamed(tokens);
    add_unnamed(sequences);
    const std::uint32_t flags = s.flags();
    index_t free_bits = functions.size();
    for (std::uint32_t f = flags; f != 0; f &= f - 1) ++free_bits;
    constexpr index_t most = index_t{1} << 18;
    if (free_bits > 18 || positions.size() * tokens.size() > most ||
        positions.size() * tokens.size() * sequences.size() > most >> free_bits)
      return true;
    for (const std::int32_t pos : positions)
      for (const std::int32_t token : tokens)
        for (const std::int32_t seq : sequences)
          for (std::uint32_t f = flags;; f = (f - 1) & flags) {  // all subsets of the flags
            for (std::uint64_t answers = 0; answers >> functions.size() == 0; ++answers) {
              const auto ask = [&](const node& n) { return (answers >> place_of(n.identity, functions) & 1) != 0; };
              if (s.holds(s.nodes_.size() - 1, {seq, pos, token, f}, ask)) return true;
            }
            if (f == 0) break;
          }
    return false;
  }

  array<node> nodes_;
  array<token_place> values_;  // places; of a token {0, id}
};

// Every row that is no pad.
template <class = void>
selection all() {
  return selection::of_text();
}
// Rows at positions [first, last) of their sequence. Steps refuse a range that is empty or begins below 0.
template <class = void>
selection range(std::int32_t first, std::int32_t last) {
  return selection::of_positions(first, last);
}
// Rows whose token is in a list.
template <class = void>
selection token_in(std::span<const std::int32_t> ids) {
  return selection::of_tokens(ids.data(), ids.size());
}
template <class = void>
selection token_in(std::initializer_list<std::int32_t> ids) {
  return selection::of_tokens(ids.begin(), ids.size());
}
// Rows whose token is not the BOS token; every row for a model without a BOS (−1).
template <class = void>
selection not_bos(std::int32_t bos) {
  return !token_in({bos});
}

// The last row of each sequence, by its flag sequence_end. A row does not show whether another one follows, and a
// batch may be a chunk of a text, so "the last row of this batch" would depend on how a text is cut. The maker of the
// batch knows the end of the text: mark_ends sets sequence_end and prompt_end before the text is cut. A sequence
// without the flag has no last row; residual::try_run refuses such whole sequences.
template <class = void>
selection last() {
  return selection::of_flag(row_meta::sequence_end);
}
// The last row of each sequence's prompt, by its flag prompt_end (see `last`).
template <class = void>
selection last_prompt() {
  return selection::of_flag(row_meta::prompt_end);
}
// Rows with the flag decode: single rows that continue a cached sequence.
template <class = void>
selection decoding() {
  return selection::of_flag(row_meta::decode);
}
// Rows without the flag decode.
template <class = void>
selection prompt() {
  return !decoding();
}

// The rows at these places, in any order.
template <class = void>
selection mask(std::span<const token_place> places) {
  return selection::of_places(places.data(), places.size());
}
template <class = void>
selection mask(std::initializer_list<token_place> places) {
  return selection::of_places(places.begin(), places.size());
}

// Rows for which f(row) is true. `identity` enters the fingerprint of the plan, must differ between different predicates
// and is not 0: steps refuse the selection then. f must be a pure function of the row and must not throw.
template <class F>
  requires std::is_invocable_r_v<bool, const F&, const row_meta&>
selection satisfying(F f, std::uint64_t identity) {
  return selection::of_function(std::move(f), identity);
}

// Sets the flags sequence_end and prompt_end of a batch of whole texts: on the last row of each sequence that is no
// pad, and on the last one that is neither pad nor decode row. Clears them on all other rows. Mark first, then cut
// into chunks.
template <class = void>
void mark_ends(std::span<row_meta> whole) noexcept {
  for (std::size_t first = 0; first < whole.size();) {
    row_meta *end = nullptr, *prompt_end = nullptr;
    std::size_t i = first;
    for (; i < whole.size() && whole[i].seq == whole[first].seq; ++i) {
      whole[i].flags &= ~(row_meta::sequence_end | row_meta::prompt_end);
      if ((whole[i].flags & row_meta::pad) != 0) continue;
      end = &whole[i];
      if ((whole[i].flags & row_meta::decode) == 0) prompt_end = end;
    }
    if (end != nullptr) end->flags |= row_meta::sequence_end;
    if (prompt_end != nullptr) prompt_end->flags |= row_meta::prompt_end;
    first = i;
  }
}

}  // namespace RESECT_NAMESPACE::residual
