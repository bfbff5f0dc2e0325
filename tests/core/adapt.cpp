// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/adapt.hpp>

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include <Eigen/Core>
#include <support/catch.hpp>

#include <resect/core/float16.hpp>
#include <resect/core/matrix.hpp>

#if __has_include(<xtensor/xtensor.hpp>)
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xfixed.hpp>
#include <xtensor/xstrided_view.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>
#define HAVE_XTENSOR 1
#else
#define HAVE_XTENSOR 0
#endif

namespace tests {

using namespace resect;
using resect::index_t;  // there is a function of this name in <strings.h>

namespace {

// What std::mdspan offers, for two dimensions or one.
template <class T, std::size_t Rank>
struct mdspan_stand_in {
  T* data;
  std::array<int, Rank> extents;
  std::array<int, Rank> strides;

  static constexpr std::size_t rank() noexcept { return Rank; }
  constexpr T* data_handle() const noexcept { return data; }
  constexpr int extent(std::size_t r) const noexcept { return extents[r]; }
  constexpr int stride(std::size_t r) const noexcept { return strides[r]; }
};

// m(r, c) is element(r, c), the same object.
template <class View, class Element>
void same_elements(const View& m, index_t rows, index_t cols, Element element) {
  REQUIRE(m.rows == rows);
  REQUIRE(m.cols == cols);
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c) REQUIRE(&m(r, c) == &element(r, c));
}

template <class X, class View>
constexpr bool views_as = std::is_same_v<decltype(as_view(std::declval<X>())), View>;
template <class X>
constexpr bool viewable = requires(X&& x) { as_view(std::forward<X>(x)); };
template <class X>
constexpr bool as_matrix_possible = requires(X&& x) { try_as_matrix(std::forward<X>(x)); };

template <class R>
std::string parts(const R& r) {
  if (r) return "fine";
  const auto& e = r.error();
  std::string out{name(e.code)};
  for (const auto& part : {e.operand, e.got, e.wanted}) out.append(" | ").append(part.view());
  return out;
}

using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using column_major = Eigen::MatrixXd;
using strided = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;

// Constness follows the object; vectors of Eigen have one dimension.
static_assert(views_as<row_major&, matrix_view<float>> && views_as<const row_major&, matrix_view<const float>>);
static_assert(views_as<column_major&, matrix_view<double>> && views_as<Eigen::Array44f&, matrix_view<float>>);
static_assert(views_as<Eigen::VectorXf&, vector_view<float>> &&
              views_as<const Eigen::RowVector3d&, vector_view<const double>>);
static_assert(views_as<Eigen::Map<const row_major>&, matrix_view<const float>>);
static_assert(views_as<matrix_view<int>, matrix_view<int>> && views_as<const vector_view<int>&, vector_view<int>>);
static_assert(views_as<std::vector<float>&, vector_view<float>> &&
              views_as<const std::array<int, 3>&, vector_view<const int>>);
static_assert(views_as<const std::span<float>&, vector_view<float>> &&
              views_as<std::span<const float>, vector_view<const float>>);
static_assert(views_as<mdspan_stand_in<f16, 2>, matrix_view<f16>> &&
              views_as<mdspan_stand_in<const f16, 1>, vector_view<const f16>>);

// A temporary that owns its elements has no view; one that only points at them has.
static_assert(!viewable<row_major> && !viewable<Eigen::Matrix4f> && !viewable<Eigen::VectorXf>);
static_assert(!viewable<Eigen::Ref<const row_major>> && !viewable<Eigen::Ref<const Eigen::Matrix4f>>);
static_assert(viewable<Eigen::Ref<row_major>> && viewable<Eigen::Map<row_major>> &&
              viewable<Eigen::Map<const Eigen::Matrix4f>>);
static_assert(viewable<decltype(std::declval<row_major&>().block(0, 0, 1, 1))>);
static_assert(!viewable<std::vector<float>> && !viewable<std::array<float, 3>> && viewable<std::span<float>>);
static_assert(!as_matrix_possible<row_major> && as_matrix_possible<row_major&> &&
              as_matrix_possible<Eigen::Map<row_major>>);
// Expressions without storage and unrelated types have none.
static_assert(!viewable<decltype(std::declval<row_major&>() + std::declval<row_major&>())> && !viewable<int&>);
static_assert(!viewable<std::vector<bool>&>);

static_assert(views_as<matrix<float>&, matrix_view<float>> && views_as<const matrix<float>&, matrix_view<const float>>);
static_assert(!viewable<matrix<float>> && matrix_like<matrix<float>>);

static_assert(matrix_like<row_major> && matrix_like<const row_major&> && matrix_like<matrix_view<const float>>);
static_assert(matrix_like<Eigen::Map<row_major, 0, strided>> && matrix_like<mdspan_stand_in<float, 2>>);
static_assert(!matrix_like<Eigen::VectorXf> && !matrix_like<std::vector<float>> && !matrix_like<int> &&
              !matrix_like<float*>);
static_assert(vector_like<std::vector<float>> && vector_like<Eigen::VectorXf> && !vector_like<row_major>);
static_assert(std::is_same_v<matrix_element<const row_major&>, float> &&
              std::is_same_v<vector_element<std::span<const int>>, int>);

template <matrix_like W>
double trace(const W& w) {
  const auto view = as_view(w);
  double sum = 0;
  for (index_t i = 0; i < view.rows; ++i) sum += static_cast<double>(view(i, i));
  return sum;
}

}  // namespace

