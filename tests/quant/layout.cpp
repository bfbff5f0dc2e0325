// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <limits>
#include <vector>

#include <resect/quant/layout.hpp>
#include <support/catch.hpp>

namespace tests {

using resect::index_t;
using resect::quant::block_layout;

TEST_CASE("the groups of a row cover each column once, in order, and only the last is shorter") {
  for (const index_t cols : {1, 2, 15, 16, 17, 63, 64, 65, 100})
    for (const index_t group : {0, 1, 3, 16, 64, 1000}) {
      const block_layout l{.rows = 3, .cols = cols, .block_cols = group};
      REQUIRE(l.check());
      index_t at = 0;
      for (index_t g = 0; g < l.per_row(); ++g) {
        CHECK(l.first(g) == at);
        CHECK(l.size(g) >= 1);
        CHECK((l.size(g) == l.width() || g == l.per_row() - 1));
        at += l.size(g);
      }
      CHECK(at == cols);
      CHECK(l.count() == 3 * l.per_row());
      if (group == 0 || group >= cols) CHECK(l.per_row() == 1);
    }
}

TEST_CASE("matrices without weights have no groups") {
  CHECK(block_layout{.rows = 4, .cols = 0, .block_cols = 8}.count() == 0);
  CHECK(block_layout{.rows = 0, .cols = 9, .block_cols = 8}.count() == 0);
  CHECK(block_layout{.rows = 4, .cols = 0}.count() == 0);
}

TEST_CASE("extents whose product overflows are refused, and groups of the largest rows are counted") {
  constexpr index_t most = std::numeric_limits<index_t>::max();
  const auto bad = block_layout{.rows = index_t{1} << 40, .cols = index_t{1} << 40, .block_cols = 64}.check();
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message() ==
        "shape mismatch: layout: got 1099511627776 x 1099511627776, wanted fewer than 2^61 elements");
  CHECK_FALSE(block_layout{.rows = most, .cols = most}.check());
  CHECK_FALSE(block_layout{.rows = 1, .cols = index_t{1} << 61}.check());
  CHECK(block_layout{.rows = most, .cols = 0}.check());
  CHECK(block_layout{.rows = 0, .cols = most}.check());
  const block_layout longest{.rows = 1, .cols = (index_t{1} << 61) - 1, .block_cols = 0};
  REQUIRE(longest.check());
  CHECK(longest.per_row() == 1);
  CHECK(block_layout{.rows = 1, .cols = most, .block_cols = most - 1}.per_row() == 2);
  CHECK(block_layout{.rows = 1, .cols = most, .block_cols = most - 1}.size(0) == most - 1);
  CHECK(block_layout{.rows = 1, .cols = most, .block_cols = most - 1}.size(1) == 1);
}

TEST_CASE("a negative group or extent is refused") {
  const auto bad = block_layout{.rows = 2, .cols = 8, .block_cols = -1}.check();
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message() == "invalid argument: group: got -1, wanted 0 (one group a row) or a number of columns");
  CHECK_FALSE(block_layout{.rows = -2, .cols = 8}.check());
  CHECK_FALSE(block_layout{.rows = 2, .cols = -8}.check());
}

}  // namespace tests
