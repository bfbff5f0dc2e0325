// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>

namespace resect::inline RESECT_NAMESPACE_TAG::quant::detail {

// Whether every weight is finite and at most `largest` in magnitude; the first that is not is named by row and column.
template <executor E>
status check_weights(E& exec, matrix_view<const float> w, float largest = std::numeric_limits<float>::max()) {
  if (status s = check_view(w, "W"); !s) return s;
  constexpr index none = std::numeric_limits<index>::max();
  const index at = parallel_reduce(
      exec, w.rows, 16, none,
      [&](index first, index last) {
        for (index r = first; r < last; ++r)
          for (index c = 0; c < w.cols; ++c)
            if (!(w(r, c) <= largest && w(r, c) >= -largest)) return r * w.cols + c;
        return none;
      },
      [](index a, index b) { return a < b ? a : b; });
  if (at == none) return {};
  const float value = w(at / w.cols, at % w.cols);
  const bool finite = value - value == 0;
  return error{finite ? errc::invalid_argument : errc::not_finite,
               text("W, row ", at / w.cols, ", column ", at % w.cols), text(value),
               finite ? text("at most ", largest, " in magnitude") : short_text<120>("a finite number")};
}

}  // namespace resect::inline RESECT_NAMESPACE_TAG::quant::detail
