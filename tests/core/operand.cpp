// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <resect/core/operand.hpp>

#include <cmath>
#include <cstring>
#include <vector>

#include <Eigen/Core>
#include <support/catch.hpp>

#include <resect/backend/cpu.hpp>
#include <resect/compress/artifact.hpp>
#include <resect/compress/decompose.hpp>
#include <resect/compress/packed_decomposition.hpp>
#include <resect/factor/range_finder.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/linalg/ldl.hpp>
#include <resect/linalg/norms.hpp>
#include <resect/linalg/orthonormalize.hpp>
#include <resect/linalg/symmetric_values.hpp>
#include <resect/metrics/intervals/bootstrap.hpp>
#include <resect/metrics/rows/counted_rows.hpp>
#include <resect/metrics/rows/row_products.hpp>
#include <resect/metrics/similarity/angular_table.hpp>
#include <resect/metrics/similarity/cka.hpp>
#include <resect/metrics/similarity/covariance_cka.hpp>
#include <resect/metrics/similarity/streaming_cka.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/apply.hpp>
#include <resect/quant/column_scales.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/quant/h_loss.hpp>
#include <resect/quant/hessian.hpp>
#include <resect/quant/incoherence.hpp>
#include <resect/quant/loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/random/sketch.hpp>
#include <resect/random/test_matrix.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/student/pair_moments.hpp>
#include <resect/student/probe.hpp>
#if __has_include(<xtensor/xtensor.hpp>)
#define RESECT_TEST_XTENSOR 1
#include <xtensor/xtensor.hpp>
#endif

using namespace resect;

