// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <hosts/llama/load.hpp>

#include <hosts/llama/assemble.hpp>

namespace hosts {

resect::result<llama_model> try_load_llama(const std::string& path) {
  std::error_code ignored;
  try {
    if (std::filesystem::is_directory(path, ignored)) return detail::load_folder(path);
    if (std::filesystem::path{path}.extension() == ".safetensors")
      return resect::error{resect::errc::invalid_argument, shown_path(path), "one safetensors file",
                           "a GGUF file, or the folder with config.json and model.safetensors"};
    return detail::load_gguf(path);
  } catch (const std::bad_alloc&) {
    return resect::error{resect::errc::out_of_memory, shown_path(path), "a model that does not fit", "more memory"};
  }
}

}  // namespace hosts
