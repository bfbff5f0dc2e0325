// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/operand.hpp>
#include <resect/residual/detail/kept_matrix.hpp>
#include <resect/residual/plan.hpp>

// Operators on weights: other values for a layer's matrices. They need a host of the surgery level.
namespace RESECT_NAMESPACE::residual {

namespace operators {

// y := Ŵ·x by other values of the weight.
struct swap_matrix {
  static constexpr std::string_view id = "resect.swap_matrix/1";
  index_t rows = 0, cols = 0;
  array<float> values;  // row-major

  operator_facts facts() const noexcept { return {.what = form::weights, .overwrites = true}; }
  void fields(field_visitor& v) const {
    v.key("rows", static_cast<std::uint64_t>(rows));
    v.key("cols", static_cast<std::uint64_t>(cols));
    v.values("values", values.span());
  }
  weight_change change(const weight_desc& w, matrix_view<float> out, executor_ref) const {
    if (status st = check_view(out, rows, cols, w.name.view()); !st) return st.error();
    copy(matrix_view<const float>{values.data(), rows, cols}, out);
    return true;
  }
};

// A function on every matrix of a layer; norm gains and biases are left alone.
template <class F>
struct map_weights {
  std::string_view id;
  named_function<F> map;

  operator_facts facts() const noexcept { return {.what = form::weights}; }
  void fields(field_visitor& v) const { map.fields(v); }
  status check() const { return map.check(); }
  weight_change change(const weight_desc& w, matrix_view<float> values, executor_ref exec) const {
    if (w.role != weight_role::matrix) return false;
    const auto operand = text(w.name.view(), " of layer ", w.layer);
    const weight_change change = map.change(w, values, exec);
    if (!change.outcome()) return change.outcome().error().within(operand.view());
    if (change)
      if (status st = check_finite(values, operand.view()); !st) return st.error();
    return change;
  }
};

}  // namespace operators

// Replaces one matrix of each layer: y := Ŵ·x in place of W·x, for the matrix with the name `weight`
// (weight_desc::name, e.g. "attn.q") in every layer of the range; `values` is Ŵ (out, in), any strides. The step
// keeps a copy of Ŵ (4 bytes a weight) and its hash includes the values. Other weights are not read; a plan may swap
// several matrices of a layer. Errors: invalid_argument (no name, or one too long to be told apart), shape_mismatch
// (no values), null_pointer, bad_stride, not_finite (row and column named). When a pass begins: invalid_argument
// where a layer has no such matrix, shape_mismatch where its extents differ; nothing is run then.
template <class = void>
result<step> try_swap_matrix(layer_range where, std::string_view weight, matrix_view<const float> values) {
  auto kept = detail::try_keep_matrix(weight, values, "swap_matrix");
  if (!kept) return kept.error();
  step s{where, operators::swap_matrix{values.rows, values.cols, *std::move(kept)}};
  s.weight = {weight, values.rows, values.cols};
  return s;
}

// swap_matrix of any operand of floats.
template <operand_of<float> W>
result<step> try_swap_matrix(layer_range where, std::string_view weight, const W& values) {
  return on_view(values, text(weight, " of swap_matrix").view(),
                 [&](matrix_view<const float> view) { return try_swap_matrix(where, weight, view); });
}

// Rewrites every matrix of the layers by a function: f(desc, values, exec) changes `values` (desc.rows, desc.cols) in
// place; desc.layer and desc.name identify the matrix. Norm gains and biases are left alone: quantizing or
// factorizing them with the matrices is a known mistake. f returns nothing, a status, a weight_change, or true if it
// wrote. `exec` runs parallel work of f. `identity` must differ between functions that do different things.
//   map_weights(layers(0, 12), [](const weight_desc& w, matrix_view<float> values, executor_ref exec) -> status {
//     const auto q = quant::try_quantize(exec, values, quant::affine<4>{.group = 64});
//     return q ? quant::try_dequantize(exec, *q, values) : q.error();
//   }, 0x0464)
// f is called once for each matrix and pass (in a study: for each batch): compute costly values once and keep them in f.
// Errors of a pass: what f reports, with the matrix named before it; not_finite where it wrote NaN or infinity.
template <class F>
step map_weights(layer_range where, F f, std::uint64_t identity) {
  constexpr std::string_view id = "resect.map_weights/1";
  return {where, operators::map_weights<F>{id, named(id, identity, std::move(f))}};
}

#if RESECT_EXCEPTIONS
template <operand_of<float> W>
step swap_matrix(layer_range where, std::string_view weight, const W& values) {
  return value_or_throw(try_swap_matrix(where, weight, values));
}
template <class = void>
step swap_matrix(layer_range where, std::string_view weight, matrix_view<const float> values) {
  return value_or_throw(try_swap_matrix(where, weight, values));
}
#endif

}  // namespace RESECT_NAMESPACE::residual
