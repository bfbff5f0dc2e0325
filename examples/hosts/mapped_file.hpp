// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>

namespace hosts {

// A file's bytes, mapped read-only. The mapping stays where it is when the object moves. A file that
// another process shortens while it is mapped ends the program (SIGBUS), as with every mapping.
class mapped_file {
 public:
  // Maps a regular file that is not empty.
  static resect::result<mapped_file> try_open(const std::string& path) {
    const auto failure = [&](std::string_view got, std::string_view wanted = "a file that can be read") {
      return resect::error{resect::errc::io, shown_path(path), got, wanted};
    };
    // Non-blocking, so that a pipe without a writer does not hang; regular files ignore it.
    const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.id < 0) return failure(std::strerror(errno));
    struct stat info = {};
    if (::fstat(file.id, &info) != 0) return failure(std::strerror(errno));
    if (S_ISDIR(info.st_mode)) return failure("a folder", "a file");
    if (!S_ISREG(info.st_mode)) return failure("something that is not a regular file", "a file");
    if (info.st_size <= 0) return failure("an empty file", "a file with content");
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (size > std::numeric_limits<std::size_t>::max()) return failure("more than this machine can address");
    void* data = ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ, MAP_PRIVATE, file.id, 0);
    if (data == MAP_FAILED) return failure(std::strerror(errno), "memory to map it");
    return mapped_file{data, static_cast<std::size_t>(size)};
  }

  mapped_file(mapped_file&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  mapped_file& operator=(mapped_file&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~mapped_file() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }

  std::span<const std::byte> bytes() const noexcept { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  struct descriptor {
    int id;
    explicit descriptor(int opened) noexcept : id(opened) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
      if (id >= 0) ::close(id);
    }
  };

  mapped_file(void* data, std::size_t size) noexcept : data_(data), size_(size) {}

  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace hosts
