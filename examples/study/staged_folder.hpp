// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <hosts/bytes.hpp>
#include <resect/core/result.hpp>
#include <study/input.hpp>
#include <study/output.hpp>

namespace app {

namespace detail {

// A new empty folder inside `parent`, with a name that nobody else uses.
inline resect::result<std::string> try_make_folder(const std::filesystem::path& parent) {
  std::string path = (parent / ".partial-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr)
    return resect::error{resect::errc::io, "--out", resect::text(hosts::shown_path(parent.string()).view(), ": ", std::strerror(errno)),
                         "a folder that can be written"};
  return resect::result<std::string>{std::move(path)};
}

}  // namespace detail

// An error unless `out` is a folder that can be written, or can be made. Leaves nothing behind.
inline resect::status check_output_folder(const std::filesystem::path& out) {
  std::error_code ignored;
  std::filesystem::path there = std::filesystem::absolute(out, ignored);
  while (!std::filesystem::exists(there, ignored) && there.has_relative_path()) there = there.parent_path();
  if (!std::filesystem::is_directory(there, ignored))
    return resect::error{resect::errc::io, "--out", resect::text(hosts::shown_path(there.string()).view(), ", which is no folder"),
                         "a folder that can be written"};
  const auto probe = detail::try_make_folder(there);
  if (!probe) return probe.error();
  std::filesystem::remove(*probe, ignored);
  return {};
}

// Where a report grows: a hidden folder inside the output folder. `commit` moves its files into place;
// until then, and if that never happens, what stood in the output folder stays untouched.
class staged_folder {
 public:
  explicit staged_folder(const std::filesystem::path& out) : out_(out) {
    std::error_code failed;
    std::filesystem::create_directories(out_, failed);
    if (failed) fail({resect::errc::io, "--out", resect::text(hosts::shown_path(out_.string()).view(), ": ", failed.message()),
                      "a folder that can be written"});
    path_ = need(detail::try_make_folder(out_));
  }
  staged_folder(const staged_folder&) = delete;
  staged_folder& operator=(const staged_folder&) = delete;
  ~staged_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  void write(const std::string& name, std::string_view bytes) const { write_file((path_ / name).string(), bytes); }

  // Moves the files in the given order; each is replaced at once.
  void commit(const std::vector<std::string>& names) const {
    for (const std::string& name : names) {
      std::error_code failed;
      std::filesystem::rename(path_ / name, out_ / name, failed);
      if (failed) fail({resect::errc::io, "--out", resect::text(hosts::shown_path((out_ / name).string()).view(), ": ", failed.message()),
                        "a file that can be replaced"});
    }
  }

 private:
  std::filesystem::path out_, path_;
};

}  // namespace app
