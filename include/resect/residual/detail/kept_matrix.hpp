// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/finite.hpp>
#include <resect/model/weight.hpp>

namespace RESECT_NAMESPACE::residual::detail {

// Checks the name of the weight that a step selects. Error: invalid_argument (no name, which would select all weights, or
// one too long to be told apart).
template <class = void>
status check_weight_name(std::string_view weight, std::string_view operation) {
  if (!weight.empty() && short_text<48>(weight).view() == weight) return {};
  return error{errc::invalid_argument, text("weight of ", operation), text("\"", weight, "\""),
               "a name of 1 to 48 characters"};
}

// A copy (row-major) of the matrix that an operator keeps for the weight of this name. Errors: invalid_argument (no name, or
// one too long to be told apart), shape_mismatch (no values), null_pointer, bad_stride, not_finite.
template <class = void>
result<array<float>> try_keep_matrix(std::string_view weight, matrix_view<const float> values,
                                     std::string_view operation) {
  if (status st = check_weight_name(weight, operation); !st) return st.error();
  const auto operand = text(weight, " of ", operation);
  if (status st = check_view(values, operand.view()); !st) return st.error();
  if (values.empty())
    return error{errc::shape_mismatch, operand, text(values.rows, " x ", values.cols), "the matrix's extents"};
  if (status st = check_finite(values, operand.view()); !st) return st.error();
  array<float> kept;
  materialized(values, kept);
  return kept;
}

}  // namespace RESECT_NAMESPACE::residual::detail
