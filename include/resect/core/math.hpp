// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <resect/config.hpp>

// The functions of <cmath> that the library calls, by the compiler's own names for them: the header itself costs a tenth of
// what all of core, metrics, quant and residual may take to include, for functions that nothing here uses.
namespace RESECT_NAMESPACE::math {

// √x, rounded correctly.
inline double sqrt(double x) noexcept { return __builtin_sqrt(x); }
// ∛x, of negative x too.
inline double cbrt(double x) noexcept { return __builtin_cbrt(x); }
// eˣ.
inline double exp(double x) noexcept { return __builtin_exp(x); }
// eˣ − 1, also near 0.
inline double expm1(double x) noexcept { return __builtin_expm1(x); }
// ln x.
inline double log(double x) noexcept { return __builtin_log(x); }
// ln(1 + x), also near 0.
inline double log1p(double x) noexcept { return __builtin_log1p(x); }
// The complementary error function, 2/√π·∫ₓ^∞ e^(−t²) dt.
inline double erfc(double x) noexcept { return __builtin_erfc(x); }
// √(x² + y²) without overflow on the way.
inline double hypot(double x, double y) noexcept { return __builtin_hypot(x, y); }
// The angle of (x, y), −π to π.
inline double atan2(double y, double x) noexcept { return __builtin_atan2(y, x); }
// x·2^power.
inline double ldexp(double x, int power) noexcept { return __builtin_ldexp(x, power); }
inline float ldexp(float x, int power) noexcept { return __builtin_ldexpf(x, power); }
// The largest integer not above x.
inline double floor(double x) noexcept { return __builtin_floor(x); }
// The smallest integer not below x.
inline double ceil(double x) noexcept { return __builtin_ceil(x); }
// |x|.
constexpr double fabs(double x) noexcept { return __builtin_fabs(x); }
constexpr float fabs(float x) noexcept { return __builtin_fabsf(x); }
// Whether x is neither NaN nor infinite.
constexpr bool isfinite(double x) noexcept { return __builtin_isfinite(x); }
constexpr bool isfinite(float x) noexcept { return __builtin_isfinite(x); }
// Whether x is NaN.
constexpr bool isnan(double x) noexcept { return __builtin_isnan(x); }
constexpr bool isnan(float x) noexcept { return __builtin_isnan(x); }

}  // namespace RESECT_NAMESPACE::math
