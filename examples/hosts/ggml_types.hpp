// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// Element types of ggml tensors that can be decoded here; the numbers are those in GGUF files.
enum class ggml_type : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q6_k = 14,
  bf16 = 30,
};

// How a type is stored: whole blocks of `values` values in `bytes` bytes.
struct ggml_block {
  ggml_type type;
  std::string_view name;
  std::size_t values;
  std::size_t bytes;
};

inline constexpr std::array<ggml_block, 10> ggml_blocks = {{
    {ggml_type::f32, "F32", 1, 4},
    {ggml_type::f16, "F16", 1, 2},
    {ggml_type::bf16, "BF16", 1, 2},
    {ggml_type::q8_0, "Q8_0", 32, 34},
    {ggml_type::q4_0, "Q4_0", 32, 18},
    {ggml_type::q4_1, "Q4_1", 32, 20},
    {ggml_type::q5_0, "Q5_0", 32, 22},
    {ggml_type::q5_1, "Q5_1", 32, 24},
    {ggml_type::q4_k, "Q4_K", 256, 144},
    {ggml_type::q6_k, "Q6_K", 256, 210},
}};

// The block layout of the type with this number, null where it is not known here.
constexpr const ggml_block* find_block(std::uint32_t type_id) noexcept {
  for (const ggml_block& block : ggml_blocks)
    if (static_cast<std::uint32_t>(block.type) == type_id) return &block;
  return nullptr;
}

