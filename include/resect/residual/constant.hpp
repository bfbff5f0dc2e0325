// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include <resect/core/array.hpp>
#include <resect/residual/plan.hpp>

// The rows at a site replaced by one row.
namespace RESECT_NAMESPACE::residual {

namespace operators {

// h := v.
struct constant_rows {
  static constexpr std::string_view id = "resect.constant_rows/1";
  array<float> value;

  operator_facts facts() const noexcept { return {.overwrites = true, .width = value.size()}; }
  void fields(field_visitor& v) const { v.values("value", value.span()); }
  status check() const noexcept {
    for (index_t c = 0; c < value.size(); ++c)
      if (!(value[c] - value[c] == 0))
        return error{errc::not_finite, text("element ", c, " of constant_rows"), text(value[c]), "a finite number"};
    return {};
  }
  status apply(const tap&, matrix_view<const float>, matrix_view<float> h) const noexcept {
    for (index_t r = 0; r < h.rows; ++r)
      for (index_t c = 0; c < h.cols; ++c) h(r, c) = value[c];
    return {};
  }
};

}  // namespace operators

// Replaces every row at a site of the layers by v (d_model): zeros are zero ablation of the site, the mean of reference rows
// is mean ablation. A plan refuses values that are not finite.
template <class = void>
step constant_rows(layer_range where, site at, std::span<const float> v) {
  operators::constant_rows op;
  for (const float x : v) op.value.push_back(x);
  return {where, at, std::move(op)};
}

}  // namespace RESECT_NAMESPACE::residual
