// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <resect/core/view.hpp>
#include <resect/random/distributions.hpp>

// Weights of every kind that a quantizer may meet.
namespace tests {

using floats = std::vector<float>;

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline floats gaussian(resect::index_t n, std::uint64_t seed, double std = 1.0) {
  floats out(static_cast<std::size_t>(n));
  resect::random::fill_gaussian(out, seed, 0, 0, std);
  return out;
}

enum class family {
  gaussian,
  heavy_tails,
  positive,
  negative,
  far_from_zero,
  few_values,
  ties,
  constant,
  zeros,
  mostly_zeros,
  one_outlier,
  huge,
  tiny,
  subnormal,
};
inline constexpr family families[] = {
    family::gaussian,    family::heavy_tails, family::positive, family::negative,  family::far_from_zero,
    family::few_values,  family::ties,        family::constant, family::zeros,     family::mostly_zeros,
    family::one_outlier, family::huge,        family::tiny,     family::subnormal,
};

inline floats drawn(family f, resect::index_t n, std::uint64_t seed) {
  floats out = gaussian(n, seed);
  const resect::random::philox_stream draws{seed, 1};
  for (std::size_t i = 0; i < out.size(); ++i) {
    float& x = out[i];
    const double u = resect::random::uniform(draws, i);
    switch (f) {
      case family::gaussian:
        break;
      case family::heavy_tails:
        x = x * x * x * x * x;
        break;
      case family::positive:
        x = std::fabs(x) + 1e-3f;
        break;
      case family::negative:
        x = -std::fabs(x) - 1e-3f;
        break;
      case family::far_from_zero:
        x = 1000.0f + x;
        break;
      case family::few_values:
        x = static_cast<float>(std::floor(4 * u)) * 0.37f - 0.74f;
        break;
      case family::ties:
        x = static_cast<float>(std::floor(41 * u) - 20) * 0.25f;
        break;
      case family::constant:
        x = seed % 2 == 0 ? 0.7182818f : -1.3f;
        break;
      case family::zeros:
        x = u < 0.5 ? 0.0f : -0.0f;
        break;
      case family::mostly_zeros:
        x = u < 0.9 ? 0.0f : x;
        break;
      case family::one_outlier:
        x = i == out.size() / 2 ? 1e6f : x;
        break;
      case family::huge:
        x = static_cast<float>((2 * u - 1) * 0x1p125);
        break;
      case family::tiny:
        x *= 0x1p-120f;
        break;
      case family::subnormal:
        x *= 0x1p-140f;
        break;
    }
  }
  return out;
}

inline std::string name(family f) {
  constexpr const char* names[] = {"gaussian",    "heavy tails", "positive", "negative", "far from zero",
                                   "few values",  "ties",        "constant", "zeros",    "mostly zeros",
                                   "one outlier", "huge",        "tiny",     "subnormal"};
  return names[static_cast<int>(f)];
}

}  // namespace tests
