// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/metrics/similarity/angular_table.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metrics/merge.hpp>
#include <resect/core/matrix.hpp>
#include <support/catch.hpp>

namespace tests {

using namespace resect::metrics;
using resect::index_t;
using resect::matrix;

namespace {

// The rows of one sequence at each depth, each a small step from the one before.
matrix<float> walk(index_t depths, index_t width, std::uint64_t seed) {
  matrix<float> h(depths, width);
  resect::random::fill_gaussian(h.data, seed, 5);
  for (index_t l = 1; l < depths; ++l)
    for (index_t c = 0; c < width; ++c) h(l, c) = h(l - 1, c) + (l == 4 ? 0.01f : 0.3f) * h(l, c);
  return h;
}

std::vector<float> row(const matrix<float>& h, index_t l) {
  return {h.data.begin() + l * h.cols, h.data.begin() + (l + 1) * h.cols};
}

}  // namespace

TEST_CASE("a table of angles holds the mean of every pair of depths, and names the layers that turn the stream least") {
  constexpr index_t depths = 7, clusters = 8, width = 24;
  angular_table table(clusters, depths);
  std::vector<mean_angular_distance> wanted(depths * depths, mean_angular_distance(clusters));
  for (index_t s = 0; s < 20; ++s) {
    const matrix<float> h = walk(depths, width, static_cast<std::uint64_t>(s));
    REQUIRE(table.try_add(s % clusters, h.view()));
    for (index_t l = 0; l < depths; ++l)
      for (index_t m = l + 1; m < depths; ++m)
        wanted[static_cast<std::size_t>(l * depths + m)].add(s % clusters, row(h, l), row(h, m));
  }
  for (index_t n = 1; n < depths; ++n) {
    index_t best = 0;
    for (index_t l = 0; l + n < depths; ++l) {
      const auto got = table.between(l, n).estimate(),
                 want = wanted[static_cast<std::size_t>(l * depths + l + n)].estimate();
      CHECK((got.value == want.value && got.se == want.se && got.n == 20));
      if (got.value < table.between(best, n).estimate().value) best = l;
    }
    CHECK(table.best_block(n) == best);
  }
  CHECK(table.best_block(1) == 3);  // depth 4 is next to depth 3
  for (const index_t n : {index_t{0}, index_t{-1}, depths}) CHECK(table.best_block(n) == -1);
}

TEST_CASE("equal distances go to the first block, NaN and nothing to none") {
  angular_table table(2, 4);
  CHECK(table.best_block(1) == -1);
  matrix<float> h(4, 3);
  for (float& x : h.data) x = 1;
  table.add(0, h.view());
  CHECK(table.best_block(2) == 0);
  h(2, 1) = std::numeric_limits<float>::quiet_NaN();
  table.add(1, h.view());
  CHECK(table.best_block(1) == -1);
  CHECK(angular_table{}.best_block(1) == -1);
}

TEST_CASE("tables of angles merge to one pass, and refuse what does not fit") {
  angular_table whole(6, 5), first(6, 5), second(6, 5);
  for (index_t s = 0; s < 12; ++s) {
    const matrix<float> h = walk(5, 8, static_cast<std::uint64_t>(100 + s));
    whole.add(s % 6, h.view());
    (s % 3 == 0 ? first : second).add(s % 6, h.view());
  }
  REQUIRE(first.merge(second));
  for (index_t n = 1; n < 5; ++n)
    for (index_t l = 0; l + n < 5; ++l) {
      CHECK(first.between(l, n).estimate().value == Approx(whole.between(l, n).estimate().value).epsilon(1e-12));
      CHECK(first.between(l, n).estimate().n == 12);
    }
  CHECK(first.merge(angular_table(6, 4)).error().message() == "shape mismatch: depths: got 4, wanted 5");
  CHECK(first.merge(angular_table(5, 5)).error().code == resect::errc::shape_mismatch);
  const matrix<float> h = walk(4, 8, 1);
  CHECK(first.try_add(0, h.view()).error().code == resect::errc::shape_mismatch);
  CHECK(first.try_add(0, {h.data.data(), 5, 2, 2, 3}).error().code == resect::errc::bad_stride);
  CHECK(first.try_add(0, {nullptr, 5, 8}).error().code == resect::errc::null_pointer);
  CHECK(first.between(0, 1).estimate().n == 12);
}

}  // namespace tests
