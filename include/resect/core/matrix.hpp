// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <utility>

#include <resect/core/array.hpp>
#include <resect/core/view.hpp>

namespace RESECT_NAMESPACE {

// A dense matrix that owns its elements in a memory space, row-major: element (r, c) is data[r·cols + c]. A value
// type: copying copies the elements. Functions return a matrix and take views.
template <class T, class Space = host_space>
struct matrix {
  using value_type = T;
  using space = Space;

  index_t rows = 0;
  index_t cols = 0;
  array<T, Space> data;

  matrix() = default;
  // m × n zeros. Extents that are negative or whose product is no index: std::bad_alloc, as of any array.
  matrix(index_t m, index_t n) : rows(m), cols(n), data(elements(m, n)) {}

  // m × n elements that exist already; elements.size() = m·n.
  matrix(index_t m, index_t n, array<T, Space> elements_of) noexcept : rows(m), cols(n), data(std::move(elements_of)) {}

  bool empty() const noexcept { return data.empty(); }
  // The elements are unspecified afterwards. If allocation fails, the matrix stays as it was.
  void resize(index_t m, index_t n) {
    data.resize(elements(m, n));
    rows = m;
    cols = n;
  }

  T& operator()(index_t r, index_t c) noexcept
    requires std::same_as<Space, host_space>
  {
    return data[r * cols + c];
  }
  const T& operator()(index_t r, index_t c) const noexcept
    requires std::same_as<Space, host_space>
  {
    return data[r * cols + c];
  }

  matrix_view<T, Space> view() noexcept { return {data.data(), rows, cols}; }
  matrix_view<const T, Space> view() const noexcept { return {data.data(), rows, cols}; }

  friend bool operator==(const matrix&, const matrix&) = default;

 private:
  static constexpr index_t elements(index_t m, index_t n) noexcept {
    return m >= 0 && n >= 0 && detail::product_fits(m, n) ? m * n : -1;  // which no array has
  }
};

}  // namespace RESECT_NAMESPACE
