// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <limits>

#include <resect/core/threads.hpp>
#include <resect/quant.hpp>
#include <resect/quant/column_scales.hpp>
#include <support/catch.hpp>

#include "groups.hpp"

namespace tests {

using namespace resect::quant;
using resect::index_t;
using resect::matrix_view;

namespace {

resect::inline_executor here;
constexpr index_t rows = 24, cols = 96;

// Weights and the activations that they meet: a few columns see large ones.
struct layer {
  floats w = gaussian(rows * cols, 1), magnitude, importance;
  layer() {
    for (index_t c = 0; c < cols; ++c) {
      const float x = c % 16 == 3 ? 20.0f : 0.3f + 0.01f * static_cast<float>(c % 7);
      magnitude.push_back(x);
      importance.push_back(1.5f * x * x);
    }
  }
  matrix_view<const float> view() const { return {w.data(), rows, cols}; }
};

}  // namespace

TEST_CASE("AWQ's scales lower the loss that the activations weigh, and say by how much") {
  const layer l;
  const affine<3, zero_point::integer, f16_store> format{.group = 32};
  const auto s = find_awq_scales(here, l.view(), l.magnitude, l.importance, format);
  CHECK(s.alpha > 0);
  CHECK(s.loss < 0.5 * s.plain_loss);
  floats scaled(l.w.size()), back(l.w.size());
  for (index_t i = 0; i < rows * cols; ++i)
    scaled[static_cast<std::size_t>(i)] = l.w[static_cast<std::size_t>(i)] * s.columns[i % cols];
  dequantize(here, quantize(here, matrix_view<const float>{scaled.data(), rows, cols}, format),
             {back.data(), rows, cols});
  double loss = 0;
  for (std::size_t i = 0; i < l.w.size(); ++i) {
    const double e = double{l.w[i]} - double{back[i]} / double{s.columns[static_cast<index_t>(i) % cols]};
    loss += double{l.importance[i % cols]} * e * e;
  }
  CHECK(loss == Approx(s.loss).epsilon(1e-9));
  const resect::threads pool{3};
  CHECK(find_awq_scales(pool, l.view(), l.magnitude, l.importance, format).columns == s.columns);
  // where all columns see the same, nothing is to be gained
  const floats even(cols, 1.0f);
  const auto none = find_awq_scales(here, l.view(), even, even, format);
  CHECK(none.loss == none.plain_loss);
}

TEST_CASE("AWQ refuses activations that are none") {
  const layer l;
  const nf4 format;
  const auto refused = [&](const floats& magnitude, const floats& importance, const awq_options& o) {
    const auto s = try_awq_scales(here, l.view(), magnitude, importance, format, nearest{}, min_max{}, o);
    return s ? std::string("fine") : std::string(s.error().message().view());
  };
  auto bad = l.magnitude;
  bad[5] = std::nanf("");
  CHECK(refused(bad, l.importance, {}).find("not finite: magnitude of column 5") == 0);
  CHECK(refused(floats(3, 1.0f), l.importance, {}) == "shape mismatch: magnitude: got 3 columns, wanted 96");
  CHECK(refused(l.magnitude, {}, {}) == "shape mismatch: importance: got nothing, wanted 96");
  CHECK(refused(l.magnitude, l.importance, {.steps = 0}) == "invalid argument: steps of AWQ: got 0, wanted at least 1");
}

TEST_CASE("Sinkhorn's scales make planted ones out again, and help a quantizer whose groups mix them") {
  floats w = gaussian(rows * cols, 4);
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c)
      w[static_cast<std::size_t>(r * cols + c)] *=
          std::exp2(static_cast<float>(c % 5) - 2) * (r % 3 == 0 ? 4.0f : 1.0f);
  const matrix_view<const float> W{w.data(), rows, cols};
  const auto s = find_sinkhorn_scales(here, W);
  CHECK(s.plain_imbalance > 10);
  CHECK(s.imbalance < 1.5);
  CHECK(s.iterations > 0);
  double below = 0, above = 0;  // the scales found for columns of planted 1/4 and 4
  for (index_t c = 0; c < cols; ++c)
    (c % 5 == 0 ? below : c % 5 == 4 ? above : below) += c % 5 == 0 || c % 5 == 4 ? s.columns[c] : 0.0;
  CHECK(above / below == Approx(16).epsilon(0.3));

  const affine<4, zero_point::integer, f16_store> format{.group = 32};
  floats scaled(w.size()), back(w.size());
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c)
      scaled[static_cast<std::size_t>(r * cols + c)] = W(r, c) / (s.rows[r] * s.columns[c]);
  dequantize(here, quantize(here, matrix_view<const float>{scaled.data(), rows, cols}, format),
             {back.data(), rows, cols});
  // errors relative to the size of their column, as inputs that match it would weigh them
  double with = 0, without = 0;
  floats plain(w.size());
  dequantize(here, quantize(here, W, format), {plain.data(), rows, cols});
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < cols; ++c) {
      const auto i = static_cast<std::size_t>(r * cols + c);
      const double size = double{s.rows[r]} * double{s.columns[c]};
      with += std::pow(double{scaled[i]} - double{back[i]}, 2);
      without += std::pow((double{w[i]} - double{plain[i]}) / size, 2);
    }
  CHECK(with < 0.5 * without);
  const resect::threads pool{7};
  const auto other = find_sinkhorn_scales(pool, W);
  CHECK((other.columns == s.columns && other.rows == s.rows));
}

TEST_CASE("Sinkhorn's scales of zeros are 1, and what is no matrix is refused") {
  const floats w(12, 0.0f);
  const auto s = find_sinkhorn_scales(here, matrix_view<const float>{w.data(), 3, 4});
  CHECK((s.imbalance == 1 && s.iterations == 0 && s.columns == resect::array<float>(4, 1.0f)));
  CHECK(try_sinkhorn_scales(here, matrix_view<const float>{nullptr, 0, 4}));
  CHECK_FALSE(try_sinkhorn_scales(here, matrix_view<const float>{nullptr, 3, 4}));
  floats bad(12, 1.0f);
  bad[7] = std::nanf("");
  CHECK(try_sinkhorn_scales(here, matrix_view<const float>{bad.data(), 3, 4}).error().operand == "W, row 1, column 3");
  CHECK(try_sinkhorn_scales(here, matrix_view<const float>{w.data(), 3, 4}, -1).error().operand ==
        "iterations of Sinkhorn");
}

}  // namespace tests
