// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/numbers.hpp>

namespace studies {

std::string fixed(double value, int decimals, sign s) {
  if (!std::isfinite(value)) return std::isnan(value) ? "n/a" : value > 0 ? "inf" : "-inf";
  char buffer[352];
  std::snprintf(buffer, sizeof buffer, s == sign::always ? "%+.*f" : "%.*f", decimals, value);
  const std::string_view shown{buffer};
  const bool zero = shown.find_first_of("123456789") == shown.npos;
  if (zero && shown.front() == '-') return buffer + 1;  // no "-0.00"
  return buffer;
}

int decimals_for(double size) {
  if (!(size > 0) || !std::isfinite(size)) return 2;
  return std::clamp(1 - static_cast<int>(std::floor(std::log10(size) + 1e-9)), 0, 6);
}

std::string plain(double value) { return fixed(value, decimals_for(std::abs(value) / 10)); }

std::string scientific(double value) {
  if (!std::isfinite(value)) return fixed(value, 0);
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1e", value);
  return buffer;
}

int decimals_of(const estimate& e, double scale) {
  const bool shows_half = e.has_interval() && half_width(e) > 0;
  return decimals_for(shows_half ? scale * half_width(e) : std::abs(scale * e.value) / 10);
}

value_and_half split(const estimate& e, double scale, sign s) {
  const int decimals = decimals_of(e, scale);
  std::string half = e.has_interval() ? fixed(scale * half_width(e), decimals) : "–";
  if (resect::metrics::reliability_of(e) == resect::metrics::reliability::marked) half += '*';
  return {fixed(scale * e.value, decimals, s), std::move(half)};
}

std::string with_interval(const estimate& e, double scale, sign s) {
  const int decimals = decimals_of(e, scale);
  std::string out = fixed(scale * e.value, decimals, s);
  if (!e.has_interval()) return out + " [no interval]";
  out += " [" + fixed(scale * e.lo, decimals, s) + ", " + fixed(scale * e.hi, decimals, s) + "]";
  if (resect::metrics::reliability_of(e) == resect::metrics::reliability::marked) out += '*';
  return out;
}

std::string duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e8) return "unknown";
  const long s = std::lround(seconds);
  char buffer[64];
  if (seconds < 9.5) std::snprintf(buffer, sizeof buffer, "%.1f s", seconds);
  else if (s < 60) std::snprintf(buffer, sizeof buffer, "%ld s", s);
  else if (s < 3600) std::snprintf(buffer, sizeof buffer, "%ld min %02ld s", s / 60, s % 60);
  else std::snprintf(buffer, sizeof buffer, "%ld h %02ld min", s / 3600, s % 3600 / 60);
  return buffer;
}

std::string grouped(long long n) {
  const std::string digits = std::to_string(n < 0 ? -n : n);
  std::string out = n < 0 ? "-" : "";
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

}  // namespace studies
