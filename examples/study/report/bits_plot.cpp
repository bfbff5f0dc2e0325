// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/bits_plot.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <study/report/places.hpp>
#include <study/report/plot_style.hpp>
#include <study/report/plots.hpp>

namespace studies {

namespace {

using detail::number;

// The rows of one method, by bits.
struct method_series {
  std::string name;
  bool calibrated;
  row_list rows;
};

double bits_of(const report_row& row) { return number_of(row.numbers, "bits_per_weight"); }

std::vector<method_series> series_of(const study_record& r) {
  std::vector<method_series> out;
  for (const auto* row : rows_of(r, r.tables.front())) {
    const auto* method = resect::io::find_named(row->parameters, "method");
    const std::string name = method ? value_text(*method) : "";
    auto to = std::find_if(out.begin(), out.end(), [&](const method_series& s) { return s.name == name; });
    if (to == out.end()) to = out.insert(out.end(), method_series{name, number_of(row->numbers, "calibrated") > 0, {}});
    to->rows.push_back(row);
  }
  for (auto& s : out)
    std::sort(s.rows.begin(), s.rows.end(), [](const auto* a, const auto* b) { return bits_of(*a) < bits_of(*b); });
  return out;
}

// The rows without data that no other one without data beats with as few bits.
row_list front_without_data(const std::vector<method_series>& all) {
  row_list rows;
  for (const auto& s : all)
    if (!s.calibrated) rows.insert(rows.end(), s.rows.begin(), s.rows.end());
  std::sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) {
    return bits_of(*a) != bits_of(*b) ? bits_of(*a) < bits_of(*b) : kl_of(*a).value < kl_of(*b).value;
  });
  row_list out;
  for (const auto* row : rows)
    if (out.empty() || kl_of(*row).value < kl_of(*out.back()).value) out.push_back(row);
  return out;
}

std::string block(const row_list& rows, double low) {
  std::string out;
  for (const auto* row : rows) {
    const auto kl = kl_of(*row);
    for (const double x :
         {bits_of(*row), std::max(kl.value, low), std::max(detail::low_end(kl), low), detail::high_end(kl)})
      out += number(x) + " ";
    out += "\n";
  }
  return out + "\n\n";
}

struct range {
  double low, high;
};
range kl_range(const study_record& r) {
  double low = 1e300, high = 0;
  for (const auto* row : rows_of(r, r.tables.front())) {
    const auto kl = kl_of(*row);
    high = std::max(high, detail::high_end(kl));
    if (kl.value > 0) low = std::min(low, std::max(detail::low_end(kl), 0.3 * kl.value));
  }
  if (!(high > 0)) return {1e-6, 1};
  return {low / 1.3, high * 1.3};
}

range bits_range(const study_record& r) {
  double low = 1e300, high = 0;
  for (const auto* row : rows_of(r, r.tables.front())) {
    low = std::min(low, bits_of(*row));
    high = std::max(high, bits_of(*row));
  }
  return {low - 0.25, high + 0.25};
}

constexpr const char* colours[] = {"0072B2", "E69F00", "009E73", "CC79A7", "56B4E9", "D55E00", "000000", "7F7F7F"};
constexpr int points[] = {7, 5, 9, 11, 13, 15, 6, 4};

std::string plot_of(const std::vector<method_series>& all, bool calibrated) {
  std::string out = "plot ";
  if (calibrated)
    out += "'bits.dat' index " + std::to_string(all.size()) +
           " using 1:2 with lines lc rgb '#b0b0b0' lw 2 title 'least without data', \\\n  ";
  std::size_t shown = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].calibrated != calibrated) continue;
    const std::string data = "'bits.dat' index " + std::to_string(i) + " using ";
    const std::string colour = colours[shown % std::size(colours)];
    out += data + "1:2 with lines lc rgb '#80" + colour + "' lw 0.8 notitle, \\\n  " + data +
           "1:2:3:4 with yerrorbars lc rgb '#" + colour + "' pt " + std::to_string(points[shown % std::size(points)]) +
           " ps 1.4 lw 1.2 title " + detail::in_quotes(all[i].name) + ", \\\n  ";
    ++shown;
  }
  return out + "NaN notitle\n";
}

}  // namespace

bool compares_bits(const study_record& r) {
  if (r.tables.empty() || !r.tables.front().compared) return false;
  const auto rows = rows_of(r, r.tables.front());
  return !rows.empty() && std::all_of(rows.begin(), rows.end(), [](const auto* row) {
    return std::isfinite(bits_of(*row)) && std::isfinite(number_of(row->numbers, "calibrated"));
  });
}

std::string bits_data(const study_record& r) {
  const auto all = series_of(r);
  const double low = kl_range(r).low;
  std::string out = "# bits a weight, KL with interval\n";
  for (const auto& s : all) out += block(s.rows, low);
  return out + block(front_without_data(all), low);
}

// clang-format off
std::string bits_script(const study_record& r) {
  const auto all = series_of(r);
  const range kl = kl_range(r), bits = bits_range(r);
  const std::string title = r.model().name + ": KL of the output against stored bits a weight";
  return detail::style(1000, "effects.png", title) +
         "set logscale y\nset format y '%g'\n" + detail::y_range(kl.low, kl.high) + detail::log_ticks(kl.low, kl.high) +
         "set xrange [" + number(bits.low) + ":" + number(bits.high) + "]\n"
         "set xtics 1\nset grid xtics ytics lt 1 lc rgb '#e3e3e3' lw 0.6\n"
         "set tmargin at screen 0.78\nset bmargin at screen 0.12\n"
         "set xlabel 'bits a weight, all overhead counted'\n"
         "set key at graph 0,1.02 left bottom horizontal Left reverse samplen 1.5 maxcols 3 width -1 font ',17' noenhanced\n"
         "set rmargin at screen 0.535\n" + detail::y_title("KL(intact ‖ quantized), nats", 0.45) +
         "set label 3 'without data' at graph 0.97,0.95 right font ',20'\n" + plot_of(all, false) +
         "unset label 1\nunset label 2\n"
         "set label 3 'calibrated'\n"
         "set lmargin at screen 0.565\nset rmargin at screen 0.985\nset format y ''\n" + plot_of(all, true) +
         "unset multiplot\n";
}
// clang-format on

}  // namespace studies
