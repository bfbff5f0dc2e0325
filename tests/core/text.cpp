// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <charconv>
#include <clocale>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include <support/catch.hpp>

#include <resect/core/text.hpp>

using resect::short_text;
using resect::text;

static_assert(std::is_trivially_copyable_v<short_text<48>>);
static_assert(std::is_trivially_destructible_v<short_text<48>>);
static_assert(short_text<8>{"abc"}.view() == "abc");
static_assert(!std::is_constructible_v<short_text<8>, int>);

TEST_CASE("a text holds what fits and cuts the rest") {
  const std::string alphabet = "abcdefghijklmnopqrstuvwxyz";
  for (std::size_t n = 0; n <= alphabet.size(); ++n) {
    const short_text<10> t{std::string_view{alphabet}.substr(0, n)};
    CHECK(t.view() == alphabet.substr(0, std::min<std::size_t>(n, 10)));
    CHECK(std::strlen(t.c_str()) == t.view().size());
    CHECK(t.empty() == (n == 0));
  }
}

TEST_CASE("appending to a full text changes nothing") {
  short_text<3> t{"abc"};
  t.append("d").append(7).append(1.5);
  CHECK(t.view() == "abc");
  CHECK(t.c_str()[3] == '\0');
}

TEST_CASE("a cut falls anywhere, numbers included") {
  short_text<5> t{"ab"};
  t.append(123456);
  CHECK(t.view() == "ab123");
}

TEST_CASE("numbers are written in full") {
  CHECK(text(0) == "0");
  CHECK(text(-17) == "-17");
  CHECK(text(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
  CHECK(text(std::numeric_limits<std::uint64_t>::max()) == "18446744073709551615");
  CHECK(text(std::uint8_t{200}) == "200");
  CHECK(text(0.5) == "0.5");
  CHECK(text(1e-300) == "1e-300");
  CHECK(text(-1.0f / 3.0f) == "-0.333333343");
  CHECK(text(std::numeric_limits<double>::infinity()) == "inf");
}

TEST_CASE("numbers are written as std::to_chars writes them with nine digits, in any locale") {
  const char* const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8", "fa_IR.UTF-8",
                                 "de_DE"};  // those that are installed
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  for (const char* locale : locales) {
    if (std::setlocale(LC_NUMERIC, locale) == nullptr) continue;
    std::uint64_t bits = 1;
    for (int i = 0; i < 2000; ++i) {
      bits = bits * 6364136223846793005u + 1442695040888963407u;
      double x = static_cast<double>(static_cast<std::int32_t>(bits >> 33)) / 1000;
      if (i % 2 == 0) std::memcpy(&x, &bits, sizeof x);
      char want[48] = {};
      std::to_chars(want, want + sizeof want, x, std::chars_format::general, 9);
      REQUIRE(text(x) == want);
    }
  }
  std::setlocale(LC_NUMERIC, before.c_str());
}

TEST_CASE("text puts parts one after the other") {
  const std::string s = "of three";
  CHECK(text("row ", 2, std::string_view{" "}, s, "") == "row 2 of three");
  CHECK(text() == "");
  CHECK(text<4>("abc", "def") == "abcd");
  CHECK(text(short_text<8>{"inner"}.view(), "!") == "inner!");
}

TEST_CASE("a text compares with texts by content") {
  const short_text<20> a{"same"};
  CHECK(a == "same");
  CHECK_FALSE(a == "sam");
  CHECK_FALSE(a == "same ");
  CHECK_FALSE(a == std::string_view{"same\0", 5});
}
