// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <vector>

#include <hosts/safetensors.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const auto file = hosts::safetensors_file::try_parse(bytes);
  if (!file) {
    fuzz::require(!file.error().message().empty(), "an error says something");
    return 0;
  }
  std::size_t total = 0;
  std::vector<float> values;
  for (const hosts::safetensor& tensor : file->tensors()) {
    fuzz::require(fuzz::within(tensor.bytes, bytes), "a tensor lies within the file");
    fuzz::require(file->find(tensor.name) == &tensor, "a name finds its tensor");
    total += tensor.bytes.size();
    const auto type = hosts::ggml_type_of(tensor);
    if (!type) continue;
    fuzz::require(2 * tensor.values <= static_cast<resect::index_t>(tensor.bytes.size()), "values fit their bytes");
    values.resize(static_cast<std::size_t>(tensor.values));
    fuzz::require(hosts::dequantize(tensor, values).has_value(), "an accepted tensor is decoded");
  }
  fuzz::require(total <= size, "tensors do not overlap");
  return 0;
}
