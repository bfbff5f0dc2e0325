// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <type_traits>

#include <support/catch.hpp>

#include <resect/core/view.hpp>

using namespace resect;

static_assert(sizeof(index_t) == 8 && std::is_signed_v<index_t>);
static_assert(sizeof(matrix_view<float>) == 40);
static_assert(std::is_trivially_copyable_v<matrix_view<float>> && std::is_trivially_copyable_v<vector_view<float>>);
static_assert(std::is_convertible_v<matrix_view<float>, matrix_view<const float>>);
static_assert(!std::is_convertible_v<matrix_view<const float>, matrix_view<float>>);
static_assert(!std::is_convertible_v<matrix_view<float, cuda_space>, matrix_view<float>>);
static_assert(std::is_convertible_v<vector_view<float>, vector_view<const float>>);
static_assert(!std::is_convertible_v<vector_view<const float>, vector_view<float>>);
static_assert(std::is_same_v<matrix_view<const double>::value_type, double>);

template <class M>
constexpr bool indexable = requires(M m) { m(0, 0); };
static_assert(indexable<matrix_view<float>> && !indexable<matrix_view<float, cuda_space>>);
template <class V>
constexpr bool subscriptable = requires(V v) { v[0]; };
static_assert(subscriptable<vector_view<float>> && !subscriptable<vector_view<float, cuda_space>>);

namespace {

struct numbers {
  std::array<float, 60> x{};
  numbers() { std::iota(x.begin(), x.end(), 0.0f); }
};

// The three parts of an error, as one line.
std::string parts(const status& s) {
  if (s) return "fine";
  const auto& e = s.error();
  std::string out{name(e.code)};
  for (const auto& part : {e.operand, e.got, e.wanted}) out.append(" | ").append(part.view());
  return out;
}

}  // namespace

TEST_CASE("element (r, c) of a view is r row strides and c column strides from its data") {
  numbers n;
  for (const index_t rs : {0, 1, 5, 7})
    for (const index_t cs : {0, 1, 2, 3}) {
      const matrix_view<const float> m{n.x.data(), 4, 3, rs, cs};
      for (index_t r = 0; r < 4; ++r)
        for (index_t c = 0; c < 3; ++c) {
          CHECK(m(r, c) == static_cast<float>(r * rs + c * cs));
          CHECK(m.row(r)[c] == m(r, c));
          CHECK(m.transposed()(c, r) == m(r, c));
        }
    }
}

TEST_CASE("a view of nothing points nowhere and has no extent") {
  const matrix_view<float> m;
  CHECK((m.data == nullptr && m.rows == 0 && m.cols == 0 && m.row_stride == 0 && m.col_stride == 1));
  const vector_view<float> v;
  CHECK((v.data == nullptr && v.size == 0 && v.stride == 1));
  CHECK(check_view(m, "m"));
  float x[6] = {};
  const matrix_view<float> given{x, 2, 3};
  CHECK((given.row_stride == 3 && given.col_stride == 1));
  const matrix_view<float> apart{x, 2, 2, 3};
  CHECK((apart.row_stride == 3 && apart.col_stride == 1));
}

TEST_CASE("a view is row-major by default") {
  numbers n;
  const matrix_view<float> m{n.x.data(), 4, 5};
  CHECK(m.row_stride == 5);
  CHECK(m.col_stride == 1);
  CHECK(m(3, 4) == 19.0f);
  const matrix_view<float> padded{n.x.data(), 4, 5, 8};
  CHECK(padded(3, 4) == 28.0f);
}

TEST_CASE("transposing twice gives the view back, and blocks of the transpose are transposes of blocks") {
  numbers n;
  const matrix_view<const float> m{n.x.data(), 6, 7, 8, 1};
  const auto twice = m.transposed().transposed();
  CHECK(twice.data == m.data);
  CHECK(twice.rows == 6);
  CHECK(twice.row_stride == 8);
  CHECK(twice.col_stride == 1);
  const auto a = m.transposed().block(2, 1, 3, 4), b = m.block(1, 2, 4, 3).transposed();
  CHECK(a.rows == 3);
  CHECK(a.cols == 4);
  CHECK(a.rows == b.rows);
  for (index_t r = 0; r < 3; ++r)
    for (index_t c = 0; c < 4; ++c) {
      CHECK(&a(r, c) == &b(r, c));
      CHECK(&a(r, c) == &m(c + 1, r + 2));
    }
}

