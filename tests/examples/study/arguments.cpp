// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/arguments.hpp>
#include <support/catch.hpp>

namespace {

std::vector<int> layers(std::string_view list, int n) { return studies::try_parse_layers(list, n).value(); }
std::string refusal(std::string_view list, int n) {
  const auto r = studies::try_parse_layers(list, n);
  return r ? "" : std::string(r.error().message().view());
}

enum class fruit { apple, pear };
std::string_view name_of(fruit f) { return f == fruit::apple ? "apple" : "pear"; }
auto fruits(std::string_view list) {
  return studies::try_parse_names(list, "--fruits", std::vector{fruit::apple, fruit::pear}, name_of);
}

}  // namespace

TEST_CASE("a list of layers is numbers and ranges") {
  CHECK(layers("0-3,7", 8) == std::vector{0, 1, 2, 3, 7});
  CHECK(layers("5", 6) == std::vector{5});
  CHECK(layers("2-2", 6) == std::vector{2});
  CHECK(layers("7,0-1,1", 8) == std::vector{0, 1, 7});  // ascending, each once
}

TEST_CASE("a wrong list of layers is refused by the part that is wrong") {
  const std::string form = ", wanted numbers and ranges as in 0-3,7";
  CHECK(refusal("3-", 8) == "invalid argument: --layers: got '3-'" + form);
  CHECK(refusal("x", 8) == "invalid argument: --layers: got 'x'" + form);
  CHECK(refusal("1,,2", 8) == "invalid argument: --layers: got ''" + form);
  CHECK(refusal("", 8) == "invalid argument: --layers: got ''" + form);
  CHECK(refusal("-1", 8) == "invalid argument: --layers: got '-1'" + form);
  CHECK(refusal("1--2", 8) == "invalid argument: --layers: got '1--2'" + form);
  CHECK(refusal("1 ,2", 8) == "invalid argument: --layers: got '1 '" + form);
  CHECK(refusal("99999999999999999999", 8) == "invalid argument: --layers: got '99999999999999999999'" + form);
  CHECK(refusal("0,5-2", 8) == "invalid argument: --layers: got '5-2', wanted a range from low to high");
  CHECK(refusal("0-2,99", 8) == "invalid argument: --layers: got '99', wanted layers 0 to 7");
  CHECK(refusal("6-8", 8) == "invalid argument: --layers: got '6-8', wanted layers 0 to 7");
}

TEST_CASE("a list of names keeps its order and refuses what it does not know") {
  CHECK(fruits("pear,apple").value() == std::vector{fruit::pear, fruit::apple});
  CHECK(fruits("plum").error().message().view() == "invalid argument: --fruits: got 'plum', wanted apple, pear");
  CHECK(fruits("").error().got == "''");
  CHECK(fruits("pear,pear").error().got == "a second pear");
}

TEST_CASE("a command line is quoted as a shell reads it") {
  const char* const argv[] = {"./run", "study", "--text", "my text's $HOME", "", "--layers", "0-3,7"};
  CHECK(studies::shell_command(7, argv) == "./run study --text 'my text'\\''s $HOME' '' --layers 0-3,7");
}