TEST_CASE("matrices of Eigen view as they are laid out, row-major and column-major") {
  row_major a(3, 5);
  column_major b(4, 2);
  Eigen::Matrix<int, 2, 3> fixed;
  same_elements(as_view(a), 3, 5, [&](index_t r, index_t c) -> float& { return a(r, c); });
  same_elements(as_view(b), 4, 2, [&](index_t r, index_t c) -> double& { return b(r, c); });
  same_elements(as_view(fixed), 2, 3, [&](index_t r, index_t c) -> int& { return fixed(r, c); });
  same_elements(as_view(std::as_const(a)), 3, 5, [&](index_t r, index_t c) -> const float& { return a(r, c); });
  const auto at = a.transpose();
  same_elements(as_view(at), 5, 3, [&](index_t r, index_t c) -> const float& { return a(c, r); });
  CHECK(as_view(a).col_stride == 1);
  CHECK(as_view(b).row_stride == 1);
  row_major empty(0, 4);
  CHECK(as_view(empty).rows == 0);
  CHECK(as_view(empty).cols == 4);
}

TEST_CASE("blocks, maps and references of Eigen view with their inner and outer strides") {
  row_major a(6, 7);
  column_major b(6, 7);
  same_elements(as_view(a.block(1, 2, 3, 4)), 3, 4, [&](index_t r, index_t c) -> float& { return a(r + 1, c + 2); });
  same_elements(as_view(b.bottomRows(2)), 2, 7, [&](index_t r, index_t c) -> double& { return b(r + 4, c); });
  const Eigen::Ref<row_major> reference = a.middleCols(3, 2);
  same_elements(as_view(reference), 6, 2, [&](index_t r, index_t c) -> const float& { return a(r, c + 3); });

  std::vector<float> data(100);
  using map = Eigen::Map<row_major, 0, strided>;
  using map_columns = Eigen::Map<Eigen::MatrixXf, 0, strided>;
  same_elements(as_view(map(data.data(), 4, 3, strided(20, 2))), 4, 3,
                [&](index_t r, index_t c) -> float& { return data[static_cast<std::size_t>(20 * r + 2 * c)]; });
  same_elements(as_view(map_columns(data.data(), 4, 3, strided(20, 2))), 4, 3,
                [&](index_t r, index_t c) -> float& { return data[static_cast<std::size_t>(2 * r + 20 * c)]; });
  as_view(a.block(1, 2, 3, 4))(2, 3) = 42.0f;
  CHECK(a(3, 5) == 42.0f);
}

