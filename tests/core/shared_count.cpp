// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <vector>

#include <support/catch.hpp>

#include <resect/core/shared_count.hpp>
#include <resect/core/threads.hpp>

using resect::shared_count;

TEST_CASE("counts of many threads add up, and one of them alone takes the last off") {
  const resect::threads pool(4);
  shared_count n, left(1000), last;
  pool.bulk(1000, [&](resect::index_t i) {
    n.add();
    n.add(i);
    if (left.take_one() == 0) last.add();
  });
  CHECK(n == 1000 + 999 * 500);
  CHECK(left.load() == 0);
  CHECK(last == 1);
}
