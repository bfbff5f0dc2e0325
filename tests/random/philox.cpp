// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/random/philox.hpp>

#include <vector>

#include <support/catch.hpp>

using resect::random::philox;
using resect::random::philox_stream;
using resect::random::philox_words;

// Random123, tests/kat_vectors: philox4x32, 10 rounds.
static_assert(philox(0, {}) == philox_words{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
static_assert(philox(0xffffffffffffffffu, {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}) ==
              philox_words{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
static_assert(philox(0x299f31d0a4093822u, {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}) ==
              philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});

TEST_CASE("philox at run time equals the published Random123 vectors") {
  std::uint64_t key = 0x299f31d0a4093822u;
  philox_words counter{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}};
  CHECK(philox(key, counter) == philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("a stream reads the words of a block in order, whatever their size") {
  constexpr philox_stream s{42, 7};
  for (std::uint64_t i = 0; i < 40; ++i) {
    CHECK(s.word32(i) == s.block(0, i / 4)[static_cast<int>(i % 4)]);
    CHECK(s.word64(i) == (s.word32(2 * i) | static_cast<std::uint64_t>(s.word32(2 * i + 1)) << 32));
  }
  CHECK(s.block(1, 0) != s.block(0, 1));
  CHECK(s.block(0, std::uint64_t{1} << 32) != s.block(1, 0));
  CHECK(s.block(std::uint64_t{1} << 32, 0) != s.block(1, 0));
}

TEST_CASE("seeds and streams that differ in one bit have keys that differ in about half of theirs") {
  int total = 0;
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t one = std::uint64_t{1} << bit;
    const int seed = __builtin_popcountll(philox_stream{5, 9}.key() ^ philox_stream{5 ^ one, 9}.key());
    const int stream = __builtin_popcountll(philox_stream{5, 9}.key() ^ philox_stream{5, 9 ^ one}.key());
    CHECK(seed >= 12);
    CHECK(stream >= 12);
    total += seed + stream;
  }
  CHECK(total > 128 * 29);
  CHECK(total < 128 * 35);
  CHECK(philox_stream{1, 2}.key() != philox_stream{2, 1}.key());
}
