// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <resect/io/json.hpp>
#include <support/expect_error.hpp>

namespace {
namespace io = resect::io;
using support::expect_error;
constexpr auto malformed = resect::errc::malformed;
}  // namespace

TEST_CASE("JSON is read with limits", "[io][json]") {
  const auto parsed = io::try_parse_json(R"({"a": [1, {"b": null}], "c": {"a": 2}})", "text");
  REQUIRE(parsed);
  CHECK((*parsed)["c"]["a"] == 2);
  expect_error(io::try_parse_json("", "text"), malformed, {"text", "a JSON error"});
  expect_error(io::try_parse_json({"{}\0", 3}, "text"), malformed, {"text", "a NUL byte at 2"});
  expect_error(io::try_parse_json("{", "text"), malformed, {"text", "a JSON error at byte"});
  expect_error(io::try_parse_json("{} {}", "text"), malformed, {"text", "a JSON error"});
  expect_error(io::try_parse_json("[1]", "text"), malformed, {"text", "got array", "an object"});
  expect_error(io::try_parse_json(R"({"a":1,"b":{"a":1,"a":2}})", "text"), malformed, {"text", "a second key 'a'"});
  expect_error(io::try_parse_json(R"({"a":)" + std::string(100'000, '['), "text"), malformed, {"text", "deeper nesting"});
  expect_error(io::try_parse_json(std::string((4u << 20) + 1, ' '), "text"), malformed, {"text", "4194305 bytes"});
  expect_error(io::try_parse_json("{\"a\":\"\xff\"}", "text"), malformed, {"text", "a JSON error"});
  CHECK(io::parse_json("{}", "text").empty());
  CHECK_THROWS_AS(io::parse_json("{", "text"), resect::exception);
}
