// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <resect/core/backend.hpp>
#include <resect/core/copy.hpp>
#include <resect/core/hash.hpp>
#include <resect/student/span_moments.hpp>

namespace RESECT_NAMESPACE::student {

// One factor for all rows and columns: y = α·x.
struct scalar_map {
  static constexpr std::string_view id = "resect.map.scalar/1";
  index_t columns = 0;
  float factor = 1;

  index_t width() const noexcept { return columns; }
  // Floating-point operations a row.
  double flop() const noexcept { return static_cast<double>(columns); }
  std::uint64_t hash() const noexcept {
    return fingerprint{}.add(id).add(static_cast<std::uint64_t>(columns)).add(static_cast<double>(factor)).value();
  }

  // Y ← α·X; X, Y (k, width) fp32, one rounding an element. Errors: shape_mismatch, null_pointer, bad_stride.
  template <executor E>
  status try_apply(E&, matrix_view<const float> x, matrix_view<float> y) const {
    if (auto s = check_view(x, x.rows, columns, "x"); !s) return s;
    if (auto s = check_view(y, x.rows, columns, "y"); !s) return s;
    for (index_t r = 0; r < x.rows; ++r)
      for (index_t c = 0; c < columns; ++c) y(r, c) = factor * x(r, c);
    return {};
  }
};

// α = Σ‖y‖/Σ‖x‖ over the rows of the moments. Errors: invalid_argument (no row, or Σ‖x‖ = 0).
// Source: Prune&Comp, arXiv 2507.18212 (compensation of magnitudes).
template <class = void>
result<scalar_map> try_fit_scalar(const span_moments& m) {
  if (!(m.norms_x() > 0))
    return error{errc::invalid_argument, "rows of the span moments",
                 text(m.rows(), " rows with norms of ", m.norms_x(), " together"), "rows that are not all zero"};
  return scalar_map{m.width(), static_cast<float>(m.norms_y() / m.norms_x())};
}

}  // namespace RESECT_NAMESPACE::student
