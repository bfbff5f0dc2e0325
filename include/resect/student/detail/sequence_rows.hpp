// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/result.hpp>
#include <resect/model/row.hpp>

// The sequences of a packed batch.
namespace RESECT_NAMESPACE::student::detail {

// Rows [first, first + count) are one sequence.
struct sequence_rows {
  index_t first = 0, count = 0;
};

// A sequence begins where its number differs from that of the row before, or at position 0.
template <class = void>
array<sequence_rows> sequences_of(model::batch_view rows) {
  array<sequence_rows> out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (r == 0 || rows[r].seq != rows[r - 1].seq || rows[r].pos == 0) out.push_back({static_cast<index_t>(r), 0});
    ++out.back().count;
  }
  return out;
}

// Attention needs every row of a text up to the last one that is there. Error: invalid_argument.
template <class = void>
status check_whole(model::batch_view rows, std::span<const sequence_rows> sequences) {
  for (const auto& s : sequences)
    for (index_t i = 0; i < s.count; ++i)
      if (const model::row_meta& row = rows[static_cast<std::size_t>(s.first + i)]; row.pos != i)
        return error{errc::invalid_argument, text("rows of sequence ", row.seq), text("position ", row.pos),
                     text("position ", i, ": a student that attends gets texts from their beginning, no row left out")};
  return {};
}

}  // namespace RESECT_NAMESPACE::student::detail
