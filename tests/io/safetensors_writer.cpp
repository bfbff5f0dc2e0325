// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/io/safetensors_writer.hpp>

#include <cstring>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

using namespace resect;

namespace {

const float floats[] = {1.5f, -2.0f, 0.25f, 8.0f, 0.0f, 3.0f};
const std::uint8_t bytes[] = {7, 8, 9};

std::vector<io::safetensor> tensors() {
  return {{"layers.0.a", "F32", {2, 3}, 0, std::as_bytes(std::span(floats))},
          {"packed \"b\"\\\n\t \xc3\xa4", "U8", {3}, 0, std::as_bytes(std::span(bytes))},
          {"none", "F16", {0, 4}, 0, {}}};
}
using pairs = std::vector<std::pair<std::string, std::string>>;

}  // namespace

TEST_CASE("safetensors writer: what is written reads back, names and metadata with quotes and control characters too") {
  const pairs metadata{{"format", "pt"}, {"a \"key\"", "line\nbreak \x01 \\ end"}};
  const auto file = io::write_safetensors(tensors(), metadata);
  const auto read = io::read_safetensors(std::as_const(file).span());
  REQUIRE(read.metadata().size() == 2);
  CHECK(read.metadata()[0] == metadata[0]);
  CHECK(read.metadata()[1] == metadata[1]);
  REQUIRE(read.tensors().size() == 3);
  for (const auto& t : tensors()) {
    const auto* found = read.find(t.name);
    REQUIRE(found != nullptr);
    CHECK(found->dtype == t.dtype);
    CHECK(found->extents == t.extents);
    REQUIRE(found->bytes.size() == t.bytes.size());
    CHECK((t.bytes.empty() || std::memcmp(found->bytes.data(), t.bytes.data(), t.bytes.size()) == 0));
  }
  const auto length = io::load_little<std::uint64_t>(file.data());
  CHECK(length % 8 == 0);
  CHECK(file == io::write_safetensors(tensors(), metadata));
  CHECK(io::read_safetensors(std::as_const(file).span()).tensors().front().bytes.data() == file.data() + 8 + length);
}

TEST_CASE("safetensors writer: what no reader would take is refused") {
  const auto expect = [](std::vector<io::safetensor> t, const pairs& m, errc code,
                         std::initializer_list<std::string_view> texts) {
    support::expect_error(io::try_write_safetensors(t, m), code, texts);
  };
  auto t = tensors();
  t[1].name = t[0].name;
  expect(t, {}, errc::malformed, {"layers.0.a", "a second one"});
  t = tensors();
  t[0].extents = {2, 4};
  expect(t, {}, errc::malformed, {"layers.0.a", "24 bytes"});
  t[0].extents = {2, 3};
  t[0].dtype = "F33";
  expect(t, {}, errc::unsupported, {"F33"});
  expect(tensors(), {{"a", "x"}, {"a", "y"}}, errc::malformed, {"'a'", "a second one"});
  expect(tensors(), {{"a", "\xff"}}, errc::malformed, {"UTF-8"});
}
