// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/algorithm.hpp>
#include <resect/core/matrix.hpp>
#include <resect/random/distributions.hpp>

namespace RESECT_NAMESPACE::sae {

// Rows that wait, drawn at random: rows of one text follow each other, and a batch of them would be a batch of one document.
// A row that is drawn leaves; draws are addressed by their number, so the same rows in the same order give the same batches.
class shuffle_buffer {
 public:
  shuffle_buffer() = default;
  // Room for `rows` rows of `width` elements.
  shuffle_buffer(index_t rows, index_t width, std::uint64_t seed) : rows_(rows, width), seed_(seed) {}
  // One that goes on: the rows that waited, and how many were drawn before.
  shuffle_buffer(index_t room, std::uint64_t seed, matrix_view<const float> waiting, std::uint64_t drawn)
      : shuffle_buffer(room, waiting.cols, seed) {
    put(waiting);
    drawn_ = drawn;
  }

  index_t width() const noexcept { return rows_.cols; }
  index_t waiting() const noexcept { return waiting_; }
  index_t room() const noexcept { return rows_.rows - waiting_; }
  std::uint64_t drawn() const noexcept { return drawn_; }
  std::uint64_t seed() const noexcept { return seed_; }
  matrix_view<const float> rows() const noexcept { return rows_.view().middle_rows(0, waiting_); }

  // Takes the first rows of x, as many as there is room for. → how many.
  index_t put(matrix_view<const float> x) noexcept {
    const index_t n = algo::min(x.rows, room());
    for (index_t r = 0; r < n; ++r, ++waiting_)
      for (index_t c = 0; c < rows_.cols; ++c) rows_(waiting_, c) = x(r, c);
    return n;
  }
  // Fills rows of `out`, at most as many as wait. → how many.
  index_t draw(matrix_view<float> out) noexcept {
    const random::philox_stream s{seed_, 0x73687566666c65u};
    const index_t n = algo::min(out.rows, waiting_);
    for (index_t r = 0; r < n; ++r) {
      const auto at = static_cast<index_t>(random::integer_below(s, drawn_++, static_cast<std::uint64_t>(waiting_)));
      --waiting_;
      for (index_t c = 0; c < rows_.cols; ++c) {
        out(r, c) = rows_(at, c);
        rows_(at, c) = rows_(waiting_, c);
      }
    }
    return n;
  }

 private:
  matrix<float> rows_;
  index_t waiting_ = 0;
  std::uint64_t seed_ = 0, drawn_ = 0;
};

}  // namespace RESECT_NAMESPACE::sae
