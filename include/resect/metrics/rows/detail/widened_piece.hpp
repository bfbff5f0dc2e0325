// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <resect/core/storage_float.hpp>
#include <resect/core/types.hpp>

namespace RESECT_NAMESPACE::metrics::detail {

// Elements of two operands, const or not, that are not both float: those have functions of their own, which convert.
template <class A, class B>
concept small_pair = widens_to_float<std::remove_const_t<A>> && widens_to_float<std::remove_const_t<B>> &&
                     (small_float<std::remove_const_t<A>> || small_float<std::remove_const_t<B>>);

template <widening_row Row>
std::span<const resect::detail::element_of<Row>> row_of(const Row& row) noexcept {
  return std::span{row};
}

// Pieces of at most `Most` elements of a row as floats: a row of floats as it lies, others widened into memory of its
// own, until the next piece is asked for.
template <widens_to_float T, index_t Most>
class widened_piece {
 public:
  const float* of(const T* x, index_t n) noexcept {
    const auto size = static_cast<std::size_t>(n);
    convert(std::span{x, size}, std::span{values_, size});
    // The next piece comes while this one is computed with; past the end of a row a prefetch does nothing.
    const auto next = reinterpret_cast<std::uintptr_t>(x + n);
    for (std::size_t i = 0; i < size * sizeof(T); i += 64)
      __builtin_prefetch(reinterpret_cast<const void*>(next + i), 0, 2);
    return values_;
  }

 private:
  float values_[static_cast<std::size_t>(Most)];
};
template <index_t Most>
class widened_piece<float, Most> {
 public:
  const float* of(const float* x, index_t) noexcept { return x; }
};

}  // namespace RESECT_NAMESPACE::metrics::detail
