// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <resect/io/safetensors.hpp>
#include <support/expect_error.hpp>
#include <support/hostile_bytes.hpp>
#include <support/write_safetensors.hpp>

namespace {

namespace io = resect::io;
using support::expect_error;
using support::safetensors_bytes;
using support::safetensors_writer;

constexpr auto malformed = resect::errc::malformed;
constexpr auto unsupported = resect::errc::unsupported;

std::vector<std::byte> small_file() {
  return safetensors_writer{}
      .add_floats("a", {2, 2}, std::vector{1.0f, 2.0f, 3.0f, 4.0f})
      .add("b", "F16", {3}, support::byte_writer{}.number(std::uint16_t{0x3c00}).raw("xyzw").bytes())
      .add("c", "BF16", {1, 1}, support::byte_writer{}.number(std::uint16_t{0xbf80}).bytes())
      .add("d", "I64", {}, std::vector<std::byte>(8))
      .add("nothing", "F32", {0, 7}, {})
      .bytes();
}

// Reads all bytes of a file that is accepted, so that a sanitizer would see a view that leads outside.
bool parse_and_use(std::span<const std::byte> bytes) {
  const auto file = io::try_read_safetensors(bytes);
  if (!file) return false;
  unsigned sum = 0;
  for (const io::safetensor& tensor : file->tensors()) {
    REQUIRE(tensor.values >= 0);
    for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
  }
  return sum < std::numeric_limits<unsigned>::max();
}

void refuses(std::string_view header, std::size_t data, std::initializer_list<std::string_view> texts,
             resect::errc code = malformed) {
  INFO("header: " << header.substr(0, 200));
  const auto bytes = safetensors_bytes(header, std::vector<std::byte>(data));
  expect_error(io::try_read_safetensors(support::exact_copy{bytes}.bytes()), code, texts);
}

}  // namespace

TEST_CASE("a safetensors file reads back", "[io][safetensors]") {
  const auto bytes = small_file();
  const auto file = io::try_read_safetensors(bytes);
  REQUIRE(file);
  REQUIRE(file->tensors().size() == 5);
  REQUIRE(file->metadata().size() == 1);
  CHECK(file->metadata()[0] == std::pair<std::string, std::string>{"format", "pt"});
  const io::safetensor* a = file->find("a");
  REQUIRE(a != nullptr);
  CHECK(a->extents == std::vector<resect::index_t>{2, 2});
  CHECK(a->dtype == "F32");
  CHECK(a->values == 4);
  const auto stored = support::bytes_of(std::vector{1.0f, 2.0f, 3.0f, 4.0f});
  CHECK(std::vector<std::byte>(a->bytes.begin(), a->bytes.end()) == stored);
  CHECK(file->find("b")->bytes.size() == 6);
  CHECK(file->find("c")->dtype == "BF16");
  CHECK(file->find("nothing")->values == 0);
  CHECK(file->find("d")->values == 1);
  CHECK(file->find("none") == nullptr);
}

TEST_CASE("what a safetensors file holds may move, and the throwing form throws", "[io][safetensors]") {
  const auto bytes = small_file();
  io::safetensors_contents read = io::read_safetensors(bytes);
  const io::safetensors_contents moved = std::move(read);
  REQUIRE(moved.find("c") != nullptr);
  CHECK(moved.find("c")->name == "c");
  CHECK(moved.find("c")->bytes.size() == 2);
  CHECK_THROWS_AS(io::read_safetensors(std::span{bytes}.first(5)), resect::exception);
}

TEST_CASE("an empty safetensors file is one", "[io][safetensors]") {
  CHECK(io::try_read_safetensors(safetensors_bytes("{}", {})));
  CHECK(io::try_read_safetensors(safetensors_bytes("{}      ", {})));
}

TEST_CASE("safetensors headers that lie are refused", "[io][safetensors]") {
  const std::vector<std::byte> seven(7);
  expect_error(io::try_read_safetensors(seven), malformed, {"header", "7 bytes"});
  const auto sized = [](std::uint64_t size) { return support::byte_writer{}.number(size).raw("{}").bytes(); };
  expect_error(io::try_read_safetensors(sized(3)), malformed, {"header", "got 3 bytes", "2 bytes of the file"});
  expect_error(io::try_read_safetensors(sized(100'000'001)), malformed, {"header", "100000001", "100000000"});
  expect_error(io::try_read_safetensors(sized(~std::uint64_t{0})), malformed, {"header", "18446744073709551615"});
  expect_error(io::try_read_safetensors(sized(0)), malformed, {"no '{'"});
  expect_error(io::try_read_safetensors(sized(1)), malformed, {"a JSON error at byte"});
  refuses(" {}", 0, {"no '{'"});
  refuses("[]", 0, {"no '{'"});
  refuses("{} x", 0, {"a JSON error"});
  refuses(std::string_view{"{}\0", 3}, 0, {"a NUL byte at 2"});
  refuses(R"({"a)", 0, {"a JSON error"});
  refuses("{\"a\xff\":1}", 0, {"a JSON error"});
  refuses(std::string(50'000, '{'), 0, {"a JSON error"});
  refuses(R"({"a":)" + std::string(50'000, '['), 0, {"tensor 'a'", "an array"});
}

TEST_CASE("safetensors entries of the wrong form are refused", "[io][safetensors]") {
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

TEST_CASE("safetensors keys that come twice are refused", "[io][safetensors]") {
  constexpr std::string_view entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  refuses(R"({"a":)" + std::string{entry} + R"(,"a":)" + std::string{entry} + '}', 4, {"'a'", "a second one"});
  refuses(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, {"'dtype'", "a second one"});
  refuses(R"({"__metadata__":{"k":"1","k":"2"}})", 0, {"'k'", "a second one"});
  refuses(R"({"__metadata__":{},"__metadata__":{}})", 0, {"'__metadata__'", "a second one"});
}

TEST_CASE("safetensors data that do not fit are refused", "[io][safetensors]") {
  const auto two = [](int b0, int e0, int b1, int e1) {
    const auto range = [](int b, int e) { return '[' + std::to_string(b) + ',' + std::to_string(e) + ']'; };
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + range(b0, e0) +
           R"(},"b":{"dtype":"F16","shape":[2],"data_offsets":)" + range(b1, e1) + "}}";
  };
  CHECK(io::try_read_safetensors(safetensors_bytes(two(4, 8, 0, 4), std::vector<std::byte>(8))));
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

TEST_CASE("no safetensors file parses when cut short", "[io][safetensors]") {
  support::expect_no_prefix_parses(small_file(), parse_and_use);
}

TEST_CASE("mutated safetensors files never crash the reader", "[io][safetensors]") {
  const auto bytes = small_file();
  REQUIRE(parse_and_use(bytes));
  const std::size_t accepted = support::parse_mutations(bytes, 40'000, 2, parse_and_use);
  CHECK(accepted > 0);
  CHECK(accepted < 40'000);
}
