// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/safetensors.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "expect_error.hpp"
#include "temporary.hpp"
#include "write_safetensors.hpp"

using namespace hosts;
using hosts::testing::expect_error;
using hosts::testing::safetensors_bytes;
using hosts::testing::safetensors_writer;

namespace {

constexpr auto malformed = resect::errc::malformed;
constexpr auto unsupported = resect::errc::unsupported;

std::vector<std::byte> small_file() {
  return safetensors_writer{}
      .add_floats("a", {2, 2}, std::vector{1.0f, 2.0f, 3.0f, 4.0f})
      .add("b", "F16", {3}, testing::byte_writer{}.number(std::uint16_t{0x3c00}).raw("xyzw").bytes())
      .add("c", "BF16", {1, 1}, testing::byte_writer{}.number(std::uint16_t{0xbf80}).bytes())
      .add("d", "I64", {}, std::vector<std::byte>(8))
      .add("nothing", "F32", {0, 7}, {})
      .bytes();
}

bool parse_and_use(std::span<const std::byte> bytes) {
  const auto file = safetensors_file::try_parse(bytes);
  if (!file) return false;
  for (const safetensor& tensor : file->tensors()) {
    std::vector<float> values(static_cast<std::size_t>(tensor.values));
    (void)dequantize(tensor, values);
  }
  return true;
}

void refuses(std::string_view header, std::size_t data, std::initializer_list<std::string_view> texts,
             resect::errc code = malformed) {
  INFO("header: " << header.substr(0, 200));
  const auto bytes = safetensors_bytes(header, std::vector<std::byte>(data));
  expect_error(safetensors_file::try_parse(testing::exact_copy{bytes}.bytes()), code, texts);
}

}  // namespace

TEST_CASE("a safetensors file reads back", "[hosts][safetensors]") {
  const auto bytes = small_file();
  const auto file = safetensors_file::try_parse(bytes);
  REQUIRE(file);
  REQUIRE(file->tensors().size() == 5);
  REQUIRE(file->metadata().size() == 1);
  CHECK(file->metadata()[0] == std::pair<std::string, std::string>{"format", "pt"});
  const safetensor* a = file->find("a");
  REQUIRE(a != nullptr);
  CHECK(a->extents == std::vector<resect::index_t>{2, 2});
  std::vector<float> values(4);
  REQUIRE(dequantize(*a, values));
  CHECK(values == std::vector{1.0f, 2.0f, 3.0f, 4.0f});
  std::vector<float> halves(3), one(1);
  REQUIRE(dequantize(*file->find("b"), halves));
  CHECK(halves[0] == 1.0f);
  REQUIRE(dequantize(*file->find("c"), one));
  CHECK(one[0] == -1.0f);
  CHECK(file->find("nothing")->values == 0);
  CHECK(file->find("d")->values == 1);
  CHECK(file->find("none") == nullptr);
}

TEST_CASE("a dtype that cannot be decoded is an error only where it is used", "[hosts][safetensors]") {
  const auto bytes = small_file();
  const auto file = safetensors_file::try_parse(bytes);
  REQUIRE(file);
  float x = 0;
  expect_error(dequantize(*file->find("d"), {&x, 1}), unsupported, {"'d'", "I64", "F32, F16 or BF16"});
  expect_error(dequantize(*file->find("a"), {&x, 1}), resect::errc::shape_mismatch, {"16 bytes for 1 values"});
}

TEST_CASE("a safetensors file opens from disk and survives a move", "[hosts][safetensors]") {
  const testing::temporary_folder folder;
  auto opened = safetensors_file::try_open(folder.write("x.safetensors", small_file()));
  REQUIRE(opened);
  const safetensors_file moved = std::move(*opened);
  float x = 0;
  REQUIRE(dequantize(*moved.find("c"), {&x, 1}));
  CHECK(x == -1.0f);
  expect_error(safetensors_file::try_open(folder / "none"), resect::errc::io, {"none"});
}