TEST_CASE("vectors of Eigen view with their stride, rows and columns of a matrix too") {
  row_major a(4, 5);
  Eigen::VectorXf v(6);
  const auto whole = as_view(v), row = as_view(a.row(2)), column = as_view(a.col(3));
  const auto part = as_view(v.segment(1, 3));
  CHECK(whole.size == 6);
  CHECK(whole.stride == 1);
  CHECK(&row[4] == &a(2, 4));
  CHECK(row.size == 5);
  CHECK(&column[3] == &a(3, 3));
  CHECK(column.stride == 5);
  CHECK(&part[2] == &v[3]);
  const auto every_second = as_view(Eigen::Map<Eigen::RowVectorXf, 0, Eigen::InnerStride<2>>(v.data(), 3));
  CHECK(&every_second[2] == &v[4]);
}

TEST_CASE("an algorithm over matrix_like takes every kind") {
  row_major a = row_major::Identity(4, 4);
  column_major b = column_major::Identity(3, 3) * 2;
  std::vector<float> data(4, 1.0f);
  matrix<float> own(2, 2);
  own(1, 1) = 3.0f;
  CHECK(trace(own) == 3.0);
  CHECK(&as_view(own)(1, 0) == &own(1, 0));
  CHECK(trace(a) == 4.0);
  CHECK(trace(b) == 6.0);
  CHECK(trace(a.topLeftCorner(2, 2)) == 2.0);
  CHECK(trace(as_view(data.data(), 2, 2)) == 2.0);
  CHECK(trace(mdspan_stand_in<float, 2>{data.data(), {2, 2}, {2, 1}}) == 2.0);
}

TEST_CASE("mdspans view with their strides, as matrix or as vector") {
  std::vector<f16> data(40);
  const mdspan_stand_in<f16, 2> left{data.data(), {5, 4}, {1, 8}};
  same_elements(as_view(left), 5, 4,
                [&](index_t r, index_t c) -> f16& { return data[static_cast<std::size_t>(r + 8 * c)]; });
  const auto v = as_view(mdspan_stand_in<f16, 1>{data.data(), {7}, {3}});
  CHECK(v.size == 7);
  CHECK(&v[6] == &data[18]);
}

TEST_CASE("spans, vectors, arrays and pointers with extents") {
  std::vector<int> v{1, 2, 3, 4, 5, 6};
  std::array<float, 3> a{1, 2, 3};
  int c[2][3] = {{1, 2, 3}, {4, 5, 6}};
  double d[4] = {};
  CHECK(as_view(v).size == 6);
  CHECK(&as_view(std::span{v}.subspan(2))[1] == &v[3]);
  CHECK(as_view(a).data == a.data());
  same_elements(as_view(c), 2, 3, [&](index_t r, index_t k) -> int& { return c[r][k]; });
  CHECK(as_view(d).size == 4);
  CHECK(as_view(v.data(), 2, 3)(1, 2) == 6);
  CHECK(as_view(v.data(), 3, 2, 1, 3)(2, 1) == 6);
  CHECK(as_view(std::as_const(v).data(), 6)[5] == 6);
}

TEST_CASE("a range is a matrix of the extents that it fills exactly") {
  std::vector<int> v{1, 2, 3, 4, 5, 6};
  const auto m = try_as_matrix(v, 2, 3, "W");
  REQUIRE(m);
  CHECK((*m)(1, 0) == 4);
  CHECK(parts(try_as_matrix(v, 2, 4, "W")) == "shape mismatch | W | 6 elements | 2 x 4");
  CHECK(parts(try_as_matrix(v, -2, -3, "W")) == "shape mismatch | W | 6 elements | -2 x -3");
  CHECK(parts(try_as_matrix(v, 0, 3, "W")) == "shape mismatch | W | 6 elements | 0 x 3");
  CHECK_FALSE(try_as_matrix(v, index_t{1} << 62, 8));
  CHECK(try_as_matrix(std::span<const int>{}, 0, 3));
  CHECK(try_as_matrix(std::span<const int>{}, 3, 0));
  CHECK(as_matrix(v, 3, 2)(2, 1) == 6);
  CHECK_THROWS_AS(as_matrix(v, 3, 3), resect::exception);
}

