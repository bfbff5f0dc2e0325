// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <resect/core/array.hpp>

// The algorithms of <algorithm> that the library calls, under std's names and with std's meanings, NaN and zeros of both
// signs included: that header and one std::sort cost a tenth of what including core, metrics, quant and residual may take.
// A namespace of its own, as math's: neither `using namespace resect` nor an argument's type brings these names in.
// What returns a value or a position is std's; iterators are random-access.
namespace RESECT_NAMESPACE::algo {

// Returns a < b; the default order.
struct less {
  template <class T, class U>
  RESECT_HD constexpr bool operator()(const T& a, const U& b) const noexcept {
    return a < b;
  }
};

// Returns a == b.
struct equal_to {
  template <class T, class U>
  RESECT_HD constexpr bool operator()(const T& a, const U& b) const noexcept {
    return a == b;
  }
};

// The smaller of two; a where they are equal or have no order.
template <class T>
RESECT_HD constexpr T min(T a, T b) noexcept {
  return b < a ? b : a;
}
// The larger of two; a where they are equal or have no order.
template <class T>
RESECT_HD constexpr T max(T a, T b) noexcept {
  return a < b ? b : a;
}
// x within [low, high]; a NaN stays.
template <class T>
RESECT_HD constexpr T clamp(T x, T low, T high) noexcept {
  return x < low ? low : high < x ? high : x;
}

// Exchanges two values.
template <class T>
constexpr void swap(T& a, T& b) noexcept {
  T kept = std::move(a);
  a = std::move(b);
  b = std::move(kept);
}

// The first position whose element has a property; `last` where none has it.
template <class It, class F>
constexpr It find_if(It first, It last, F has) {
  while (first != last && !has(*first)) ++first;
  return first;
}
// The first position of x.
template <class It, class T>
constexpr It find(It first, It last, const T& x) {
  return algo::find_if(first, last, [&x](const auto& element) { return element == x; });
}

// The first position of a range, in ascending order by `before`, whose element is not before x.
template <class It, class T, class Less = less>
constexpr It lower_bound(It first, It last, const T& x, Less before = {}) {
  for (auto n = last - first; n > 0;) {
    const auto half = n / 2;
    if (before(first[half], x)) {
      first += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return first;
}
// The first position of a range, in ascending order by `before`, that x is before.
template <class It, class T, class Less = less>
constexpr It upper_bound(It first, It last, const T& x, Less before = {}) {
  return algo::lower_bound(first, last, x,
                           [&](const auto& element, const T& value) { return !before(value, element); });
}
// Whether a range in ascending order by `before` has an element that is neither before nor after x.
template <class It, class T, class Less = less>
constexpr bool binary_search(It first, It last, const T& x, Less before = {}) {
  const It at = algo::lower_bound(first, last, x, before);
  return at != last && !before(x, *at);
}

// Keeps the first of each run of equal elements at the front, and returns where those end.
template <class It, class Equal = equal_to>
constexpr It unique(It first, It last, Equal equal = {}) {
  if (first == last) return last;
  It kept = first;
  while (++first != last)
    if (!equal(*kept, *first) && ++kept != first) *kept = std::move(*first);
  return ++kept;
}

// Restores the heap [first, last) after its element `root` was replaced by a smaller one. (std has no such function.)
template <class It, class Less = less>
constexpr void sift_down(It first, It last, std::ptrdiff_t root, Less before = {}) {
  const std::ptrdiff_t n = last - first;
  for (;;) {
    std::ptrdiff_t child = 2 * root + 1;
    if (child >= n) return;
    if (child + 1 < n && before(first[child], first[child + 1])) ++child;
    if (!before(first[root], first[child])) return;
    algo::swap(first[root], first[child]);
    root = child;
  }
}
// Reorders the elements to a heap: the first one is before none of the others. O(n).
template <class It, class Less = less>
constexpr void make_heap(It first, It last, Less before = {}) {
  for (std::ptrdiff_t root = (last - first) / 2; root-- > 0;) algo::sift_down(first, last, root, before);
}
// Adds the last element of the range to the heap in front of it.
template <class It, class Less = less>
constexpr void push_heap(It first, It last, Less before = {}) {
  for (std::ptrdiff_t at = last - first - 1; at > 0;) {
    const std::ptrdiff_t parent = (at - 1) / 2;
    if (!before(first[parent], first[at])) return;
    algo::swap(first[parent], first[at]);
    at = parent;
  }
}
// Moves the first element of a heap to the end; the elements before it are a heap again.
template <class It, class Less = less>
constexpr void pop_heap(It first, It last, Less before = {}) {
  if (last - first < 2) return;
  algo::swap(first[0], first[last - first - 1]);
  algo::sift_down(first, last - 1, 0, before);
}
// Sorts the elements of a heap in ascending order.
template <class It, class Less = less>
constexpr void sort_heap(It first, It last, Less before = {}) {
  for (; last - first > 1; --last) algo::pop_heap(first, last, before);
}

// Sorts in ascending order; equal elements may change places. In place, O(n·log n).
template <class It, class Less = less>
constexpr void sort(It first, It last, Less before = {}) {
  algo::make_heap(first, last, before);
  algo::sort_heap(first, last, before);
}

namespace detail {
template <class It, class T, class Less>
void merge_sort(It first, std::ptrdiff_t n, array<T>& memory, Less& before) {
  if (n < 2) return;
  const std::ptrdiff_t half = n / 2;
  detail::merge_sort(first, half, memory, before);
  detail::merge_sort(first + half, n - half, memory, before);
  memory.clear();
  for (std::ptrdiff_t i = 0; i < half; ++i) memory.push_back(std::move(first[i]));
  std::ptrdiff_t left = 0, right = half;
  for (std::ptrdiff_t to = 0; left < half; ++to) {
    const bool from_right = right < n && before(first[right], memory[left]);
    first[to] = from_right ? std::move(first[right++]) : std::move(memory[left++]);
  }
}
}  // namespace detail

// Sorts in ascending order; equal elements keep their order. O(n·log n), memory for half of the elements.
template <class It, class Less = less>
void stable_sort(It first, It last, Less before = {}) {
  array<std::remove_cvref_t<decltype(*first)>> memory;
  memory.reserve((last - first) / 2);
  detail::merge_sort(first, last - first, memory, before);
}

}  // namespace RESECT_NAMESPACE::algo
