// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/io/output.hpp>

namespace studies {

namespace detail {

[[noreturn]] void refuse_output(std::string_view option, const std::string& path, std::string_view why,
                                std::string_view wanted) {
  throw resect::exception(
      {resect::errc::io, option, resect::text(hosts::shown_path(path).view(), why.empty() ? "" : ": ", why), wanted});
}

// What a path leads to in the end, links followed, also one that leads to a file that is not there yet.
std::filesystem::path behind_links(std::filesystem::path path) {
  std::error_code failed;
  for (int links = 0; links < 40 && std::filesystem::is_symlink(path, failed); ++links) {
    const auto to = std::filesystem::read_symlink(path, failed);
    if (failed) break;
    path = to.is_absolute() ? to : path.parent_path() / to;
  }
  return path;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

// Whether a path is what the stream writes to: /dev/stdout, or the file that the shell has sent it into.
bool is_stream(const std::string& path, std::FILE* stream) {
  struct stat a {
  }, b{};
  return ::stat(path.c_str(), &a) == 0 && ::fstat(::fileno(stream), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

bool put(std::FILE* file, std::string_view bytes) {
  return std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
}

}  // namespace detail

std::vector<std::string> model_files(const std::string& path) {
  std::vector<std::string> out{path};
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "heldout.txt"})
    out.push_back((std::filesystem::path(path) / name).string());
  return out;
}

void check_output_file(const std::string& path, std::string_view option, const std::vector<std::string>& inputs) {
  namespace fs = std::filesystem;
  if (path.empty()) return;
  std::error_code failed;
  for (const std::string& input : inputs)
    if (!input.empty() && fs::equivalent(path, input, failed) && !failed)
      throw resect::exception({resect::errc::invalid_argument, option,
                               resect::text(hosts::shown_path(path).view(), ", which is also read"),
                               "a file of its own"});
  const fs::path target = detail::behind_links(path);
  const auto there = fs::status(target, failed);
  if (fs::is_directory(there)) detail::refuse_output(option, path, "a folder", "a file that can be written");
  const bool plain = !fs::exists(there) || fs::is_regular_file(there);
  const auto place = plain ? detail::folder_of(target) : target;  // a plain file is replaced, others are written into
  if (plain && !fs::is_directory(place, failed))
    detail::refuse_output(option, path, "no folder of this name", "a file that can be written");
  if (::access(place.c_str(), plain ? W_OK | X_OK : W_OK) != 0)
    detail::refuse_output(option, path, std::strerror(errno), "a file that can be written");
}

void write_file(const std::string& path, std::string_view bytes) {
  namespace fs = std::filesystem;
  const auto need = [&](bool done) {
    if (!done) detail::refuse_output("output", path, std::strerror(errno), "a file that can be written");
  };
  for (std::FILE* stream : {stdout, stderr})
    if (detail::is_stream(path, stream)) return need(detail::put(stream, bytes) && std::fflush(stream) == 0);

  const fs::path target = detail::behind_links(path);
  std::error_code failed;
  const auto there = fs::status(target, failed);
  if (fs::exists(there) && !fs::is_regular_file(there)) {
    std::FILE* file = std::fopen(target.c_str(), "wb");
    need(file != nullptr);
    const bool written = detail::put(file, bytes);
    return need((std::fclose(file) == 0) && written);
  }
  const fs::path temporary = target.string() + ".partial-" + std::to_string(::getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "wbx");
  need(file != nullptr);
  const bool written = detail::put(file, bytes);
  const bool closed = std::fclose(file) == 0;
  if (written && closed) fs::rename(temporary, target, failed);
  if (!written || !closed || failed) {
    if (failed) errno = failed.value();
    const int why = errno;
    fs::remove(temporary, failed);
    errno = why;
    need(false);
  }
}

}  // namespace studies
