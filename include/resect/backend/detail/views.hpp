// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/array.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE::detail {

// A matrix with a stride of one: the given one if it has that, else a row-major copy.
template <class T>
class unit_stride_copy {
 public:
  explicit unit_stride_copy(matrix_view<T> a) : target_(a), view_(a) {
    if (a.col_stride == 1 || a.row_stride == 1 || a.cols <= 1 || a.rows <= 1) return;
    view_ = materialized(a, storage_);
  }
  unit_stride_copy(const unit_stride_copy&) = delete;
  unit_stride_copy& operator=(const unit_stride_copy&) = delete;

  matrix_view<T> view() const noexcept { return view_; }
  void write_back() const noexcept {
    if (!storage_.empty()) copy(view_, target_);
  }

 private:
  matrix_view<T> target_, view_;
  array<T> storage_;
};

}  // namespace RESECT_NAMESPACE::detail
