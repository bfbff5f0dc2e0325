// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How often this program has taken memory from the heap so far, by any way (operator new calls malloc, which is what is
// counted). −1 where nothing can be counted on this system.
namespace embedding {
long allocations() noexcept;

// The thread sanitizer tells of every way but this one.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool counts_aligned_alloc = false;
#else
inline constexpr bool counts_aligned_alloc = true;
#endif
}  // namespace embedding
