// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <hosts/json.hpp>
#include <hosts/mapped_file.hpp>
#include <hosts/token_ids.hpp>
#include <hosts/vocabulary.hpp>

#include <support/byte_writer.hpp>
#include <support/expect_error.hpp>

#include "temporary.hpp"

using namespace hosts;
using hosts::testing::temporary_folder;
using support::byte_writer;
using support::expect_error;

namespace {
constexpr auto malformed = resect::errc::malformed;
constexpr auto io = resect::errc::io;
}  // namespace

TEST_CASE("a file is mapped and the mapping moves", "[hosts][mapped_file]") {
  const temporary_folder folder;
  auto file = mapped_file::try_open(folder.write("a", "some bytes"));
  REQUIRE(file);
  const auto before = file->bytes();
  mapped_file moved = std::move(*file);
  CHECK(moved.bytes().data() == before.data());
  CHECK(as_text(moved.bytes()) == "some bytes");
  CHECK(file->bytes().empty());
  auto other = mapped_file::try_open(folder.write("b", "others"));
  REQUIRE(other);
  moved = std::move(*other);
  CHECK(as_text(moved.bytes()) == "others");
}

TEST_CASE("what is no file with content is refused by its path", "[hosts][mapped_file]") {
  const temporary_folder folder;
  expect_error(mapped_file::try_open(folder / "missing.bin"), io, {"missing.bin", "No such file"});
  expect_error(mapped_file::try_open(folder.path()), io, {"resect-hosts-", "a folder", "a file"});
  expect_error(mapped_file::try_open(folder.write("empty", "")), io, {"empty", "an empty file"});
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  expect_error(mapped_file::try_open(folder / "pipe"), io, {"pipe", "not a regular file"});
  const std::string deep = folder / (std::string(150, 'd') + "/end.bin");
  expect_error(mapped_file::try_open(deep), io, {"...ddd", "ddd/end.bin"});
}

TEST_CASE("token ids are read as little-endian int32", "[hosts][token_ids]") {
  const temporary_folder folder;
  const auto bytes = byte_writer{}.number(1u).number(0x01020304u).number(0x7fffffffu).bytes();
  const auto ids = try_read_ids(folder.write("ids", bytes));
  REQUIRE(ids);
  CHECK(*ids == std::vector<std::int32_t>{1, 0x01020304, 0x7fffffff});
  expect_error(try_read_ids(folder.write("odd", "12345")), malformed, {"odd", "5 bytes", "multiple of 4"});
  const auto negative = byte_writer{}.number(1u).number(0xffffffffu).bytes();
  expect_error(try_read_ids(folder.write("negative", negative)), malformed, {"negative", "token id -1 at 1"});
  expect_error(try_read_ids(folder / "none"), io, {"none"});
}

TEST_CASE("a file of JSON is read, and errors call it by its path", "[hosts][json]") {
  const temporary_folder folder;
  const auto parsed = try_read_json(folder.write("a.json", R"({"a": 1})"));
  REQUIRE(parsed);
  CHECK((*parsed)["a"] == 1);
  expect_error(try_read_json(folder.write("x.json", "nul")), malformed, {"x.json", "a JSON error"});
  expect_error(try_read_json(folder / "none.json"), io, {"none.json"});
}

TEST_CASE("a vocabulary numbers its lines", "[hosts][vocabulary]") {
  const auto v = vocabulary::try_parse("<doc>\nsun\nmoon\n");
  REQUIRE(v);
  CHECK(v->size() == 3);
  CHECK(v->find("moon") == 2);
  CHECK(v->find("Moon") == -1);
  CHECK(v->word(1) == "sun");
  CHECK(vocabulary::try_parse("a\nb")->size() == 2);
}

TEST_CASE("vocabularies that are none are refused", "[hosts][vocabulary]") {
  const temporary_folder folder;
  expect_error(vocabulary::try_parse(""), malformed, {"vocabulary", "no words"});
  expect_error(vocabulary::try_parse("a\n\nb\n"), malformed, {"an empty word in line 2"});
  expect_error(vocabulary::try_parse("\n"), malformed, {"an empty word in line 1"});
  expect_error(vocabulary::try_parse("a\nb\na\n"), malformed, {"a second 'a' in line 3", "words that differ"});
  expect_error(vocabulary::try_parse(std::string_view{"a\nb\0c\n", 6}), malformed, {"a NUL byte in line 2"});
  expect_error(vocabulary::try_parse("a\r\nb\r\n"), malformed, {"white space 'a?' in line 1"});
  expect_error(vocabulary::try_parse("a b\n"), malformed, {"white space 'a b' in line 1"});
  expect_error(vocabulary::try_open(folder.write("v.txt", "")), io, {"v.txt", "an empty file"});
  expect_error(vocabulary::try_open(folder.write("w.txt", "a\na\n")), malformed, {"w.txt", "a second 'a' in line 2"});
}

TEST_CASE("text is encoded a document a line", "[hosts][vocabulary]") {
  const auto v = vocabulary::try_parse("sun\n<doc>\nmoon\n");
  REQUIRE(v);
  const auto text = v->try_encode("moon sun\n\n  sun\tsun \r\nmoon");
  REQUIRE(text);
  CHECK(text->ids == std::vector<std::int32_t>{1, 2, 0, 1, 0, 0, 1, 2});
  CHECK(text->document == std::vector<std::int32_t>{0, 0, 0, 1, 1, 1, 2, 2});
  CHECK(v->try_encode("")->ids.empty());
  const auto invalid = resect::errc::invalid_argument;
  expect_error(v->try_encode("sun\n\nsun star\n"), invalid, {"line 3", "unknown word 'star'"});
  expect_error(v->try_encode("sun <doc>\n"), invalid, {"line 1", "'<doc>'"});
  expect_error(vocabulary::try_parse("sun\n")->try_encode("sun"), invalid, {"no word <doc>"});
}

TEST_CASE("the held-out text of the small model is in its vocabulary", "[hosts][vocabulary]") {
  const std::string folder = RESECT_SOURCE_DIR "/examples/models/tiny/";
  const auto v = vocabulary::try_open(folder + "vocab.txt");
  REQUIRE(v);
  CHECK(v->find("<doc>") == 0);
  const auto text = mapped_file::try_open(folder + "heldout.txt");
  REQUIRE(text);
  const auto encoded = v->try_encode(as_text(text->bytes()));
  REQUIRE(encoded);
  CHECK(encoded->ids.size() == encoded->document.size());
  CHECK(encoded->document.back() > 100);
}
