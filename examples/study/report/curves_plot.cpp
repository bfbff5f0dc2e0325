// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/curves_plot.hpp>

#include <study/report/plot_style.hpp>
#include <study/report/plots.hpp>

namespace studies {

namespace {

using detail::number;

struct look {
  const char* colour;
  int point;
};
constexpr look looks[] = {{"0072B2", 7},  {"E69F00", 5},  {"009E73", 9}, {"CC79A7", 11},
                          {"56B4E9", 13}, {"D55E00", 15}, {"000000", 6}, {"7F7F7F", 4}};

constexpr std::size_t most_symbols = 40;  // of a curve; one of more points is drawn as a line alone

bool is_shown(const panel_record& p, const estimate& e) {
  return std::isfinite(e.value) && (!p.logarithmic || e.value > 0);
}

// Where the axis ends: what is shown, intervals included, and a margin. A lower end of 0 has no place on a logarithm.
struct range {
  double low, high;
};
range y_range_of(const panel_record& p) {
  double low = 1e300, high = -1e300, least = 1e300;
  for (const auto& c : p.curves)
    for (const auto& [x, e] : c.points) {
      if (!is_shown(p, e)) continue;
      high = std::max(high, detail::high_end(e));
      low = std::min(low, detail::low_end(e));
      least = std::min(least, e.value);
    }
  if (high < low) return {0, 1};
  if (p.logarithmic) {
    low = std::max(low, 0.3 * least);
    const double margin = std::pow(high / low, 0.05) * 1.02;
    return {low / margin, high * margin};
  }
  const double margin =
      0.05 * std::max({high - low, 0.02 * std::fabs(high), 1e-6});  // a constant is drawn in the middle
  return {low >= 0 && low < 2 * margin ? 0 : low - margin, high + margin};
}

// The x axis: whole numbers (layers) have half a step beside them.
struct x_range {
  double low = 1e300, high = -1e300;
  bool whole = true;
};
x_range x_range_of(const panel_record& p) {
  x_range out;
  for (const auto& c : p.curves)
    for (const auto& [x, e] : c.points) {
      out.low = std::min(out.low, x);
      out.high = std::max(out.high, x);
      out.whole = out.whole && x == std::floor(x);
    }
  if (out.high < out.low) return {0, 1, false};
  const double margin = out.whole ? 0.5 : 0.05 * std::max(out.high - out.low, 1e-6);
  return {out.low - margin, out.high + margin, out.whole};
}

}  // namespace

std::string panel_file(std::size_t panel) { return "panel" + std::to_string(panel) + ".dat"; }

std::string panel_data(const panel_record& p) {
  const double low = y_range_of(p).low;
  std::string out;
  for (const auto& c : p.curves) {
    for (const auto& [x, e] : c.points) {
      if (!is_shown(p, e)) continue;
      const double bottom = p.logarithmic ? std::max(detail::low_end(e), low) : detail::low_end(e);
      for (const double v : {x, e.value, bottom, detail::high_end(e)}) out += number(v) + " ";
      out += "\n";
    }
    out += "NaN NaN NaN NaN\n\n\n";  // a block, also of a curve without points
  }
  return out;
}

std::string panels_script(const study_record& r) {
  constexpr int panel = 640, head = 130;  // pixels
  const std::size_t rows = (r.panels.size() + 1) / 2;
  const double height = static_cast<double>(head + panel * static_cast<int>(rows));
  std::string out = detail::style(static_cast<int>(height), "effects.png", r.model().name + ": " + r.title);
  for (std::size_t i = 0; i < r.panels.size(); ++i) {
    const panel_record& p = r.panels[i];
    const double left = i % 2 == 0 ? 0.08 : 0.585;
    const auto at = [&](int below) { return number(1 - (head + panel * static_cast<int>(i / 2) + below) / height); };
    const auto y = y_range_of(p);
    const auto x = x_range_of(p);
    if (i == 1) out += "unset label 1\n";
    out += "set lmargin at screen " + number(left) + "\nset rmargin at screen " + number(left + 0.395) +
           "\nset tmargin at screen " + at(155) + "\nset bmargin at screen " + at(panel - 110) + "\nset xlabel " +
           detail::in_quotes(p.x_title) + " offset 0,0.4 noenhanced font ',18'\nset label 2 " +
           detail::in_quotes(p.y_title) + " at screen " + number(left - 0.067) + "," + at(panel / 2 + 20) +
           " center rotate noenhanced font ',18'\nset label 3 " + detail::in_quotes(p.title) + " at screen " +
           number(left) + "," + at(20) +
           " left noenhanced font ',20'\n"
           "set key at graph 0,1.02 left bottom horizontal Left reverse samplen 1.5 maxrows 3 width -1 "
           "font ',16' noenhanced\nset xrange [" +
           number(x.low) + ":" + number(x.high) + "]\n" +
           (x.whole ? "set xtics " + detail::layer_ticks(static_cast<int>(std::ceil(x.low)), static_cast<int>(x.high)) +
                          "\n"
                    : "set xtics autofreq\n") +
           (p.logarithmic ? "set logscale y\nset format y '%g'\nset ytics autofreq\n" + detail::log_ticks(y.low, y.high)
                          : "unset logscale y\nset ytics autofreq\nset format y '%g'\n") +
           detail::y_range(y.low, y.high) + "plot ";
    for (std::size_t c = 0; c < p.curves.size(); ++c) {
      const look& l = looks[c % std::size(looks)];
      const std::string data = "'" + panel_file(i) + "' index " + std::to_string(c) + " using ";
      if (p.curves[c].points.size() > most_symbols) {
        out += data + "1:2 with lines lc rgb '#" + l.colour + "' lw 2 title " + detail::in_quotes(p.curves[c].name) +
               ", \\\n  ";
        continue;
      }
      out += data + "1:2 with lines lc rgb '#80" + l.colour + "' lw 1 notitle, \\\n  " + data +
             "1:2:3:4 with yerrorbars lc rgb '#" + l.colour + "' pt " + std::to_string(l.point) +
             " ps 1.2 lw 1.1 title " + detail::in_quotes(p.curves[c].name) + ", \\\n  ";
    }
    out += "NaN notitle\n";
  }
  return out + "unset multiplot\n";
}

}  // namespace studies
