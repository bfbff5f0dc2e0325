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
  constexpr std::int64_t all = std::int64_t{1} << 31;
  const auto ids = try_read_ids(folder.write("ids", bytes), all);
  REQUIRE(ids);
  CHECK(*ids == std::vector<std::int32_t>{1, 0x01020304, 0x7fffffff});
  expect_error(try_read_ids(folder.write("ids", bytes), 0x7fffffff), malformed,
               {"token id 2147483647 at 2", "0 to 2147483646"});
  expect_error(try_read_ids(folder.write("odd", "\1\2\3\4\5"), 9), malformed, {"odd", "5 bytes", "multiple of 4"});
  const auto negative = byte_writer{}.number(1u).number(0xffffffffu).bytes();
  expect_error(try_read_ids(folder.write("negative", negative), all), malformed, {"negative", "token id -1 at 1"});
  expect_error(try_read_ids(folder / "none", all), io, {"none"});
}

TEST_CASE("ids of another width, order or form are refused by what they look like", "[hosts][token_ids]") {
  const temporary_folder folder;
  const std::vector<std::uint32_t> ids{5, 96, 3, 17, 0, 44, 8, 21};
  byte_writer wide, narrow, swapped;
  for (const auto id : ids) {
    wide.number(std::uint64_t{id});
    narrow.number(static_cast<std::uint16_t>(id));
    swapped.number(id << 24);
  }
  const auto refused = [&](const auto& bytes, std::string_view why) {
    expect_error(try_read_ids(folder.write("f", bytes), 97), malformed,
                 {"f", why, "wanted little-endian int32 ids below 97, or a .npy file"});
  };
  refused(wide.bytes(), "what looks like int64: every second int32 is 0");
  refused(narrow.bytes(), "what looks like uint16");
  refused(swapped.bytes(), "what looks like big-endian numbers");
  refused(std::string("5 96 3 17 0 44"), "what looks like text");
  refused(std::string("[5, 96, 3]"), "what looks like text");
  refused(std::string("PK\3\4 and more"), "an archive (.npz, or what torch.save writes)");
  // zeros here and there, everywhere, and of one pair are ids
  for (const std::vector<std::uint32_t>& good :
       {std::vector<std::uint32_t>{5, 0, 7, 0, 9, 1}, {0, 0, 0, 0}, {4, 0}, {0, 5, 0, 7}}) {
    byte_writer as_they_are;
    for (const auto id : good) as_they_are.number(id);
    const auto read = try_read_ids(folder.write("good", as_they_are.bytes()), 97);
    REQUIRE(read);
    CHECK(std::vector<std::uint32_t>(read->begin(), read->end()) == good);
  }
}

TEST_CASE("ids of .npy files are read from any type of integers, whatever the file is called", "[hosts][token_ids]") {
  const temporary_folder folder;
  const auto npy = [](std::string_view type, std::string_view shape, const byte_writer& elements) {
    std::string header =
        "{'descr': '" + std::string(type) + "', 'fortran_order': False, 'shape': " + std::string(shape) + ", }";
    header.resize((header.size() + 1 + 10 + 63) / 64 * 64 - 10 - 1, ' ');
    header += '\n';
    return byte_writer{}
        .raw("\x93NUMPY\x01")
        .number(std::uint8_t{0})
        .number(static_cast<std::uint16_t>(header.size()))
        .raw(header)
        .raw(elements.bytes())
        .bytes();
  };
  const std::vector<std::int32_t> wanted{5, 96, 0, 17};
  const auto check = [&](auto zero, std::string_view type, std::string_view shape = "(4,)") {
    byte_writer elements;
    for (const auto id : wanted) elements.number(static_cast<decltype(zero)>(id));
    const auto read = try_read_ids(folder.write("ids.i32", npy(type, shape, elements)), 97);
    INFO(type);
    REQUIRE(read);
    CHECK(*read == wanted);
  };
  check(std::uint8_t{}, "|i1");
  check(std::uint8_t{}, "|u1");
  check(std::uint16_t{}, "<i2");
  check(std::uint16_t{}, "<u2");
  check(std::uint32_t{}, "<i4");
  check(std::uint32_t{}, "<u4");
  check(std::uint64_t{}, "<i8");
  check(std::uint64_t{}, "<u8", "(1, 4)");
  const auto four = byte_writer{}
                        .number(std::uint64_t{1})
                        .number(std::uint64_t{2})
                        .number(~std::uint64_t{0})
                        .number(std::uint64_t{97});
  expect_error(try_read_ids(folder.write("n", npy("<i8", "(4,)", four)), 97), malformed, {"n", "token id -1 at 2"});
  expect_error(try_read_ids(folder.write("n", npy("<i8", "(2, 2)", four)), 97), resect::errc::shape_mismatch,
               {"n", "2 dimensions", "a row of ids"});
  expect_error(try_read_ids(folder.write("n", npy("<f8", "(4,)", four)), 97), resect::errc::unsupported,
               {"n", "f64", "integers"});
  expect_error(try_read_ids(folder.write("n", npy("<i8", "(5,)", four)), 97), malformed, {"n, npy elements"});
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
