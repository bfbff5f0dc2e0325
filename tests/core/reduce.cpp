// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include <support/catch.hpp>

#include <resect/core/reduce.hpp>
#include <resect/core/threads.hpp>
#include <resect/random/distributions.hpp>

using namespace resect;

namespace {

template <class T>
std::vector<T> draws(std::size_t n, std::uint64_t seed, double spread = 0.0) {
  std::vector<T> x;
  for (std::size_t i = 0; i < n; ++i) {
    const double g = random::gaussian(seed, 1, i);
    x.push_back(static_cast<T>(g * std::exp(spread * random::gaussian(seed, 2, i))));
  }
  return x;
}

// (n/8 + 3) · 2⁻⁵³ · Σ|x|, as reduce.hpp states it
double stated_bound(std::size_t n, long double absolute) {
  return (static_cast<double>(n) / 8 + 3) * 0x1p-53 * static_cast<double>(absolute);
}

}  // namespace

TEST_CASE("sum keeps to its stated error against long double, for all tails and for wide spreads") {
  double worst = 0.0;
  for (const double spread : {0.0, 4.0})
    for (const std::size_t n :
         std::initializer_list<std::size_t>{0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 100003}) {
      const auto f = draws<float>(n, n + 1, spread);
      const auto d = draws<double>(n, n + 1, spread);
      long double f_sum = 0, f_abs = 0, d_sum = 0, d_abs = 0;
      for (std::size_t i = 0; i < n; ++i) {
        f_sum += static_cast<long double>(f[i]), f_abs += std::fabs(static_cast<long double>(f[i]));
        d_sum += static_cast<long double>(d[i]), d_abs += std::fabs(static_cast<long double>(d[i]));
      }
      CHECK(std::fabs(sum<float>(f) - static_cast<double>(f_sum)) <= stated_bound(n, f_abs));
      CHECK(std::fabs(sum<double>(d) - static_cast<double>(d_sum)) <= stated_bound(n, d_abs));
      if (n > 0)
        worst = std::max(worst, std::fabs(sum<double>(d) - static_cast<double>(d_sum)) / stated_bound(n, d_abs));
    }
  CHECK(worst > 1e-4);  // the bound says something
}

TEST_CASE("sum is exact where the partial sums are") {
  std::vector<float> x;
  double exact = 0;
  for (int i = 0; i < 1003; ++i)
    x.push_back(static_cast<float>(i * (i % 2 == 0 ? 1 : -3))), exact += static_cast<double>(x.back());
  CHECK(sum<float>(x) == exact);
  CHECK(sum<float>({}) == 0.0);
  CHECK(sum<double>(std::vector<double>{-0.5}) == -0.5);
}

TEST_CASE("sum lets infinities and NaN through") {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x(20, 1.0f);
  x[13] = inf;
  CHECK(sum<float>(x) == static_cast<double>(inf));
  x[4] = -inf;
  CHECK(std::isnan(sum<float>(x)));
}

TEST_CASE("dot keeps to the same error, over the shorter of its arguments") {
  for (const std::size_t n : std::initializer_list<std::size_t>{0, 1, 7, 8, 9, 31, 4096, 10007}) {
    const auto a = draws<float>(n, 3, 1.0), b = draws<float>(n, 5, 1.0);
    long double value = 0, absolute = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto term = static_cast<long double>(a[i]) * static_cast<long double>(b[i]);
      value += term, absolute += std::fabs(term);
    }
    CHECK(std::fabs(dot(a, b) - static_cast<double>(value)) <= stated_bound(n, absolute));
    CHECK(dot(a, b) == dot(b, a));
    auto longer = b;
    longer.push_back(1e30f);
    CHECK(dot(a, longer) == dot(a, b));
    CHECK(dot(longer, a) == dot(a, b));
  }
}

TEST_CASE("lanes are summed in pairs, in one order") {
  const double lane[8] = {0x1p53, 1, -0x1p53, 1, 0.5, 1, 0.25, 1};
  CHECK(lane_sum(lane) == ((0x1p53 + 0.5) + (-0x1p53 + 0.25)) + ((1.0 + 1) + (1.0 + 1)));
  CHECK(lane_sum({1, 2, 4, 8, 16, 32, 64, 128}) == 255);
}

