// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/detail/sorted.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <support/catch.hpp>

TEST_CASE("values are sorted as std::sort does, and kept once where that is asked") {
  for (const std::size_t n : {0u, 1u, 2u, 3u, 17u, 1000u}) {
    std::vector<std::int32_t> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<std::int32_t>((i * 7919 + 13) % 101) - 50;
    auto wanted = x, once = x;
    resect::detail::sort_ascending(x);
    std::sort(wanted.begin(), wanted.end());
    CHECK(x == wanted);
    resect::detail::sort_unique(once);
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    CHECK(once == wanted);
  }
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<double> y{inf, 3, -inf, -0.5, 3, std::numeric_limits<double>::denorm_min(), 0};
  resect::detail::sort_ascending(y);
  CHECK(std::is_sorted(y.begin(), y.end()));
  CHECK(y.front() == -inf);
  CHECK(y.back() == inf);
}