TEST_CASE("rows and middle rows keep the strides") {
  numbers n;
  const matrix_view<float> m{n.x.data(), 5, 3, 10, 2};
  const auto middle = m.middle_rows(2, 2);
  CHECK(middle.rows == 2);
  CHECK(middle.cols == 3);
  CHECK(&middle(1, 2) == &m(3, 2));
  const auto row = m.row(4);
  CHECK(row.size == 3);
  CHECK(row.stride == 2);
  CHECK(&row[2] == &m(4, 2));
  CHECK_FALSE(row.contiguous());
  CHECK(vector_view<float>{n.x.data(), 1, 7}.contiguous());
  CHECK(m.transposed().row(1).stride == 10);
}

TEST_CASE("a row whose elements lie side by side is a span") {
  float x[24] = {};
  const matrix_view<float> a{x, 3, 4, 6, 1};
  const std::span<float> row = a.row_span(2);
  CHECK((row.data() == x + 12 && row.size() == 4));
  static_assert(std::same_as<decltype(matrix_view<const float>{}.row_span(0)), std::span<const float>>);
}

TEST_CASE("contiguity and emptiness follow the extents") {
  numbers n;
  CHECK(matrix_view<float>{n.x.data(), 3, 4}.rows_contiguous());
  CHECK_FALSE(matrix_view<float>{n.x.data(), 3, 4}.transposed().rows_contiguous());
  CHECK(matrix_view<float>{n.x.data(), 3, 1, 4, 9}.rows_contiguous());
  CHECK(matrix_view<float>{}.empty());
  CHECK(matrix_view<float>{n.x.data(), 0, 4}.empty());
  CHECK(matrix_view<float>{n.x.data(), 4, 0}.empty());
  CHECK_FALSE(matrix_view<float>{n.x.data(), 1, 1}.empty());
}

TEST_CASE("a write through a view changes that element alone") {
  numbers n;
  const numbers before;
  matrix_view<float>{n.x.data() + 3, 2, 3, 10, 2}(1, 2) = -1.0f;
  for (std::size_t i = 0; i < n.x.size(); ++i) CHECK(n.x[i] == (i == 17 ? -1.0f : before.x[i]));
}

TEST_CASE("check_view names the operand and what is wrong with it") {
  numbers n;
  float* const p = n.x.data();
  using in = matrix_view<const float>;
  using out = matrix_view<float>;
  CHECK(parts(check_view(in{p, 3, -1}, "A")) == "shape mismatch | A | 3 x -1 | extents that are not negative");
  CHECK(parts(check_view(in{nullptr, -2, 4}, "A")) == "shape mismatch | A | -2 x 4 | extents that are not negative");
  CHECK(parts(check_view(in{nullptr, 3, 2}, "B")) == "null pointer | B | null | data for 3 x 2 elements");
  CHECK(parts(check_view(in{p, 3, 2, -1, 1}, "B")) == "bad stride | B | strides -1, 1 | strides >= 0");
  CHECK(parts(check_view(in{p, 3, 2, 2, -1}, "B")) == "bad stride | B | strides 2, -1 | strides >= 0");
  CHECK(parts(check_view(out{p, 3, 2, 0, 1}, "C")) == "bad stride | C | strides 0, 1 | strides >= 1");
  CHECK(parts(check_view(out{p, 3, 2, 2, 0}, "C")) == "bad stride | C | strides 2, 0 | strides >= 1");
  CHECK(parts(check_view(out{p, 3, 4, 3, 1}, "C")) ==
        "bad stride | C | strides 3, 1 | rows that do not overlap for 3 x 4");
  CHECK(parts(check_view(out{p, 3, 4, 1, 2}, "C")) ==
        "bad stride | C | strides 1, 2 | rows that do not overlap for 3 x 4");
  CHECK(parts(check_view(in{p, 3, 2}, 2, 3, "W")) == "shape mismatch | W | 3 x 2 | 2 x 3");
  CHECK(parts(check_view(in{nullptr, 2, 3}, 2, 3, "W")) == "null pointer | W | null | data for 2 x 3 elements");
}

