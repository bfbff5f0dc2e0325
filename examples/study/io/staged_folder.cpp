// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/staged_folder.hpp>

namespace studies {

namespace detail {

resect::error folder_error(const std::filesystem::path& path, std::string_view why, std::string_view wanted) {
  return {resect::errc::io, "--out", resect::text(hosts::shown_path(path.string()).view(), ": ", why), wanted};
}

resect::result<std::filesystem::path> try_make_folder(const std::filesystem::path& parent) {
  std::string path = (parent / ".partial-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr)
    return folder_error(parent, std::strerror(errno), "a folder that can be written");
  return resect::result<std::filesystem::path>{std::filesystem::path(path)};
}

resect::status check_targets(const std::filesystem::path& out, const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names)
    if (std::filesystem::is_directory(out / name, ignored))
      return folder_error(out / name, "a folder", "a file that can be replaced");
  return {};
}

}  // namespace detail

resect::status check_output_folder(const std::filesystem::path& out, const std::vector<std::string>& names) {
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

}  // namespace studies
