// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/hash.hpp>

using resect::fingerprint;

namespace {
std::uint64_t of_bytes(std::string_view s) { return fingerprint{}.add_bytes(s.data(), s.size()).value(); }
std::uint64_t of_text(std::string_view s) { return fingerprint{}.add(s).value(); }
}  // namespace

static_assert(fingerprint{}.value() == 0);
static_assert(fingerprint{}.add(std::uint64_t{1}).value() != fingerprint{}.add(std::uint64_t{2}).value());
static_assert(fingerprint{}.add("constant").value() == fingerprint{}.add("constant").value());

// The finalizer of SplitMix64 over (state ^ finalizer(word + n·golden)), worked out apart from this code.
TEST_CASE("fingerprints are what they always were") {
  CHECK(fingerprint{}.add(std::uint64_t{0}).value() == 0x48218226ff3cd4bfu);
  CHECK(fingerprint{}.add(std::uint64_t{1}).add(std::uint64_t{2}).value() == 0x7d6ed062e2e1044u);
  CHECK(of_text("resect") == 0x9d0b1e0ef5019688u);
  CHECK(of_bytes("resect, layer surgery") == 0xa62847806a424f8cu);
  CHECK(of_bytes("0123456789abcdef") == 0x479d8c8bde266956u);
  CHECK(of_bytes("") == 0x5b232ea28e2eae7eu);
  CHECK(of_text("01234567") == 0x9caac3dbe7089c39u);
  CHECK(fingerprint{}.add(0.5).value() == 0x372ee1ff5408a49fu);
}

TEST_CASE("the order of words matters") {
  const auto ab = fingerprint{}.add(std::uint64_t{1}).add(std::uint64_t{2}).value();
  const auto ba = fingerprint{}.add(std::uint64_t{2}).add(std::uint64_t{1}).value();
  CHECK(ab != ba);
  CHECK(fingerprint{}.add(std::uint64_t{0}).value() !=
        fingerprint{}.add(std::uint64_t{0}).add(std::uint64_t{0}).value());
  CHECK(fingerprint{}.add(std::uint64_t{0}).value() != 0);
}

TEST_CASE("where one text ends and the next begins matters") {
  CHECK(fingerprint{}.add("ab").add("c").value() != fingerprint{}.add("a").add("bc").value());
  CHECK(fingerprint{}.add("").add("x").value() != fingerprint{}.add("x").add("").value());
  CHECK(of_text("") != 0);
  CHECK(of_text(std::string_view{"a\0", 2}) != of_text("a"));
  CHECK(of_text("12345678") != of_text(std::string_view{"12345678\0", 9}));
}

TEST_CASE("every byte of every tail counts, and so does the number of bytes") {
  std::set<std::uint64_t> seen;
  std::string s;
  std::size_t made = 0;
  for (int n = 0; n <= 40; ++n) {
    for (std::size_t at = 0; at < s.size(); ++at)
      for (const int bit : {1, 2, 64}) {
        auto changed = s;
        changed[at] = static_cast<char>(changed[at] ^ bit);
        seen.insert(of_bytes(changed));
        ++made;
      }
    seen.insert(of_bytes(s));
    ++made;
    s.push_back('\0');
  }
  CHECK(seen.size() == made);
}

TEST_CASE("bytes hash alike wherever they lie") {
  const std::string s = "some bytes, 25 of them in";
  const auto want = of_bytes(s);
  for (std::size_t offset = 0; offset < 16; ++offset) {
    std::array<char, 64> room{};
    std::memcpy(room.data() + offset, s.data(), s.size());
    CHECK(of_bytes({room.data() + offset, s.size()}) == want);
  }
}

TEST_CASE("floats hash by their bits") {
  const std::vector<float> x{1.0f, -2.0f, 0.0f}, y{1.0f, -2.0f, -0.0f};
  CHECK(fingerprint{}.add(x).value() == fingerprint{}.add_bytes(x.data(), 12).value());
  CHECK(fingerprint{}.add(x).value() != fingerprint{}.add(y).value());
  CHECK(fingerprint{}.add(0.0).value() != fingerprint{}.add(-0.0).value());
  CHECK(fingerprint{}.add(1.0f).value() == fingerprint{}.add(1.0).value());
  CHECK(fingerprint{}.add(std::span<const float>{}).value() != 0);
}

TEST_CASE("a word that changes by one bit changes half the fingerprint") {
  double flipped = 0;
  int pairs = 0;
  for (std::uint64_t base : {0ull, 1ull, 0xffffffffffffffffull, 0x123456789abcdefull})
    for (int bit = 0; bit < 64; ++bit) {
      const auto a = fingerprint{}.add(base).add(std::uint64_t{7}).value();
      const auto b = fingerprint{}.add(base ^ (std::uint64_t{1} << bit)).add(std::uint64_t{7}).value();
      CHECK(std::popcount(a ^ b) > 12);
      flipped += std::popcount(a ^ b);
      ++pairs;
    }
  CHECK(flipped / pairs > 30.5);
  CHECK(flipped / pairs < 33.5);
}

TEST_CASE("a hundred thousand small inputs have different fingerprints") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 300; ++i)
    for (std::uint64_t j = 0; j < 300; ++j) seen.insert(fingerprint{}.add(i).add(j).value());
  for (std::uint64_t i = 0; i < 10000; ++i) seen.insert(fingerprint{}.add(i).value());
  CHECK(seen.size() == 100000);
}