// Exact: every f16 is an f32, subnormals, infinities and the payloads of NaNs included.
constexpr float f16_to_f32(std::uint16_t half) noexcept {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

// Exact: a bf16 is the upper half of an f32.
constexpr float bf16_to_f32(std::uint16_t upper) noexcept {
  return std::bit_cast<float>(std::uint32_t{upper} << 16);
}

namespace detail {

inline float f16_at(const std::byte* p) noexcept { return f16_to_f32(load_little<std::uint16_t>(p)); }
inline int low4(std::byte b) noexcept { return std::to_integer<int>(b & std::byte{15}); }
inline int high4(std::byte b) noexcept { return std::to_integer<int>(b >> 4); }
inline int signed8(std::byte b) noexcept { return std::bit_cast<std::int8_t>(b); }

// Each decodes one block; values come in the order that ggml gives them. The products are exact in
// float, so at most one rounding happens and a fused multiply-add gives the same bits.

inline void decode_q8_0(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  for (std::size_t i = 0; i < 32; ++i) y[i] = static_cast<float>(signed8(b[2 + i])) * d;
}

inline void decode_q4_0(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  for (std::size_t i = 0; i < 16; ++i) {
    y[i] = static_cast<float>(low4(b[2 + i]) - 8) * d;
    y[i + 16] = static_cast<float>(high4(b[2 + i]) - 8) * d;
  }
}

inline void decode_q4_1(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  const float m = f16_at(b + 2);
  for (std::size_t i = 0; i < 16; ++i) {
    y[i] = static_cast<float>(low4(b[4 + i])) * d + m;
    y[i + 16] = static_cast<float>(high4(b[4 + i])) * d + m;
  }
}

// Value i of a five-bit block: four bits in a nibble, the fifth in bit i of `fifth`.
inline int code5(const std::byte* nibbles, std::uint32_t fifth, std::size_t i) noexcept {
  const int low = i < 16 ? low4(nibbles[i]) : high4(nibbles[i - 16]);
  return low | static_cast<int>((fifth >> i) & 1u) << 4;
}

inline void decode_q5_0(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  const auto fifth = load_little<std::uint32_t>(b + 2);
  for (std::size_t i = 0; i < 32; ++i) y[i] = static_cast<float>(code5(b + 6, fifth, i) - 16) * d;
}

inline void decode_q5_1(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  const float m = f16_at(b + 2);
  const auto fifth = load_little<std::uint32_t>(b + 4);
  for (std::size_t i = 0; i < 32; ++i) y[i] = static_cast<float>(code5(b + 8, fifth, i)) * d + m;
}

struct scale_and_min {
  int scale, min;
};

// Group j of the eight groups in a Q4_K block: both numbers have six bits, packed into twelve bytes.
inline scale_and_min group_of_q4_k(const std::byte* s, std::size_t j) noexcept {
  const auto at = [&](std::size_t i) { return std::to_integer<int>(s[i]); };
  if (j < 4) return {at(j) & 63, at(j + 4) & 63};
  return {low4(s[j + 4]) | (at(j - 4) >> 6) << 4, high4(s[j + 4]) | (at(j) >> 6) << 4};
}

inline void decode_q4_k(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  const float dmin = f16_at(b + 2);
  for (std::size_t j = 0; j < 8; ++j) {
    const scale_and_min group = group_of_q4_k(b + 4, j);
    const float scale = d * static_cast<float>(group.scale);
    const float min = dmin * static_cast<float>(group.min);
    const std::byte* codes = b + 16 + 32 * (j / 2);
    for (std::size_t i = 0; i < 32; ++i) {
      const int code = j % 2 == 0 ? low4(codes[i]) : high4(codes[i]);
      y[32 * j + i] = scale * static_cast<float>(code) - min;
    }
  }
}

inline void decode_q6_k(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b + 208);
  for (std::size_t half = 0; half < 2; ++half) {
    const std::byte* low = b + 64 * half;
    const std::byte* high = b + 128 + 32 * half;
    const std::byte* scales = b + 192 + 8 * half;
    for (std::size_t quarter = 0; quarter < 4; ++quarter)
      for (std::size_t i = 0; i < 32; ++i) {
        const std::byte nibbles = low[32 * (quarter % 2) + i];
        const int four = quarter < 2 ? low4(nibbles) : high4(nibbles);
        const int two = (std::to_integer<int>(high[i]) >> (2 * quarter)) & 3;
        const float scale = d * static_cast<float>(signed8(scales[2 * quarter + i / 16]));
        y[128 * half + 32 * quarter + i] = scale * static_cast<float>((four | two << 4) - 32);
      }
  }
}

inline void decode_block(ggml_type type, const std::byte* b, float* y) noexcept {
  switch (type) {
    case ggml_type::f32: *y = std::bit_cast<float>(load_little<std::uint32_t>(b)); break;
    case ggml_type::f16: *y = f16_at(b); break;
    case ggml_type::bf16: *y = bf16_to_f32(load_little<std::uint16_t>(b)); break;
    case ggml_type::q8_0: decode_q8_0(b, y); break;
    case ggml_type::q4_0: decode_q4_0(b, y); break;
    case ggml_type::q4_1: decode_q4_1(b, y); break;
    case ggml_type::q5_0: decode_q5_0(b, y); break;
    case ggml_type::q5_1: decode_q5_1(b, y); break;
    case ggml_type::q4_k: decode_q4_k(b, y); break;
    case ggml_type::q6_k: decode_q6_k(b, y); break;
  }
}

}  // namespace detail

// Decodes whole blocks to the values that ggml's reference decoder gives, bit for bit.
// @param bytes  blocks of `type`, any alignment
// @param values  as many as the blocks hold
// @return an error, and nothing written, where the sizes do not fit or the type is not known
inline resect::status dequantize(ggml_type type, std::span<const std::byte> bytes, std::span<float> values) noexcept {
  const ggml_block* block = find_block(static_cast<std::uint32_t>(type));
  if (block == nullptr)
    return resect::error{resect::errc::unsupported, "dequantize",
                         resect::text("ggml type ", static_cast<std::uint32_t>(type)), "a type that can be decoded"};
  const std::size_t blocks = bytes.size() / block->bytes;
  if (bytes.size() % block->bytes != 0 || values.size() % block->values != 0 ||
      values.size() / block->values != blocks)
    return resect::error{resect::errc::shape_mismatch, "dequantize",
                         resect::text(bytes.size(), " bytes for ", values.size(), " values"),
                         resect::text(block->bytes, " bytes for each ", block->values, " values of ", block->name)};
  for (std::size_t i = 0; i < blocks; ++i)
    detail::decode_block(type, bytes.data() + i * block->bytes, values.data() + i * block->values);
  return {};
}

}  // namespace hosts
