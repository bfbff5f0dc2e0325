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
#include <study/io/output.hpp>

namespace studies {

namespace detail {

inline resect::error folder_error(const std::filesystem::path& path, std::string_view why, std::string_view wanted) {
  return {resect::errc::io, "--out", resect::text(hosts::shown_path(path.string()).view(), ": ", why), wanted};
}

// A new empty folder inside `parent`, with a name that nobody else uses.
inline resect::result<std::filesystem::path> try_make_folder(const std::filesystem::path& parent) {
  std::string path = (parent / ".partial-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr)
    return folder_error(parent, std::strerror(errno), "a folder that can be written");
  return resect::result<std::filesystem::path>{std::filesystem::path(path)};
}

// An error where one of the names is taken by something that a file cannot replace.
inline resect::status check_targets(const std::filesystem::path& out, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names)
    if (std::filesystem::is_directory(out / name, ignored))
      return folder_error(out / name, "a folder", "a file that can be replaced");
  return {};
}

}  // namespace detail

// An error unless `out` is a folder that can be written, or can be made. Leaves nothing behind.
inline resect::status check_output_folder(const std::filesystem::path& out, const std::vector<std::string>& names) {
  std::error_code ignored;
  std::filesystem::path there = std::filesystem::weakly_canonical(std::filesystem::absolute(out, ignored), ignored);
  while (!std::filesystem::exists(there, ignored) && there.has_relative_path()) there = there.parent_path();
  if (!std::filesystem::is_directory(there, ignored))
    return detail::folder_error(there, "not a folder", "a folder that can be written");
  const auto probe = detail::try_make_folder(there);
  if (!probe) return probe.error();
  std::filesystem::remove(*probe, ignored);
  return detail::check_targets(out, names);
}

// Where a report grows: a hidden folder inside the output folder. `commit` moves its files into place;
// until then, and if that never happens, what stood in the output folder stays untouched.
class staged_folder {
 public:
  explicit staged_folder(const std::filesystem::path& out) : out_(out) {
    std::error_code failed;
    std::filesystem::create_directories(out_, failed);
    if (failed)
      resect::value_or_throw(
          resect::status{detail::folder_error(out_, failed.message(), "a folder that can be written")});
    path_ = resect::value_or_throw(detail::try_make_folder(out_));
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
    resect::value_or_throw(detail::check_targets(out_, names));
    for (const std::string& name : names) {
      std::error_code failed;
      std::filesystem::rename(path_ / name, out_ / name, failed);
      if (failed)
        resect::value_or_throw(
            resect::status{detail::folder_error(out_ / name, failed.message(), "a file that can be replaced")});
    }
  }

 private:
  std::filesystem::path out_, path_;
};

}  // namespace studies
