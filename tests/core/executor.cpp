// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/executor.hpp>
#include <resect/core/threads.hpp>

using namespace resect;

namespace {

struct lent_pool {
  int calls = 0;
  template <class F>
  void bulk(index_t n, F&& f) {
    ++calls;
    for (index_t i = n; i-- > 0;) f(i);
  }
};
struct no_pool {
  void bulk(index_t);
};
struct takes_ref {
  void bulk(index_t n, function_ref<void(index_t)> f) {
    for (index_t i = 0; i < n; ++i) f(i);
  }
};

int twice(int x) { return 2 * x; }

}  // namespace

static_assert(executor<inline_executor> && executor<const inline_executor>);
static_assert(executor<threads> && executor<const threads>);
static_assert(executor<lent_pool> && executor<takes_ref>);
static_assert(!executor<no_pool> && !executor<int>);
static_assert(std::is_trivially_copyable_v<function_ref<void(index_t)>>);
static_assert(sizeof(function_ref<void(index_t)>) == 2 * sizeof(void*));
static_assert(!std::is_constructible_v<function_ref<void(index_t)>, int>);
static_assert(!std::is_constructible_v<function_ref<int(int)>, void (*)(int)>);

TEST_CASE("a function_ref calls what it was made of, by reference") {
  int calls = 0;
  auto count = [&calls](int by) { return calls += by; };
  const function_ref<int(int)> f = count;
  CHECK(f(2) == 2);
  CHECK(f(3) == 5);
  const auto copy = f;
  CHECK(copy(1) == 6);

  struct counter {
    int n = 0;
    void operator()() { ++n; }
  } c;
  const function_ref<void()> g = c;
  g();
  g();
  CHECK(c.n == 2);

  const auto constant = [](int x) { return x + 1; };
  CHECK(function_ref<int(int)>{constant}(4) == 5);
}

TEST_CASE("a function_ref takes a pointer to a function and a plain function") {
  int (*const pointer)(int) = &twice;
  CHECK(function_ref<int(int)>{pointer}(21) == 42);
  CHECK(function_ref<int(int)>{twice}(21) == 42);
}

TEST_CASE("a function_ref that returns nothing drops what its function returns") {
  int sum = 0;
  auto add = [&sum](index_t i) { return sum += static_cast<int>(i); };
  const function_ref<void(index_t)> f = add;
  f(3);
  CHECK(sum == 3);
  inline_executor{}.bulk(4, add);
  CHECK(sum == 9);
  threads{2}.bulk(1, add);
  CHECK(sum == 9);
}

TEST_CASE("a function_ref passes references, values that only move and conversions") {
  auto set = [](int& x, std::unique_ptr<int> p) { x = *p; };
  const function_ref<void(int&, std::unique_ptr<int>)> f = set;
  int x = 0;
  f(x, std::make_unique<int>(8));
  CHECK(x == 8);
  auto wide = [](int v) -> short { return static_cast<short>(v); };
  const function_ref<long(int)> g = wide;
  CHECK(g(7) == 7L);
}

TEST_CASE("the inline executor runs tasks in order on the caller") {
  std::vector<index_t> order;
  std::vector<std::thread::id> where;
  inline_executor{}.bulk(5, [&](index_t i) {
    order.push_back(i);
    where.push_back(std::this_thread::get_id());
  });
  CHECK(order == std::vector<index_t>{0, 1, 2, 3, 4});
  for (const auto id : where) CHECK(id == std::this_thread::get_id());
  inline_executor{}.bulk(0, [](index_t) { FAIL("no task was asked for"); });
  inline_executor{}.bulk(-3, [](index_t) { FAIL("no task was asked for"); });
}
