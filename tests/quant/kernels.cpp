// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <resect/quant/grids/integer.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;
using resect::instruction_set;

namespace {
constexpr instruction_set sets[] = {instruction_set::portable, instruction_set::avx2, instruction_set::avx512};
}  // namespace

TEST_CASE("on every instruction set, the range and the largest bits of a group are those of its weights") {
  for (const auto set : sets) {
    if (!resect::supported(set)) continue;
    CAPTURE(resect::name(set).data());
    for (const family kind : families)
      for (const index_t n : {16, 17, 31, 32, 64, 79, 128, 200}) {
        auto w = drawn(kind, n, static_cast<std::uint64_t>(n));
        const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
        const auto got = resect::quant::detail::range(set, w.data(), n);
        CHECK((got.low == *lo && got.high == *hi));
        const float largest = std::max(std::fabs(*lo), std::fabs(*hi));
        CHECK(resect::quant::detail::largest_bits(set, w.data(), n) ==
              static_cast<std::int32_t>(resect::bits_of(largest)));
        for (const float bad : {std::nanf(""), -std::numeric_limits<float>::infinity()}) {
          w[static_cast<std::size_t>(n - 1)] = bad;
          CHECK(resect::quant::detail::largest_bits(set, w.data(), n) >= 0x7f800000);
        }
      }
  }
}

TEST_CASE("codes of a row are the codes of its weights, on every instruction set where no weight is near a middle") {
  const auto check = [](auto g) {
    using G = decltype(g);
    for (const family kind : families)
      for (const index_t n : {1, 15, 16, 33, 128}) {
        auto w = drawn(kind, n, 7);
        const auto p = G::scaled(G::fit(w, {}), 0.9);
        if (n > 20) {  // on, beside and between levels
          const float s = p.scale;
          for (std::size_t i = 0; i < 8; ++i) w[i] = (static_cast<float>(i) + 0.5f) * s;
          w[8] = std::nextafter(w[2], 0.0f);
          w[9] = std::nextafter(w[3], 1e30f);
        }
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(n)), want;
        for (const float x : w) want.push_back(G::encode(x, p));
        G::encode_row(w, p, codes.data());
        CAPTURE(name(kind), n, G::name);
        CHECK(codes == want);
        if (n % 16 != 0 || !(std::fabs(p.scale) > 0x1p-100f)) continue;
        for (const auto set : sets) {
          if (!resect::supported(set)) continue;
          const auto first = static_cast<float>(-G::zero_of(p));
          const float off = resect::quant::detail::integer_codes(set, w.data(), n, 1 / p.scale, first,
                                                                 first + G::max_code, codes.data());
          CHECK((off >= 0.4999f || codes == want));
          CHECK(off <= 0.5f);
        }
      }
  };
  check(integer_grid<2, zero_point::integer>{});
  check(integer_grid<4, zero_point::symmetric>{});
  check(integer_grid<4, zero_point::integer>{});
  check(integer_grid<8, zero_point::symmetric>{});
  check(integer_grid<8, zero_point::integer>{});
}

}  // namespace tests
