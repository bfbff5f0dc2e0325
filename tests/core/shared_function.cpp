// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/shared_function.hpp>

using resect::shared_function;

namespace {

struct counted {
  static inline std::atomic<int> alive{0}, copies{0};
  static void reset() { alive = copies = 0; }
  int add;
  explicit counted(int a) : add(a) { ++alive; }
  counted(const counted& other) : add(other.add) { ++alive, ++copies; }
  counted(counted&& other) noexcept : add(other.add) { ++alive; }
  ~counted() { --alive; }
  int operator()(int x) const { return x + add; }
};

int triple(int x) { return 3 * x; }

}  // namespace

using function = shared_function<int(int)>;
static_assert(std::is_nothrow_copy_constructible_v<function> && std::is_nothrow_move_constructible_v<function>);
static_assert(std::is_nothrow_copy_assignable_v<function>);
static_assert(!std::is_convertible_v<function, bool>);
namespace {
struct only_mutable {
  int operator()(int x) { return x; }
};
}  // namespace
static_assert(!std::is_constructible_v<function, only_mutable>,
              "a shared function is called from many threads: const only");
static_assert(!std::is_constructible_v<function, int>);

TEST_CASE("copies share one callable, which is never copied and dies with the last of them") {
  counted::reset();
  {
    function outer;
    {
      const function f{counted{10}};
      CHECK(counted::alive == 1);
      const function g = f;
      const function h = g;
      CHECK(counted::alive == 1);
      CHECK(f(1) == 11);
      CHECK(h(2) == 12);
      outer = h;
    }
    CHECK(counted::alive == 1);
    CHECK(outer(5) == 15);
    outer = function{counted{20}};
    CHECK(counted::alive == 1);
    CHECK(outer(5) == 25);
    outer = function{};
    CHECK(counted::alive == 0);
  }
  CHECK(counted::copies == 0);
}

TEST_CASE("moving a shared function leaves an empty one") {
  counted::reset();
  function a{counted{1}};
  function b = std::move(a);
  CHECK_FALSE(a);
  CHECK(b);
  CHECK(b(1) == 2);
  a = std::move(b);
  CHECK(a);
  CHECK_FALSE(b);
  CHECK(counted::alive == 1);
  const function& self = a;
  a = self;
  CHECK(a(2) == 3);
  a = function{};
  CHECK(counted::alive == 0);
}

TEST_CASE("an empty shared function is false, copies as empty") {
  const function none;
  CHECK_FALSE(none);
  const function copy = none;
  CHECK_FALSE(copy);
  CHECK(function{triple});
}

TEST_CASE("a shared function holds what only moves, and pointers to functions") {
  const shared_function<int()> f{[p = std::make_unique<int>(9)] { return *p; }};
  const auto g = f;
  CHECK(g() == 9);
  CHECK(function{triple}(4) == 12);
  CHECK(function{&triple}(5) == 15);
}

TEST_CASE("a shared function passes references, values that only move and conversions") {
  const shared_function<void(int&, std::unique_ptr<int>)> f{[](int& x, std::unique_ptr<int> p) { x = *p; }};
  int x = 0;
  f(x, std::make_unique<int>(8));
  CHECK(x == 8);
  const shared_function<void(int&)> drops{[](int& v) { return ++v; }};
  drops(x);
  CHECK(x == 9);
}

TEST_CASE("threads copy, call and drop one shared function without losing or doubling it") {
  counted::reset();
  std::atomic<int> wrong{0}, ready{0};
  {
    const function f{counted{3}};
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t)
      all.emplace_back([f, &wrong, &ready] {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        for (int i = 0; i < 200000; ++i) {
          const function copy = f;
          if (copy(i) != i + 3) ++wrong;
        }
      });
    for (auto& t : all) t.join();
    CHECK(counted::alive == 1);
  }
  CHECK(wrong == 0);
  CHECK(counted::alive == 0);
  CHECK(counted::copies == 0);
}
