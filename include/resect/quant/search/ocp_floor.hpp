// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/core/math.hpp>
#include <resect/quant/scale_search.hpp>
#include <resect/quant/stores/e8m0.hpp>

namespace RESECT_NAMESPACE::quant {

// The scale of the OCP specification (Microscaling Formats 1.0, 2023, 6.3) for powers of two: 2^(⌊log₂ max|w|⌋ − e), e the
// exponent of the grid's largest level (2 of E2M1). Weights beyond that level are clipped. What other tools write; a
// search loses less.
struct ocp_floor {
  // As names of methods show it, and the identity of everything that changes what it does.
  static constexpr std::string_view name() noexcept { return "ocp-floor"; }
  std::uint64_t hash() const noexcept {
    return fingerprint{}.add("resect.ocp-floor/1").value();
  }

  static status check(index_t) noexcept { return {}; }
  template <level_grid G>
  static typename G::parameters fit(const G& g, const e8m0_store& t, no_header h, group_weights w) noexcept {
    const double largest = math::fabs(double{detail::largest_of(detail::extent_of(w.values))});
    const double level = g.level(0, g.level_count() - 1);
    if (largest == 0) return t.nearest(scale_parameters{}, h);
    return t.nearest(scale_parameters{static_cast<float>(div_rn(power_below(largest), power_below(level)))}, h);
  }

 private:
  // The largest power of two that is not above x > 0.
  static double power_below(double x) noexcept { return double_of(bits_of(x) & 0x7ff0000000000000u); }
};

}  // namespace RESECT_NAMESPACE::quant
