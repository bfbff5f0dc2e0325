// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs files through a fuzz target, where libFuzzer is not there: replay FILE_OR_FOLDER…
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "fuzz.hpp"

namespace {

// The input from a buffer of exactly its size, as libFuzzer gives it.
void run(const std::string& input, std::size_t size) {
  const auto copy = std::make_unique<std::uint8_t[]>(size);
  std::copy_n(input.begin(), size, copy.get());
  LLVMFuzzerTestOneInput(copy.get(), size);
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (fs::is_directory(argv[i]))
      for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
    else files.emplace_back(argv[i]);
  }
  std::sort(files.begin(), files.end());
  long runs = 0;
  for (const fs::path& path : files) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "replay: got %s, wanted a readable file\n", path.c_str());
      return 2;
    }
    const std::string input{std::istreambuf_iterator<char>(in), {}};
    run(input, input.size());
    // and cut short at every place, and with every byte turned over
    for (std::size_t n = 0; n < input.size(); ++n, ++runs) run(input, n);
    std::string turned = input;
    for (char& byte : turned) {
      byte = static_cast<char>(~byte);
      run(turned, turned.size());
      byte = static_cast<char>(~byte);
      ++runs;
    }
    ++runs;
  }
  std::printf("%zu files, %ld runs\n", files.size(), runs);
  return files.empty() ? 2 : 0;
}
