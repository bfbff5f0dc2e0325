// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <resect/io/bytes.hpp>
#include <resect/io/safetensors.hpp>
#include <resect/quant/formats/ggml.hpp>
#include <support/byte_writer.hpp>
#include <support/expect_error.hpp>
#include <support/write_safetensors.hpp>

namespace {

namespace io = resect::io;
using io::ggml_type;
using resect::quant::try_dequantize;

// One 16-bit code of a type that stores a value in 16 bits.
float decoded(ggml_type type, std::uint16_t code) {
  float x = 0;
  REQUIRE(try_dequantize(type, support::byte_writer{}.number(code).bytes(), {&x, 1}));
  return x;
}

std::string golden_data() {
  std::ifstream file{RESECT_SOURCE_DIR "/tests/quant/formats/dequant_golden.bin", std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

TEST_CASE("f16 converts exactly", "[quant][formats]") {
  support::byte_writer codes;
  for (int bits = 0; bits < 0x10000; ++bits) codes.number(static_cast<std::uint16_t>(bits));
  std::vector<float> values(0x10000);
  REQUIRE(try_dequantize(ggml_type::f16, codes.bytes(), values));
  std::vector<int> wrong;
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float x = values[static_cast<std::size_t>(bits)];
    const int exponent = (bits >> 10) & 31;
    const int fraction = bits & 1023;
    const bool negative = (bits & 0x8000) != 0;
    bool right = std::signbit(x) == negative;
    if (exponent == 31) {
      right = right && (fraction == 0 ? std::isinf(x) : std::isnan(x));
    } else {
      const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      right = right && std::fabs(double{x}) == magnitude;
    }
    if (!right) wrong.push_back(bits);
  }
  CHECK(wrong.empty());
  CHECK(std::bit_cast<std::uint32_t>(values[0x7e01]) == 0x7fc02000u);  // a NaN keeps its payload
  CHECK(std::bit_cast<std::uint32_t>(values[0xfc01]) == 0xff802000u);  // and its sign, and stays signalling
}

TEST_CASE("bf16 is the upper half of f32", "[quant][formats]") {
  CHECK(decoded(ggml_type::bf16, 0x3f80) == 1.0f);
  CHECK(decoded(ggml_type::bf16, 0xc049) == -3.140625f);
  CHECK(decoded(ggml_type::bf16, 0x0001) == std::ldexp(1.0f, -133));
  CHECK(decoded(ggml_type::bf16, 0x7f80) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(decoded(ggml_type::bf16, 0x7fc0)));
  CHECK(std::signbit(decoded(ggml_type::bf16, 0x8000)));
}

TEST_CASE("dequantization gives the bits of an independent decoder", "[quant][formats]") {
  const std::string file = golden_data();
  io::byte_reader reader{io::as_bytes(file)};
  std::span<const std::byte> magic;
  REQUIRE(reader.take(8, magic));
  REQUIRE(io::as_text(magic) == "RSCTDQ01");

  std::set<std::uint32_t> seen;
  while (reader.remaining() > 0) {
    std::uint32_t id = 0, n_bytes = 0, n_values = 0;
    std::span<const std::byte> blocks, golden;
    REQUIRE((reader.read(id) && reader.read(n_bytes) && reader.read(n_values)));
    REQUIRE((reader.take(n_bytes, blocks) && reader.take(std::uint64_t{n_values} * 4, golden)));
    const io::ggml_block* block = io::find_ggml_block(id);
    REQUIRE(block != nullptr);
    std::vector<float> values(n_values);
    REQUIRE(try_dequantize(block->type, blocks, values));
    std::size_t differing = 0;
    for (std::size_t i = 0; i < n_values; ++i)
      differing += std::bit_cast<std::uint32_t>(values[i]) != io::load_little<std::uint32_t>(golden.data() + 4 * i);
    INFO(block->name << ": " << n_values << " values");
    CHECK(differing == 0);
    seen.insert(id);
  }
  CHECK(seen == std::set<std::uint32_t>{1, 2, 3, 6, 7, 8, 12, 14, 30});
}

TEST_CASE("F32 is read as stored, from any address", "[quant][formats]") {
  const std::vector<std::byte> bytes = {std::byte{9}, std::byte{0}, std::byte{0}, std::byte{0x80}, std::byte{0xbf}};
  float x = 0;
  REQUIRE(try_dequantize(ggml_type::f32, std::span{bytes}.subspan(1), {&x, 1}));
  CHECK(x == -1.0f);
}

TEST_CASE("tensors of safetensors files are decoded by the name of their dtype", "[quant][formats]") {
  const auto halves = support::byte_writer{}.number(std::uint16_t{0x3c00}).number(std::uint16_t{0xbf80}).bytes();
  const auto file = support::safetensors_writer{}
                        .add_floats("floats", {2}, std::vector{1.0f, 2.5f})
                        .add("f16", "F16", {2}, halves)
                        .add("bf16", "BF16", {2}, halves)
                        .bytes();
  const io::safetensors_contents contents = io::read_safetensors(file);
  const auto decode = [&](std::string_view name) {
    const io::safetensor& tensor = *contents.find(name);
    std::vector<float> values(2);
    REQUIRE(try_dequantize(io::find_ggml_block(tensor.dtype)->type, tensor.bytes, values));
    return values;
  };
  CHECK(decode("floats") == std::vector{1.0f, 2.5f});
  CHECK(decode("f16") == std::vector{1.0f, -1.875f});
  CHECK(decode("bf16") == std::vector{0x1p-7f, -1.0f});
}

TEST_CASE("the throwing form throws what the other one returns", "[quant][formats]") {
  float x = 0;
  resect::quant::dequantize(ggml_type::f32, support::byte_writer{}.number(2.5f).bytes(), {&x, 1});
  CHECK(x == 2.5f);
  CHECK_THROWS_AS(resect::quant::dequantize(ggml_type::f16, {}, {&x, 1}), resect::exception);
}

TEST_CASE("blocks have ggml's sizes", "[quant][formats]") {
  struct expected {
    std::uint32_t id;
    resect::index_t values, bytes;
  };
  for (const expected& e : {expected{0, 1, 4}, {1, 1, 2}, {30, 1, 2}, {8, 32, 34}, {2, 32, 18}, {3, 32, 20},
                            {6, 32, 22}, {7, 32, 24}, {12, 256, 144}, {14, 256, 210}}) {
    const io::ggml_block* block = io::find_ggml_block(e.id);
    REQUIRE(block != nullptr);
    CHECK(block->values == e.values);
    CHECK(block->bytes == e.bytes);
  }
  CHECK(io::find_ggml_block(10) == nullptr);
  CHECK(io::find_ggml_block(0xffffffffu) == nullptr);
  for (const io::ggml_block& block : io::ggml_blocks) CHECK(io::find_ggml_block(block.name) == &block);
  for (const std::string_view name : {"", "F3", "F322", "F64", "Q2_K", "I8"}) CHECK(io::find_ggml_block(name) == nullptr);
}

TEST_CASE("dequantization refuses sizes that do not fit", "[quant][formats]") {
  const std::vector<std::byte> bytes(40);
  std::vector<float> values(64, 7.0f);
  const auto shape = resect::errc::shape_mismatch;
  support::expect_error(try_dequantize(ggml_type::q4_1, std::span{bytes}.first(39), values), shape, {"39 bytes", "Q4_1"});
  support::expect_error(try_dequantize(ggml_type::q4_1, bytes, std::span{values}.first(63)), shape, {"63 values"});
  support::expect_error(try_dequantize(ggml_type::q4_1, bytes, std::span{values}.first(32)), shape, {"40 bytes for 32"});
  support::expect_error(try_dequantize(ggml_type{10}, bytes, values), resect::errc::unsupported, {"ggml type 10"});
  CHECK(values == std::vector<float>(64, 7.0f));
  CHECK(try_dequantize(ggml_type::q4_1, bytes, values));
}
