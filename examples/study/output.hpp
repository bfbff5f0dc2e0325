// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <resect/core/result.hpp>

namespace app {

// Writes the whole file under a temporary name and renames it: readers see the old file or the new one.
inline void write_file(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".partial";
  std::ofstream file(temporary, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::error_code failed;
  if (file) std::filesystem::rename(temporary, path, failed);
  if (!file || failed) {
    std::filesystem::remove(temporary, failed);
    throw resect::exception({resect::errc::io, "output", resect::text(path), "a file that can be written"});
  }
}

}  // namespace app
