// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/random/rademacher.hpp>

#include <cmath>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/hash.hpp>

namespace draw = resect::random;

TEST_CASE("sign i is bit i mod 32 of word i div 32 of the stream, and 1 means -1") {
  const draw::philox_stream s{42, 7};
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const bool bit = (s.word32(i / 32) >> (i % 32) & 1u) != 0;
    REQUIRE(draw::rademacher(s, i) == (bit ? -1 : 1));
    const bool in_row = (s.block(9, i / 128)[static_cast<int>(i % 128 / 32)] >> (i % 32) & 1u) != 0;
    REQUIRE(draw::rademacher(s, 9, i) == (in_row ? -1 : 1));
  }
  constexpr std::uint64_t far = (std::uint64_t{1} << 60) + 77;  // beyond 32 bits of the block's number
  CHECK(draw::rademacher(s, far) == ((s.block(0, far / 128)[2] >> 13 & 1u) != 0 ? -1 : 1));
}

TEST_CASE("the signs have the committed bits") {
  const draw::philox_stream s{11, 4};
  resect::fingerprint f;
  for (std::uint64_t i = 0; i < 4096; i += 64) {
    std::uint64_t word = 0;
    for (std::uint64_t j = 0; j < 64; ++j) word |= std::uint64_t{draw::rademacher(s, i + j) < 0} << j;
    CHECK(word == s.word64(i / 64));
    f.add(word);
  }
  CHECK(f.value() == 0x546077db301af5d4u);
}

TEST_CASE("fill_rademacher gives the same signs however a range is split, in float and in double") {
  const draw::philox_stream s{5, 6};
  std::vector<float> whole(1001);
  std::vector<double> wide(1001);
  draw::fill_rademacher(whole, 5, 6, 13);
  draw::fill_rademacher(wide, 5, 6, 13);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    REQUIRE(whole[i] == static_cast<float>(draw::rademacher(s, 13 + i)));
    REQUIRE(wide[i] == static_cast<double>(whole[i]));
  }
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{115}, std::size_t{116}, std::size_t{500},
                                std::size_t{1000}, std::size_t{1001}}) {
    std::vector<float> parts(1001, 99.0f);
    const std::span<float> all{parts};
    draw::fill_rademacher(all.first(cut), 5, 6, 13);
    draw::fill_rademacher(all.subspan(cut), 5, 6, 13 + cut);
    CHECK(parts == whole);
  }
}

TEST_CASE("a million signs have mean 0, no correlation with their neighbours and no favourite bit") {
  constexpr std::size_t n = 1 << 20;
  std::vector<float> x(n);
  draw::fill_rademacher(x, 2024, 1);
  double mean = 0, lag[4] = {}, bit[32] = {};
  constexpr std::size_t distance[4] = {1, 32, 128, 129};
  for (std::size_t i = 0; i < n; ++i) {
    mean += static_cast<double>(x[i]);
    bit[i % 32] += static_cast<double>(x[i]);
    for (int k = 0; k < 4; ++k)
      if (i >= distance[k]) lag[k] += static_cast<double>(x[i] * x[i - distance[k]]);
  }
  const double se = std::sqrt(static_cast<double>(n));
  CHECK(std::fabs(mean) < 5 * se);
  for (const double l : lag) CHECK(std::fabs(l) < 5 * se);
  for (const double b : bit) CHECK(std::fabs(b) < 5 * se / std::sqrt(32.0));
}
