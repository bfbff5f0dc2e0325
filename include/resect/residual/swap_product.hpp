// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/reduce.hpp>
#include <resect/residual/detail/kept_matrix.hpp>
#include <resect/residual/plan.hpp>

// Operators on products with weights: they need a product_host.
namespace RESECT_NAMESPACE::residual {

// The error of a swapped matrix on the rows that passes gave it: Σ‖(W − Ŵ)·x‖² and Σ‖W·x‖². One thread at a time adds.
struct product_error {
  double error = 0, output = 0;
  index_t rows = 0;

  // The relative squared error, 0 where there is no output.
  double relative() const noexcept { return output > 0 ? error / output : 0.0; }
};

namespace operators {

// y := W·x, while (W − Ŵ)·x is measured.
struct oracle_matrix {
  static constexpr std::string_view id = "resect.oracle_matrix/1";
  index_t rows = 0, cols = 0;
  array<float> values;  // Ŵ, row-major
  product_error* measured = nullptr;

  operator_facts facts() const noexcept { return {.what = form::products}; }
  void fields(field_visitor& v) const { v.values("values", values.span()); }
  status product(const weight_desc& w, matrix_view<const float> x, matrix_view<float> y, own_product<float> own) const {
    if (auto s = own(x, y); !s) return s;
    if (auto s = check_view(y, x.rows, rows, w.name.view()); !s) return s;
    for (index_t r = 0; r < x.rows; ++r) {
      double lost = 0, whole = 0;
      for (index_t o = 0; o < rows; ++o) {
        const std::span<const float> row{values.data() + o * cols, static_cast<std::size_t>(cols)};
        const double e = static_cast<double>(y(r, o)) - dot(row, x.row_span(r));
        lost += e * e;
        whole += static_cast<double>(y(r, o)) * static_cast<double>(y(r, o));
      }
      measured->error += lost;
      measured->output += whole;
    }
    measured->rows += x.rows;
    return {};
  }
};

}  // namespace operators

// Measures what a matrix Ŵ would lose in place of W, and lets the model go on with W (oracle mode): every product of the
// weight with this name gives W·x, and Σ‖(W − Ŵ)·x‖² and Σ‖W·x‖² are added to `to`, which must outlive the plan. No bit
// of the model changes: the errors of all matrices are measured on the rows of the intact model. W·x is the host's own
// product, Ŵ·x is in double. Cost: 2·rows·cols a row, on one thread.
// Errors: invalid_argument (no name), shape_mismatch, null_pointer, bad_stride, not_finite, as swap_matrix; when a pass
// begins, unsupported for a host that is no product_host, and what swap_matrix says of weights that are not there.
template <class = void>
result<step> try_oracle_matrix(layer_range where, std::string_view weight, matrix_view<const float> values,
                               product_error& to) {
  auto kept = detail::try_keep_matrix(weight, values, "oracle_matrix");
  if (!kept) return kept.error();
  step s{where, operators::oracle_matrix{values.rows, values.cols, *std::move(kept), &to}};
  s.weight = {weight, values.rows, values.cols};
  return s;
}

// Computes the products with one matrix of each layer by an operator with `product`: packed weights, Q + L·R, a low-rank
// term beside the host's own product. The product takes the place of swap_matrix where Ŵ is not a dense fp32 matrix.
// Errors: invalid_argument (no name, or one too long to be told apart); when a pass begins: as try_oracle_matrix.
template <named_operator O>
result<step> try_swap_product(layer_range where, std::string_view weight, O product) {
  if (auto st = detail::check_weight_name(weight, "swap_product"); !st) return st.error();
  step s{where, std::move(product)};
  s.what = form::products;
  s.weight.name = weight;
  return s;
}

#if RESECT_EXCEPTIONS
// The throwing form of try_swap_product.
template <named_operator O>
step swap_product(layer_range where, std::string_view weight, O product) {
  return value_or_throw(try_swap_product(where, weight, std::move(product)));
}
template <class = void>
step oracle_matrix(layer_range where, std::string_view weight, matrix_view<const float> values, product_error& to) {
  return value_or_throw(try_oracle_matrix(where, weight, values, to));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
