// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <resect/core/detail/sorted.hpp>
#include <resect/core/hash.hpp>
#include <resect/core/types.hpp>

// Which parts of a text are the same text. Content decides: token ids, never names, numbers or places.
namespace RESECT_NAMESPACE::study::detail {

// As many ids in a row that two parts share make them the same text. Set phrases of different documents are seldom as
// long; of 16 ids they are not rare.
inline constexpr index_t same_run = 24;

inline std::uint64_t fingerprint_of(std::span<const std::int32_t> ids) noexcept {
  fingerprint f;
  for (const std::int32_t id : ids) f.add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(id)));
  return f.value();
}

// Numbers 0 … n − 1 in classes that grow by `join`; the class of a number is its smallest member.
class joined_classes {
 public:
  explicit joined_classes(index_t n) : parent_(static_cast<std::size_t>(n)) {
    std::iota(parent_.begin(), parent_.end(), index_t{0});
  }
  index_t find(index_t i) noexcept {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(index_t a, index_t b) noexcept {
    a = find(a), b = find(b);
    at(std::max(a, b)) = std::min(a, b);
  }

 private:
  index_t& at(index_t i) noexcept { return parent_[static_cast<std::size_t>(i)]; }
  std::vector<index_t> parent_;
};

// Joins the classes of windows of one text that hold the same text: where two windows share `same_run` ids in a row, the
// classes of every two ids that stand at the same place of the run. A window that is shorter than a run takes part with every
// run of the text that holds it. class_of(window, i) is the class of the i-th id of a window of `length` ids.
// Cost: O(S·C·log(S·C)) for S windows of C ids.
template <class F>
void join_same_text(std::span<const std::int32_t> ids, std::span<const index_t> starts, index_t length, F class_of,
                    joined_classes& classes) {
  const auto n = static_cast<index_t>(ids.size());
  const index_t run = std::min(same_run, n);
  struct place {
    std::uint64_t hash;
    index_t window, offset;
  };
  std::vector<place> places;
  const auto part = [&](const place& p) {
    return ids.subspan(static_cast<std::size_t>(starts[static_cast<std::size_t>(p.window)] + p.offset),
                       static_cast<std::size_t>(run));
  };
  for (index_t w = 0; w < static_cast<index_t>(starts.size()); ++w) {
    const index_t start = starts[static_cast<std::size_t>(w)];
    for (index_t i = std::min(index_t{0}, length - run); i <= std::max(index_t{0}, length - run); ++i) {
      place p{0, w, i};
      if (start + i < 0 || start + i + run > n) continue;
      p.hash = fingerprint_of(part(p));
      places.push_back(p);
    }
  }
  std::sort(places.begin(), places.end(), [](const place& a, const place& b) {
    return std::tie(a.hash, a.window, a.offset) < std::tie(b.hash, b.window, b.offset);
  });
  const auto inside = [&](index_t i) { return i >= 0 && i < length; };
  for (std::size_t k = 1; k < places.size(); ++k) {
    const place &a = places[k - 1], &b = places[k];
    if (a.hash != b.hash || !std::ranges::equal(part(a), part(b))) continue;
    for (index_t i = 0; i < run; ++i)
      if (inside(a.offset + i) && inside(b.offset + i))
        classes.join(class_of(a.window, a.offset + i), class_of(b.window, b.offset + i));
  }
}

// The fingerprint of every document's ids, by the document's number; sorted by number. Cost O(N log D).
inline std::vector<std::pair<std::int32_t, std::uint64_t>> document_contents(std::span<const std::int32_t> ids,
                                                                             std::span<const std::int32_t> documents) {
  std::vector<std::int32_t> numbers(documents.begin(), documents.end());
  resect::detail::sort_unique(numbers);
  std::vector<fingerprint> contents(numbers.size());
  std::size_t last = 0;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (numbers[last] != documents[i])
      last = static_cast<std::size_t>(std::lower_bound(numbers.begin(), numbers.end(), documents[i]) - numbers.begin());
    contents[last].add(static_cast<std::uint64_t>(static_cast<std::uint32_t>(ids[i])));
  }
  std::vector<std::pair<std::int32_t, std::uint64_t>> out;
  for (std::size_t d = 0; d < numbers.size(); ++d) out.emplace_back(numbers[d], contents[d].value());
  return out;
}

inline std::uint64_t content_of(const std::vector<std::pair<std::int32_t, std::uint64_t>>& contents,
                                std::int32_t document) noexcept {
  const auto found = std::lower_bound(contents.begin(), contents.end(), std::pair{document, std::uint64_t{0}});
  return found == contents.end() ? 0 : found->second;
}

}  // namespace RESECT_NAMESPACE::study::detail