TEST_CASE("try_as_matrix and try_as_vector check what they are given, by name") {
  std::vector<float> data(20);
  using map = Eigen::Map<row_major, 0, strided>;
  CHECK(try_as_matrix(map(data.data(), 2, 3, strided(3, 1)), "W"));
  CHECK(parts(try_as_matrix(map(data.data(), 2, 3, strided(2, 1)), "W")) ==
        "bad stride | W | strides 2, 1 | rows that do not overlap for 2 x 3");
  CHECK(parts(try_as_matrix(as_view(data.data(), 2, 3, -3), "W")) == "bad stride | W | strides -3, 1 | strides >= 1");
  CHECK(parts(try_as_matrix(as_view(static_cast<float*>(nullptr), 2, 3), "W")) ==
        "null pointer | W | null | data for 2 x 3 elements");
  CHECK(parts(try_as_vector(as_view(static_cast<float*>(nullptr), 2), "x")) ==
        "null pointer | x | null | data for 1 x 2 elements");
  CHECK(parts(try_as_vector(as_view(data.data(), -2), "x")) ==
        "shape mismatch | x | -2 elements | a size that is not negative");
  CHECK_FALSE(try_as_vector(vector_view<float>{data.data(), 3, -1}));
  CHECK(try_as_vector(data)->size == 20);
  CHECK(as_vector(data).size == 20);
}

#if HAVE_XTENSOR

using fixed_rank = xt::xtensor<float, 2>;
using any_rank = xt::xarray<float>;
static_assert(views_as<fixed_rank&, matrix_view<float>> && views_as<const fixed_rank&, matrix_view<const float>>);
static_assert(views_as<xt::xtensor<double, 1>&, vector_view<double>>);
static_assert(!viewable<fixed_rank> && !viewable<any_rank&> && !viewable<xt::xtensor<float, 3>&>);
static_assert(matrix_like<fixed_rank> && matrix_like<any_rank> && matrix_like<const any_rank&> &&
              vector_like<any_rank>);
static_assert(!matrix_like<xt::xtensor<float, 1>> && !matrix_like<xt::xtensor<float, 3>>);
static_assert(!as_matrix_possible<any_rank> && as_matrix_possible<any_rank&>);
static_assert(!viewable<decltype(std::declval<fixed_rank&>() + std::declval<fixed_rank&>())>);

TEST_CASE("tensors of xtensor view as they are laid out") {
  fixed_rank a({3, 5});
  xt::xtensor<double, 2, xt::layout_type::column_major> b({4, 2});
  const any_rank c = xt::zeros<float>({2, 6});
  xt::xtensor_fixed<float, xt::xshape<2, 3>> d;
  same_elements(as_view(a), 3, 5, [&](index_t r, index_t k) -> float& { return a(r, k); });
  same_elements(as_view(b), 4, 2, [&](index_t r, index_t k) -> double& { return b(r, k); });
  same_elements(as_matrix(c), 2, 6, [&](index_t r, index_t k) -> const float& { return c(r, k); });
  same_elements(as_matrix(d), 2, 3, [&](index_t r, index_t k) -> float& { return d(r, k); });
  static_assert(std::is_same_v<decltype(as_matrix(c)), matrix_view<const float>>);

  std::vector<float> data(12);
  auto adapted = xt::adapt(data, std::vector<std::size_t>{3, 4});
  same_elements(as_matrix(adapted), 3, 4,
                [&](index_t r, index_t k) -> float& { return data[static_cast<std::size_t>(4 * r + k)]; });
  auto v = xt::xtensor<int, 1>::from_shape({7});
  CHECK(as_view(v).size == 7);
  CHECK(&as_view(v)[6] == &v(6));
}

