// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <limits>
#include <vector>

#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE {

// A dense matrix that owns its elements in host memory, row-major: element (r, c) is data[r·cols + c]. A value:
// copying copies the elements. What a call returns; what a call takes is a view.
template <class T>
struct matrix {
  using value_type = T;

  index_t rows = 0;
  index_t cols = 0;
  std::vector<T> data;

  matrix() = default;
  // m × n zeros. Extents that are negative or whose product is no index: std::length_error, as of any vector.
  matrix(index_t m, index_t n) : rows(m), cols(n), data(elements(m, n)) {}

  bool empty() const noexcept { return data.empty(); }
  // What it holds then is unspecified.
  void resize(index_t m, index_t n) {
    data.resize(elements(m, n));
    rows = m;
    cols = n;
  }

  T& operator()(index_t r, index_t c) noexcept { return data[static_cast<std::size_t>(r * cols + c)]; }
  const T& operator()(index_t r, index_t c) const noexcept { return data[static_cast<std::size_t>(r * cols + c)]; }

  matrix_view<T> view() noexcept { return {data.data(), rows, cols}; }
  matrix_view<const T> view() const noexcept { return {data.data(), rows, cols}; }

  friend bool operator==(const matrix&, const matrix&) = default;

 private:
  // More than any vector holds where there is no such number.
  static constexpr std::size_t elements(index_t m, index_t n) noexcept {
    return m >= 0 && n >= 0 && detail::product_fits(m, n) ? static_cast<std::size_t>(m * n)
                                                          : std::numeric_limits<std::size_t>::max();
  }
};

}  // namespace RESECT_NAMESPACE
