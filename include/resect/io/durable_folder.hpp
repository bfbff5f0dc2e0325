// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/io/bytes.hpp>

// Files that are whole or not there, whenever the program is killed or the machine stops. POSIX; io.hpp does not include
// this header.
namespace RESECT_NAMESPACE::io {

// What writing asks of the system. Tests bring one that kills the process after so many bytes.
struct posix_files {
  // How many of the bytes were written; −1 with errno where none were.
  std::ptrdiff_t write(int file, std::span<const std::byte> bytes) noexcept {
    return ::write(file, bytes.data(), bytes.size());
  }
  bool sync(int file) noexcept { return ::fsync(file) == 0; }
  bool rename(const char* from, const char* to) noexcept { return std::rename(from, to) == 0; }
};

// A folder in which each file is written under a temporary name, synced, and renamed: a reader finds the old file, the new
// file or none. What a killed writer leaves is NAME.partial, which the next writer of NAME replaces.
template <class System = posix_files>
class durable_folder {
 public:
  // Opens the folder, or makes it where its parent exists. Error: io.
  static result<durable_folder> try_open(std::string path, System system = {}) {
    if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) return io_error(path, "a folder that can be made");
    return try_open_existing(std::move(path), std::move(system));
  }
  // Opens a folder to read from: one that is not there is an error, and is not made. Error: io.
  static result<durable_folder> try_open_existing(std::string path, System system = {}) {
    struct stat about;
    if (::stat(path.c_str(), &about) != 0) return io_error(path, "a folder");
    if (!S_ISDIR(about.st_mode)) return error{errc::io, shown(path).view(), "no folder", "a folder"};
    durable_folder out;
    out.path_ = std::move(path);
    out.system_ = std::move(system);
    return out;
  }

  const std::string& path() const noexcept { return path_; }

  // Whether a file of this name is there.
  bool has(std::string_view name) const { return ::access(place(name).c_str(), F_OK) == 0; }

  // The bytes of a file. Errors: invalid_argument (name), io (also where there is no such file).
  result<array<std::byte>> try_read(std::string_view name) const {
    if (auto s = check_name(name); !s) return s.error();
    const std::string path = place(name);
    const opened file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat about;
    if (file.number < 0 || ::fstat(file.number, &about) != 0) return io_error(path, "a file that can be read");
    array<std::byte> out(static_cast<index_t>(about.st_size));
    for (index_t at = 0; at < out.size();) {
      const auto n = ::read(file.number, out.data() + at, static_cast<std::size_t>(out.size() - at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error(path, "a file that can be read");
      if (n == 0) return error{errc::io, shown(path).view(), text("an end after ", at, " bytes"), text(out.size())};
      at += n;
    }
    return out;
  }

  // Writes a file, or replaces it, whole: after an error the file is what it was. Only where the folder itself cannot be
  // synced the new file is there, and a machine that stops may still lose it. Errors: invalid_argument (name), io.
  status try_write(std::string_view name, std::span<const std::byte> bytes) {
    if (auto s = check_name(name); !s) return s;
    const std::string path = place(name), partial = path + ".partial";
    const auto failed = [&](std::string_view wanted) -> status {
      const error e = io_error(path, wanted);
      ::unlink(partial.c_str());
      return e;
    };
    {
      const opened file{::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
      if (file.number < 0) return failed("a file that can be written");
      for (std::size_t at = 0; at < bytes.size();) {
        const std::ptrdiff_t n = system_.write(file.number, bytes.subspan(at));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(text("room for ", bytes.size() - at, " more bytes").view());
        at += static_cast<std::size_t>(n);
      }
      if (!system_.sync(file.number)) return failed("a file that can be synced");
    }
    if (!system_.rename(partial.c_str(), path.c_str())) return failed("a file that can be renamed");
    const opened folder{::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (folder.number < 0 || !system_.sync(folder.number)) return io_error(path_, "a folder that can be synced");
    return {};
  }

  // Takes a file away, if it is there. Errors: invalid_argument (name), io.
  status try_remove(std::string_view name) {
    if (auto s = check_name(name); !s) return s;
    const std::string path = place(name);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error(path, "a file that can be removed");
    return {};
  }

 private:
  // Closes the file at its end.
  struct opened {
    int number;
    explicit opened(int n) noexcept : number(n) {}
    opened(const opened&) = delete;
    opened& operator=(const opened&) = delete;
    ~opened() {
      if (number >= 0) ::close(number);
    }
  };

  std::string place(std::string_view name) const { return path_ + '/' + std::string(name); }
  static error io_error(std::string_view path, std::string_view wanted) {
    return {errc::io, shown(path).view(), std::string_view(std::strerror(errno)), wanted};
  }
  static status check_name(std::string_view name) {
    if (!name.empty() && name.front() != '.' && name.find('/') == name.npos && name.find('\0') == name.npos) return {};
    return error{errc::invalid_argument, "file name", shown(name).view(), "one without '/' that begins with no '.'"};
  }

  std::string path_;
  System system_;
};

}  // namespace RESECT_NAMESPACE::io