TEST_CASE("sum and dot give the bits they always gave") {
  std::vector<float> a, b;
  std::uint32_t word = 12345;
  for (int i = 0; i < 1237; ++i) {
    word = word * 1664525u + 1013904223u;
    a.push_back(std::ldexp(static_cast<float>(static_cast<std::int32_t>(word)), -static_cast<int>(word % 61)));
    b.push_back(std::ldexp(static_cast<float>(static_cast<std::int32_t>(~word)), -static_cast<int>(word % 7)));
  }
  CHECK(std::bit_cast<std::uint64_t>(sum<float>(a)) == 0xc1fcfc8ef5cf24afu);
  CHECK(std::bit_cast<std::uint64_t>(dot(a, b)) == 0xc3ffe4606dfb8a2au);
}

TEST_CASE("a parallel reduction gives the same bits for 1, 2, 3, 7 and 64 workers and for an inline executor") {
  const auto x = draws<double>(20011, 9, 3.0);
  const auto reduce = [&](auto& exec, index_t n, index_t block) {
    return parallel_reduce(
        exec, n, block, 0.0,
        [&](index_t first, index_t last) {
          return sum<double>(
              std::span(x).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first)));
        },
        [](double a, double b) { return a + b; });
  };
  for (const index_t n : {0, 1, 2, 99, 100, 101, 200, 2047, 2048, 2049, 20011})
    for (const index_t block : {1, 100, 256, 30000}) {
      inline_executor here;
      const double want = reduce(here, n, block);
      long double exact = 0, absolute = 0;
      for (index_t i = 0; i < n; ++i)
        exact += static_cast<long double>(x[static_cast<std::size_t>(i)]),
            absolute += std::fabs(static_cast<long double>(x[static_cast<std::size_t>(i)]));
      CHECK(std::fabs(want - static_cast<double>(exact)) <=
            2 * stated_bound(static_cast<std::size_t>(n) + 100, absolute));
      if (block < 100 && n > 3000) continue;
      for (const int workers : {1, 2, 3, 7, 64}) {
        const threads pool{workers};
        CHECK(std::bit_cast<std::uint64_t>(reduce(pool, n, block)) == std::bit_cast<std::uint64_t>(want));
      }
    }
}

TEST_CASE("a reduction combines neighbours only, in order, in a tree that follows the number of blocks") {
  const auto shape = [](index_t n, index_t block) {
    inline_executor here;
    return parallel_reduce(
        here, n, block, std::string("empty"),
        [](index_t first, index_t last) { return std::to_string(first) + "-" + std::to_string(last); },
        [](const std::string& a, const std::string& b) { return "(" + a + " " + b + ")"; });
  };
  CHECK(shape(0, 4) == "empty");
  CHECK(shape(-5, 4) == "empty");
  CHECK(shape(1, 4) == "0-1");
  CHECK(shape(4, 4) == "0-4");
  CHECK(shape(5, 4) == "(0-4 4-5)");
  CHECK(shape(12, 4) == "((0-4 4-8) 8-12)");
  CHECK(shape(14, 2) == "(((0-2 2-4) (4-6 6-8)) ((8-10 10-12) 12-14))");
}

TEST_CASE("a reduction may be over bool, by many workers") {
  const threads pool{7};
  for (int round = 0; round < 200; ++round) {
    const index_t odd = 64 * 5 + round % 64;
    const bool all = parallel_reduce(
        pool, index_t{64 * 16}, index_t{1}, true, [&](index_t first, index_t) { return first != odd; },
        [](bool a, bool b) { return a && b; });
    const bool none = parallel_reduce(
        pool, index_t{64 * 16}, index_t{1}, true, [](index_t, index_t) { return true; },
        [](bool a, bool b) { return a && b; });
    REQUIRE_FALSE(all);
    REQUIRE(none);
  }
}

TEST_CASE("an engine's own pool can reduce") {
  struct backwards {
    void bulk(index_t n, function_ref<void(index_t)> f) {
      for (index_t i = n; i-- > 0;) f(i);
    }
  } engine;
  const index_t total = parallel_reduce(
      engine, index_t{1000}, index_t{7}, index_t{0},
      [](index_t first, index_t last) {
        index_t s = 0;
        for (index_t i = first; i < last; ++i) s += i;
        return s;
      },
      [](index_t a, index_t b) { return a + b; });
  CHECK(total == 499500);
}
