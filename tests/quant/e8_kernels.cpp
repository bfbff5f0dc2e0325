// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>

#include <resect/quant/grids/e8.hpp>
#include <resect/random/distributions.hpp>
#include <support/catch.hpp>
#include <support/instruction_sets.hpp>

using namespace resect::quant;

namespace {

// By the sum of distances of every pattern with its best signs, in 64 bits.
int plainly(const std::int32_t (&m)[8], int odd) {
  int best = 0;
  std::int64_t least = 0;
  for (int p = 0; p < 256; ++p) {
    std::int64_t cost = 0, cheapest = INT64_MAX;
    int parity = odd;
    for (int i = 0; i < 8; ++i) {
      const int digit = detail::e8_table<>.digit(p, i), twice = 2 * digit + 1;
      cost += (std::int64_t{twice} * twice << 16) - std::int64_t{m[i]} * twice;
      cheapest = std::min(cheapest, std::int64_t{m[i]} * twice);
      parity ^= digit & 1;
    }
    if (parity != 0) cost += 2 * cheapest;
    if (p == 0 || cost < least) best = p, least = cost;
  }
  return best;
}

}  // namespace

TEST_CASE("E8: every instruction set finds the first of the nearest patterns") {
  for (const auto set : tests::instruction_sets())
    for (int n = 0; n < 300; ++n) {
      std::int32_t m[8];
      for (int i = 0; i < 8; ++i) {
        const double x =
            std::fabs(resect::random::gaussian(3, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(i)));
        // far out, on a grid with many ties, and anywhere
        m[i] = n % 3 == 0   ? static_cast<std::int32_t>(std::fmin(20 * x, 32.25) * 0x1p18)
               : n % 3 == 1 ? static_cast<std::int32_t>(std::round(4 * x)) << 16
                            : static_cast<std::int32_t>(x * 0x1p18);
      }
      for (const int odd : {0, 1}) {
        CAPTURE(resect::name(set).data(), n, odd);
        CHECK(detail::nearest_e8_pattern(set, detail::e8_lane_table<>, m, odd) == plainly(m, odd));
      }
    }
}
