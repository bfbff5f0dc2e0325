// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdlib>
#include <type_traits>

#include <resect/core/types.hpp>

// Sorting for headers that everyone includes: <algorithm> and one std::sort cost a tenth of what all of them may take.
namespace RESECT_NAMESPACE::detail {

// Ascending by <; no NaN. Of contiguous elements that may be copied as bytes.
template <class Sequence>
void sort_ascending(Sequence& x) noexcept {
  using T = std::remove_reference_t<decltype(x[0])>;
  static_assert(std::is_trivially_copyable_v<T>);
  if (x.size() < 2) return;
  std::qsort(x.data(), static_cast<std::size_t>(x.size()), sizeof(T), [](const void* a, const void* b) {
    const T &l = *static_cast<const T*>(a), &r = *static_cast<const T*>(b);
    return (r < l) - (l < r);
  });
}

// The same, and each value once.
template <class Sequence>
void sort_unique(Sequence& x) noexcept {
  sort_ascending(x);
  decltype(x.size()) kept = 0;
  for (decltype(x.size()) i = 0; i < x.size(); ++i)
    if (i == 0 || x[kept - 1] < x[i]) x[kept++] = x[i];
  while (x.size() > kept) x.pop_back();
}

}  // namespace RESECT_NAMESPACE::detail
