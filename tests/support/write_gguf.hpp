// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/io/ggml_type.hpp>
#include <resect/io/gguf_contents.hpp>
#include <support/byte_writer.hpp>

namespace support {

using resect::io::ggml_type;
using resect::io::gguf_kind;

// Writes GGUF files, wrong ones too: every field can be set to anything before `bytes()`.
struct gguf_writer {
  struct entry {
    std::string key;
    std::uint32_t kind;
    std::vector<std::byte> payload;  // as stored after the kind
  };
  struct tensor {
    std::string name;
    std::vector<std::uint64_t> extents;  // innermost first
    std::uint32_t type;
    std::vector<std::byte> bytes;
    std::optional<std::uint64_t> offset;  // where unset, behind the tensor before
  };

  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;  // of the layout; the key general.alignment is an entry like any other
  std::optional<std::uint64_t> tensor_count, metadata_count;
  std::vector<entry> metadata;
  std::vector<tensor> tensors;

  template <class T>
  gguf_writer& add(std::string key, gguf_kind kind, T value) {
    return add_payload(std::move(key), kind, byte_writer{}.number(value));
  }
  gguf_writer& add_u32(std::string key, std::uint32_t v) { return add(std::move(key), gguf_kind::u32, v); }
  gguf_writer& add_f32(std::string key, float v) { return add(std::move(key), gguf_kind::f32, v); }
  gguf_writer& add_bool(std::string key, bool v) { return add(std::move(key), gguf_kind::boolean, std::uint8_t{v}); }
  gguf_writer& add_string(std::string key, std::string_view v) {
    return add_payload(std::move(key), gguf_kind::string, byte_writer{}.string(v));
  }
  gguf_writer& add_strings(std::string key, const std::vector<std::string>& values) {
    byte_writer payload;
    payload.number(static_cast<std::uint32_t>(gguf_kind::string)).number(std::uint64_t{values.size()});
    for (const std::string& value : values) payload.string(value);
    return add_payload(std::move(key), gguf_kind::array, payload);
  }
  gguf_writer& add_payload(std::string key, gguf_kind kind, const byte_writer& payload) {
    metadata.push_back({std::move(key), static_cast<std::uint32_t>(kind), payload.bytes()});
    return *this;
  }
  gguf_writer& add_tensor(std::string name, std::vector<std::uint64_t> extents, ggml_type type,
                          std::vector<std::byte> bytes) {
    tensors.push_back({std::move(name), std::move(extents), static_cast<std::uint32_t>(type), std::move(bytes), {}});
    return *this;
  }
  gguf_writer& add_floats(std::string name, std::vector<std::uint64_t> extents, std::span<const float> values) {
    return add_tensor(std::move(name), std::move(extents), ggml_type::f32, bytes_of(values));
  }

  entry& at(std::string_view key) {
    for (entry& e : metadata)
      if (e.key == key) return e;
    return metadata.emplace_back(entry{std::string{key}, 0, {}});
  }
  void remove(std::string_view key) {
    std::erase_if(metadata, [&](const entry& e) { return e.key == key; });
  }

  std::vector<std::byte> bytes() const {
    byte_writer data;
    std::vector<std::uint64_t> offsets;
    for (const tensor& t : tensors) {
      data.pad(static_cast<std::size_t>(alignment));
      offsets.push_back(t.offset.value_or(data.size()));
      data.raw(t.bytes);
    }
    byte_writer out;
    out.raw(magic).number(version);
    out.number(tensor_count.value_or(tensors.size())).number(metadata_count.value_or(metadata.size()));
    for (const entry& e : metadata) out.string(e.key).number(e.kind).raw(e.payload);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      out.string(tensors[i].name).number(static_cast<std::uint32_t>(tensors[i].extents.size()));
      for (const std::uint64_t extent : tensors[i].extents) out.number(extent);
      out.number(tensors[i].type).number(offsets[i]);
    }
    if (!tensors.empty()) out.pad(static_cast<std::size_t>(alignment));
    return out.raw(data.bytes()).bytes();
  }
};

}  // namespace support
