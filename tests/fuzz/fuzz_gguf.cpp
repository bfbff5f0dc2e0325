// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <vector>

#include <resect/io/gguf.hpp>
#include <resect/quant/formats/ggml.hpp>

#include "fuzz.hpp"

namespace io = resect::io;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const auto file = io::try_read_gguf(bytes);
  if (!file) {
    fuzz::require(!file.error().message().empty(), "an error says something");
    return 0;
  }
  for (const io::gguf_value& value : file->metadata()) {
    fuzz::require(fuzz::within(io::as_bytes(value.key), bytes), "a key lies within the file");
    fuzz::require(fuzz::within(value.bytes, bytes), "a value lies within the file");
    fuzz::require(value.kind != io::gguf_kind::array || value.count <= value.bytes.size(), "elements take bytes");
    fuzz::require(file->find_value(value.key) == &value, "a key finds its value");
    // every reader answers every key; exactly one of them where the kind is a scalar or a string
    const int answers = file->find_u64(value.key).has_value() + file->find_f64(value.key).has_value() +
                        file->find_bool(value.key).has_value() + file->find_string(value.key).has_value() +
                        file->find_array_size(value.key).has_value();
    fuzz::require(answers <= 1, "a value is of one kind");
    fuzz::require(file->get_u64(value.key).has_value() == file->find_u64(value.key).has_value(), "get is find");
  }
  std::vector<float> values;
  for (const io::gguf_tensor& tensor : file->tensors()) {
    fuzz::require(fuzz::within(tensor.bytes, bytes), "a tensor lies within the file");
    fuzz::require(file->find(tensor.name) == &tensor, "a name finds its tensor");
    // no type stores more than two values a byte, so this never allocates out of proportion
    fuzz::require(tensor.values() <= 2 * static_cast<resect::index_t>(tensor.bytes.size()), "values fit their bytes");
    values.resize(static_cast<std::size_t>(tensor.values()));
    fuzz::require(resect::quant::try_dequantize(tensor.type, tensor.bytes, values).has_value(), "an accepted tensor is decoded");
  }
  return 0;
}
