// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>
#include <string>

#include <resect/io/npy.hpp>
#include <resect/io/npy_reader.hpp>
#include <support/catch.hpp>

namespace {

namespace io = resect::io;
using resect::errc;
using resect::index_t;
using shape = std::vector<index_t>;

std::span<const std::byte> bytes_of(std::string_view file) {
  return {reinterpret_cast<const std::byte*>(file.data()), file.size()};
}

// A file of version 1.0 (or another) with this header, as it stands, and so many elements' bytes.
std::string file(std::string header, std::size_t data = 0, char major = 1) {
  std::string out{"\x93NUMPY", 6};
  out += major;
  out += '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) out += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return out + header + std::string(data, '\1');
}
std::string dict(std::string_view descr, std::string_view order, std::string_view extents) {
  return "{'descr': '" + std::string(descr) + "', 'fortran_order': " + std::string(order) +
         ", 'shape': " + std::string(extents) + ", }\n";
}
std::string message(const std::string& f) {
  const auto array = io::try_read_npy(bytes_of(f));
  return array ? "fine" : std::string(array.error().message().view());
}

}  // namespace

TEST_CASE("what npy writes is read back bit for bit") {
  const std::vector<double> values{1.0, -0.0, std::numeric_limits<double>::quiet_NaN(), 1e300, 5e-324, 3.0};
  for (const shape& s : {shape{6}, shape{2, 3}, shape{3, 1, 2}, shape{1, 6, 1, 1}}) {
    const std::string f = io::npy<double>(values, s);
    const io::npy_array a = io::read_npy(bytes_of(f));
    CHECK(a.type == io::npy_type::f64);
    CHECK(a.order == io::npy_order::c);
    CHECK(a.shape == s);
    CHECK(a.size == 6);
    const auto back = io::npy_values<double>(a);
    REQUIRE(back.size() == 6);
    CHECK(std::memcmp(back.data(), values.data(), 48) == 0);
  }
  const std::vector<float> single{1.5f};
  const std::string scalar = io::npy<float>(single, {});
  CHECK(io::npy_values<float>(io::read_npy(bytes_of(scalar))) == single);
  CHECK(io::read_npy(bytes_of(scalar)).shape.empty());
  const std::vector<std::int64_t> whole{-1, std::numeric_limits<std::int64_t>::min()};
  const std::string integers = io::npy<std::int64_t>(whole, {2, 1});
  CHECK(io::npy_values<std::int64_t>(io::read_npy(bytes_of(integers))) == whole);
  const std::string none = io::npy<double>({}, {3, 0});
  CHECK(io::read_npy(bytes_of(none)).shape == shape{3, 0});
  CHECK(io::npy_values<double>(io::read_npy(bytes_of(none))).empty());
}

TEST_CASE("versions 2.0 and 3.0, every element type and any spacing of the header are understood") {
  for (const char major : {'\1', '\2', '\3'}) CHECK(message(file(dict("<f4", "False", "(2, 3)"), 24, major)) == "fine");
  const auto type_of = [](std::string_view descr, std::size_t size) {
    const std::string f = file(dict(descr, "False", "(3,)"), 3 * size);
    const auto a = io::read_npy(bytes_of(f));
    CHECK(static_cast<std::size_t>(io::size_of(a.type)) == size);
    return a.type;
  };
  CHECK(type_of("<f2", 2) == io::npy_type::f16);
  CHECK(type_of("<i4", 4) == io::npy_type::i32);
  CHECK(type_of("<i2", 2) == io::npy_type::i16);
  CHECK(type_of("|i1", 1) == io::npy_type::i8);
  CHECK(type_of("<u8", 8) == io::npy_type::u64);
  CHECK(type_of("<u4", 4) == io::npy_type::u32);
  CHECK(type_of("<u2", 2) == io::npy_type::u16);
  CHECK(type_of("|u1", 1) == io::npy_type::u8);
  CHECK(type_of("|b1", 1) == io::npy_type::boolean);
  CHECK(message(file("{\"shape\":(2,),'fortran_order':True,  'descr' : '|u1'}     \n", 2)) == "fine");
  const std::string words = file(dict("<u2", "False", "(2,)"), 4);
  CHECK(io::npy_values<std::uint16_t>(io::read_npy(bytes_of(words))) == std::vector<std::uint16_t>{0x0101, 0x0101});
}

TEST_CASE("elements in Fortran order come out in C order") {
  // numpy.asfortranarray(numpy.arange(24, dtype='u1').reshape(2, 3, 4)) is stored with the first index fastest
  std::string f = file(dict("|u1", "True", "(2, 3, 4)"));
  for (int k = 0; k < 4; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i) f += static_cast<char>(12 * i + 4 * j + k);
  const auto a = io::read_npy(bytes_of(f));
  CHECK(a.order == io::npy_order::fortran);
  const auto values = io::npy_values<std::uint8_t>(a);
  REQUIRE(values.size() == 24);
  for (std::size_t i = 0; i < 24; ++i) CHECK(values[i] == i);
}

