// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include <resect/core/float16.hpp>
#include <resect/core/result.hpp>
#include <resect/io/bytes.hpp>
#include <resect/io/ggml_type.hpp>

// Decoding of ggml's tensor types, as GGUF files hold them. Source: ggml-org, ggml/src/ggml-quants.c
// (dequantize_row_q8_0, …).
namespace RESECT_NAMESPACE::quant {
namespace detail {

// Exact. A NaN keeps its sign and payload, as in ggml; core's f16 makes every NaN CUDA's.
inline float f16_at(const std::byte* p) noexcept {
  const f16 half = f16::from_bits(io::load_little<std::uint16_t>(p));
  if (!half.is_nan()) return static_cast<float>(half);
  const std::uint32_t sign = std::uint32_t{half.bits & 0x8000u} << 16;
  return std::bit_cast<float>(sign | 0x7f800000u | std::uint32_t{half.bits & 0x3ffu} << 13);
}
inline float bf16_at(const std::byte* p) noexcept {
  return static_cast<float>(bf16::from_bits(io::load_little<std::uint16_t>(p)));
}
inline int low4(std::byte b) noexcept { return std::to_integer<int>(b & std::byte{15}); }
inline int high4(std::byte b) noexcept { return std::to_integer<int>(b >> 4); }
inline int signed8(std::byte b) noexcept { return std::bit_cast<std::int8_t>(b); }

// Each decodes one block to its values, in ggml's order. The products are exact in float, so a value is rounded at most
// once and a fused multiply-add gives the same bits.

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
  const auto fifth = io::load_little<std::uint32_t>(b + 2);
  for (std::size_t i = 0; i < 32; ++i) y[i] = static_cast<float>(code5(b + 6, fifth, i) - 16) * d;
}

inline void decode_q5_1(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  const float m = f16_at(b + 2);
  const auto fifth = io::load_little<std::uint32_t>(b + 4);
  for (std::size_t i = 0; i < 32; ++i) y[i] = static_cast<float>(code5(b + 8, fifth, i)) * d + m;
}

struct q4_k_group {
  int scale, min;
};

// Group j of the eight groups in a Q4_K block: both numbers have six bits, packed into twelve bytes.
inline q4_k_group group_of_q4_k(const std::byte* s, std::size_t j) noexcept {
  const auto at = [&](std::size_t i) { return std::to_integer<int>(s[i]); };
  if (j < 4) return {at(j) & 63, at(j + 4) & 63};
  return {low4(s[j + 4]) | (at(j - 4) >> 6) << 4, high4(s[j + 4]) | (at(j) >> 6) << 4};
}

inline void decode_q4_k(const std::byte* b, float* y) noexcept {
  const float d = f16_at(b);
  const float dmin = f16_at(b + 2);
  for (std::size_t j = 0; j < 8; ++j) {
    const q4_k_group group = group_of_q4_k(b + 4, j);
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

inline void decode_ggml_block(io::ggml_type type, const std::byte* b, float* y) noexcept {
  switch (type) {
    case io::ggml_type::f32:
      *y = std::bit_cast<float>(io::load_little<std::uint32_t>(b));
      break;
    case io::ggml_type::f16:
      *y = f16_at(b);
      break;
    case io::ggml_type::bf16:
      *y = bf16_at(b);
      break;
    case io::ggml_type::q8_0:
      decode_q8_0(b, y);
      break;
    case io::ggml_type::q4_0:
      decode_q4_0(b, y);
      break;
    case io::ggml_type::q4_1:
      decode_q4_1(b, y);
      break;
    case io::ggml_type::q5_0:
      decode_q5_0(b, y);
      break;
    case io::ggml_type::q5_1:
      decode_q5_1(b, y);
      break;
    case io::ggml_type::q4_k:
      decode_q4_k(b, y);
      break;
    case io::ggml_type::q6_k:
      decode_q6_k(b, y);
      break;
  }
}

}  // namespace detail

// Decodes whole blocks to floats: the bits of ggml's reference decoder, on every machine and with every option of the
// compiler. `bytes` are blocks of `type` at any alignment, `values` as many as the blocks hold; blocks of a matrix go
// along its rows.
//   quant::try_dequantize(tensor.type, tensor.bytes, values)   // of an io::gguf_tensor
//   if (const auto* block = io::find_ggml_block(tensor.dtype))   // of an io::safetensor: F32, F16 or BF16
//     quant::try_dequantize(block->type, tensor.bytes, values)
// Errors, where nothing is written: unsupported (a number that is none of ggml_type's), shape_mismatch (bytes or values
// that are no whole blocks, or not as many of both).
inline status try_dequantize(io::ggml_type type, std::span<const std::byte> bytes, std::span<float> values) noexcept {
  const io::ggml_block* block = io::find_ggml_block(static_cast<std::uint32_t>(type));
  if (block == nullptr)
    return error{errc::unsupported, "dequantize", text("ggml type ", static_cast<std::uint32_t>(type)),
                 "a type that can be decoded"};
  const auto block_bytes = static_cast<std::size_t>(block->bytes);
  const auto block_values = static_cast<std::size_t>(block->values);
  const std::size_t blocks = bytes.size() / block_bytes;
  if (bytes.size() % block_bytes != 0 || values.size() % block_values != 0 || values.size() / block_values != blocks)
    return error{errc::shape_mismatch, "dequantize", text(bytes.size(), " bytes for ", values.size(), " values"),
                 text(block->bytes, " bytes for each ", block->values, " values of ", block->name)};
  for (std::size_t i = 0; i < blocks; ++i)
    detail::decode_ggml_block(type, bytes.data() + i * block_bytes, values.data() + i * block_values);
  return {};
}

#if RESECT_EXCEPTIONS
inline void dequantize(io::ggml_type type, std::span<const std::byte> bytes, std::span<float> values) {
  value_or_throw(try_dequantize(type, bytes, values));
}
#endif

}  // namespace RESECT_NAMESPACE::quant
