// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include <resect/metrics/intervals/estimate.hpp>

// Numbers as people read them: as many digits as the interval gives a meaning to.
namespace studies {

using resect::metrics::estimate;

enum class sign { when_negative, always };

std::string fixed(double value, int decimals, sign s = sign::when_negative);

// Decimals that show two digits of `size`, at most six; two where it is not a positive number.
int decimals_for(double size);

std::string plain(double value);

// "3.1e-09": two digits of a number that is too small for decimals.
std::string scientific(double value);

inline double half_width(const estimate& e) { return e.hi - e.value; }

int decimals_of(const estimate& e, double scale = 1);

// "0.512" and "0.030" of 0.512 ± 0.030, the half-width of the interval ("–" where there is none).
struct value_and_half {
  std::string value, half;
};
value_and_half split(const estimate& e, double scale = 1, sign s = sign::when_negative);

// "0.512 [0.482, 0.542]", also where the interval is not symmetric.
std::string with_interval(const estimate& e, double scale = 1, sign s = sign::when_negative);

// "12 s", "3 min 05 s", "1 h 02 min"
std::string duration(double seconds);

// "1,234,567"
std::string grouped(long long n);

}  // namespace studies
