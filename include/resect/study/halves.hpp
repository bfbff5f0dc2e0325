// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/core/hash.hpp>
#include <resect/core/result.hpp>
#include <resect/metrics/intervals/estimate.hpp>

// What was chosen on items is not confirmed on the same items: the best of many noisy values is too good (the winner's
// curse). The two halves are types, so that one cannot be used for the other.
namespace RESECT_NAMESPACE::study {

// The half of the items that a search may look at.
struct search_half {
  static constexpr std::string_view name = "search half";
};
// The half of the items that a search never saw, for the verdict.
struct confirmation_half {
  static constexpr std::string_view name = "confirmation half";
};

template <class Half>
class item_half;

// An estimate over the items of one half. It is made by item_half::estimate alone, and there is no conversion between
// halves: a search does not compile with estimates of the confirmation half, a confirmation not with those of the search.
template <class Half>
class half_estimate {
 public:
  const metrics::estimate& value() const noexcept { return value_; }

 private:
  friend class item_half<Half>;
  explicit half_estimate(const metrics::estimate& e) noexcept : value_(e) {}
  metrics::estimate value_;
};

struct item_halves;
// Makes the halves; described below.
template <class>
result<item_halves> try_halves(std::span<const std::string>, std::span<const std::string>);

// The items of one half by their ids, ascending. Made by try_halves or try_split_items.
template <class Half>
class item_half {
 public:
  std::span<const std::string> ids() const noexcept { return ids_; }
  index_t size() const noexcept { return static_cast<index_t>(ids_.size()); }
  bool contains(std::string_view id) const noexcept { return std::binary_search(ids_.begin(), ids_.end(), id); }
  // Says of an estimate that it was computed over these items.
  half_estimate<Half> estimate(const metrics::estimate& e) const noexcept { return half_estimate<Half>(e); }

 private:
  template <class>
  friend result<item_halves> try_halves(std::span<const std::string>, std::span<const std::string>);
  std::vector<std::string> ids_;
};

// Both halves of one list of items.
struct item_halves {
  item_half<search_half> search;
  item_half<confirmation_half> confirmation;
};

// Makes the halves from two lists of ids. Errors: invalid_argument for a half without items or an item without an id;
// conflict for an id twice in a half or in both, named.
template <class = void>
result<item_halves> try_halves(std::span<const std::string> search, std::span<const std::string> confirmation) {
  item_halves out;
  out.search.ids_.assign(search.begin(), search.end());
  out.confirmation.ids_.assign(confirmation.begin(), confirmation.end());
  const auto check = [](std::vector<std::string>& ids, std::string_view half) -> status {
    if (ids.empty()) return error{errc::invalid_argument, half, "no item", "1 or more"};
    std::sort(ids.begin(), ids.end());
    if (ids.front().empty()) return error{errc::invalid_argument, text("an item of the ", half), "no id", "an id"};
    if (const auto twice = std::adjacent_find(ids.begin(), ids.end()); twice != ids.end())
      return error{errc::conflict, text("item ", *twice), text("twice in the ", half), "once"};
    return {};
  };
  if (auto s = check(out.search.ids_, search_half::name); !s) return s.error();
  if (auto s = check(out.confirmation.ids_, confirmation_half::name); !s) return s.error();
  for (const std::string& id : out.search.ids_)
    if (out.confirmation.contains(id))
      return error{errc::conflict, text("item ", id), "in the search half and in the confirmation half",
                   "each item in one of them"};
  return out;
}

// Options of a split: seed, and the share of the search half.
struct split_options {
  std::uint64_t seed = 1;
  double search_share = 0.5;
};

// Splits items at random: those whose hash of (seed, key) is smallest are the search half, ⌈share·n⌉ of the keys. `keys`
// has one for each item: items of one key (a template, a document) stay together; empty: each id is its own key. The split
// depends on ids, keys and seed, never on the order of the items. Errors: of try_halves; invalid_argument for a share outside
// (0, 1), shape_mismatch for keys of another number than ids.
template <class = void>
result<item_halves> try_split_items(std::span<const std::string> ids, std::span<const std::string> keys = {},
                                    const split_options& options = {}) {
  if (!(options.search_share > 0 && options.search_share < 1))
    return error{errc::invalid_argument, "search_share", text(options.search_share), "between 0 and 1"};
  if (!keys.empty() && keys.size() != ids.size())
    return error{errc::shape_mismatch, "keys", text(keys.size()), text(ids.size(), ", one for each item")};
  const std::span<const std::string> by = keys.empty() ? ids : keys;
  std::vector<std::pair<std::uint64_t, std::string_view>> order;
  for (const std::string& key : by)
    order.emplace_back(fingerprint{}.add(options.seed).add(std::string_view(key)).value(), key);
  std::sort(order.begin(), order.end());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  const double wanted = options.search_share * static_cast<double>(order.size());
  const auto cut = std::min(order.size(), static_cast<std::size_t>(wanted + 0.999999));
  std::vector<std::string> half[2];
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::pair place{fingerprint{}.add(options.seed).add(std::string_view(by[i])).value(),
                          std::string_view(by[i])};
    half[std::lower_bound(order.begin(), order.end(), place) - order.begin() < static_cast<std::ptrdiff_t>(cut) ? 0 : 1]
        .push_back(ids[i]);
  }
  return try_halves(half[0], half[1]);
}

}  // namespace RESECT_NAMESPACE::study
