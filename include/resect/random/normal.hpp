// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <resect/core/ieee.hpp>

namespace RESECT_NAMESPACE::random {

// ln x of a positive normal double. x = 2ᵏ(1+f) with 1+f in [√½, √2); s = f/(2+f);
// ln(1+f) = f − f²/2 + s·(f²/2 + R(s²)), R even of degree 14 (fdlibm's e_log). Error below 1 ulp. The same bits on
// every compiler, flag and device, because every multiply–add is explicit. Outside the domain: undefined value.
RESECT_HD inline double log_rn(double x) noexcept {
  constexpr std::uint64_t sqrt_half = 0x3fe6a09e667f3bcdu;
  const std::uint64_t bits = bits_of(x) - sqrt_half;
  const double k = static_cast<double>(static_cast<std::int64_t>(bits) >> 52);
  const double f = double_of((bits & 0x000fffffffffffffu) + sqrt_half) - 1.0;
  const double s = div_rn(f, 2.0 + f);
  const double z = s * s;
  double r = 1.479819860511658591e-01;
  r = fma_rn(r, z, 1.531383769920937332e-01);
  r = fma_rn(r, z, 1.818357216161805012e-01);
  r = fma_rn(r, z, 2.222219843214978396e-01);
  r = fma_rn(r, z, 2.857142874366239149e-01);
  r = fma_rn(r, z, 3.999999999940941908e-01);
  r = fma_rn(r, z, 6.666666666666735130e-01);
  r *= z;
  const double half_f = 0.5 * f;
  const double tail = fma_rn(s, fma_rn(half_f, f, r), mul_rn(k, 1.90821492927058770002e-10));
  return fma_rn(k, 6.93147180369123816490e-01, f - fma_rn(half_f, f, -tail));
}

// Φ⁻¹(u), u in (0, 1): the standard normal number that a uniform one stands for. Rational approximations of
// degree 7/7 in three ranges (PPND16), evaluated with explicit fma. Relative error ≤ 1e-15 for 1e-300 ≤ u ≤ 1/2
// and by symmetry above (where 1 − u is what is known exactly); the same bits on every compiler, flag and device.
// Outside (0, 1): undefined value.
// Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Appl. Stat. 37 (1988).
RESECT_HD inline double gaussian(double u) noexcept {
  const double q = u - 0.5;
  if ((q < 0 ? -q : q) <= 0.425) {
    const double r = fma_rn(-q, q, 0.180625);
    double num = 2.5090809287301226727e+3;
    num = fma_rn(num, r, 3.3430575583588128105e+4);
    num = fma_rn(num, r, 6.7265770927008700853e+4);
    num = fma_rn(num, r, 4.5921953931549871457e+4);
    num = fma_rn(num, r, 1.3731693765509461125e+4);
    num = fma_rn(num, r, 1.9715909503065514427e+3);
    num = fma_rn(num, r, 1.3314166789178437745e+2);
    num = fma_rn(num, r, 3.3871328727963666080e+0);
    double den = 5.2264952788528545610e+3;
    den = fma_rn(den, r, 2.8729085735721942674e+4);
    den = fma_rn(den, r, 3.9307895800092710610e+4);
    den = fma_rn(den, r, 2.1213794301586595867e+4);
    den = fma_rn(den, r, 5.3941960214247511077e+3);
    den = fma_rn(den, r, 6.8718700749205790830e+2);
    den = fma_rn(den, r, 4.2313330701600911252e+1);
    den = fma_rn(den, r, 1.0);
    return div_rn(mul_rn(q, num), den);
  }
  double r = sqrt_rn(-log_rn(q < 0 ? u : 1.0 - u));
  double num, den;
  if (r <= 5.0) {
    r -= 1.6;
    num = 7.74545014278341407640e-4;
    num = fma_rn(num, r, 2.27238449892691845833e-2);
    num = fma_rn(num, r, 2.41780725177450611770e-1);
    num = fma_rn(num, r, 1.27045825245236838258e+0);
    num = fma_rn(num, r, 3.64784832476320460504e+0);
    num = fma_rn(num, r, 5.76949722146069140550e+0);
    num = fma_rn(num, r, 4.63033784615654529590e+0);
    num = fma_rn(num, r, 1.42343711074968357734e+0);
    den = 1.05075007164441684324e-9;
    den = fma_rn(den, r, 5.47593808499534494600e-4);
    den = fma_rn(den, r, 1.51986665636164571966e-2);
    den = fma_rn(den, r, 1.48103976427480074590e-1);
    den = fma_rn(den, r, 6.89767334985100004550e-1);
    den = fma_rn(den, r, 1.67638483018380384940e+0);
    den = fma_rn(den, r, 2.05319162663775882187e+0);
    den = fma_rn(den, r, 1.0);
  } else {
    r -= 5.0;
    num = 2.01033439929228813265e-7;
    num = fma_rn(num, r, 2.71155556874348757815e-5);
    num = fma_rn(num, r, 1.24266094738807843860e-3);
    num = fma_rn(num, r, 2.65321895265761230930e-2);
    num = fma_rn(num, r, 2.96560571828504891230e-1);
    num = fma_rn(num, r, 1.78482653991729133580e+0);
    num = fma_rn(num, r, 5.46378491116411436990e+0);
    num = fma_rn(num, r, 6.65790464350110377720e+0);
    den = 2.04426310338993978564e-15;
    den = fma_rn(den, r, 1.42151175831644588870e-7);
    den = fma_rn(den, r, 1.84631831751005468180e-5);
    den = fma_rn(den, r, 7.86869131145613259100e-4);
    den = fma_rn(den, r, 1.48753612908506148525e-2);
    den = fma_rn(den, r, 1.36929880922735805310e-1);
    den = fma_rn(den, r, 5.99832206555887937690e-1);
    den = fma_rn(den, r, 1.0);
  }
  const double x = div_rn(num, den);
  return q < 0 ? -x : x;
}

}  // namespace RESECT_NAMESPACE::random