namespace {

// What is laid out as an mdspan is, without its header.
template <class T>
struct mdspan_like {
  using element_type = T;
  using index_type = std::ptrdiff_t;
  T* data = nullptr;
  std::ptrdiff_t m = 0, n = 0;
  static constexpr std::size_t rank() noexcept { return 2; }
  std::ptrdiff_t extent(std::size_t i) const noexcept { return i == 0 ? m : n; }
  std::ptrdiff_t stride(std::size_t i) const noexcept { return i == 0 ? n : 1; }
  T* data_handle() const noexcept { return data; }
  struct accessor_type {
    using offset_policy = accessor_type;
    using data_handle_type = T*;
    using reference = T&;
  };
};

using backend = cpu<>;
using four_bits = quant::quantized<quant::affine<4>>;
using sums = std::span<metrics::row_sums>;

// Every public entry point that reads a matrix, asked for one kind of operand without instantiating a body.
template <class W>
constexpr bool reads = requires(backend& exec, const W& w, const four_bits& q, sums out, metrics::streaming_cka& s,
                                metrics::covariance_cka& c, metrics::angular_table& t, std::span<const index_t> cluster,
                                void (*take)(index_t, std::span<const float>, std::span<const float>)) {
  { quant::try_quantize(exec, w, quant::affine<4>{.group = 8}) } -> std::same_as<result<four_bits>>;
  { quant::quantize(exec, w, quant::affine<4>{.group = 8}) } -> std::same_as<four_bits>;
  { quant::try_loss(exec, w, q) } -> std::same_as<result<quant::quantization_loss>>;
  { quant::try_detect_grid(exec, w) } -> std::same_as<result<quant::grid_detection>>;
  { factor::try_truncated_svd(exec, w, {.rank = 2}) } -> std::same_as<result<factor::truncated_decomposition<float>>>;
  { factor::truncated_svd(exec, w, {.rank = 2}) } -> std::same_as<factor::truncated_decomposition<float>>;
  { linalg::try_orthonormalize(exec, w) } -> std::same_as<result<linalg::orthonormal_basis<float>>>;
  { metrics::try_row_products(exec, w, w, out) } -> std::same_as<status>;
  { metrics::try_linear_cka(exec, metrics::biased{}, w, w) } -> std::same_as<result<double>>;
  { metrics::for_counted_rows(w, w, cluster, take) } -> std::same_as<status>;
  { s.try_add(index_t{}, w, w) } -> std::same_as<status>;
  { c.try_add(w, w) } -> std::same_as<status>;
  { t.try_add(index_t{}, w) } -> std::same_as<status>;
  { residual::try_swap_matrix(residual::layer(0), "q", w) } -> std::same_as<result<residual::step>>;
  { residual::swap_matrix(residual::layer(0), "q", w) } -> std::same_as<residual::step>;
};
// Those of calibration and of packed weights.
template <class W>
constexpr bool calibrates =
    requires(backend& exec, const W& w, W& y, const four_bits& q, std::span<const float> columns, quant::hessian& h,
             const quant::packed_matrix<quant::affine<4>>& packed, scratch& memory) {
      { h.try_add(exec, w) } -> std::same_as<status>;
      { quant::moment_view(w) } -> std::same_as<quant::moment_view>;
      { quant::gptq{w} } -> std::same_as<quant::gptq>;
      { quant::try_h_loss(exec, w, q, h) } -> std::same_as<result<quant::h_loss>>;
      { quant::try_h_loss(exec, w, w, h) } -> std::same_as<result<quant::h_loss>>;
      {
        quant::try_awq_scales(exec, w, columns, columns, quant::affine<4>{})
      } -> std::same_as<result<quant::awq_scales>>;
      { quant::find_awq_scales(exec, w, columns, columns, quant::affine<4>{}) } -> std::same_as<quant::awq_scales>;
      { quant::try_sinkhorn_scales(exec, w) } -> std::same_as<result<quant::sinkhorn_scales>>;
      { quant::find_sinkhorn_scales(exec, w) } -> std::same_as<quant::sinkhorn_scales>;
      { quant::try_apply(exec, packed, w, y, memory) } -> std::same_as<status>;
      { linalg::try_ldl(exec, w, std::span<const index_t>{}, 0.0) } -> std::same_as<result<linalg::ldl_factors>>;
      { linalg::ldl(exec, w, std::span<const index_t>{}, 0.0) } -> std::same_as<linalg::ldl_factors>;
      { random::try_sketch(exec, w) } -> std::same_as<result<random::matrix_sketch>>;
    };
// Those that compress and fit students.
using four_bit_pair = compress::decomposition<quant::affine<4>, quant::affine<8>>;
template <class W>
constexpr bool compresses =
    requires(backend& exec, const W& w, W& y, const quant::moment_view& h, const four_bit_pair& pair,
             const compress::packed_decomposition<quant::affine<4>, quant::affine<8>>& packed, scratch& memory,
             student::pair_moments& pairs, std::span<const std::int32_t> labels, const quant::rotation& q) {
      {
        compress::try_decompose(exec, w, h, quant::affine<4>{}, quant::affine<8>{}, compress::decompose_options{})
      } -> std::same_as<result<four_bit_pair>>;
      { compress::try_quality(w, w) } -> std::same_as<result<compress::artifact_quality>>;
      { pair.try_to_dense(exec, y) } -> std::same_as<status>;
      { packed.try_apply(exec, w, y, memory) } -> std::same_as<status>;
      { pairs.try_add(exec, w, w) } -> std::same_as<status>;
      { student::try_probe(exec, w, labels, w, labels) } -> std::same_as<result<student::probe_result>>;
      { q.try_rotate_rows(exec, y) } -> std::same_as<status>;
      { q.try_rotate_columns(exec, y) } -> std::same_as<status>;
      { q.try_restore_rows(exec, y) } -> std::same_as<status>;
      { q.try_restore_columns(exec, y) } -> std::same_as<status>;
    };
// Those whose element type is a template argument: views name it themselves.
template <class W>
constexpr bool reads_of_any_type = requires(backend& exec, const W& w) {
  { factor::try_find_range(exec, w, 2, 1, 1) } -> std::same_as<result<matrix<float>>>;
  { factor::try_spectral_error(exec, w, w, w) } -> std::same_as<result<factor::spectral_norm_estimate>>;
  { factor::try_frobenius_error(exec, w, w, w) } -> std::same_as<result<double>>;
  { linalg::try_range_of(exec, w) } -> std::same_as<result<linalg::matrix_range>>;
};
// Of totals by cluster.
template <class W>
constexpr bool reads_totals = requires(inline_executor& exec, const W& w, double (*f)(std::span<const double>)) {
  {
    metrics::try_bootstrap(exec, metrics::whole_clusters{}, metrics::percentile{}, w, f)
  } -> std::same_as<result<metrics::bootstrap_estimate>>;
  { linalg::try_symmetric_values(exec, w) } -> std::same_as<result<linalg::symmetric_spectrum>>;
};
static_assert(reads_totals<Eigen::MatrixXd> && reads_totals<matrix<double>> &&
              reads_totals<matrix_view<const double>> && reads_totals<mdspan_like<double>> &&
              !reads_totals<Eigen::MatrixXf>);
template <class W>
constexpr bool writes =
    requires(backend& exec, W& w, const four_bits& q, const factor::low_rank<float>& lr, std::span<float> work) {
      { quant::try_dequantize(exec, q, w) } -> std::same_as<status>;
      { lr.try_to_dense(exec, w) } -> std::same_as<status>;
      { lr.try_apply(exec, w, w, work) } -> std::same_as<status>;
      { random::try_fill(exec, random::gaussian_matrix{1}, w) } -> std::same_as<status>;
    };

static_assert(reads<Eigen::MatrixXf> && reads_of_any_type<Eigen::MatrixXf> && writes<Eigen::MatrixXf>);
using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
static_assert(reads<row_major> && reads_of_any_type<row_major> && writes<row_major>);
static_assert(reads<matrix<float>> && reads_of_any_type<matrix<float>> && writes<matrix<float>>);
static_assert(compresses<Eigen::MatrixXf> && compresses<row_major> && compresses<matrix<float>>);
static_assert(compresses<matrix_view<float>> && compresses<mdspan_like<float>> && !compresses<int>);
static_assert(calibrates<Eigen::MatrixXf> && calibrates<row_major> && calibrates<matrix<float>>);
static_assert(calibrates<matrix_view<float>> && calibrates<mdspan_like<float>> && !calibrates<int>);
static_assert(reads<matrix_view<float>> && reads<matrix_view<const float>>);
static_assert(reads_of_any_type<matrix_view<const float>> && writes<matrix_view<float>>);
static_assert(reads<mdspan_like<float>> && reads<mdspan_like<const float>>);
static_assert(reads_of_any_type<mdspan_like<float>> && writes<mdspan_like<float>>);
#if RESECT_TEST_XTENSOR
static_assert(reads<xt::xtensor<float, 2>> && reads_of_any_type<xt::xtensor<float, 2>> &&
              writes<xt::xtensor<float, 2>> && calibrates<xt::xtensor<float, 2>> && compresses<xt::xtensor<float, 2>>);
#endif
// Doubles are refused where floats are wanted, and devices everywhere.
static_assert(!reads<Eigen::MatrixXd> && !reads<matrix_view<const float, cuda_space>> && !reads<int>);
static_assert(!writes<const Eigen::MatrixXf> && !writes<matrix_view<const float>>);

Eigen::MatrixXf drawn(index_t m, index_t n) {
  Eigen::MatrixXf w(m, n);
  backend exec;
  value_or_throw(random::try_fill(exec, random::gaussian_matrix{3}, w));
  return w;
}

matrix<float> copy_of(const Eigen::MatrixXf& w) {
  matrix<float> out(w.rows(), w.cols());
  for (index_t r = 0; r < out.rows; ++r)
    for (index_t c = 0; c < out.cols; ++c) out(r, c) = w(r, c);
  return out;
}

}  // namespace

