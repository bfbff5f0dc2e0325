// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>

#include <resect/core/math.hpp>
#include <resect/core/result.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::metrics {

// An id of the vocabulary and the number of its occurrences.
struct id_count {
  std::int32_t id = 0;
  index_t count = 0;

  friend bool operator==(const id_count&, const id_count&) = default;
};

namespace detail {
// ln(1 + Σ of the counts of i) into out[i]; id_of and count_of read an item.
template <class Item, class Id, class Count>
status unigram_logits(std::span<const Item> items, Id id_of, Count count_of, std::span<float> out) noexcept {
  const index_t n = static_cast<index_t>(out.size());
  if (items.empty()) return error{errc::invalid_argument, "text of the unigrams", "no id", "1 or more"};
  for (const Item& x : items) {
    if (id_of(x) < 0 || id_of(x) >= n) return error{errc::invalid_argument, "id", text(id_of(x)), text("0 to ", n - 1)};
    if (count_of(x) < 0)
      return error{errc::invalid_argument, text("count of id ", id_of(x)), text(count_of(x)), "0 or more"};
  }
  for (float& x : out) x = 0;
  for (const Item& x : items) out[static_cast<std::size_t>(id_of(x))] += static_cast<float>(count_of(x));
  for (float& x : out) x = static_cast<float>(math::log(1 + static_cast<double>(x)));
  return {};
}
}  // namespace detail

// The logits of the unigram distribution of a text: out[i] = ln(1 + number of occurrences of id i), fp32. One count
// is added to every id, since KL to a distribution with zeros would be infinite. Counting id by id stops at 2²⁴ of
// the same id. Errors: no id at all, an id outside 0 … out.size()−1; then nothing is written.
inline status try_unigram_logits(std::span<const std::int32_t> ids, std::span<float> out) noexcept {
  return detail::unigram_logits(ids, [](std::int32_t id) { return id; }, [](std::int32_t) { return index_t{1}; }, out);
}

// The same of counts; those of the same id add up. Errors: also a negative count.
inline status try_unigram_logits(std::span<const id_count> counts, std::span<float> out) noexcept {
  return detail::unigram_logits(
      counts, [](const id_count& c) { return c.id; }, [](const id_count& c) { return c.count; }, out);
}

}  // namespace RESECT_NAMESPACE::metrics
