// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/copy.hpp>

#include <concepts>
#include <vector>

#include <resect/core/float16.hpp>
#include <resect/core/matrix.hpp>
#include <resect/core/threads.hpp>
#include <support/catch.hpp>

using namespace resect;

namespace {

// A view of m × n with strides of its own, in memory that has room around every element; all of it is −1 at first.
template <class T>
struct spread {
  std::vector<T> memory;
  matrix_view<T> view;
  spread(index_t m, index_t n, index_t row_stride, index_t col_stride)
      : memory(static_cast<std::size_t>(m * row_stride + n * col_stride + 2), T(-1.0f)),
        view{memory.data() + 1, m, n, row_stride, col_stride} {}
};
// Which every type holds exactly, and no two places of a row or a column that are near each other share.
float number_of(index_t r, index_t c) { return static_cast<float>(1 + (r * 41 + c) % 251); }
template <class T>
void number(const matrix_view<T>& a) {
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c) a(r, c) = static_cast<T>(number_of(r, c));
}
template <class T>
std::size_t numbered(const matrix_view<T>& a) {
  std::size_t right = 0;
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t c = 0; c < a.cols; ++c) right += static_cast<float>(a(r, c)) == number_of(r, c);
  return right;
}

}  // namespace

TEMPLATE_TEST_CASE("a copy has the elements in their places and touches nothing else", "", float, double, f16, bf16) {
  threads two{2};
  for (const index_t m : {1, 3, 40})
    for (const index_t n : {1, 5, 37}) {
      const index_t rows[] = {n, n + 3, 1, 2}, cols[] = {1, 1, m, 2 * m + 1};  // packed, padded, transposed, apart
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
          spread<TestType> from(m, n, rows[i], cols[i]);
          number(from.view);
          const matrix_view<const TestType> source = from.view;
          const auto check = [&](auto element, auto how) {
            using U = decltype(element);
            spread<U> to(m, n, rows[j], cols[j]);
            how(to.view);
            CHECK(numbered(to.view) == static_cast<std::size_t>(m * n));
            std::size_t untouched = 0;
            for (const U x : to.memory) untouched += static_cast<float>(x) == -1.0f;
            CHECK(untouched == to.memory.size() - static_cast<std::size_t>(m * n));
          };
          check(TestType{}, [&](auto to) { copy(source, to); });
          check(float{}, [&](auto to) { copy(source, to); });
          check(double{}, [&](auto to) { copy(two, source, to); });
        }
    }
}

TEST_CASE("materialized gives a packed copy, in an array and in a vector, and memory is kept") {
  spread<float> from(3, 4, 1, 5);
  number(from.view);
  array<float> memory;
  const auto packed = materialized(from.view, memory);
  static_assert(std::same_as<decltype(packed), const matrix_view<float>>);
  CHECK((packed.data == memory.data() && packed.row_stride == 4 && packed.col_stride == 1));
  CHECK(memory == array<float>{1, 2, 3, 4, 42, 43, 44, 45, 83, 84, 85, 86});
  const matrix_view<const float> part = packed.block(1, 1, 2, 2);
  std::vector<float> vector;
  const auto inner = materialized(part, vector);
  CHECK(inner.data == vector.data());
  CHECK(vector == std::vector<float>{43, 44, 84, 85});
  const float* const at = memory.data();
  materialized(from.view.middle_rows(1, 2), memory);
  CHECK(memory.data() == at);
  CHECK(memory.size() == 8);
  CHECK(materialized(matrix_view<const float>{}, memory).empty());
}

// Memory of another space is copied by the backend of that space, by its name.
template <class A, class B>
concept can_copy = requires(A a, B b) { copy(a, b); };
static_assert(can_copy<matrix_view<const float>, matrix_view<float>>);
static_assert(!can_copy<matrix_view<const float>, matrix_view<const float>>);
static_assert(!can_copy<matrix_view<const float, cuda_space>, matrix_view<float>>);
static_assert(!can_copy<matrix_view<const float>, matrix_view<float, cuda_space>>);
