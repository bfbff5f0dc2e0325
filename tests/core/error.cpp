// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <set>
#include <string>
#include <type_traits>

#include <support/catch.hpp>

#include <resect/core/error.hpp>

using namespace resect;

static_assert(std::is_trivially_copyable_v<error>);
static_assert(std::is_nothrow_copy_constructible_v<resect::exception>);
static_assert(std::is_base_of_v<std::exception, resect::exception>);

TEST_CASE("every code has a name of its own") {
  std::set<std::string> names;
  for (int c = 0; c <= static_cast<int>(errc::out_of_memory); ++c)
    names.insert(std::string(name(static_cast<errc>(c))));
  CHECK(names.size() == static_cast<std::size_t>(errc::out_of_memory) + 1);
  CHECK(names.count("unknown") == 0);
  CHECK(names.count("") == 0);
  CHECK(name(static_cast<errc>(200)) == "unknown");
}

TEST_CASE("an error within something names both, and is otherwise the same") {
  const error e{errc::io, "row 3", "nothing", "bytes"};
  CHECK(e.within("W of layer 2").operand == "W of layer 2: row 3");
  CHECK(e.within("W").message() == "i/o: W: row 3: got nothing, wanted bytes");
  CHECK(error{errc::io, {}, "nothing", {}}.within("W").operand == "W");
  CHECK(e.operand == "row 3");
}

TEST_CASE("a message says operand, what it was and what it should have been, and leaves out what is not known") {
  CHECK(error{errc::shape_mismatch, "A", "2 x 3", "3 x 2"}.message() == "shape mismatch: A: got 2 x 3, wanted 3 x 2");
  CHECK(error{errc::null_pointer, "A", {}, {}}.message() == "null pointer: A");
  CHECK(error{errc::io, "file", "no permission", {}}.message() == "i/o: file: got no permission");
  CHECK(error{errc::unsupported, {}, {}, "a host of the surgery level"}.message() ==
        "unsupported, wanted a host of the surgery level");
  CHECK(error{}.message() == "invalid argument");
}

TEST_CASE("a message of the longest parts is not cut") {
  const std::string longest(120, 'x');
  for (int c = 0; c <= static_cast<int>(errc::out_of_memory); ++c) {
    const auto code = static_cast<errc>(c);
    const error e{code, std::string_view{longest}, std::string_view{longest}, std::string_view{longest}};
    CHECK(e.message().view() == std::string(name(code)) + ": " + longest + ": got " + longest + ", wanted " + longest);
  }
}

TEST_CASE("an exception carries the error and its message, also after the error is gone") {
  const auto thrown = [] {
    error e{errc::stale_cache, "cache of sequence 3", "plan 1", "plan 2"};
    resect::exception x{e};
    e = {};
    return x;
  }();
  CHECK(thrown.error().code == errc::stale_cache);
  CHECK(thrown.error().operand == "cache of sequence 3");
  CHECK(std::string(thrown.what()) == "stale cache: cache of sequence 3: got plan 1, wanted plan 2");
  const std::exception& base = thrown;
  CHECK(std::string(base.what()) == thrown.what());
}
