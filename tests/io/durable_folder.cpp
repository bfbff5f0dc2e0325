// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/io/durable_folder.hpp>

#include <filesystem>
#include <fstream>

#include <support/catch.hpp>
#include <support/expect_error.hpp>

using namespace resect;

namespace {

struct temporary {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("resect-folder-" + std::to_string(::getpid()));
  temporary() { std::filesystem::remove_all(path); }
  ~temporary() { std::filesystem::remove_all(path); }
};

// Writes three bytes at a time; sync and rename fail on demand.
struct slow_files : io::posix_files {
  bool syncs = true, renames = true;
  int syncs_left = 1000;
  std::ptrdiff_t write(int file, std::span<const std::byte> bytes) noexcept {
    return posix_files::write(file, bytes.first(std::min<std::size_t>(3, bytes.size())));
  }
  bool sync(int file) noexcept { return syncs && --syncs_left >= 0 ? posix_files::sync(file) : (errno = EIO, false); }
  bool rename(const char* from, const char* to) noexcept {
    return renames ? posix_files::rename(from, to) : (errno = EXDEV, false);
  }
};

std::string text_of(const array<std::byte>& bytes) { return std::string(io::as_text(bytes.span())); }

}  // namespace

TEST_CASE("durable folder: files are written, replaced and read whole; names stay inside") {
  const temporary at;
  auto folder = value_or_throw(io::durable_folder<>::try_open(at.path.string()));
  CHECK_FALSE(folder.has("a"));
  support::expect_error(folder.try_read("a"), errc::io, {"/a'", "No such file"});
  REQUIRE(folder.try_write("a", io::as_bytes("first")));
  REQUIRE(folder.try_write("a", io::as_bytes("the second one")));
  REQUIRE(folder.try_write("empty", {}));
  CHECK(text_of(value_or_throw(folder.try_read("a"))) == "the second one");
  CHECK(value_or_throw(folder.try_read("empty")).empty());
  for (const std::string_view name : {"", "../a", "a/b", ".", "..x"})
    support::expect_error(folder.try_write(name, {}), errc::invalid_argument, {"file name"});
  std::ofstream(at.path / "file") << "no folder";
  support::expect_error(io::durable_folder<>::try_open((at.path / "file").string()), errc::io, {"no folder"});
  support::expect_error(io::durable_folder<>::try_open((at.path / "x" / "y").string()), errc::io, {"No such file"});
  support::expect_error(io::durable_folder<>::try_open_existing((at.path / "mistyped").string()), errc::io,
                        {"mistyped", "No such file"});
  CHECK_FALSE(std::filesystem::exists(at.path / "mistyped"));
  CHECK(value_or_throw(io::durable_folder<>::try_open_existing(at.path.string())).has("a"));
}

TEST_CASE("durable folder: short writes go on; after a full disk, a failed sync or rename the old file stands alone") {
  const temporary at;
  auto folder = value_or_throw(io::durable_folder<slow_files>::try_open(at.path.string()));
  REQUIRE(folder.try_write("a", io::as_bytes("0123456789")));
  CHECK(text_of(value_or_throw(folder.try_read("a"))) == "0123456789");
  const auto unchanged = [&] {
    CHECK(text_of(value_or_throw(folder.try_read("a"))) == "0123456789");
    CHECK_FALSE(folder.has("a.partial"));
  };
  std::filesystem::create_symlink("/dev/full", at.path / "a.partial");
  support::expect_error(folder.try_write("a", io::as_bytes("xy")), errc::io, {"No space left", "2 more bytes"});
  unchanged();
  for (const bool syncs : {false, true}) {
    slow_files broken;
    broken.syncs = syncs;
    broken.renames = !syncs;
    auto other = value_or_throw(io::durable_folder<slow_files>::try_open(at.path.string(), broken));
    support::expect_error(other.try_write("a", io::as_bytes("xy")), errc::io, {syncs ? "renamed" : "synced"});
    unchanged();
  }
  slow_files broken;
  broken.syncs_left = 1;  // that of the folder fails, when the new file is in place
  auto other = value_or_throw(io::durable_folder<slow_files>::try_open(at.path.string(), broken));
  support::expect_error(other.try_write("a", io::as_bytes("xy")), errc::io, {"a folder that can be synced"});
  CHECK(text_of(value_or_throw(folder.try_read("a"))) == "xy");
}
