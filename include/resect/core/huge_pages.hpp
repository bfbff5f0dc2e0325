// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <resect/core/array.hpp>
#include <resect/core/matrix.hpp>

// Memory in pages of 2 MiB, for tables of many megabytes whose rows are read in no order: with small pages each row costs a
// walk through the page tables.
namespace RESECT_NAMESPACE {

// Room for n elements in huge pages where the system gives them (Linux, where transparent huge pages are not off), else as
// array::reserve. Elements that the array has are moved, and pages that it has stay what they are.
template <class T>
void reserve_in_huge_pages(array<T>& a, index_t n) {
  if (n >= 0 && n <= a.capacity()) return;
  a.reserve(n);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<std::uintptr_t>(a.data()), first = (begin + page - 1) / page * page,
             last = (begin + static_cast<std::uintptr_t>(n) * sizeof(T)) / page * page;
  if (first < last) static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
#endif
}

// A matrix of m × n zeros in huge pages. Extents as of a matrix.
template <class T>
matrix<T> zeros_in_huge_pages(index_t m, index_t n) {
  matrix<T> out;
  if (m >= 0 && n >= 0 && detail::product_fits(m, n)) reserve_in_huge_pages(out.data, m * n);
  out.resize(m, n);
  return out;
}

}  // namespace RESECT_NAMESPACE
