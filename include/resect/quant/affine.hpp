// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/quant/format.hpp>
#include <resect/quant/grids/integer.hpp>

// Formats of the integer grids. What is known at compile time is a type, what is known at run time a value.
namespace RESECT_NAMESPACE::quant {

// Codes of Bits bits, a scale and (integer zeros) a zero point a group: affine<4>{.group = 64}.
template <int Bits, zero_point Zero = zero_point::integer, class Store = f32_store>
using affine = format<integer_grid<Bits, Zero>, Store>;
// Codes about zero, without zero points.
template <int Bits, class Store = f32_store>
using affine_symmetric = affine<Bits, zero_point::symmetric, Store>;

// An affine format whose bits are known at run time: read from a file, or chosen by an allocator. Scales are f32.
struct affine_format {
  int bits = 4;  // 2 to 8
  zero_point zero = zero_point::integer;
  index_t group = 0;  // columns that share parameters; 0: the whole row
  friend constexpr bool operator==(const affine_format&, const affine_format&) noexcept = default;
};

namespace detail {
template <zero_point Zero, int Bits = 2, class F>
auto visit_bits(const affine_format& format, F& f) -> decltype(f(affine<Bits, Zero>{})) {
  if (format.bits == Bits) return f(affine<Bits, Zero>{.group = format.group});
  if constexpr (Bits < 8) return visit_bits<Zero, Bits + 1>(format, f);
  else return error{errc::invalid_argument, "bits", text(format.bits), "2 to 8"};
}
}  // namespace detail

// f(affine<bits, zero>{group}) for the format's own bits and zero point. f returns a result or a status, of one type
// for all of them. Errors: invalid_argument for bits that no grid has; what f returns.
template <class F>
auto try_visit(const affine_format& format, F&& f) {
  return format.zero == zero_point::symmetric ? detail::visit_bits<zero_point::symmetric>(format, f)
                                              : detail::visit_bits<zero_point::integer>(format, f);
}

}  // namespace RESECT_NAMESPACE::quant
