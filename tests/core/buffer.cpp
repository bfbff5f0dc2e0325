// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/detail/buffer.hpp>

#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

using resect::detail::buffer;

namespace {

// Counts those alive, and throws at the copy that it is told to.
struct counted {
  static inline int alive = 0, copies_left = 1 << 30;
  int value = 0;

  counted(int v = 0) noexcept : value(v) { ++alive; }
  counted(const counted& other) : value(other.value) {
    if (copies_left-- <= 0) throw std::runtime_error("no more copies");
    ++alive;
  }
  counted(counted&& other) noexcept : value(std::exchange(other.value, -1)) { ++alive; }
  counted& operator=(const counted&) = default;
  counted& operator=(counted&&) noexcept = default;
  ~counted() { --alive; }
};

template <class T>
std::vector<T> values(const buffer<T>& x) {
  return {x.begin(), x.end()};
}

}  // namespace

TEST_CASE("a buffer does what a vector does under the same calls") {
  buffer<std::int64_t> x;
  std::vector<std::int64_t> wanted;
  std::uint64_t state = 1;
  for (int i = 0; i < 5000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto n = static_cast<std::size_t>(state >> 58);
    switch ((state >> 40) % 8) {
      case 0: x.resize(n), wanted.resize(n); break;
      case 1: x.reserve(n), wanted.reserve(n); break;
      case 2: {
        const std::vector<std::int64_t> from(n, i);
        x.assign(from.data(), n), wanted.assign(from.begin(), from.end());
        break;
      }
      case 3:
        if (!wanted.empty()) x.pop_back(), wanted.pop_back();
        break;
      case 4:
        if (n == 0) x.clear(), wanted.clear();
        break;
      default: x.push_back(i), wanted.push_back(i);
    }
    REQUIRE(values(x) == wanted);
    REQUIRE(x.size() == wanted.size());
    REQUIRE(x.empty() == wanted.empty());
    if (!wanted.empty()) {
      REQUIRE(x.back() == wanted.back());
      REQUIRE(x[wanted.size() / 2] == wanted[wanted.size() / 2]);
    }
  }
  CHECK(x.span().data() == x.data());
  CHECK(std::as_const(x).span().size() == x.size());
}

TEST_CASE("a buffer grows by doubling and keeps its memory") {
  buffer<int> x(3);
  CHECK(values(x) == std::vector<int>{0, 0, 0});
  x.reserve(100);
  const int* const at = x.data();
  for (int i = 0; i < 97; ++i) x.push_back(i);
  x.clear();
  x.resize(100);
  CHECK(x.data() == at);
  CHECK(values(x) == std::vector<int>(100));

  for (const bool one_by_one : {true, false}) {
    buffer<int> grown;
    int moves = 0;
    for (int i = 0; i < 1000; ++i) {
      const int* const before = grown.data();
      if (one_by_one) grown.push_back(grown.empty() ? 0 : grown[0]);  // an element of its own
      else grown.resize(grown.size() + 1);
      moves += grown.data() != before;
    }
    CHECK(moves <= 11);
  }
}

TEST_CASE("copies of a buffer are their own and moves leave nothing behind") {
  buffer<counted> x;
  for (int i = 0; i < 9; ++i) x.push_back(i);
  {
    buffer<counted> copy = x;
    copy[0] = 100;
    CHECK(x[0].value == 0);
    CHECK(copy.size() == 9);
    buffer<counted>& same = copy;
    copy = same;
    CHECK(copy[8].value == 8);
    x = copy;
    CHECK(x[0].value == 100);
    const buffer<counted> taken = std::move(copy);
    CHECK(taken.size() == 9);
    CHECK(copy.empty());
    copy.push_back(1);
    copy = std::move(x);
    CHECK(copy.size() == 9);
    CHECK(x.empty());
    copy.swap(x);
    CHECK(x[0].value == 100);
    CHECK(copy.empty());
  }
  CHECK(counted::alive == 9);
  x = buffer<counted>{};
  CHECK(counted::alive == 0);
}

TEST_CASE("a copy that throws loses no element and leaks none") {
  buffer<counted> x;
  for (int i = 0; i < 5; ++i) x.push_back(i);
  counted::copies_left = 3;
  CHECK_THROWS_AS(buffer<counted>(x), std::runtime_error);
  CHECK(counted::alive == 5);
  buffer<counted> y;
  counted::copies_left = 2;
  CHECK_THROWS_AS(y.assign(x.data(), x.size()), std::runtime_error);
  CHECK(y.size() == 2);
  CHECK(counted::alive == 7);
  for (const std::size_t room : {2u, 100u}) {
    y.reserve(room);
    y[1] = counted(77);
    counted::copies_left = 3;
    CHECK_THROWS_AS(y = x, std::runtime_error);
    CHECK(y.size() == 2);
    CHECK(y[1].value == 77);
    CHECK(counted::alive == 7);
  }
  counted::copies_left = 1 << 30;
  y = x;
  CHECK(y.size() == 5);
}

#if !TESTS_SANITIZED  // sanitizers end a program that asks for so much
TEST_CASE("a buffer of more than there can be is refused and changes nothing") {
  buffer<double> x(2);
  x[1] = 7;
  volatile std::size_t most = std::numeric_limits<std::size_t>::max();
  CHECK_THROWS_AS(x.reserve(most), std::bad_alloc);
  CHECK_THROWS_AS(x.resize(most / 4), std::bad_alloc);  // whose bytes would wrap round
  CHECK(values(x) == std::vector<double>{0, 7});
}
#endif
