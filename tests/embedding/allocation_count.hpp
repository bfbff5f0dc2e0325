// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How often this program has taken memory from the heap so far, by any way (operator new calls malloc, which is what is
// counted). −1 where nothing can be counted on this system.
namespace embedding {
long allocations() noexcept;
}
