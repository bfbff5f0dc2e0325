// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/array.hpp>
#include <resect/core/backend.hpp>
#include <resect/core/hash.hpp>
#include <resect/student/span_moments.hpp>

namespace RESECT_NAMESPACE::student {

// One factor a column: y_c = d_c·x_c.
struct channel_map {
  static constexpr std::string_view id = "resect.map.channel/1";
  array<float> factors;
  index_t dead = 0;  // columns without a value, which keep the factor 1

  index_t width() const noexcept { return factors.size(); }
  // Floating-point operations a row.
  double flop() const noexcept { return static_cast<double>(factors.size()); }
  std::uint64_t hash() const noexcept { return fingerprint{}.add(id).add(factors.span()).value(); }

  // Y ← X·diag(d); X, Y (k, width) fp32, one rounding an element. Errors: shape_mismatch, null_pointer, bad_stride.
  template <executor E>
  status try_apply(E&, matrix_view<const float> x, matrix_view<float> y) const {
    if (auto s = check_view(x, x.rows, width(), "x"); !s) return s;
    if (auto s = check_view(y, x.rows, width(), "y"); !s) return s;
    for (index_t r = 0; r < x.rows; ++r)
      for (index_t c = 0; c < x.cols; ++c) y(r, c) = factors[c] * x(r, c);
    return {};
  }
};

// d_c = Σ x_c·y_c/Σ x_c² over the rows of the moments: least squares of each column by itself. A column with Σ x_c² = 0
// keeps the factor 1 and is counted in `dead`. Errors: invalid_argument (no row).
template <class = void>
result<channel_map> try_fit_channel(const span_moments& m) {
  if (m.rows() < 1) return error{errc::invalid_argument, "rows of the span moments", "0", "1 or more"};
  channel_map out;
  for (index_t c = 0; c < m.width(); ++c) {
    const bool dead = !(m.xx(c) > 0);
    out.dead += dead;
    out.factors.push_back(dead ? 1.0f : static_cast<float>(m.xy(c) / m.xx(c)));
  }
  return out;
}

}  // namespace RESECT_NAMESPACE::student
