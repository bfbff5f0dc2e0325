// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/algorithm.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <support/catch.hpp>

namespace algo = resect::algo;

namespace {

using key_and_place = std::pair<int, int>;

// n numbers of at most `kinds` values, in an order that repeats nothing, beside their places.
std::vector<key_and_place> numbers(std::size_t n, int kinds, std::uint64_t seed) {
  std::vector<key_and_place> out;
  for (std::size_t i = 0; i < n; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    out.emplace_back(static_cast<int>((seed >> 33) % static_cast<std::uint64_t>(kinds)), static_cast<int>(i));
  }
  return out;
}
constexpr std::size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 31, 100, 1001};

bool by_key(const key_and_place& a, const key_and_place& b) { return a.first < b.first; }
bool same_key(const key_and_place& a, const key_and_place& b) { return a.first == b.first; }

}  // namespace

TEST_CASE("min, max and clamp choose as std's do, equal zeros and NaN included") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const auto same = [](double a, double b) {
    return (a != a && b != b) || (a == b && std::signbit(a) == std::signbit(b));
  };
  const double all[] = {-inf, -1, -0.0, 0.0, 2, inf, nan};
  for (const double a : all)
    for (const double b : all) {
      CHECK(same(algo::min(a, b), std::min(a, b)));
      CHECK(same(algo::max(a, b), std::max(a, b)));
      CHECK(same(algo::clamp(a, -1.0, 1.0), std::clamp(a, -1.0, 1.0)));
    }
  static_assert(algo::min(3, 2) == 2 && algo::max(3, 2) == 3 && algo::clamp(9, 1, 4) == 4);
}

TEST_CASE("swap exchanges values that can only be moved") {
  auto a = std::make_unique<int>(1), b = std::make_unique<int>(2);
  algo::swap(a, b);
  CHECK((*a == 2 && *b == 1));
}

TEST_CASE("bounds are found where std finds them") {
  for (const std::size_t n : sizes) {
    auto x = numbers(n, 9, n + 1);
    std::sort(x.begin(), x.end());
    for (int key = -1; key <= 9; ++key) {
      const key_and_place wanted{key, 0};
      CHECK(algo::lower_bound(x.begin(), x.end(), wanted, by_key) ==
            std::lower_bound(x.begin(), x.end(), wanted, by_key));
      CHECK(algo::upper_bound(x.begin(), x.end(), wanted, by_key) ==
            std::upper_bound(x.begin(), x.end(), wanted, by_key));
    }
  }
  const int x[] = {1, 3, 3, 5};
  CHECK(algo::lower_bound(x, x + 4, 3) == x + 1);
  CHECK(algo::upper_bound(x, x + 4, 3) == x + 3);
}

TEST_CASE("sort and stable_sort give what std's do") {
  for (const std::size_t n : sizes)
    for (const int kinds : {1, 3, 1 << 20}) {
      const auto x = numbers(n, kinds, 7 * n + 1);
      auto want = x, got = x;
      std::stable_sort(want.begin(), want.end(), by_key);
      algo::stable_sort(got.begin(), got.end(), by_key);
      CHECK(got == want);
      got = x;
      algo::sort(got.begin(), got.end());
      want = x;
      std::sort(want.begin(), want.end());
      CHECK(got == want);
      got = x;
      algo::sort(got.begin(), got.end(), std::greater<>{});
      CHECK(std::is_sorted(got.rbegin(), got.rend()));
    }
  std::vector<double> y{std::numeric_limits<double>::infinity(),   3, -std::numeric_limits<double>::infinity(), -0.5, 3,
                        std::numeric_limits<double>::denorm_min(), 0};
  auto want = y;
  std::sort(want.begin(), want.end());
  algo::sort(std::span(y).begin(), std::span(y).end());
  CHECK(y == want);
}

TEST_CASE("elements that can only be moved are sorted without a loss") {
  resect::array<std::unique_ptr<int>> x;
  for (const int v : {5, 1, 4, 1, 3}) x.push_back(std::make_unique<int>(v));
  const auto before = [](const std::unique_ptr<int>& a, const std::unique_ptr<int>& b) { return *a < *b; };
  algo::stable_sort(x.begin(), x.end(), before);
  for (resect::index_t i = 1; i < x.size(); ++i) CHECK(*x[i - 1] <= *x[i]);
  algo::sort(x.begin(), x.end(), [&](const auto& a, const auto& b) { return before(b, a); });
  for (resect::index_t i = 1; i < x.size(); ++i) CHECK(*x[i - 1] >= *x[i]);
}

TEST_CASE("unique keeps the first of each run, as std's does") {
  for (const std::size_t n : sizes) {
    auto want = numbers(n, 4, n + 3);
    auto got = want;
    want.erase(std::unique(want.begin(), want.end(), same_key), want.end());
    got.erase(algo::unique(got.begin(), got.end(), same_key), got.end());
    CHECK(got == want);
  }
  std::vector<int> x{2, 2, 1, 1, 1, 2};
  const std::vector<int> kept(x.begin(), algo::unique(x.begin(), x.end()));
  CHECK(kept == std::vector<int>{2, 1, 2});
}

TEST_CASE("heaps are std's heaps, and give their elements back in order") {
  for (const std::size_t n : sizes)
    for (const int kinds : {1, 3, 1 << 20}) {
      const auto x = numbers(n, kinds, n + 11);
      auto heap = x;
      algo::make_heap(heap.begin(), heap.end());
      CHECK(std::is_heap(heap.begin(), heap.end()));
      auto pushed = x;
      for (std::size_t i = 0; i <= n; ++i) {
        const auto end = pushed.begin() + static_cast<std::ptrdiff_t>(i);
        algo::push_heap(pushed.begin(), end);
        REQUIRE(std::is_heap(pushed.begin(), end));
      }
      for (std::size_t i = n; i > 0; --i) {
        const auto end = heap.begin() + static_cast<std::ptrdiff_t>(i);
        const auto largest = *std::max_element(heap.begin(), end);
        algo::pop_heap(heap.begin(), end);
        REQUIRE(end[-1] == largest);
        REQUIRE(std::is_heap(heap.begin(), end - 1));
      }
      CHECK(std::is_sorted(heap.begin(), heap.end()));
      algo::sort_heap(pushed.begin(), pushed.end());
      CHECK(pushed == heap);
    }
}

TEST_CASE("the top of a heap is replaced by one sift") {
  auto x = numbers(100, 1 << 20, 5);
  algo::make_heap(x.begin(), x.end());
  for (int v = 0; v < 50; ++v) {
    x.front() = {v, 0};
    algo::sift_down(x.begin(), x.end(), 0);
    REQUIRE(std::is_heap(x.begin(), x.end()));
  }
}

// Neither a using-directive nor an argument's type brings these names in: std's stay the ones that are meant.
TEST_CASE("the names do not meet std's") {
  using namespace std;
  using namespace resect;
  resect::array<int> x{3, 1, 2};
  sort(x.begin(), x.end());
  CHECK(min(x[0], x[1]) == 1);
  swap(x[0], x[1]);
  CHECK(x == resect::array<int>{2, 1, 3});
}
