// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/array.hpp>

#include <cstdint>
#include <limits>
#include <new>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

using resect::array;
using resect::index_t;

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
std::vector<T> values(const array<T>& x) {
  return {x.begin(), x.end()};
}

}  // namespace

TEST_CASE("an array does what a vector does under the same calls") {
  array<std::int64_t> x;
  std::vector<std::int64_t> wanted;
  std::uint64_t state = 1;
  for (int i = 0; i < 5000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto n = static_cast<std::size_t>(state >> 58);
    const auto m = static_cast<index_t>(n);
    switch ((state >> 40) % 9) {
      case 0: x.resize(m), wanted.resize(n); break;
      case 1: x.reserve(m), wanted.reserve(n); break;
      case 2: {
        const std::vector<std::int64_t> from(n, i);
        x.assign(from.data(), m), wanted.assign(from.begin(), from.end());
        break;
      }
      case 3:
        if (!wanted.empty()) x.pop_back(), wanted.pop_back();
        break;
      case 4:
        if (n == 0) x.clear(), wanted.clear();
        break;
      case 5: x.assign(m, i), wanted.assign(n, i); break;
      default: x.push_back(i), wanted.push_back(i);
    }
    REQUIRE(values(x) == wanted);
    REQUIRE(x.size() == static_cast<index_t>(wanted.size()));
    REQUIRE(x.empty() == wanted.empty());
    if (!wanted.empty()) {
      REQUIRE(x.front() == wanted.front());
      REQUIRE(x.back() == wanted.back());
      REQUIRE(x[x.size() / 2] == wanted[wanted.size() / 2]);
    }
  }
  CHECK(x.span().data() == x.data());
  CHECK(static_cast<index_t>(std::as_const(x).span().size()) == x.size());
}

TEST_CASE("sizes and indices of an array are signed, and loops over it may run downwards") {
  static_assert(std::is_same_v<decltype(array<int>{}.size()), index_t> && std::is_signed_v<index_t>);
  array<int> x(3);
  for (index_t i = x.size() - 1; i >= 0; --i) x[i] = static_cast<int>(10 * i);
  CHECK(values(x) == std::vector<int>{0, 10, 20});
}

TEST_CASE("an array is made of a size, of a size and a value, of a list, or of a span") {
  CHECK(values(array<int>(2)) == std::vector<int>{0, 0});
  CHECK(values(array<int>(2, 7)) == std::vector<int>{7, 7});
  CHECK(values(array<int>{2, 7}) == std::vector<int>{2, 7});
  const float from[] = {1, 2, 3};
  CHECK(values(array<float>(std::span(from))) == std::vector<float>{1, 2, 3});
  CHECK(array<float>(std::span<const float>{}).empty());
  static_assert(!std::is_convertible_v<index_t, array<int>> && !std::is_convertible_v<std::span<const int>, array<int>>);
}

TEST_CASE("arrays are equal where their elements are") {
  const array<double> x{1, 2, 3};
  CHECK(x == array<double>{1, 2, 3});
  CHECK_FALSE(x == array<double>{1, 2});
  CHECK_FALSE(x == array<double>{1, 2, 4});
  CHECK(array<double>{} == array<double>{});
  CHECK_FALSE(array<double>{std::numeric_limits<double>::quiet_NaN()} == array<double>{std::numeric_limits<double>::quiet_NaN()});
  struct without_equality {};
  static_assert(std::equality_comparable<array<int>> && !std::equality_comparable<array<without_equality>>);
}

template <class T>
concept complete = requires { sizeof(T); };
static_assert(complete<array<float>> && !complete<array<float, resect::cuda_space>>,
              "an array in another space than the host's comes with the backend of that space");

TEST_CASE("an array grows by doubling and keeps its memory") {
  array<int> x(3);
  CHECK(values(x) == std::vector<int>{0, 0, 0});
  x.reserve(100);
  const int* const at = x.data();
  for (int i = 0; i < 97; ++i) x.push_back(i);
  x.clear();
  x.resize(100);
  CHECK(x.data() == at);
  CHECK(values(x) == std::vector<int>(100));

  for (const bool one_by_one : {true, false}) {
    array<int> grown;
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

TEST_CASE("copies of an array are their own and moves leave nothing behind") {
  array<counted> x;
  for (int i = 0; i < 9; ++i) x.push_back(i);
  {
    array<counted> copy = x;
    copy[0] = 100;
    CHECK(x[0].value == 0);
    CHECK(copy.size() == 9);
    array<counted>& same = copy;
    copy = same;
    CHECK(copy[8].value == 8);
    x = copy;
    CHECK(x[0].value == 100);
    const array<counted> taken = std::move(copy);
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
  x = array<counted>{};
  CHECK(counted::alive == 0);
}

TEST_CASE("a copy that throws loses no element and leaks none") {
  array<counted> x;
  for (int i = 0; i < 5; ++i) x.push_back(i);
  counted::copies_left = 3;
  CHECK_THROWS_AS(array<counted>(x), std::runtime_error);
  CHECK(counted::alive == 5);
  array<counted> y;
  counted::copies_left = 2;
  CHECK_THROWS_AS(y.assign(x.data(), x.size()), std::runtime_error);
  CHECK(y.size() == 2);
  CHECK(counted::alive == 7);
  for (const index_t room : {2, 100}) {
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
TEST_CASE("an array of fewer than none or of more than there can be is refused and changes nothing") {
  array<double> x(2);
  x[1] = 7;
  volatile index_t most = std::numeric_limits<index_t>::max();
  for (const index_t n : {most, most / 4, index_t{-1}, -most}) {  // the bytes of some would wrap round
    CHECK_THROWS_AS(x.reserve(n), std::bad_alloc);
    CHECK_THROWS_AS(x.resize(n), std::bad_alloc);
    CHECK_THROWS_AS(array<char>(n), std::bad_alloc);
  }
  CHECK(values(x) == std::vector<double>{0, 7});
}
#endif
