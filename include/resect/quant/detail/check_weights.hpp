// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/finite.hpp>

namespace RESECT_NAMESPACE::quant::detail {

// Whether every weight is finite and at most `largest` in magnitude; the first that is not is named by row and column.
template <executor E>
status check_weights(E& exec, matrix_view<const float> w, float largest = std::numeric_limits<float>::max()) {
  if (status s = check_view(w, "W"); !s) return s;
  const auto at = first_element(exec, w, [largest](float x) { return !(x <= largest && x >= -largest); });
  if (!at) return {};
  const float value = w(at.row, at.col);
  const auto operand = text("W, row ", at.row, ", column ", at.col);
  if (!is_finite(value)) return error{errc::not_finite, operand, text(value), "a finite number"};
  return error{errc::invalid_argument, operand, text(value), text("at most ", largest, " in magnitude")};
}

}  // namespace RESECT_NAMESPACE::quant::detail
