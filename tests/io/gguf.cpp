// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <resect/io/gguf.hpp>
#include <support/expect_error.hpp>
#include <support/hostile_bytes.hpp>
#include <support/write_gguf.hpp>

namespace {

namespace io = resect::io;
using io::ggml_type;
using io::gguf_kind;
using support::byte_writer;
using support::expect_error;
using support::gguf_writer;

constexpr auto malformed = resect::errc::malformed;
constexpr auto unsupported = resect::errc::unsupported;
constexpr auto huge = std::numeric_limits<std::uint64_t>::max();

// Every kind of metadata, an aligned key, three tensors; ends with the last byte of the last tensor.
gguf_writer small_file() {
  gguf_writer w;
  w.add_string("general.architecture", "test");
  w.add_u32("a.u32", 7);
  w.add_f32("a.f32", 0.5f);
  w.add_bool("a.bool", true);
  w.add_strings("a.strings", {"one", "", "three"});
  w.add("a.u8", gguf_kind::u8, std::uint8_t{200});
  w.add("a.i8", gguf_kind::i8, std::uint8_t{0xff});
  w.add("a.u16", gguf_kind::u16, std::uint16_t{60000});
  w.add("a.i16", gguf_kind::i16, std::uint16_t{12});
  w.add("a.i32", gguf_kind::i32, std::uint32_t{0xfffffffe});
  w.add("a.u64", gguf_kind::u64, std::uint64_t{1} << 63);
  w.add("a.i64", gguf_kind::i64, std::uint64_t{5});
  w.add("a.f64", gguf_kind::f64, 1e100);
  w.add_payload("a.bytes", gguf_kind::array, byte_writer{}.number(std::uint32_t{0}).number(std::uint64_t{2}).raw("xy"));
  w.add_tensor("quantized", {32, 2}, ggml_type::q8_0, std::vector<std::byte>(68, std::byte{1}));
  w.add_tensor("half", {3}, ggml_type::f16, std::vector<std::byte>(6));
  w.add_floats("floats", {2, 1, 2}, std::vector{1.0f, 2.0f, 3.0f, 4.0f});
  return w;
}

// Reads all that a parsed file offers, so that a sanitizer would see a view that leads outside.
bool parse_and_use(std::span<const std::byte> bytes) {
  const auto file = io::try_read_gguf(bytes);
  if (!file) return false;
  unsigned sum = 0;
  for (const io::gguf_value& value : file->metadata()) {
    for (const std::byte b : value.bytes) sum += std::to_integer<unsigned>(b);
    (void)file->find_u64(value.key);
    (void)file->find_f64(value.key);
    (void)file->find_bool(value.key);
    (void)file->find_string(value.key);
  }
  for (const io::gguf_tensor& tensor : file->tensors()) {
    REQUIRE(tensor.values() > 0);
    const io::ggml_block* block = io::find_ggml_block(static_cast<std::uint32_t>(tensor.type));
    REQUIRE(block != nullptr);
    REQUIRE(tensor.values() / block->values * block->bytes == static_cast<resect::index_t>(tensor.bytes.size()));
    for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
  }
  return sum < std::numeric_limits<unsigned>::max();
}

struct hostile {
  std::string what;
  std::function<void(gguf_writer&)> spoil;
  resect::errc code;
  std::vector<std::string> texts;
};

void expect_refusals(const std::vector<hostile>& cases) {
  for (const hostile& h : cases) {
    INFO("case: " << h.what);
    gguf_writer w = small_file();
    h.spoil(w);
    const auto bytes = w.bytes();
    const auto file = io::try_read_gguf(support::exact_copy{bytes}.bytes());
    for (const std::string& text : h.texts) expect_error(file, h.code, {text});
  }
}

}  // namespace