TEST_CASE("an empty safetensors file is one", "[hosts][safetensors]") {
  CHECK(safetensors_file::try_parse(safetensors_bytes("{}", {})));
  CHECK(safetensors_file::try_parse(safetensors_bytes("{}      ", {})));
}

TEST_CASE("safetensors headers that lie are refused", "[hosts][safetensors]") {
  const std::vector<std::byte> seven(7);
  expect_error(safetensors_file::try_parse(seven), malformed, {"header", "7 bytes"});
  const auto sized = [](std::uint64_t size) { return testing::byte_writer{}.number(size).raw("{}").bytes(); };
  expect_error(safetensors_file::try_parse(sized(3)), malformed, {"header", "got 3 bytes", "2 bytes of the file"});
  expect_error(safetensors_file::try_parse(sized(100'000'001)), malformed, {"header", "100000001", "100000000"});
  expect_error(safetensors_file::try_parse(sized(~std::uint64_t{0})), malformed, {"header", "18446744073709551615"});
  expect_error(safetensors_file::try_parse(sized(0)), malformed, {"no '{'"});
  expect_error(safetensors_file::try_parse(sized(1)), malformed, {"a JSON error at byte"});
  refuses(" {}", 0, {"no '{'"});
  refuses("[]", 0, {"no '{'"});
  refuses("{} x", 0, {"a JSON error"});
  refuses(std::string_view{"{}\0", 3}, 0, {"a NUL byte at 2"});
  refuses(R"({"a)", 0, {"a JSON error"});
  refuses("{\"a\xff\":1}", 0, {"a JSON error"});
  refuses(std::string(50'000, '{'), 0, {"a JSON error"});
  refuses(R"({"a":)" + std::string(50'000, '['), 0, {"tensor 'a'", "an array"});
}

TEST_CASE("safetensors entries of the wrong form are refused", "[hosts][safetensors]") {
  refuses(R"({"a":1})", 0, {"tensor 'a'", "a number", "an object"});
  refuses(R"({"a":null})", 0, {"tensor 'a'", "null"});
  refuses(R"({"a":[1]})", 0, {"tensor 'a'", "an array"});
  refuses(R"({"a":"x"})", 0, {"tensor 'a'", "a string"});
  refuses(R"({"a":true})", 0, {"tensor 'a'", "a bool"});
  refuses(R"({"a":-1})", 0, {"tensor 'a'", "a number"});
  refuses(R"({"a":{}})", 0, {"tensor 'a'", "an incomplete entry"});
  refuses(R"({"a":{"dtype":"F32","shape":[]}})", 0, {"tensor 'a'", "an incomplete entry"});
  refuses(R"({"a":{"dtype":"F32","shape":[],"offsets":[0,4]}})", 4, {"tensor 'a'", "'offsets'"});
  refuses(R"({"a":{"dtype":4,"shape":[],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "a number in dtype"});
  refuses(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, {"tensor 'a'", "a number in shape"});
  refuses(R"({"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}})", 4, {"tensor 'a'", "a string in shape"});
  refuses(R"({"a":{"dtype":["F32"],"shape":[],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "an array in dtype"});
  refuses(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "an array in shape"});
  refuses(R"({"a":{"dtype":"F32","shape":{"b":1},"data_offsets":[0,4]}})", 4, {"tensor 'a'", "an object in shape"});
  refuses(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "-1 in shape"});
  refuses(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "1 in shape", "integers"});
  refuses(R"({"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}})", 4, {"a JSON error"});
  refuses(R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})", 4,
          {"tensor 'a'", "in shape"});
  refuses(R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "63 bits"});
  refuses(R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "a bool in shape"});
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, {"tensor 'a'", "1 data_offsets"});
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", 4, {"tensor 'a'", "more than two"});
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,-4]}})", 4, {"tensor 'a'", "-4 in data_offsets"});
  refuses(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, {"tensor 'a'", "'F31'"}, unsupported);
  refuses(R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, {"an empty name"});
  refuses(R"({"a\u0000":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, {"'a?'", "without NUL"});
  refuses(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4,
          {"tensor 'a'", "more dimensions"});
  refuses(R"({"__metadata__":{"a":1}})", 0, {"__metadata__ 'a'", "a number", "a string"});
  refuses(R"({"__metadata__":{"a":{}}})", 0, {"__metadata__ 'a'", "an object"});
  refuses(R"({"__metadata__":"a"})", 0, {"'__metadata__'", "a string", "an object"});
}

