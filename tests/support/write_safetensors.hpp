// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/byte_writer.hpp>

namespace support {

// A safetensors file of any header text and data.
inline std::vector<std::byte> safetensors_bytes(std::string_view header, std::span<const std::byte> data) {
  return byte_writer{}.string(header).raw(data).bytes();
}

// Writes well-formed safetensors files.
struct safetensors_writer {
  struct tensor {
    std::string name, dtype;
    std::vector<std::uint64_t> extents;  // outermost first
    std::vector<std::byte> bytes;
  };
  std::vector<tensor> tensors;

  safetensors_writer& add(std::string name, std::string dtype, std::vector<std::uint64_t> extents,
                          std::vector<std::byte> bytes) {
    tensors.push_back({std::move(name), std::move(dtype), std::move(extents), std::move(bytes)});
    return *this;
  }
  safetensors_writer& add_floats(std::string name, std::vector<std::uint64_t> extents, std::span<const float> values) {
    return add(std::move(name), "F32", std::move(extents), bytes_of(values));
  }

  std::vector<std::byte> bytes() const {
    std::string header = R"({"__metadata__":{"format":"pt"})";
    byte_writer data;
    for (const tensor& t : tensors) {
      header += ",\"" + t.name + R"(":{"dtype":")" + t.dtype + R"(","shape":[)";
      for (std::size_t d = 0; d < t.extents.size(); ++d) header += (d == 0 ? "" : ",") + std::to_string(t.extents[d]);
      header += R"(],"data_offsets":[)" + std::to_string(data.size()) + ',';
      data.raw(t.bytes);
      header += std::to_string(data.size()) + "]}";
    }
    header += '}';
    while (header.size() % 8 != 0) header += ' ';
    return safetensors_bytes(header, data.bytes());
  }
};

}  // namespace support