TEST_CASE("a GGUF file reads back", "[io][gguf]") {
  const std::uint32_t version = GENERATE(2u, 3u);
  gguf_writer w = small_file();
  w.version = version;
  const auto bytes = w.bytes();
  const auto file = io::try_read_gguf(bytes);
  REQUIRE(file);
  CHECK(file->version() == version);
  REQUIRE(file->tensors().size() == 3);
  const io::gguf_tensor* floats = file->find("floats");
  REQUIRE(floats != nullptr);
  CHECK(floats->n_dims == 3);
  CHECK(floats->extents == std::array<resect::index_t, 4>{2, 1, 2, 1});
  CHECK(floats->values() == 4);
  CHECK(floats->type == ggml_type::f32);
  const auto stored = support::bytes_of(std::vector{1.0f, 2.0f, 3.0f, 4.0f});
  CHECK(std::vector<std::byte>(floats->bytes.begin(), floats->bytes.end()) == stored);
  CHECK(file->find("quantized")->bytes.size() == 68);
  CHECK(file->find("none") == nullptr);
}

TEST_CASE("GGUF metadata is typed", "[io][gguf]") {
  const auto bytes = small_file().bytes();
  const auto parsed = io::try_read_gguf(bytes);
  REQUIRE(parsed);
  const io::gguf_contents& file = *parsed;
  CHECK(*file.get_u64("a.u8") == 200);
  CHECK(*file.get_u64("a.u16") == 60000);
  CHECK(*file.get_u64("a.i16") == 12);
  CHECK(*file.get_u64("a.u32") == 7);
  CHECK(*file.get_u64("a.u64") == std::uint64_t{1} << 63);
  CHECK(*file.get_u64("a.i64") == 5);
  CHECK(*file.get_f64("a.f32") == 0.5);
  CHECK(*file.get_f64("a.f64") == 1e100);
  CHECK(*file.get_bool("a.bool"));
  CHECK(*file.get_string("general.architecture") == "test");
  CHECK(**file.find_array_size("a.strings") == 3);
  CHECK(**file.find_array_size("a.bytes") == 2);
  CHECK(file.find_value("a.strings")->element == gguf_kind::string);

  CHECK_FALSE(*file.find_u64("absent"));
  CHECK_FALSE(*file.find_string("absent"));
  expect_error(file.get_u64("absent"), malformed, {"'absent'", "no such key"});
  expect_error(file.get_u64("a.i8"), malformed, {"'a.i8'", "a negative i8", "an integer >= 0"});
  expect_error(file.get_u64("a.i32"), malformed, {"'a.i32'", "a negative i32"});
  expect_error(file.get_u64("a.f32"), malformed, {"'a.f32'", "got f32", "an integer"});
  expect_error(file.get_u64("a.bytes"), malformed, {"'a.bytes'", "an array of u8"});
  expect_error(file.get_f64("a.u32"), malformed, {"'a.u32'", "got u32", "f32 or f64"});
  expect_error(file.get_bool("a.u8"), malformed, {"'a.u8'", "got u8", "wanted bool"});
  expect_error(file.get_string("a.strings"), malformed, {"'a.strings'", "an array of string", "wanted string"});
  expect_error(file.find_array_size("a.u32"), malformed, {"'a.u32'", "an array"});
}

TEST_CASE("what a GGUF file holds may move, and the throwing form throws", "[io][gguf]") {
  const auto bytes = small_file().bytes();
  io::gguf_contents read = io::read_gguf(bytes);
  const io::gguf_contents moved = std::move(read);
  CHECK(*moved.get_string("general.architecture") == "test");
  CHECK(moved.find("half")->bytes.size() == 6);
  CHECK_THROWS_AS(io::read_gguf(std::span{bytes}.first(5)), resect::exception);
}

TEST_CASE("a GGUF file may hold no tensors or nothing at all", "[io][gguf]") {
  CHECK(io::try_read_gguf(gguf_writer{}.bytes()));
  CHECK(io::try_read_gguf(gguf_writer{}.add_u32("k", 1).bytes()));
}

TEST_CASE("GGUF alignment follows the file", "[io][gguf]") {
  gguf_writer w = small_file();
  w.add_u32("general.alignment", 64);
  w.alignment = 64;
  const auto bytes = w.bytes();
  REQUIRE(io::try_read_gguf(bytes));
  CHECK(io::try_read_gguf(bytes)->find("floats")->bytes.data() - bytes.data() >= 128);
}