TEST_CASE("check_view takes what is allowed") {
  numbers n;
  float* const p = n.x.data();
  using in = matrix_view<const float>;
  using out = matrix_view<float>;
  CHECK(check_view(in{}, "A"));
  CHECK(check_view(in{nullptr, 0, 5}, "A"));
  CHECK(check_view(out{nullptr, 5, 0, -1, -1}, "A"));
  CHECK(check_view(in{p, 3, 4, 0, 1}, "A"));    // one row, repeated
  CHECK(check_view(in{p, 3, 4, 0, 0}, "A"));    // one element, repeated
  CHECK(check_view(in{p, 3, 4, 1, 1}, "A"));    // overlapping windows
  CHECK(check_view(out{p, 1, 4, -7, 1}, "A"));  // a stride that nothing uses
  CHECK(check_view(out{p, 4, 1, 1, 0}, "A"));
  CHECK(check_view(out{p, 3, 4, 4, 1}, "A"));
  CHECK(check_view(out{p, 3, 4, 1, 3}, "A"));  // column-major
  CHECK(check_view(out{p, 3, 4, 12, 3}, "A"));
  CHECK(check_view(out{p, 3, 4}, 3, 4, "A"));
}

TEST_CASE("check_view refuses extents and strides whose products overflow, whatever they wrap to") {
  numbers n;
  float* const p = n.x.data();
  using in = matrix_view<const float>;
  using out = matrix_view<float>;
  constexpr index_t most = std::numeric_limits<index_t>::max();
  CHECK(parts(check_view(out{p, 5, 5, index_t{1} << 62, index_t{1} << 62}, "C")) ==
        "bad stride | C | strides 4611686018427387904, 4611686018427387904 | a last element below 2^63 bytes for 5 x "
        "5");
  CHECK(parts(check_view(in{p, index_t{1} << 40, index_t{1} << 40, 0, 0}, "A")) ==
        "shape mismatch | A | 1099511627776 x 1099511627776 | fewer than 2^63 bytes");
  for (const index_t large : {most, most / 2, most / 3, most / 4, index_t{1} << 62, index_t{1} << 61}) {
    CHECK_FALSE(check_view(in{p, large, large}, "A"));
    CHECK_FALSE(check_view(in{p, large, 5, 0, 0}, "A"));
    CHECK_FALSE(check_view(in{p, 5, large, 0, 0}, "A"));
    CHECK_FALSE(check_view(in{p, 2, 2, large, 1}, "A"));
    CHECK_FALSE(check_view(in{p, 2, 2, 1, large}, "A"));
    CHECK_FALSE(check_view(out{p, 2, 2, large, 1}, "A"));
    CHECK_FALSE(check_view(out{p, 3, 3, 1, large}, "A"));
    CHECK_FALSE(check_view(out{p, 3, 3, large, large}, "A"));
    CHECK(check_view(in{nullptr, large, 0}, "A"));
    CHECK(check_view(in{nullptr, 0, large}, "A"));
    CHECK(check_view(out{p, 1, 1, large, large}, "A"));  // strides that nothing uses
    CHECK(check_view(out{p, 1, 4, large, 1}, "A"));
    CHECK(check_view(out{p, 4, 1, 1, large}, "A"));
  }
  // the last that fits, and one more
  CHECK(check_view(in{p, 2, 2, most / 4 - 2, 1}, "A"));
  CHECK_FALSE(check_view(in{p, 2, 2, most / 4 - 1, 1}, "A"));
  CHECK(check_view(in{p, 1, most / 4, 0, 0}, "A"));
  CHECK_FALSE(check_view(in{p, 1, most / 4 + 1, 0, 0}, "A"));
  CHECK(check_view(matrix_view<const char>{"", 1, most, 0, 0}, "A"));
  CHECK(check_view(matrix_view<const char>{"", 2, 2, most - 2, 1}, "A"));
  CHECK_FALSE(check_view(matrix_view<const char>{"", 2, 2, most - 1, 1}, "A"));
}

TEST_CASE("what check_view lets be written to has no element twice, and whole rows or columns apart are let") {
  numbers n;
  for (index_t rows = 1; rows <= 4; ++rows)
    for (index_t cols = 1; cols <= 4; ++cols)
      for (index_t rs = 0; rs <= 9; ++rs)
        for (index_t cs = 0; cs <= 9; ++cs) {
          const matrix_view<float> m{n.x.data(), rows, cols, rs, cs};
          std::set<const float*> seen;
          for (index_t r = 0; r < rows; ++r)
            for (index_t c = 0; c < cols; ++c) seen.insert(m.data + r * rs + c * cs);
          const bool distinct = seen.size() == static_cast<std::size_t>(rows * cols);
          const bool fine = check_view(m, "C").has_value();
          CHECK((!fine || distinct));
          // interleaved rows such as strides 3, 2 need not be accepted
          const bool apart = rows == 1 || cols == 1 || rs > (cols - 1) * cs || cs > (rows - 1) * rs;
          CHECK((!(distinct && apart) || fine));
        }
}
