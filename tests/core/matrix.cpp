// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <new>
#include <type_traits>
#include <utility>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

#include <resect/core/matrix.hpp>

using namespace resect;

TEST_CASE("a matrix begins as zeros, row-major, and its views see its elements") {
  matrix<float> a(3, 4);
  CHECK(a.data == array<float>(12, 0.0f));
  a(1, 2) = 5;
  CHECK(a.data[6] == 5);
  const matrix<float>& read = a;
  CHECK(read(1, 2) == 5);
  const auto view = a.view();
  CHECK((view.rows == 3 && view.cols == 4 && view.row_stride == 4 && view.col_stride == 1));
  view(2, 3) = 7;
  CHECK(a.data.back() == 7);
  static_assert(std::is_same_v<decltype(read.view()), matrix_view<const float>>);
  CHECK(read.view().data == a.data.data());
  CHECK(check_view(a.view(), 3, 4, "A"));
}

static_assert(std::is_same_v<matrix<float>::space, host_space> && std::is_same_v<decltype(matrix<float>::data), array<float>>);

TEST_CASE("a matrix is a value: a copy is another one, moving leaves nothing") {
  matrix<double> a(2, 2);
  a(0, 1) = 1;
  auto b = a;
  CHECK(a == b);
  b(0, 1) = 2;
  CHECK_FALSE(a == b);
  CHECK(a(0, 1) == 1);
  const auto* where = b.data.data();
  const auto c = std::move(b);
  CHECK(c.data.data() == where);
  CHECK_FALSE(matrix<double>(1, 4) == matrix<double>(4, 1));
}

#if !TESTS_SANITIZED  // sanitizers end a program that asks for so much
TEST_CASE("extents that no memory holds are refused and change nothing") {
  const auto wide = index_t{1} << 32;
  CHECK_THROWS_AS(matrix<float>(wide, wide), std::bad_alloc);  // 2⁶⁴ elements are no index
  CHECK_THROWS_AS(matrix<float>(-1, 2), std::bad_alloc);
  CHECK_THROWS_AS(matrix<float>(-2, -2), std::bad_alloc);
  matrix<float> a(2, 3);
  CHECK_THROWS_AS(a.resize(wide, wide), std::bad_alloc);
  CHECK_THROWS_AS(a.resize(-1, 3), std::bad_alloc);
  CHECK((a.rows == 2 && a.cols == 3 && a.data.size() == 6));
}
#endif

TEST_CASE("empty and resized matrices") {
  matrix<float> a;
  CHECK(a.empty());
  CHECK(check_view(a.view(), "A"));
  CHECK(matrix<float>(0, 7).empty());
  CHECK(check_view(matrix<float>(0, 7).view(), 0, 7, "A"));
  a.resize(5, 2);
  CHECK((a.rows == 5 && a.cols == 2 && a.data.size() == 10));
  CHECK_FALSE(a.empty());
}