TEST_CASE("what entry points make of an operand is what they make of its view, bit for bit") {
  backend exec;
  const Eigen::MatrixXf w = drawn(24, 16);  // column-major: other strides than the copy's
  const matrix<float> own = copy_of(w);
  const auto view = own.view();
  CHECK(w(3, 5) == static_cast<float>(random::gaussian_matrix{3}(3, 5)));

  const auto q = quant::quantize(exec, w, quant::affine<4>{.group = 8}),
             of_view = quant::quantize(exec, view, quant::affine<4>{.group = 8});
  CHECK(q.codes == of_view.codes);
  CHECK(std::equal(q.parameters.begin(), q.parameters.end(), of_view.parameters.begin(), of_view.parameters.end(),
                   [](const auto& a, const auto& b) { return a.scale == b.scale && a.zero == b.zero; }));
  CHECK(quant::loss(exec, w, q).relative_frobenius == quant::loss(exec, view, q).relative_frobenius);
  Eigen::MatrixXf back(24, 16);
  matrix<float> back_of_view(24, 16);
  quant::dequantize(exec, q, back);
  quant::dequantize(exec, q, back_of_view.view());
  CHECK(copy_of(back) == back_of_view);
  CHECK(value_or_throw(quant::try_detect_grid(exec, back)).found() ==
        value_or_throw(quant::try_detect_grid(exec, back_of_view.view())).found());

  const auto svd = factor::truncated_svd(exec, own, {.rank = 4}),
             svd_of_view = factor::truncated_svd(exec, view, {.rank = 4});
  CHECK(svd.s == svd_of_view.s);
  CHECK(svd.u == svd_of_view.u);
  const auto pair = factor::balanced_factors(svd);
  Eigen::MatrixXf dense(24, 16);
  value_or_throw(pair.try_to_dense(exec, dense));
  CHECK(copy_of(dense) == pair.to_dense(exec));
  const auto gap = value_or_throw(factor::try_frobenius_error(exec, own, pair.l, pair.r));
  CHECK(gap == value_or_throw(factor::try_frobenius_error<float>(exec, view, pair.l.view(), pair.r.view())));
  CHECK(value_or_throw(linalg::try_range_of(exec, w)).largest == linalg::range_of<float>(exec, view).largest);
  CHECK(linalg::orthonormalize(exec, own).q == linalg::orthonormalize(exec, view).q);
  CHECK(value_or_throw(factor::try_find_range(exec, own, 3, 1, 7)) ==
        value_or_throw(factor::try_find_range<float>(exec, view, 3, 1, 7)));

  std::vector<metrics::row_sums> sums_of(24), sums_of_view(24);
  metrics::row_products(exec, w, back, sums_of);
  metrics::row_products(exec, view, back_of_view.view(), sums_of_view);
  CHECK(std::memcmp(sums_of.data(), sums_of_view.data(), sums_of.size() * sizeof(sums_of[0])) == 0);
  CHECK(metrics::linear_cka(exec, metrics::biased{}, own, back_of_view) ==
        metrics::linear_cka(exec, metrics::biased{}, view, back_of_view.view()));
  const auto step = residual::swap_matrix(residual::layer(0), "q", w),
             step_of_view = residual::swap_matrix(residual::layer(0), "q", view);
  CHECK(step.identity() == step_of_view.identity());
}

