// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <vector>

#include <resect/io/safetensors.hpp>
#include <resect/quant/formats/ggml.hpp>

#include "fuzz.hpp"

namespace io = resect::io;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const auto file = io::try_read_safetensors(bytes);
  if (!file) {
    fuzz::require(!file.error().message().empty(), "an error says something");
    return 0;
  }
  std::size_t total = 0;
  std::vector<float> values;
  for (const io::safetensor& tensor : file->tensors()) {
    fuzz::require(fuzz::within(tensor.bytes, bytes), "a tensor lies within the file");
    fuzz::require(file->find(tensor.name) == &tensor, "a name finds its tensor");
    total += tensor.bytes.size();
    const io::ggml_block* block = io::find_ggml_block(tensor.dtype);
    if (block == nullptr) continue;
    fuzz::require(2 * tensor.values <= static_cast<resect::index_t>(tensor.bytes.size()), "values fit their bytes");
    values.resize(static_cast<std::size_t>(tensor.values));
    fuzz::require(resect::quant::try_dequantize(block->type, tensor.bytes, values).has_value(), "an accepted tensor is decoded");
  }
  fuzz::require(8 + io::load_little<std::uint64_t>(bytes.data()) + total == size, "tensors fill the file behind its header");
  return 0;
}