TEST_CASE("safetensors keys that come twice are refused", "[hosts][safetensors]") {
  constexpr std::string_view entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  refuses(R"({"a":)" + std::string{entry} + R"(,"a":)" + std::string{entry} + '}', 4, {"'a'", "a second one"});
  refuses(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, {"'dtype'", "a second one"});
  refuses(R"({"__metadata__":{"k":"1","k":"2"}})", 0, {"'k'", "a second one"});
  refuses(R"({"__metadata__":{},"__metadata__":{}})", 0, {"'__metadata__'", "a second one"});
}

TEST_CASE("safetensors data that do not fit are refused", "[hosts][safetensors]") {
  const auto two = [](int b0, int e0, int b1, int e1) {
    const auto range = [](int b, int e) { return '[' + std::to_string(b) + ',' + std::to_string(e) + ']'; };
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + range(b0, e0) +
           R"(},"b":{"dtype":"F16","shape":[2],"data_offsets":)" + range(b1, e1) + "}}";
  };
  CHECK(safetensors_file::try_parse(safetensors_bytes(two(4, 8, 0, 4), std::vector<std::byte>(8))));
  refuses(two(0, 4, 4, 8), 7, {"tensor 'b'", "data_offsets 4, 8", "7 bytes of data"});
  refuses(two(0, 4, 4, 8), 9, {"data", "9 bytes", "got 9"});
  refuses(two(0, 4, 5, 9), 9, {"tensor 'b'", "a begin at 5", "wanted 4"});
  refuses(two(1, 5, 5, 9), 9, {"tensor 'a'", "a begin at 1", "wanted 0"});
  refuses(two(0, 4, 2, 6), 6, {"tensor 'b'", "a begin at 2", "wanted 4"});
  refuses(two(0, 4, 0, 4), 4, {"a begin at 0", "wanted 4"});
  refuses(two(4, 0, 4, 8), 8, {"tensor 'a'", "data_offsets 4, 0"});
  refuses(two(0, 8, 8, 12), 12, {"tensor 'a'", "8 bytes", "32 bits for 1 values of F32"});
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}})", 4,
          {"tensor 'a'", "data_offsets 18446744073709551612"});
  refuses(R"({"a":{"dtype":"F32","shape":[4294967296,4294967297],"data_offsets":[0,4]}})", 4,
          {"tensor 'a'", "overflows"});
  refuses(R"({"a":{"dtype":"F32","shape":[1073741824,1073741824],"data_offsets":[0,0]}})", 0,
          {"tensor 'a'", "overflows"});
  refuses(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1, {"tensor 'a'", "12 bits"});
  refuses("{}", 1, {"safetensors data", "1 bytes", "wanted 0"});
}

TEST_CASE("no safetensors file parses when cut short", "[hosts][safetensors]") {
  testing::expect_no_prefix_parses(small_file(), parse_and_use);
}

TEST_CASE("mutated safetensors files never crash the reader", "[hosts][safetensors]") {
  const auto bytes = small_file();
  REQUIRE(parse_and_use(bytes));
  const std::size_t accepted = testing::parse_mutations(bytes, 40'000, 2, parse_and_use);
  CHECK(accepted > 0);
  CHECK(accepted < 40'000);
}
