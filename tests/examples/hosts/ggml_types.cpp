// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/ggml_types.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <hosts/mapped_file.hpp>

#include "expect_error.hpp"

using namespace hosts;

TEST_CASE("f16 converts exactly", "[hosts][ggml_types]") {
  std::vector<int> wrong;
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float x = f16_to_f32(static_cast<std::uint16_t>(bits));
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
  CHECK(std::bit_cast<std::uint32_t>(f16_to_f32(0x7e01)) == 0x7fc02000u);  // a NaN keeps its payload
}

TEST_CASE("bf16 is the upper half of f32", "[hosts][ggml_types]") {
  CHECK(bf16_to_f32(0x3f80) == 1.0f);
  CHECK(bf16_to_f32(0xc049) == -3.140625f);
  CHECK(bf16_to_f32(0x0001) == std::ldexp(1.0f, -133));
  CHECK(bf16_to_f32(0x7f80) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(bf16_to_f32(0x7fc0)));
  CHECK(std::signbit(bf16_to_f32(0x8000)));
}

TEST_CASE("dequantization gives the bits of an independent decoder", "[hosts][ggml_types]") {
  const auto file = mapped_file::try_open(RESECT_SOURCE_DIR "/tests/examples/hosts/data/dequant_golden.bin");
  REQUIRE(file);
  byte_reader reader{file->bytes()};
  std::span<const std::byte> magic;
  REQUIRE(reader.take(8, magic));
  REQUIRE(as_text(magic) == "RSCTDQ01");

  std::set<std::uint32_t> seen;
  while (reader.remaining() > 0) {
    std::uint32_t id = 0, n_bytes = 0, n_values = 0;
    std::span<const std::byte> blocks, golden;
    REQUIRE((reader.read(id) && reader.read(n_bytes) && reader.read(n_values)));
    REQUIRE((reader.take(n_bytes, blocks) && reader.take(std::uint64_t{n_values} * 4, golden)));
    const ggml_block* block = find_block(id);
    REQUIRE(block != nullptr);
    std::vector<float> values(n_values);
    REQUIRE(dequantize(block->type, blocks, values));
    std::size_t differing = 0;
    for (std::size_t i = 0; i < n_values; ++i)
      differing += std::bit_cast<std::uint32_t>(values[i]) != load_little<std::uint32_t>(golden.data() + 4 * i);
    INFO(block->name << ": " << n_values << " values");
    CHECK(differing == 0);
    seen.insert(id);
  }
  CHECK(seen == std::set<std::uint32_t>{1, 2, 3, 6, 7, 8, 12, 14, 30});
}

TEST_CASE("F32 is read as stored, from any address", "[hosts][ggml_types]") {
  const std::vector<std::byte> bytes = {std::byte{9}, std::byte{0}, std::byte{0}, std::byte{0x80}, std::byte{0xbf}};
  float x = 0;
  REQUIRE(dequantize(ggml_type::f32, std::span{bytes}.subspan(1), {&x, 1}));
  CHECK(x == -1.0f);
}

TEST_CASE("blocks have ggml's sizes", "[hosts][ggml_types]") {
  struct expected {
    std::uint32_t id;
    std::size_t values, bytes;
  };
  for (const expected& e : {expected{0, 1, 4}, {1, 1, 2}, {30, 1, 2}, {8, 32, 34}, {2, 32, 18}, {3, 32, 20},
                            {6, 32, 22}, {7, 32, 24}, {12, 256, 144}, {14, 256, 210}}) {
    const ggml_block* block = find_block(e.id);
    REQUIRE(block != nullptr);
    CHECK(block->values == e.values);
    CHECK(block->bytes == e.bytes);
  }
  CHECK(find_block(10) == nullptr);
  CHECK(find_block(0xffffffffu) == nullptr);
}

TEST_CASE("dequantization refuses sizes that do not fit", "[hosts][ggml_types]") {
  const std::vector<std::byte> bytes(40);
  std::vector<float> values(64, 7.0f);
  const auto shape = resect::errc::shape_mismatch;
  testing::expect_error(dequantize(ggml_type::q4_1, std::span{bytes}.first(39), values), shape, {"39 bytes", "Q4_1"});
  testing::expect_error(dequantize(ggml_type::q4_1, bytes, std::span{values}.first(63)), shape, {"63 values"});
  testing::expect_error(dequantize(ggml_type::q4_1, bytes, std::span{values}.first(32)), shape, {"40 bytes for 32"});
  testing::expect_error(dequantize(ggml_type{10}, bytes, values), resect::errc::unsupported, {"ggml type 10"});
  CHECK(values == std::vector<float>(64, 7.0f));
  CHECK(dequantize(ggml_type::q4_1, bytes, values));
}
