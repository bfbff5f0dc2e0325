// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>

#include <factor/planted.hpp>
#include <support/catch.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/factor/quantized_map.hpp>
#include <resect/factor/truncated_svd.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/apply.hpp>
#include <resect/quant/formats/common.hpp>
#include <resect/quant/packed.hpp>
#include <resect/quant/quantize.hpp>

using namespace resect;

namespace {

using resect::index_t;

// f(the map of a quantized matrix, its dequantized copy), of formats whose codes stand for one weight and for eight in a
// row, with rows beside multiples of a tile.
template <class F>
void on_quantized(F f) {
  const auto on_format = [&](auto format, index_t rows, index_t cols) {
    using G = decltype(format);
    cpu exec;
    const auto sigma = planted::spectrum(60, [](double i) { return std::pow(0.9, i); });
    const auto w = planted::narrow<float>(planted::with_spectrum(rows, cols, sigma, 5));
    const auto q = quant::quantize(exec, w, format);
    matrix<float> dense(rows, cols);
    quant::dequantize(exec, q, dense.view());
    const auto bytes = quant::pack(q);
    const auto packed = quant::packed_matrix<G>::try_make(bytes.view());
    REQUIRE(packed);
    CAPTURE(G::name().view(), rows, cols);
    f(factor::quantized_map<G>{&*packed}, dense);
  };
  on_format(quant::affine<4>{.group = 32}, 150, 96);
  on_format(quant::affine_symmetric<3, quant::f16_store>{.group = 32}, 64, 160);
  on_format(quant::e8{.group = 48, .group_rows = 0}, 131, 96);
}

}  // namespace

TEST_CASE("products with a quantized map are those with its dequantized copy, alpha and beta too") {
  on_quantized([](const auto& map, const matrix<float>& dense) {
    cpu exec;
    REQUIRE(map.rows() == dense.rows);
    REQUIRE(map.cols() == dense.cols);
    const auto x = planted::gaussian<float>(dense.cols, 20, 1), t = planted::gaussian<float>(dense.rows, 20, 2);
    for (const float beta : {0.0f, -1.5f}) {
      auto y = planted::gaussian<float>(dense.rows, 20, 3), want = y;
      REQUIRE(map.try_multiply(exec, 0.75f, x.view(), beta, y.view()));
      REQUIRE(exec.try_gemm(0.75f, dense.view(), x.view(), beta, want.view()));
      CHECK(planted::frobenius(planted::difference(planted::widen(y.view()), planted::widen(want.view()))) <=
            1e-6 * planted::frobenius(planted::widen(want.view())));
      auto z = planted::gaussian<float>(dense.cols, 20, 4), back = z;
      REQUIRE(map.try_multiply_transposed(exec, 0.75f, t.view(), beta, z.view()));
      REQUIRE(exec.try_gemm(0.75f, dense.view().transposed(), t.view(), beta, back.view()));
      CHECK(planted::frobenius(planted::difference(planted::widen(z.view()), planted::widen(back.view()))) <=
            1e-6 * planted::frobenius(planted::widen(back.view())));
    }
  });
}

TEST_CASE("the truncated SVD through a quantized map is that of its dequantized copy") {
  on_quantized([](const auto& map, const matrix<float>& dense) {
    cpu exec;
    const auto wide = planted::widen(dense.view());
    const double norm = planted::frobenius(wide), best = planted::tail(planted::singular_values(wide), 12);
    for (const auto method : {factor::svd_method::block_krylov, factor::svd_method::subspace_iteration}) {
      const factor::truncated_svd_options options{.rank = 12, .power_iterations = 3, .method = method};
      const auto svd = factor::try_truncated_svd_of_map<float>(exec, map, options);
      const auto copy = factor::try_truncated_svd(exec, dense.view(), options);
      REQUIRE(svd);
      REQUIRE(copy);
      for (index_t i = 0; i < 12; ++i) CHECK(std::fabs(svd->s[i] - copy->s[i]) <= 1e-3 * copy->s[0]);
      auto left = planted::widen(svd->u.view());
      for (index_t i = 0; i < left.rows; ++i)
        for (index_t j = 0; j < 12; ++j) left(i, j) *= svd->s[j];
      const double error = planted::frobenius(
          planted::difference(wide, planted::product(left, planted::transposed(planted::widen(svd->v.view())))));
      CHECK(error <= 1.01 * best + 1e-6 * norm);
      CHECK(std::fabs(error - copy->quality.frobenius_error) <= 0.01 * error);
      const bool estimated = method == factor::svd_method::subspace_iteration;
      CHECK((svd->quality.source == factor::error_source::leave_one_out) == estimated);
      if (estimated) CHECK(std::fabs(svd->quality.frobenius_error / error - 1) <= 0.5);
    }
  });
}

TEST_CASE("a residual of a quantized map is a map: W - Q has the singular values of the difference") {
  on_quantized([](const auto& map, const matrix<float>& dense) {
    cpu exec;
    const auto other = planted::gaussian<float>(dense.rows, dense.cols, 9);
    const factor::sum_map rest{factor::dense_map<float>{other.view()}, map, 1, -1};
    const auto svd = factor::try_truncated_svd_of_map<float>(
        exec, rest, {.rank = 4, .power_iterations = 6, .method = factor::svd_method::subspace_iteration});
    REQUIRE(svd);
    const auto sigma =
        planted::singular_values(planted::difference(planted::widen(other.view()), planted::widen(dense.view())));
    for (index_t i = 0; i < 4; ++i) CHECK(std::fabs(svd->s[i] / sigma[static_cast<std::size_t>(i)] - 1) <= 0.03);
  });
}
