// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::io {

// Element types of ggml tensors; the numbers are those in GGUF files. Here are those that quant/formats/ggml.hpp
// decodes. Source: ggml-org, ggml/include/ggml.h (enum ggml_type).
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

// How a type is stored: whole blocks, each of `values` values in `bytes` bytes. `name` is ggml's.
struct ggml_block {
  ggml_type type;
  std::string_view name;
  index_t values;
  index_t bytes;
};

// One entry for each ggml_type. Source: ggml-org, ggml/src/ggml-common.h (block_q8_0, …).
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

// The block layout of the type with this number, null where ggml_type does not have it.
constexpr const ggml_block* find_ggml_block(std::uint32_t type_id) noexcept {
  for (const ggml_block& block : ggml_blocks)
    if (static_cast<std::uint32_t>(block.type) == type_id) return &block;
  return nullptr;
}

// The same by ggml's name. Of safetensors' dtypes it knows F32, F16 and BF16, which are stored as ggml's types of that
// name are.
constexpr const ggml_block* find_ggml_block(std::string_view name) noexcept {
  for (const ggml_block& block : ggml_blocks)
    if (block.name == name) return &block;
  return nullptr;
}

}  // namespace RESECT_NAMESPACE::io
