// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <hosts/bytes.hpp>
#include <hosts/ggml_types.hpp>
#include <hosts/mapped_file.hpp>
#include <hosts/safetensors_header.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// The ggml type that is stored as this tensor is; an error that names the tensor where there is none.
inline resect::result<ggml_type> ggml_type_of(const safetensor& tensor) noexcept {
  if (tensor.dtype == "F32") return ggml_type::f32;
  if (tensor.dtype == "F16") return ggml_type::f16;
  if (tensor.dtype == "BF16") return ggml_type::bf16;
  return resect::error{resect::errc::unsupported, resect::text("tensor ", shown(tensor.name).view()),
                       resect::text("dtype ", tensor.dtype), "F32, F16 or BF16"};
}

// Decodes a tensor to f32; F32, F16 and BF16 can be.
// @param values  as many as the tensor has
inline resect::status dequantize(const safetensor& tensor, std::span<float> values) noexcept {
  const auto type = ggml_type_of(tensor);
  if (!type) return type.error();
  return dequantize(*type, tensor.bytes, values);
}

// One `.safetensors` file whose header was checked: sizes, offsets, no overlap, no hole, no key twice.
// Tensor bytes point into the file and live as long as this object (or, after `try_parse`, as the
// caller's bytes).
class safetensors_file {
 public:
  static resect::result<safetensors_file> try_open(const std::string& path) {
    auto file = mapped_file::try_open(path);
    if (!file) return file.error();
    auto contents = parse(file->bytes());
    if (!contents) return contents.error();
    return safetensors_file{std::move(*contents), std::move(*file)};
  }

  // The same on bytes in memory, which the caller keeps alive.
  static resect::result<safetensors_file> try_parse(std::span<const std::byte> bytes) {
    auto contents = parse(bytes);
    if (!contents) return contents.error();
    return safetensors_file{std::move(*contents), std::nullopt};
  }

  // All tensors, in the order of the header.
  std::span<const safetensor> tensors() const noexcept { return contents_.tensors; }

  // The pairs of `__metadata__`, in the order of the header.
  std::span<const std::pair<std::string, std::string>> metadata() const noexcept { return contents_.metadata; }

  // The tensor of this name, null where there is none.
  const safetensor* find(std::string_view name) const {
    const auto found = contents_.index.find(std::string{name});
    return found == contents_.index.end() ? nullptr : &contents_.tensors[found->second];
  }

 private:
  safetensors_file(safetensors_contents contents, std::optional<mapped_file> file)
      : contents_(std::move(contents)), file_(std::move(file)) {}

  static resect::result<safetensors_contents> parse(std::span<const std::byte> file) {
    constexpr std::uint64_t largest_header = 100'000'000;
    byte_reader reader{file};
    std::uint64_t size = 0;
    std::span<const std::byte> header;
    if (!reader.read(size))
      return malformed("safetensors header", resect::text("a file of ", file.size(), " bytes"), "8 or more");
    if (size > largest_header)
      return malformed("safetensors header", resect::text(size, " bytes"), resect::text("at most ", largest_header));
    if (!reader.take(size, header))
      return malformed("safetensors header", resect::text(size, " bytes"),
                       resect::text("at most the ", reader.remaining(), " bytes of the file"));
    const std::string_view json = as_text(header);
    if (!json.starts_with('{')) return malformed("safetensors header", "no '{' at its start", "a JSON object");
    if (const std::size_t nul = json.find('\0'); nul != json.npos)  // where the JSON parser would stop
      return malformed("safetensors header", resect::text("a NUL byte at ", nul), "JSON in UTF-8");

    const std::span<const std::byte> data = file.subspan(reader.position());
    detail::safetensors_header_handler handler{data};
    if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) return handler.failure();
    if (auto tiled = check_tiling(handler.contents().tensors, data); !tiled) return tiled.error();
    return std::move(handler.contents());
  }

  // The tensors' bytes, one after the other, are the whole data part.
  static resect::status check_tiling(const std::vector<safetensor>& tensors, std::span<const std::byte> data) {
    std::vector<const safetensor*> by_offset;
    for (const safetensor& tensor : tensors) by_offset.push_back(&tensor);
    std::ranges::sort(by_offset, {}, [](const safetensor* t) { return std::pair{t->bytes.data(), t->bytes.size()}; });
    const std::byte* expected = data.data();
    for (const safetensor* tensor : by_offset) {
      if (tensor->bytes.data() != expected)
        return malformed(resect::text("tensor ", shown(tensor->name).view()),
                         resect::text("a begin at ", tensor->bytes.data() - data.data()),
                         resect::text(expected - data.data(), ", the end of the tensor before"));
      expected += tensor->bytes.size();
    }
    if (expected != data.data() + data.size())
      return malformed("safetensors data", resect::text(data.size(), " bytes"),
                       resect::text(expected - data.data(), ", the end of the last tensor"));
    return {};
  }

  using label = resect::short_text<120>;
  static resect::error malformed(const label& operand, const label& got, const label& wanted) {
    return {resect::errc::malformed, operand, got, wanted};
  }

  safetensors_contents contents_;
  std::optional<mapped_file> file_;
};

}  // namespace hosts
