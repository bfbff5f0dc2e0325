// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/exact_sum.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <support/catch.hpp>

#include <resect/random/distributions.hpp>

using namespace resect;

namespace {

// Floats of every exponent and both signs, subnormals included.
std::vector<float> any_floats(std::size_t n, std::uint64_t seed) {
  std::vector<float> x(n);
  const random::philox_stream s{seed};
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t bits = s.word32(i);
    x[i] = std::bit_cast<float>((bits & 0x7f800000u) == 0x7f800000u ? bits & 0xbfffffffu : bits);
  }
  return x;
}

template <class Sum>
Sum sum_of(const std::vector<float>& x) {
  Sum s;
  for (const float v : x) s.add(v);
  return s;
}

static_assert([] {
  exact_sum s;
  s.add(0x1p100f);
  s.add(1.0f);
  s.add(-0x1p100f);
  return s.value();
}() == 1.0);

}  // namespace

TEST_CASE("an exact sum of one number is that number, for every exponent") {
  const std::vector<float> some = any_floats(20000, 1);
  long wrong = 0;
  for (const float x : some) {
    const double wide = static_cast<double>(x);
    wrong += sum_of<exact_sum>({x}).value() != wide;
    wrong += sum_of<exact_square_sum>({x}).value() != wide * wide;  // exact: 48 bits, no underflow in double
  }
  CHECK(wrong == 0);
  constexpr float smallest = std::numeric_limits<float>::denorm_min(), largest = std::numeric_limits<float>::max();
  CHECK(sum_of<exact_sum>({smallest}).value() == 0x1p-149);
  CHECK(sum_of<exact_square_sum>({smallest}).value() == 0x1p-298);
  CHECK(sum_of<exact_sum>({largest, largest, -largest}).value() == static_cast<double>(largest));
  CHECK(sum_of<exact_sum>({}).value() == 0);
}

TEST_CASE("what cancels is gone and what is left is exact, over the whole range of floats") {
  std::vector<float> x = any_floats(5000, 2);
  const std::size_t n = x.size();
  for (std::size_t i = 0; i < n; ++i) x.push_back(-x[i]);
  CHECK(sum_of<exact_sum>(x).value() == 0);
  x.push_back(-0x1p-149f);
  CHECK(sum_of<exact_sum>(x).value() == -0x1p-149);
  x.push_back(0x1.8p-140f);
  CHECK(sum_of<exact_sum>(x).value() == 0x1.8p-140 - 0x1p-149);
}

TEST_CASE("sums equal those of integers, correctly rounded but for one in a hundred units") {
  const random::philox_stream s{3};
  exact_sum sum;
  exact_square_sum squares;
  std::int64_t integer = 0, integer_squares = 0;
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const auto k = static_cast<std::int32_t>(s.word32(i)) >> 8;  // 24 bits
    integer += k;
    integer_squares += std::int64_t{k} * k / 4096 * 4096 == std::int64_t{k} * k ? std::int64_t{k} * k : 0;
    sum.add(static_cast<float>(k));
    if (std::int64_t{k} * k / 4096 * 4096 == std::int64_t{k} * k) squares.add(static_cast<float>(k));
  }
  CHECK(sum.value() == static_cast<double>(integer));
  CHECK(std::fabs(squares.value() / static_cast<double>(integer_squares) - 1) <= 1.03 * 0x1p-53);
}

TEST_CASE("order, split, merging and carries change nothing, not even one bit") {
  std::vector<float> x = any_floats(4000, 4);
  const double whole = sum_of<exact_sum>(x).value(), whole_squares = sum_of<exact_square_sum>(x).value();
  const random::philox_stream s{5};
  for (std::uint64_t round = 0; round < 20; ++round) {
    for (std::size_t i = x.size() - 1; i > 0; --i)
      std::swap(x[i], x[random::integer_below(s, round * x.size() + i, i + 1)]);
    exact_sum parts[3];
    exact_square_sum square_parts[3];
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t p = (i * i + round) % 3;
      parts[p].add(x[i]);
      square_parts[p].add(x[i]);
      if (i % 97 == round) parts[p].normalize();
      if (i % 89 == round) square_parts[p].normalize();
    }
    parts[2].merge(parts[0]);
    parts[2].merge(parts[1]);
    square_parts[0].merge(square_parts[2]);
    square_parts[0].merge(square_parts[1]);
    CHECK(parts[2].value() == whole);
    CHECK(square_parts[0].value() == whole_squares);
  }
}

TEST_CASE("carries make room: words stay small however often the largest float is added") {
  exact_sum up, down;
  exact_square_sum squares;
  constexpr float largest = std::numeric_limits<float>::max();
  up.add(largest);
  down.add(-largest);
  squares.add(largest);
  for (int doubling = 0; doubling < 50; ++doubling) {
    up.merge(exact_sum{up});
    down.merge(exact_sum{down});
    squares.merge(exact_square_sum{squares});
    up.normalize();
    down.normalize();
    squares.normalize();
  }
  CHECK(up.value() == std::ldexp(static_cast<double>(largest), 50));
  CHECK(down.value() == -std::ldexp(static_cast<double>(largest), 50));
  CHECK(squares.value() == std::ldexp(static_cast<double>(largest) * static_cast<double>(largest), 50));
  for (std::size_t j = 0; j < 35; ++j)
    CHECK((up.word[j] >= 0 && up.word[j] < 256 && down.word[j] >= 0 && down.word[j] < 256));
}