TEST_CASE("every kind of operand gives the codes and the rows that its view gives") {
  backend exec;
  const matrix<float> own = copy_of(drawn(12, 16));
  const auto want = quant::quantize(exec, own.view(), quant::affine<4>{.group = 8});
  matrix<float> values(12, 16);
  quant::dequantize(exec, want, values.view());
  const auto same = [&](const auto& operand, auto& out) {
    CHECK(quant::quantize(exec, operand, quant::affine<4>{.group = 8}).codes == want.codes);
    quant::dequantize(exec, want, out);
    const auto got = value_or_throw(try_as_matrix(out, "out"));
    for (index_t r = 0; r < 12; ++r)
      for (index_t c = 0; c < 16; ++c) REQUIRE(got(r, c) == values(r, c));
  };
  matrix<float> out(12, 16), memory = own;
  same(own, out);
  matrix_view<float> view = memory.view();
  same(view, view);
  memory = own;
  same(matrix_view<const float>(own.view()), out);
  mdspan_like<float> span{memory.data.data(), 12, 16};
  same(span, span);
#if RESECT_TEST_XTENSOR
  xt::xtensor<float, 2> tensor = xt::zeros<float>({12, 16});
  for (std::size_t i = 0; i < 192; ++i) tensor.data()[i] = own.data.data()[i];
  same(tensor, tensor);
#endif
}

TEST_CASE("calibration takes an operand as its view: the same H, losses, scales and codes") {
  backend exec;
  const Eigen::MatrixXf rows = drawn(40, 16), w = rows.topRows(24);
  const matrix<float> rows_view = copy_of(rows), w_view = copy_of(w);
  quant::hessian h(16), same(16);
  REQUIRE(h.try_add(exec, rows));
  REQUIRE(same.try_add(exec, rows_view.view()));
  CHECK(h.hash() == same.hash());
  const Eigen::MatrixXf square = rows.transpose() * rows;
  const matrix<float> square_view = copy_of(square);
  const quant::affine<4> format{.group = 8};
  const auto q = quant::quantize(exec, w, format, quant::gptq{square}),
             of_view = quant::quantize(exec, w_view.view(), format, quant::gptq{square_view.view()});
  CHECK(q.codes == of_view.codes);
  CHECK(value_or_throw(quant::try_h_loss(exec, w, q, square)).total ==
        value_or_throw(quant::try_h_loss(exec, w_view.view(), of_view, square_view.view())).total);
  const std::vector<float> columns(16, 0.5f);
  CHECK(quant::find_awq_scales(exec, w, columns, columns, format).columns ==
        quant::find_awq_scales(exec, w_view.view(), columns, columns, format).columns);
  CHECK(quant::find_sinkhorn_scales(exec, w).columns == quant::find_sinkhorn_scales(exec, w_view.view()).columns);
  const std::span<const index_t> natural{};
  CHECK(linalg::ldl(exec, square, natural, 0.0).l == linalg::ldl(exec, square_view.view(), natural, 0.0).l);
}

TEST_CASE("a rotation turns an Eigen matrix in place as it turns a view of the same numbers") {
  backend exec;
  const auto q = quant::make_rotation(16, 3);
  Eigen::MatrixXf w = drawn(24, 16);
  matrix<float> want = copy_of(w);
  REQUIRE(q.try_rotate_rows(exec, want.view()));
  REQUIRE(q.try_rotate_rows(exec, w));
  REQUIRE(w(3, 5) == want(3, 5));
  for (index_t r = 0; r < 24; ++r)
    for (index_t c = 0; c < 16; ++c) REQUIRE(w(r, c) == want(r, c));
  REQUIRE(q.try_restore_rows(exec, w));
  CHECK((w - drawn(24, 16)).norm() < 1e-5f * w.norm());
}

TEST_CASE("an operand that is no matrix is refused by its name") {
  backend exec;
  const mdspan_like<const float> null{nullptr, 3, 4};
  const auto refused = quant::try_quantize(exec, null, quant::affine<4>{});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::null_pointer);
  CHECK(refused.error().operand == "W");
}
