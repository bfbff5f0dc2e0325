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

resect::error folder_error(const std::filesystem::path& path, std::string_view why, std::string_view wanted);

// A new empty folder inside `parent`, with a name that nobody else uses.
resect::result<std::filesystem::path> try_make_folder(const std::filesystem::path& parent);

// An error where one of the names is taken by something that a file cannot replace.
resect::status check_targets(const std::filesystem::path& out, const std::vector<std::string>& names);

}  // namespace detail

// An error unless `out` is a folder that can be written, or can be made. Leaves nothing behind.
resect::status check_output_folder(const std::filesystem::path& out, const std::vector<std::string>& names);

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
