// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <study/io/staged_folder.hpp>
#include <support/catch.hpp>

namespace {

namespace fs = std::filesystem;

struct scratch {
  fs::path path = fs::temp_directory_path() / ("resect_staged_folder_test_" + std::to_string(::getpid()));
  scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~scratch() { fs::remove_all(path); }
};

std::string content(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
std::size_t entries(const fs::path& path) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator{}));
}

}  // namespace

TEST_CASE("a committed report replaces the old one, and only its own files") {
  const scratch s;
  const auto out = s.path / "deep" / "out";
  fs::create_directories(out);
  studies::write_file((out / "a.txt").string(), "old");
  studies::write_file((out / "other.txt").string(), "kept");
  {
    const studies::staged_folder folder(out);
    folder.write("a.txt", "new");
    folder.write("b.txt", "new");
    CHECK(content(out / "a.txt") == "old");
    folder.commit({"a.txt", "b.txt"});
  }
  CHECK(content(out / "a.txt") == "new");
  CHECK(content(out / "b.txt") == "new");
  CHECK(content(out / "other.txt") == "kept");
  CHECK(entries(out) == 3);
}

TEST_CASE("a report that is not committed leaves the old one and nothing else") {
  const scratch s;
  studies::write_file((s.path / "a.txt").string(), "old");
  {
    const studies::staged_folder folder(s.path);
    folder.write("a.txt", "new");
  }
  CHECK(content(s.path / "a.txt") == "old");
  CHECK(entries(s.path) == 1);
}

TEST_CASE("an output folder is checked without leaving anything behind") {
  const scratch s;
  CHECK(studies::check_output_folder(s.path, {"a.txt"}));
  CHECK(studies::check_output_folder(s.path / "not" / "there", {"a.txt"}));
  CHECK(entries(s.path) == 0);
  studies::write_file((s.path / "file").string(), "x");
  CHECK(!studies::check_output_folder(s.path / "file", {}));
  CHECK(!studies::check_output_folder(s.path / "file" / "below", {}));
  fs::create_directory(s.path / "a.txt");
  CHECK(!studies::check_output_folder(s.path, {"a.txt"}));
  CHECK(!studies::check_output_folder("/proc/none", {}));
}
