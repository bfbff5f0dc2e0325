// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>

#include <resect/core/finite.hpp>
#include <resect/core/ieee.hpp>
#include <resect/core/reduce.hpp>
#include <resect/core/view.hpp>
#include <resect/quant/detail/group_kernels.hpp>

namespace RESECT_NAMESPACE::quant::detail {

// Whether every weight is finite and at most `largest` in magnitude; the first that is not is named by row and column.
template <executor E>
status check_weights(E& exec, matrix_view<const float> w, float largest = std::numeric_limits<float>::max()) {
  if (status s = check_view(w, "W"); !s) return s;
  const auto most = static_cast<std::int32_t>(bits_of(largest));
  constexpr index_t none = std::numeric_limits<index_t>::max();
  const index_t at = parallel_reduce(
      exec, w.rows, 16, none,
      [&](index_t first, index_t last) {
        for (index_t r = first; r < last; ++r) {
          if (w.col_stride == 1 && w.cols >= kernel_floats &&
              largest_bits(best_instruction_set(), w.row(r).data, w.cols) <= most)
            continue;
          for (index_t c = 0; c < w.cols; ++c)
            if (!(w(r, c) <= largest && w(r, c) >= -largest)) return r * w.cols + c;
        }
        return none;
      },
      [](index_t a, index_t b) { return algo::min(a, b); });
  if (at == none) return {};
  const float value = w(at / w.cols, at % w.cols);
  const bool finite = is_finite(value);
  return error{finite ? errc::invalid_argument : errc::not_finite,
               text("W, row ", at / w.cols, ", column ", at % w.cols), text(value),
               finite ? text("at most ", largest, " in magnitude") : short_text<120>("a finite number")};
}

}  // namespace RESECT_NAMESPACE::quant::detail
