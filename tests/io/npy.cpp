// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>
#include <map>

#include <resect/io/npy.hpp>
#include <support/catch.hpp>

namespace {

namespace io = resect::io;

std::uint64_t little(std::string_view bytes, std::size_t at, int size) {
  std::uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(i)));
  return value;
}

// The entries of a ZIP archive, found as readers find them: from its end, by the directory.
std::map<std::string, std::string> unzip(std::string_view zip) {
  std::map<std::string, std::string> out;
  const std::size_t end = zip.size() - 22;
  REQUIRE(zip.substr(end, 4) == std::string_view("PK\x05\x06", 4));
  const auto entries = little(zip, end + 10, 2);
  REQUIRE(little(zip, end + 8, 2) == entries);
  auto at = static_cast<std::size_t>(little(zip, end + 16, 4));
  REQUIRE(at + little(zip, end + 12, 4) == end);
  for (std::uint64_t i = 0; i < entries; ++i) {
    REQUIRE(zip.substr(at, 4) == std::string_view("PK\x01\x02", 4));
    REQUIRE(little(zip, at + 10, 2) == 0);  // stored
    const auto crc = little(zip, at + 16, 4);
    const auto size = static_cast<std::size_t>(little(zip, at + 20, 4));
    REQUIRE(little(zip, at + 24, 4) == size);
    const auto name_size = static_cast<std::size_t>(little(zip, at + 28, 2));
    const auto local = static_cast<std::size_t>(little(zip, at + 42, 4));
    const std::string name{zip.substr(at + 46, name_size)};
    REQUIRE(zip.substr(local, 4) == std::string_view("PK\x03\x04", 4));
    REQUIRE(zip.substr(local + 4, 26) == zip.substr(at + 6, 26));  // both headers say the same
    REQUIRE(zip.substr(local + 30, name_size) == name);
    const auto data = zip.substr(local + 30 + name_size, size);
    REQUIRE(io::crc32(data) == crc);
    REQUIRE(out.emplace(name, data).second);
    at += 46 + name_size;
  }
  REQUIRE(at == end);
  return out;
}

}  // namespace

TEST_CASE("crc32 gives the published check values") {
  static_assert(io::crc32("123456789") == 0xCBF43926u);
  CHECK(io::crc32("") == 0u);
  CHECK(io::crc32("a") == 0xE8B7BE43u);
  CHECK(io::crc32("The quick brown fox jumps over the lazy dog") == 0x414FA339u);
  CHECK(io::crc32(std::string(32, '\0')) == 0x190A55ADu);
  CHECK(io::crc32(std::string(32, '\xff')) == 0xFF6CAB0Bu);
}

TEST_CASE("npy is magic, a header of a multiple of 64 bytes, and the elements") {
  const std::vector<double> values{1.0, -2.5, 0.0, 1e300, 5e-324, 3.0};
  const std::string bytes = io::npy<double>(values, {2, 3});
  REQUIRE(bytes.size() == 128 + 48);
  CHECK(bytes.substr(0, 10) == std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }";
  header.resize(117, ' ');
  CHECK(bytes.substr(10, 118) == header + "\n");
  CHECK(little(bytes, 128, 8) == 0x3FF0000000000000u);
  CHECK(little(bytes, 136, 8) == 0xC004000000000000u);
  CHECK(little(bytes, 128 + 32, 8) == 1u);
}

TEST_CASE("npy writes shapes as tuples and types by their descr") {
  const std::vector<std::int64_t> whole{-1, 2};
  const std::vector<float> single{1.5f};
  const std::vector<double> none;
  CHECK(io::npy<std::int64_t>(whole, {2}).find("'<i8', 'fortran_order': False, 'shape': (2,), }") != std::string::npos);
  CHECK(little(io::npy<std::int64_t>(whole, {2}), 128, 8) == ~std::uint64_t{0});
  CHECK(io::npy<float>(single, {}).find("'<f4', 'fortran_order': False, 'shape': (), }") != std::string::npos);
  CHECK(little(io::npy<float>(single, {}), 128, 4) == 0x3FC00000u);
  CHECK(io::npy<double>(none, {3, 0}).size() == 128);
  CHECK(io::npy<float>(single, {1, 1, 1}).find("(1, 1, 1), }") != std::string::npos);
}

TEST_CASE("npy refuses a shape that does not fit") {
  const std::vector<double> values(6, 0.0);
  const auto refused = [&](const std::vector<resect::index_t>& shape) {
    return io::try_npy<double>(values, shape).error();
  };
  CHECK(refused({2, 2}).message().view() == "shape mismatch: elements of the array: got 6, wanted 4 by its shape");
  CHECK(refused({-6}).message().view() == "invalid argument: extent of the array: got -6, wanted 0 or more");
  CHECK(refused({}).code == resect::errc::shape_mismatch);
  CHECK(refused({resect::index_t{1} << 40, resect::index_t{1} << 40}).got == "an overflow");
  CHECK(refused(std::vector<resect::index_t>(33, 1)).operand == "dimensions of the array");
}

TEST_CASE("npz holds every array under its name, with checksums that hold") {
  const std::vector<double> sums{1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> counts{7, 8};
  io::npz_archive archive;
  archive.add<double>("sums", sums, {3, 2});
  archive.add<std::int64_t>("counts", counts, {2});
  const auto entries = unzip(archive.bytes());
  REQUIRE(entries.size() == 2);
  CHECK(entries.at("sums.npy") == io::npy<double>(sums, {3, 2}));
  CHECK(entries.at("counts.npy") == io::npy<std::int64_t>(counts, {2}));
  CHECK(unzip(io::npz_archive{}.bytes()).empty());
}

TEST_CASE("npz bytes follow from the arrays alone") {
  const std::vector<double> values{1, 2};
  io::npz_archive a, b;
  a.add<double>("x", values, {2});
  b.add<double>("x", values, {2});
  CHECK(a.bytes() == b.bytes());
  CHECK(a.bytes() == a.bytes());
  CHECK(a.bytes().size() == 30 + 5 + 144 + 46 + 5 + 22);
  CHECK(little(a.bytes(), 10, 4) == 0x00210000u);  // 1980-01-01 00:00
}

TEST_CASE("npz refuses names that are no file names, and stays as it was") {
  const std::vector<double> values{1};
  io::npz_archive archive;
  archive.add<double>("x", values, {1});
  const auto before = archive.bytes();
  CHECK(archive.try_add<double>("x", values, {1}).error().got == "a second 'x'");
  CHECK(!archive.try_add<double>("", values, {1}));
  CHECK(!archive.try_add<double>("../x", values, {1}));
  CHECK(!archive.try_add<double>("a\\b", values, {1}));
  CHECK(!archive.try_add<double>("a\nb", values, {1}));
  CHECK(!archive.try_add<double>(std::string(201, 'a'), values, {1}));
  CHECK(archive.try_add<double>("y", values, {2}).error().operand == "elements of the array 'y'");
  CHECK(archive.bytes() == before);
}
