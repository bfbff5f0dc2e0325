// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <resect/core/algorithm.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/types.hpp>

// Which parts of a text are the same text. Content decides: token ids, never names, numbers or places.
namespace RESECT_NAMESPACE::study::detail {

// As many ids in a row that two parts share make them the same text. Set phrases of different documents are seldom as
// long; of 16 ids they are not rare.
inline constexpr index_t same_run = 24;

template <class = void>
std::uint64_t fingerprint_of(std::span<const std::int32_t> ids) noexcept {
  fingerprint f;
  for (const std::int32_t id : ids) f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(id)));
  return f.value();
}

// Numbers 0 … n − 1 in classes that grow by `join`; the class of a number is its smallest member.
class joined_classes {
 public:
  explicit joined_classes(index_t n) : parent_(static_cast<std::size_t>(n)) {
    for (std::size_t i = 0; i < parent_.size(); ++i) parent_[i] = static_cast<index_t>(i);
  }
  index_t find(index_t i) noexcept {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(index_t a, index_t b) noexcept {
    a = find(a), b = find(b);
    at(algo::max(a, b)) = algo::min(a, b);
  }

 private:
  index_t& at(index_t i) noexcept { return parent_[static_cast<std::size_t>(i)]; }
  std::vector<index_t> parent_;
};

// A stretch of ids of class `a` that class `b` holds, too; `first` counts the ids of all windows, window after window.
struct shared_part {
  index_t a, b, first, length;
  friend auto operator<=>(const shared_part&, const shared_part&) = default;
};

// A run of ids, `offset` behind the beginning of a window; it may reach out of the window.
struct same_place {
  std::uint64_t hash;
  index_t window, offset;
};

// Appends what two places share, cut where the classes change. class_of(window, i) is that of the i-th of `length` ids.
template <class F>
void append_shared(const same_place& x, const same_place& y, index_t run, index_t length, F class_of,
                   std::vector<shared_part>& out) {
  const index_t begin = algo::max(index_t{0}, algo::max(-x.offset, -y.offset));
  const index_t end = algo::min(run, algo::min(length - x.offset, length - y.offset));
  for (index_t i = begin; i < end;) {
    const index_t a = class_of(x.window, x.offset + i), b = class_of(y.window, y.offset + i), first = i;
    while (i < end && class_of(x.window, x.offset + i) == a && class_of(y.window, y.offset + i) == b) ++i;
    if (a == b) continue;
    out.push_back({a, b, x.window * length + x.offset + first, i - first});
    out.push_back({b, a, y.window * length + y.offset + first, i - first});
  }
}

// What windows of one text share with each other in runs of `same_run` ids. A window that is shorter than a run takes part
// with every run of the text that holds it. Of a run that stands in very many windows, each is compared with the 8 before it.
template <class F>
std::vector<shared_part> shared_parts(std::span<const std::int32_t> ids, std::span<const index_t> starts,
                                      index_t length, F class_of) {
  constexpr std::size_t most = 8;
  const auto n = static_cast<index_t>(ids.size());
  const index_t run = algo::min(same_run, n), spare = length - run;
  std::vector<same_place> places;
  const auto part = [&](const same_place& p) {
    return ids.subspan(static_cast<std::size_t>(starts[static_cast<std::size_t>(p.window)] + p.offset),
                       static_cast<std::size_t>(run));
  };
  for (index_t w = 0; w < static_cast<index_t>(starts.size()); ++w) {
    const index_t start = starts[static_cast<std::size_t>(w)];
    for (index_t i = algo::min(index_t{0}, spare); i <= algo::max(index_t{0}, spare); ++i)
      if (start + i >= 0 && start + i + run <= n) {
        places.push_back({0, w, i});
        places.back().hash = fingerprint_of(part(places.back()));
      }
  }
  algo::sort(places.begin(), places.end(), [](const same_place& x, const same_place& y) {
    return std::tie(x.hash, x.window, x.offset) < std::tie(y.hash, y.window, y.offset);
  });
  std::vector<shared_part> out;
  const auto compare = [&](std::size_t j, std::size_t k) {
    const auto a = part(places[j]), b = part(places[k]);
    std::size_t same = 0;
    while (same < a.size() && same < b.size() && a[same] == b[same]) ++same;
    if (same == a.size() && same == b.size()) append_shared(places[j], places[k], run, length, class_of, out);
  };
  std::vector<std::size_t> earlier;  // the last place of the run in each window before
  for (std::size_t k = 1; k < places.size(); ++k) {
    if (places[k - 1].hash != places[k].hash) {
      earlier.clear();
      continue;
    }
    if (places[k - 1].window == places[k].window) compare(k - 1, k);
    else earlier.push_back(k - 1);
    for (std::size_t i = earlier.size() - algo::min(most, earlier.size()); i < earlier.size(); ++i)
      compare(earlier[i], k);
  }
  return out;
}

// Joins classes of the ids of windows that are copies: more than half of the ids of one of them stand in runs of `same_run`
// ids that the other one holds. sizes[c] is how many ids class c has in the windows.
// Cost: O(S·C·log(S·C)) for S windows of C ids.
template <class F>
void join_copies(std::span<const std::int32_t> ids, std::span<const index_t> starts, index_t length, F class_of,
                 std::span<const index_t> sizes, joined_classes& classes) {
  auto parts = shared_parts(ids, starts, length, class_of);
  algo::sort(parts.begin(), parts.end());
  index_t shared = 0, end = 0;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const shared_part& p = parts[k];
    if (k == 0 || parts[k - 1].a != p.a || parts[k - 1].b != p.b) shared = end = 0;
    shared += algo::max(index_t{0}, p.first + p.length - algo::max(end, p.first));
    end = algo::max(end, p.first + p.length);
    if (2 * shared > sizes[static_cast<std::size_t>(p.a)]) classes.join(p.a, p.b);
  }
}

// The fingerprint of every document's ids, by the document's number; sorted by number. Cost O(N log D).
template <class = void>
std::vector<std::pair<std::int32_t, std::uint64_t>> document_contents(std::span<const std::int32_t> ids,
                                                                      std::span<const std::int32_t> documents) {
  std::vector<std::int32_t> numbers(documents.begin(), documents.end());
  algo::sort(numbers.begin(), numbers.end());
  numbers.erase(algo::unique(numbers.begin(), numbers.end()), numbers.end());
  std::vector<fingerprint> contents(numbers.size());
  std::size_t last = 0;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (numbers[last] != documents[i])
      last =
          static_cast<std::size_t>(algo::lower_bound(numbers.begin(), numbers.end(), documents[i]) - numbers.begin());
    contents[last].add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(ids[i])));
  }
  std::vector<std::pair<std::int32_t, std::uint64_t>> out;
  for (std::size_t d = 0; d < numbers.size(); ++d) out.emplace_back(numbers[d], contents[d].value());
  return out;
}

template <class = void>
std::uint64_t content_of(const std::vector<std::pair<std::int32_t, std::uint64_t>>& contents,
                         std::int32_t document) noexcept {
  const auto found = algo::lower_bound(contents.begin(), contents.end(), std::pair{document, std::uint64_t{0}});
  return found == contents.end() ? 0 : found->second;
}

}  // namespace RESECT_NAMESPACE::study::detail
