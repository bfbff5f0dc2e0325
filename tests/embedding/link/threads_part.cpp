// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled with exceptions and without: a pool of which the system starts only some threads.
#include <atomic>

#include <resect/core/threads.hpp>

#ifndef PART
#error "PART: wanted the name of this part's function"
#endif

// Returns the pool's workers, or 0 where they did not run every task once.
int PART() {
  const resect::threads pool{100};
  std::atomic<int> ran[500] = {};
  pool.bulk(500, [&](resect::index_t i) { ++ran[i]; });
  for (const auto& n : ran)
    if (n != 1) return 0;
  return pool.concurrency();
}
