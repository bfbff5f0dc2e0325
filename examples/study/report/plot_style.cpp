// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/plot_style.hpp>

namespace studies {

namespace detail {

std::string number(double x) {
  if (!std::isfinite(x)) return "NaN";
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.9g", x);
  return buffer;
}

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == '`') continue;
    out += c;
    if (c == '\'') out += c;
  }
  return out + "'";
}

// The size of letters at which a title fits the picture.
int title_size(std::string_view title) {
  const auto letters = std::count_if(title.begin(), title.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return std::clamp(static_cast<int>(25 * 62 / std::max<std::ptrdiff_t>(letters, 1)), 10, 25);
}

std::string style(int height, const std::string& file, const std::string& title) {
  return "set terminal pngcairo size 1600," + std::to_string(height) +
         " font 'DejaVu Sans,21' linewidth 2 background '#ffffff'\n"
         "set output '" +
         file +
         "'\n"
         "set encoding utf8\n"
         "set datafile missing 'NaN'\n"
         "set border 3 lc rgb '#555555' lw 0.8\n"
         "set tics nomirror out scale 0.7,0.35 textcolor rgb '#222222'\n"
         "set grid ytics lt 1 lc rgb '#e3e3e3' lw 0.6\n"
         "set lmargin at screen 0.115\n"
         "set rmargin at screen 0.975\n"
         "set pointintervalbox 0\n"
         "set key at graph 0,1.01 left bottom horizontal Left reverse samplen 2 noenhanced\n"
         "set format x '%g'\n"
         "set label 1 " +
         in_quotes(title) + " at screen 0.115,0.968 left noenhanced font '," + std::to_string(title_size(title)) +
         "'\n"
         "set multiplot\n";
}

std::string y_range(double low, double high) { return "set yrange [" + number(low) + ":" + number(high) + "]\n"; }

std::string log_ticks(double low, double high) {
  if (high / low > 1000) return "";
  std::string out;
  for (int decade = -12; decade < 12; ++decade)
    for (const int digit : {1, 2, 5})
      if (const double tick = digit * std::pow(10, decade); tick >= low && tick <= high)
        out += (out.empty() ? "" : ", ") + number(tick);
  return "set ytics (" + out + ")\n";
}

std::string y_title(const char* text, double middle) {
  return "set label 2 '" + std::string(text) + "' at screen 0.018," + number(middle) + " center rotate noenhanced\n";
}

std::string layer_ticks(int first, int last) {
  int step = 1;
  for (const int s : {2, 4, 5, 10, 20, 50, 100})
    if ((last - first) / step > 16) step = s;
  return std::to_string((first + step - 1) / step * step) + "," + std::to_string(step) + "," + std::to_string(last);
}

}  // namespace detail

}  // namespace studies
