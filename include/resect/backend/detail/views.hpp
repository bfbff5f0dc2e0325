// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::detail {

// A matrix with a stride of one: the given one if it has that, else a row-major copy.
template <class T>
class unit_stride_copy {
 public:
  explicit unit_stride_copy(matrix_view<T> a) : target_(a), view_(a) {
    if (a.col_stride == 1 || a.row_stride == 1 || a.cols <= 1 || a.rows <= 1) return;
    storage_.resize(a.rows * a.cols);
    view_ = {storage_.data(), a.rows, a.cols};
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t c = 0; c < a.cols; ++c) view_(r, c) = a(r, c);
  }
  unit_stride_copy(const unit_stride_copy&) = delete;
  unit_stride_copy& operator=(const unit_stride_copy&) = delete;

  matrix_view<T> view() const noexcept { return view_; }
  void write_back() const noexcept {
    if (storage_.empty()) return;
    for (index_t r = 0; r < target_.rows; ++r)
      for (index_t c = 0; c < target_.cols; ++c) target_(r, c) = view_(r, c);
  }

 private:
  matrix_view<T> target_, view_;
  array<T> storage_;
};

}  // namespace RESECT_NAMESPACE::detail