TEST_CASE("GGUF headers that lie are refused", "[io][gguf]") {
  expect_refusals({
      {"magic", [](auto& w) { w.magic = "GGML"; }, malformed, {"GGUF magic", "'GGML'"}},
      {"version 1", [](auto& w) { w.version = 1; }, unsupported, {"GGUF version", "got 1", "2 or 3"}},
      {"version 4", [](auto& w) { w.version = 4; }, unsupported, {"GGUF version", "got 4"}},
      {"version 0", [](auto& w) { w.version = 0; }, unsupported, {"GGUF version", "got 0"}},
      {"big-endian", [](auto& w) { w.version = 0x03000000; }, unsupported, {"GGUF version", "a big-endian file"}},
      {"tensor count", [](auto& w) { w.tensor_count = huge; }, malformed, {"tensor count", "18446744073709551615"}},
      {"tensor count just above", [](auto& w) { w.tensor_count = 1000; }, malformed, {"tensor count", "at most"}},
      {"one tensor too many", [](auto& w) { w.tensor_count = 4; }, malformed, {"tensor 4 of 4"}},
      {"metadata count", [](auto& w) { w.metadata_count = huge / 14; }, malformed, {"metadata count"}},
  });
}

TEST_CASE("GGUF metadata that lies is refused", "[io][gguf]") {
  const auto with = [](std::string key, std::uint32_t kind, const byte_writer& payload) {
    return [=](gguf_writer& w) { w.metadata.insert(w.metadata.begin(), {key, kind, payload.bytes()}); };
  };
  const auto aligned = [](std::uint32_t alignment) {
    return [=](gguf_writer& w) { w.add_u32("general.alignment", alignment); };
  };
  const auto array = [&](std::uint32_t element, std::uint64_t count) {
    return with("bad.array", 9, byte_writer{}.number(element).number(count));
  };
  expect_refusals({
      {"duplicate", [](auto& w) { w.add_u32("a.u32", 7); }, malformed, {"'a.u32'", "a key that came before"}},
      {"empty key", with("", 4, byte_writer{}.number(1u)), malformed, {"metadata key 1 of", "an empty name"}},
      {"NUL in key", with(std::string{"a\0b", 3}, 4, byte_writer{}.number(1u)), malformed, {"'a?b'", "without NUL"}},
      {"kind 13", with("bad.kind", 13, {}), malformed, {"'bad.kind'", "value kind 13"}},
      {"bool of 2", with("bad.bool", 7, byte_writer{}.number(std::uint8_t{2})), malformed,
       {"'bad.bool'", "stored as 2"}},
      {"string too long", with("bad.string", 8, byte_writer{}.number(std::uint64_t{1} << 40)), malformed,
       {"'bad.string'", "before the end of the file", "1099511627776"}},
      {"string longest", with("bad.string", 8, byte_writer{}.number(huge)), malformed, {"'bad.string'"}},
      {"array too long", array(4, 1'000'000), malformed, {"'bad.array'", "1000000 elements of u32"}},
      {"array size overflows", array(10, (std::uint64_t{1} << 61) + 1), malformed, {"'bad.array'"}},
      {"array longest", array(0, huge), malformed, {"'bad.array'"}},
      {"strings too many", array(8, huge / 8), malformed, {"'bad.array'", "elements of string"}},
      {"nested array", array(9, 1), unsupported, {"'bad.array'", "an array of arrays"}},
      {"array kind", array(99, 1), malformed, {"'bad.array'", "value kind 99"}},
      {"bools of 3", with("bad.array", 9, byte_writer{}.number(7u).number(std::uint64_t{1}).number(std::uint8_t{3})),
       malformed, {"'bad.array'", "stored as 3"}},
      {"string in array too long",
       with("bad.array", 9, byte_writer{}.number(8u).number(std::uint64_t{1}).number(std::uint64_t{1} << 50)),
       malformed, {"'bad.array'", "before the end of the file"}},
      {"alignment 0", aligned(0), malformed, {"'general.alignment'", "got 0"}},
      {"alignment 24", aligned(24), malformed, {"'general.alignment'", "got 24"}},
      {"alignment 4", aligned(4), malformed, {"'general.alignment'", "got 4"}},
      {"alignment beyond the file", aligned(1u << 31), malformed, {"'quantized'", "the 0 bytes of data"}},
      {"alignment kind", [](auto& w) { w.add_string("general.alignment", "32"); }, malformed,
       {"'general.alignment'", "got string", "u32"}},
  });
}