TEST_CASE("elements are read as their own type only") {
  const std::string f = file(dict("<f4", "False", "(2,)"), 8);
  const auto refused = io::try_npy_values<double>(io::read_npy(bytes_of(f)));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().view() == "unsupported: npy elements: got f32, wanted f64");
  CHECK_FALSE(io::try_npy_values<std::int32_t>(io::read_npy(bytes_of(f))));
}

TEST_CASE("headers that are no such literal are refused, and the message says where") {
  const auto refused = [](std::string header, std::size_t data = 8) { return message(file(std::move(header), data)); };
  CHECK(refused("") == "malformed: npy header: got its end, wanted '{'");
  CHECK(refused("[1]\n") == "malformed: npy header: got byte 0 is '[', wanted '{'");
  CHECK(refused("{'descr': '<f8', 'shape': (1,), }\n") ==
        "malformed: npy header: got a missing key, wanted descr, fortran_order and shape");
  CHECK(refused("{'descr': '<f8', 'descr': '<f8', }\n") ==
        "malformed: npy header: got a second 'descr', wanted each key once");
  CHECK(refused("{'desc\x01': 0}\n") ==
        "malformed: npy header: got the key 'desc?', wanted descr, fortran_order and shape");
  CHECK(refused(dict("<f8", "False", "(1,)").substr(0, 40)) == "malformed: npy header: got its end, wanted a string");
  CHECK(refused(dict("<f8", "0", "(1,)")) == "malformed: npy header: got byte 34 is '0', wanted False or True");
  for (const char* extents :
       {"(1)", "(-1,)", "(1 1,)", "(1,,)", "(,)", "(1.0,)", "(1L,)", "(0x1,)", "1", "(01,)", "(1,", "((1,),)"})
    CHECK(refused(dict("<f8", "False", extents)).starts_with("malformed: npy "));
  std::string no_line_feed = dict("<f8", "False", "(1,)");
  no_line_feed.back() = ' ';
  CHECK(refused(no_line_feed) == "malformed: npy header: got its end, wanted blanks and one line feed at the end");
  CHECK(refused(dict("<f8", "False", "(1,)") + "\n").ends_with("is '?', wanted blanks and one line feed at the end"));
  CHECK(refused("{'descr': '<f\\x38', 'fortran_order': False, 'shape': (1,), }\n")
            .ends_with("wanted a string without escapes"));
}

TEST_CASE("what is not read is said to be unsupported") {
  for (const char* descr : {">f8", "<c16", "<f16", "|O", "<U3", "|S4", "|V8", "<M8[ns]", "<i1", "f8", ""}) {
    const auto a = io::try_read_npy(bytes_of(file(dict(descr, "False", "(1,)"), 8)));
    REQUIRE_FALSE(a);
    CHECK(a.error().code == errc::unsupported);
  }
  CHECK(message(file("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n", 8)) ==
        "unsupported: npy descr: got a structure, wanted one number an element");
  CHECK(message(file(dict("<f8", "False", "(1,)"), 8, 4)) ==
        "unsupported: npy version: got 4.0, wanted 1.0, 2.0 or 3.0");
  CHECK(message(file(std::string(10'001, ' '))) == "unsupported: npy header: got 10001 bytes, wanted at most 10000");
  std::string many = "(";
  for (int i = 0; i < 33; ++i) many += "1,";
  CHECK(message(file(dict("<f8", "False", many + ")"), 8)) ==
        "unsupported: npy shape: got more dimensions, wanted at most 32");
}

TEST_CASE("sizes that overflow or differ from the bytes that are there are refused") {
  const auto refused = [](const char* extents, std::size_t data) {
    return message(file(dict("<f8", "False", extents), data));
  };
  CHECK(refused("(3,)", 16) == "malformed: npy elements: got 16 bytes, wanted 3 elements of f64");
  CHECK(refused("(1,)", 9) == "malformed: npy elements: got 9 bytes, wanted 1 elements of f64");
  CHECK(refused("(4294967296, 4294967296)", 0).find("overflows") != std::string::npos);
  CHECK(refused("(2305843009213693952,)", 0).find("overflows") != std::string::npos);  // 2^61 elements, 2^64 bytes
  CHECK(refused("(9223372036854775808,)", 0) == "malformed: npy shape: got an extent that overflows, wanted 63 bits");
  CHECK(refused("(9223372036854775807, 2, 0)", 0) == "fine");
  CHECK(refused("(0, 9223372036854775807)", 0) == "fine");
}

TEST_CASE("no proper prefix of a file is read") {
  const std::vector<float> values{1, 2, 3};
  const std::string whole = io::npy<float>(values, {3});
  int accepted = 0;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const std::vector<char> prefix(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    accepted += io::try_read_npy(std::as_bytes(std::span{prefix})).has_value();
  }
  CHECK(accepted == 0);
  CHECK(message(whole) == "fine");
  CHECK(message("") == "malformed: npy magic: got a file of 0 bytes, wanted one that begins with \\x93NUMPY");
}
