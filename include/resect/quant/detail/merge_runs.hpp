// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>

namespace RESECT_NAMESPACE::quant::detail {

// Sorts x, which is made of sorted runs: run r ends before ends[r], the last one at x's end. Stable. Cost: x.size() moves
// for each doubling of runs. `ends` is used up.
template <class T, class Before>
void merge_runs(array<T>& x, array<index_t>& ends, array<T>& spare, Before before) {
  if (spare.size() < x.size()) spare.resize(x.size());
  T *from = x.data(), *to = spare.data();
  index_t runs = ends.size();
  for (; runs > 1; runs = (runs + 1) / 2) {
    index_t begin = 0;
    for (index_t r = 0; r < runs; r += 2) {
      const index_t middle = ends[r], end = r + 1 < runs ? ends[r + 1] : middle;
      index_t a = begin, b = middle, at = begin;
      while (a < middle && b < end) to[at++] = before(from[b], from[a]) ? from[b++] : from[a++];
      while (a < middle) to[at++] = from[a++];
      while (b < end) to[at++] = from[b++];
      ends[r / 2] = end;
      begin = end;
    }
    T* const swapped = from;
    from = to;
    to = swapped;
  }
  if (from != x.data())
    for (index_t i = 0; i < x.size(); ++i) x[i] = from[i];
}

}  // namespace RESECT_NAMESPACE::quant::detail