TEST_CASE("GGUF tensors that lie are refused", "[io][gguf]") {
  const auto extents = [](std::vector<std::uint64_t> e) {
    return [=](gguf_writer& w) { w.tensors[0].extents = e; };
  };
  const auto offset = [](std::size_t i, std::uint64_t o) {
    return [=](gguf_writer& w) { w.tensors[i].offset = o; };
  };
  expect_refusals({
      {"duplicate", [](auto& w) { w.tensors[2].name = "half"; }, malformed, {"'half'", "a name that came before"}},
      {"empty name", [](auto& w) { w.tensors[1].name = ""; }, malformed, {"tensor 2 of 3", "an empty name"}},
      {"NUL in name", [](auto& w) { w.tensors[1].name = std::string{"h\0", 2}; }, malformed, {"'h?'", "without NUL"}},
      {"no dimensions", extents({}), malformed, {"'quantized'", "0 dimensions", "1 to 4"}},
      {"five dimensions", extents({32, 1, 1, 1, 1}), malformed, {"'quantized'", "5 dimensions", "1 to 4"}},
      {"zero extent", extents({32, 0}), malformed, {"'quantized'", "extent 0 in dimension 1"}},
      {"negative extent", extents({32, huge}), malformed, {"'quantized'", "extent -1 in dimension 1"}},
      {"count overflows", extents({32, std::uint64_t{1} << 40, std::uint64_t{1} << 30}), malformed,
       {"'quantized'", "overflows in dimension 2"}},
      {"larger than the file", extents({32, 1'000'000}), malformed, {"'quantized'", "34000000 bytes"}},
      {"largest", [](auto& w) { w.tensors[0].type = 0; w.tensors[0].extents = {huge / 2}; }, malformed,
       {"'quantized'", "a byte count that overflows"}},
      {"part of a block", extents({33, 2}), malformed, {"'quantized'", "rows of 33", "blocks of 32 for Q8_0"}},
      {"unknown type", [](auto& w) { w.tensors[0].type = 10; }, unsupported, {"'quantized'", "ggml type 10"}},
      {"type far off", [](auto& w) { w.tensors[0].type = 0xffffffff; }, unsupported, {"'quantized'", "4294967295"}},
      {"misaligned", offset(2, 8), malformed, {"'floats'", "offset 8", "a multiple of 32"}},
      {"outside", offset(1, 4096), malformed, {"'half'", "offset 4096, 6 bytes", "within"}},
      {"end outside", offset(0, 128), malformed, {"'quantized'", "offset 128, 68 bytes"}},
      {"offset overflows", offset(1, huge - 31), malformed, {"'half'", "offset 18446744073709551584"}},
      {"overlap", offset(1, 64), malformed, {"'half'", "bytes shared with 'quantized'"}},
      {"same place", [](auto& w) { w.tensors[1].offset = 0; w.tensors[2].offset = 0; }, malformed, {"do not overlap"}},
  });
}

TEST_CASE("messages mask and cut hostile names", "[io][gguf]") {
  gguf_writer w = small_file();
  w.tensors[0].name = "\x1b[2J" + std::string(5000, 'x');
  w.tensors[0].type = 10;
  const auto file = io::try_read_gguf(w.bytes());
  expect_error(file, unsupported, {"tensor '?[2Jxxx", "xxx...'"});
  CHECK(file.error().message().view().find('\x1b') == std::string_view::npos);
}

TEST_CASE("no GGUF file parses when cut short", "[io][gguf]") {
  support::expect_no_prefix_parses(small_file().bytes(), parse_and_use);
}

TEST_CASE("mutated GGUF files never crash the reader", "[io][gguf]") {
  const auto bytes = small_file().bytes();
  REQUIRE(parse_and_use(bytes));
  const std::size_t accepted = support::parse_mutations(bytes, 40'000, 1, parse_and_use);
  CHECK(accepted > 0);  // changes in values and weights are not the reader's to see
  CHECK(accepted < 40'000);
}
