// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/threads.hpp>

using namespace resect;

namespace {
constexpr int worker_counts[] = {1, 2, 3, 7, 64};
}

TEST_CASE("every task runs exactly once, whatever the number of workers and tasks") {
  for (const int workers : worker_counts) {
    const threads pool{workers};
    for (const index_t n : {0, 1, 2, 3, 6, 7, 8, 63, 64, 65, 1000}) {
      std::vector<std::atomic<int>> ran(static_cast<std::size_t>(n) + 2);
      pool.bulk(n, [&](index_t i) { ++ran.at(static_cast<std::size_t>(i)); });
      bool once = true;
      for (index_t i = 0; i < n + 2; ++i) once = once && ran[static_cast<std::size_t>(i)] == (i < n ? 1 : 0);
      CHECK(once);
    }
  }
}

TEST_CASE("what tasks wrote is there when bulk returns, in thousands of bulks in a row") {
  for (const int workers : {2, 3, 7}) {
    const threads pool{workers};
    std::vector<index_t> values(17, 0);
    bool right = true;
    for (index_t round = 1; round <= 3000; ++round) {
      const index_t n = 1 + round % 17;
      pool.bulk(n, [&](index_t i) { values[static_cast<std::size_t>(i)] = round * 100 + i; });
      for (index_t i = 0; i < n; ++i) right = right && values[static_cast<std::size_t>(i)] == round * 100 + i;
    }
    CHECK(right);
  }
}

TEST_CASE("a bulk inside a task runs all its tasks before the task goes on") {
  for (const int workers : worker_counts) {
    const threads pool{workers};
    std::atomic<int> inner{0};
    std::atomic<bool> complete{true};
    pool.bulk(20, [&](index_t) {
      std::vector<int> mine(5, 0);
      pool.bulk(5, [&](index_t j) {
        ++inner;
        pool.bulk(2, [&](index_t k) { mine[static_cast<std::size_t>(j)] += static_cast<int>(k) + 1; });
      });
      for (const int m : mine) complete = complete && m == 3;
    });
    CHECK(inner == 100);
    CHECK(complete);
    std::atomic<int> after{0};
    pool.bulk(10, [&](index_t) { ++after; });
    CHECK(after == 10);
  }
}

TEST_CASE("two workers work at the same time") {
  const threads pool{2};
  std::atomic<int> started{0};
  std::atomic<bool> met{true};
  for (int round = 0; round < 3; ++round) {
    started = 0;
    pool.bulk(2, [&](index_t) {
      ++started;
      const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (started < 2 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
      if (started < 2) met = false;
    });
  }
  CHECK(met);
}

TEST_CASE("a nested bulk leaves the pool parallel for the next one") {
  const threads pool{2};
  pool.bulk(4, [&](index_t) { pool.bulk(3, [](index_t) {}); });
  pool.bulk(1, [&](index_t) { pool.bulk(3, [](index_t) {}); });
  std::atomic<int> started{0};
  std::atomic<bool> met{true};
  pool.bulk(2, [&](index_t) {
    ++started;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (started < 2 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    if (started < 2) met = false;
  });
  CHECK(met);
}

TEST_CASE("one worker is the caller itself and starts no thread") {
  for (const int n : {1, 0, -4}) {
    const threads pool{n};
    CHECK(pool.concurrency() == 1);
    std::set<std::thread::id> where;
    std::vector<index_t> order;
    pool.bulk(6, [&](index_t i) {
      where.insert(std::this_thread::get_id());
      order.push_back(i);
    });
    CHECK(where == std::set<std::thread::id>{std::this_thread::get_id()});
    CHECK(order == std::vector<index_t>{0, 1, 2, 3, 4, 5});
  }
  CHECK(threads{}.concurrency() == 1);
}

TEST_CASE("concurrency says how many workers there are, and no more threads than that work") {
  for (const int workers : worker_counts) {
    const threads pool{workers};
    CHECK(pool.concurrency() == workers);
    std::mutex guard;
    std::set<std::thread::id> where;
    pool.bulk(500, [&](index_t) {
      std::lock_guard lock(guard);
      where.insert(std::this_thread::get_id());
    });
    CHECK(where.size() <= static_cast<std::size_t>(workers));
  }
}

TEST_CASE("no task is run for a count of zero or less") {
  const threads pool{3};
  pool.bulk(0, [](index_t) { FAIL("no task was asked for"); });
  pool.bulk(-1, [](index_t) { FAIL("no task was asked for"); });
}

TEST_CASE("a pool can be moved and goes on working") {
  threads a{3};
  std::atomic<int> n{0};
  a.bulk(5, [&](index_t) { ++n; });
  threads b = std::move(a);
  b.bulk(5, [&](index_t) { ++n; });
  a = threads{2};
  a.bulk(5, [&](index_t) { ++n; });
  b = std::move(a);
  b.bulk(5, [&](index_t) { ++n; });
  CHECK(n == 20);
}

TEST_CASE("a pool that was moved from is its caller alone") {
  threads a{3};
  const threads b = std::move(a);
  CHECK(a.concurrency() == 1);
  std::vector<index_t> order;
  a.bulk(4, [&](index_t i) { order.push_back(i); });
  CHECK(order == std::vector<index_t>{0, 1, 2, 3});
  a.bulk(-1, [](index_t) { FAIL("no task was asked for"); });
  CHECK(b.concurrency() == 3);
}

TEST_CASE("pools come and go, used or not") {
  std::atomic<int> n{0};
  for (int i = 0; i < 200; ++i) {
    const threads pool{1 + i % 5};
    if (i % 2 == 0) pool.bulk(3, [&](index_t) { ++n; });
  }
  CHECK(n == 300);
}

TEST_CASE("two pools do not disturb each other") {
  const threads a{2}, b{3};
  std::atomic<int> n{0};
  a.bulk(10, [&](index_t) { b.bulk(1, [&](index_t) { ++n; }); });
  std::thread other([&] {
    for (int i = 0; i < 200; ++i) b.bulk(7, [&](index_t) { ++n; });
  });
  for (int i = 0; i < 200; ++i) a.bulk(7, [&](index_t) { ++n; });
  other.join();
  CHECK(n == 10 + 2 * 200 * 7);
}
