// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/residual/words.hpp>

namespace RESECT_NAMESPACE::residual::detail {

// The rows that went into a block or span, kept until its output is there.
class span_inputs {
 public:
  void clear() noexcept { rows_.clear(); }

  matrix_view<const float> remember(const tap& at, matrix_view<const float> h) {
    rows_.assign(at.rows);
    return materialized(h, values_);
  }
  // The inputs of the rows of `at`, of which a host may have gathered some since: found by what the rows are. The view is
  // valid until the next call.
  result<matrix_view<const float>> try_match(const tap& at, index_t cols) {
    matched_.resize(static_cast<index_t>(at.rows.size()) * cols);
    index_t from = 0, to = 0;
    for (const row_meta& row : at.rows) {
      while (from < rows_.size() && !(rows_[from].place() == row.place())) ++from;
      if (from == rows_.size())
        return error{errc::unsupported, text("rows of ", name(at.where), " in layer ", at.layer),
                     text("sequence ", row.seq, " position ", row.pos), "a row of the layer's input, in its order"};
      for (index_t c = 0; c < cols; ++c) matched_[to * cols + c] = values_[from * cols + c];
      ++to;
    }
    return matrix_view<const float>{matched_.data(), to, cols};
  }

 private:
  array<float> values_;
  array<row_meta> rows_;
  array<float> matched_;
};

}  // namespace RESECT_NAMESPACE::residual::detail
