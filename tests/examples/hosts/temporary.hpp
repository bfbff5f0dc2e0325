// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include <hosts/bytes.hpp>

namespace hosts::testing {

// A folder of its own, gone with this object.
class temporary_folder {
 public:
  temporary_folder() {
    static std::atomic<int> count = 0;
    const auto unique = std::to_string(::getpid()) + "-" + std::to_string(count++);
    path_ = std::filesystem::temp_directory_path() / ("resect-hosts-" + unique);
    std::filesystem::create_directories(path_);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string path() const { return path_.string(); }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }

  // Writes a file in the folder and returns its path.
  std::string write(std::string_view name, std::span<const std::byte> bytes) const {
    const std::string file = *this / name;
    std::ofstream{file, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
    return file;
  }
  std::string write(std::string_view name, std::string_view text) const { return write(name, as_bytes(text)); }

 private:
  std::filesystem::path path_;
};

}  // namespace hosts::testing