TEST_CASE("views of xtensor view with their offset and strides, those that drop a dimension too") {
  xt::xtensor<float, 3> t({4, 5, 6});
  fixed_rank a({6, 7});
  any_rank b = xt::zeros<float>({6, 7});
  same_elements(as_view(xt::view(a, xt::range(1, 4), xt::range(2, 7))), 3, 5,
                [&](index_t r, index_t c) -> float& { return a(r + 1, c + 2); });
  same_elements(as_view(xt::view(t, 2)), 5, 6, [&](index_t r, index_t c) -> float& { return t(2, r, c); });
  same_elements(as_view(xt::view(t, xt::all(), 3, xt::range(0, 6, 2))), 4, 3,
                [&](index_t r, index_t c) -> float& { return t(r, 3, 2 * c); });
  same_elements(as_matrix(xt::view(b, xt::range(2, 6), xt::range(1, 3))), 4, 2,
                [&](index_t r, index_t c) -> float& { return b(r + 2, c + 1); });
  auto rows = xt::strided_view(b, {xt::range(0, 6, 3), xt::all()});
  same_elements(as_matrix(rows), 2, 7, [&](index_t r, index_t c) -> float& { return b(3 * r, c); });
  const auto column = as_vector(xt::view(b, xt::all(), 4));
  CHECK(column.size == 6);
  CHECK(&column[5] == &b(5, 4));
  const auto row = as_view(xt::view(a, 3));
  CHECK(row.size == 7);
  CHECK(&row[6] == &a(3, 6));
}

TEST_CASE("a temporary view of xtensor is taken only if it looks into something that lives") {
  static_assert(viewable<decltype(xt::view(std::declval<fixed_rank&>(), xt::range(0, 1)))>);
  static_assert(!viewable<decltype(xt::view(std::declval<fixed_rank>(), xt::range(0, 1)))>);
  static_assert(viewable<decltype(xt::view(std::declval<const fixed_rank&>(), xt::range(0, 1)))>);
  static_assert(!viewable<decltype(xt::view(xt::view(std::declval<fixed_rank&>(), xt::all()), xt::range(0, 1)))>);
  SUCCEED("by the static assertions");
}

TEST_CASE("the number of dimensions of an xarray is checked, with its name") {
  any_rank cube = xt::zeros<float>({2, 3, 4}), row = xt::zeros<float>({5});
  CHECK(parts(try_as_matrix(cube, "captures")) == "shape mismatch | captures | 3 dimensions | 2 dimensions");
  CHECK(parts(try_as_matrix(row, "captures")) == "shape mismatch | captures | 1 dimensions | 2 dimensions");
  CHECK(parts(try_as_vector(cube, "x")) == "shape mismatch | x | 3 dimensions | 1 dimension");
  CHECK(try_as_vector(row, "x")->size == 5);
  CHECK_THROWS_AS(as_matrix(cube), resect::exception);
}

TEST_CASE("a view is a tensor of xtensor without a copy, with its strides") {
  std::vector<float> data(40);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  for (const matrix_view<float> m :
       {matrix_view<float>{data.data() + 1, 3, 5, 8}, matrix_view<float>{data.data(), 4, 3, 1, 9}}) {
    const std::vector<std::size_t> shape{static_cast<std::size_t>(m.rows), static_cast<std::size_t>(m.cols)};
    const std::vector<std::ptrdiff_t> strides{m.row_stride, m.col_stride};
    auto tensor = xt::adapt(m.data, shape[0] * shape[1], xt::no_ownership(), shape, strides);
    for (index_t r = 0; r < m.rows; ++r)
      for (index_t c = 0; c < m.cols; ++c) CHECK(&tensor(r, c) == &m(r, c));
    tensor(1, 2) = -7;
    CHECK(m(1, 2) == -7);
  }
}

#else
TEST_CASE("tensors of xtensor view as they are laid out") { WARN("skipped: xtensor is not installed"); }
#endif

}  // namespace tests
