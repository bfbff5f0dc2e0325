// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/plots.hpp>

#include <study/report/bits_plot.hpp>
#include <study/report/curves_plot.hpp>

namespace studies {

std::string norms_data(const study_record& r) {
  using detail::number;
  std::string out = "# layer, norm p50 p1 p99, of first rows p50 p1 p99, block influence with interval\n";
  for (const auto& l : r.profile) {
    const bool is_head = l.layer == r.model().layers;
    const double nothing = std::nan("");
    const double bi = is_head ? nothing : l.influence.value;
    const bool bar = !is_head && l.influence.has_interval();
    for (const double x : {double(l.layer), l.norm.p50, l.norm.p1, l.norm.p99, l.first_norm.p50, l.first_norm.p1,
                           l.first_norm.p99, bi, bar ? l.influence.lo : bi, bar ? l.influence.hi : bi})
      out += number(x) + " ";
    out += "\n";
  }
  return out;
}

std::string norms_script(const study_record& r) {
  const int layers = r.model().layers;
  const bool has_first = !r.profile.empty() && r.profile.front().first_norm.n > 0;
  double least = 1e300, most = 0;
  for (const auto& l : r.profile)
    for (const auto& q : {l.norm, l.first_norm})
      if (q.p1 > 0) {
        least = std::min(least, q.p1);
        most = std::max(most, q.p99);
      }
  const double margin = most > least ? std::pow(most / least, 0.07) : 2;
  const std::string title = r.model().name + ": residual stream of the intact model";
  std::string out = detail::style(1240, "norms.png", title);
  out += "set xrange [-0.5:" + std::to_string(layers) +
         ".5]\n"
         "set xtics " +
         detail::layer_ticks(0, layers - 1) +
         "\n"
         "set xtics add ('head' " +
         std::to_string(layers) +
         ")\n"
         "set tmargin at screen 0.87\n"
         "set bmargin at screen 0.485\n"
         "set key width -4\n"
         "set logscale y\n" +
         (most > 0 ? detail::y_range(least / margin, most * margin) + detail::log_ticks(least / margin, most * margin)
                   : "") +
         "set format y '%g'\n" + detail::y_title("norm of the stream read", 0.68) +
         "plot 'norms.dat' using 1:3:4 with filledcurves fc rgb '#0072B2' fs transparent solid 0.22 noborder "
         "title '1st to 99th percentile', \\\n"
         "  '' using 1:2 with linespoints lc rgb '#0072B2' lw 1.6 pt 7 ps 1.2 title 'median'";
  if (has_first)
    out +=
        ", \\\n  '' using ($1+0.1):5:6:7 with yerrorbars lc rgb '#D55E00' pt 9 ps 1.5 lw 1.2 "
        "title 'first token of a window'";
  return out +
         "\n"
         "unset logscale y\n"
         "set ytics autofreq\n"
         "unset label 1\n"
         "unset key\n"
         "set tmargin at screen 0.415\n"
         "set bmargin at screen 0.095\n"
         "set xlabel 'layer'\n"
         "set yrange [0:*]\n"
         "set boxwidth 0.6\n" +
         detail::y_title("block influence, 1 − cos", 0.255) +
         "plot 'norms.dat' using 1:8 with boxes lc rgb '#009E73' fs solid 0.5 noborder, \\\n"
         "  '' using 1:9:(0):($10-$9) with vectors nohead lc rgb '#004d38' lw 2.4\n"
         "unset multiplot\n";
}

namespace detail {

axis kl_axis(const study_record& r) {
  double least = 1e300, most = 0;
  for_drawn(r, [&](const table_record&, const report_row& row) {
    const auto kl = kl_of(row);
    most = std::max(most, high_end(kl));
    if (kl.value > 0) least = std::min(least, kl.value);
  });
  if (!(most > 0)) return {0, 1, false};
  if (!(most / least > 20)) return {0, 1.05 * most, false};
  for_drawn(r, [&](const table_record&, const report_row& row) {
    if (low_end(kl_of(row)) > 0) least = std::min(least, low_end(kl_of(row)));
  });
  least = std::max(least, 1e-9 * most);
  const double decades = std::log10(most / least);
  return {least * std::pow(10, -0.06 * decades), most * std::pow(10, 0.06 * decades), true};
}

axis dlnppl_axis(const study_record& r) {
  double least = -0.015, most = 0.15;
  for_drawn(r, [&](const table_record& t, const report_row& row) {
    if (t.control) return;
    const auto d = measures_of(row).dlnppl;
    least = std::min(least, low_end(d));
    most = std::max(most, high_end(d));
  });
  if (!(std::max(most, -least) > 0.3)) return {least - 0.05 * (most - least), most + 0.05 * (most - least), false};
  const double bottom = std::asinh(least / linear_below), top = std::asinh(most / linear_below);
  const double margin = 0.04 * (top - bottom);
  return {linear_below * std::sinh(bottom - margin), linear_below * std::sinh(top + margin), true};
}

bool has_a_place(const row_list& rows) {
  std::vector<int> seen;
  for (const auto* row : rows) {
    if (!resect::io::is_span(row->layers)) return false;
    const int twice = row->layers.front() + row->layers.back();
    if (std::find(seen.begin(), seen.end(), twice) != seen.end()) return false;
    seen.push_back(twice);
  }
  return true;
}

row_places places_of(const study_record& r) {
  row_places out;
  const table_record* longest = nullptr;
  bool spans = false;
  for (const auto& t : r.tables) {
    const auto rows = rows_of(r, t);
    out.by_layer = out.by_layer && has_a_place(rows);
    spans = spans || std::string(place_title(rows)) != "layer";
    if (!longest || t.rows.size() > longest->rows.size()) longest = &t;
  }
  if (!longest) return out;
  const auto rows = rows_of(r, *longest);
  if (out.by_layer) {
    out.first = r.layers.empty() ? 0 : r.layers.front();
    out.last = r.layers.empty() ? 0 : r.layers.back();
    if (spans) out.title = "layer (middle of a span)";
    out.ticks = out.upper_ticks = layer_ticks(static_cast<int>(out.first), static_cast<int>(out.last));
    return out;
  }
  out.last = static_cast<double>(rows.size()) - 1;
  out.title.clear();
  const std::size_t step = (rows.size() + 15) / 16;
  for (std::size_t i = 0; i < rows.size(); i += step) {
    const std::string before = i ? ", " : "(", at = " " + std::to_string(i);
    out.ticks += before + detail::in_quotes(place_text(*longest, *rows[i])) + at;
    out.upper_ticks += before + "''" + at;
  }
  out.ticks += ") rotate by -25 noenhanced font ',14'";
  out.upper_ticks += ")";
  return out;
}

int mark_code(const std::string& mark) {
  return mark == "critical" ? 1 : mark == "negligible" ? 2 : mark == "better than intact" ? 3 : 0;
}

std::string signed_log_ticks() {
  std::string major = "0", minor;
  for (const char* decade : {"0.01", "0.1", "1", "10"}) major += std::string(", ") + decade + ", -" + decade;
  for (double decade = 0.01; decade < 20; decade *= 10)
    for (int i = 2; i < 10; ++i)
      for (const int s : {1, -1}) minor += ", '' " + number(s * i * decade) + " 1";
  return "(" + major + minor + ")";
}

std::string data_file(std::size_t table) { return "table" + std::to_string(table) + ".dat"; }

}  // namespace detail

std::string effects_data(const study_record& r, const table_record& t) {
  const auto axis = detail::kl_axis(r);
  const auto place = detail::places_of(r);
  std::string out = "# place, KL with interval, delta ln PPL with interval, mark\n";
  double last = std::nan("");
  const auto rows = rows_of(r, t);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double x = place(*rows[i], i);
    if (x > last + 1) out += "\n";
    last = x;
    const auto m = measures_of(*rows[i]);
    const auto kl = [&](double y) { return axis.curved ? std::max(y, axis.low) : y; };
    const auto& d = m.dlnppl;
    for (const double y :
         {x, kl(m.kl.value), kl(detail::low_end(m.kl)), kl(detail::high_end(m.kl)), d.value, detail::low_end(d),
          detail::high_end(d), double(detail::mark_code(detail::verdict_of(*rows[i]).mark))})
      out += detail::number(y) + " ";
    out += "\n";
  }
  return out;
}

std::string effects_script(const study_record& r) {
  using detail::number;
  const std::size_t n = r.tables.size();
  const auto shift = [&](std::size_t i) {  // side by side, so that bars do not hide one another
    return number(std::min(0.19, 0.8 / static_cast<double>(n)) *
                  (static_cast<double>(i) - 0.5 * static_cast<double>(n - 1)));
  };
  const auto place = detail::places_of(r);
  const auto kl = detail::kl_axis(r), delta = detail::dlnppl_axis(r);

  const bool bars = resect::metrics::reliability_of(r.evaluation().clusters) != resect::metrics::reliability::none;
  const std::string title = r.model().name + ": " + r.title + (bars ? "" : " (too few clusters for intervals)");

  std::string out = detail::style(1560, "effects.png", title);
  out += "set xrange [" + number(place.first - 0.5) + ":" + number(place.last + 0.5) +
         "]\n"
         "set xtics " +
         place.upper_ticks +
         "\n"
         "set tmargin at screen 0.905\n"
         "set bmargin at screen 0.545\n" +
         (kl.curved ? "set logscale y\n" + detail::log_ticks(kl.low, kl.high) : "") + detail::y_range(kl.low, kl.high) +
         "set key width " + std::string(n > 3 ? "-8" : "2") +
         "\n"
         "set format y '%g'\n" +
         detail::y_title("KL(intact ‖ altered), nats", 0.725) + "plot ";
  for (std::size_t i = 0; i < n; ++i) {
    const auto& s = detail::series_of(r.tables[i].name, i);
    const std::string data = "'" + detail::data_file(i) + "' using ($1+" + shift(i) + "):2";
    out += data + " with lines lc rgb '#80" + s.colour + "' lw 0.8" + (r.tables[i].control ? " dt 2" : "") +
           " notitle, \\\n  " + data + ":3:4 with yerrorbars lc rgb '#" + s.colour + "' pt " +
           std::to_string(s.filled) + " ps " + number(s.size) + " lw 1.2 title " +
           detail::in_quotes(r.tables[i].name + (r.tables[i].control ? " (control)" : "")) + ", \\\n  ";
  }
  out +=
      "NaN notitle\n"
      "unset logscale y\n"
      "set ytics autofreq\n"
      "unset label 1\n"
      "set tmargin at screen 0.445\n"
      "set bmargin at screen " +
      std::string(place.by_layer ? "0.08" : "0.12") +
      "\n"
      "set xtics " +
      place.ticks +
      "\n"
      "set xlabel '" +
      place.title +
      "'\n"
      "set key width -7\n" +
      detail::y_range(delta.low, delta.high) + detail::y_title("Δ ln perplexity, nats a token", 0.262);
  if (delta.curved)
    out += "set nonlinear y via asinh(y/" + number(detail::linear_below) + ") inverse " + number(detail::linear_below) +
           "*sinh(y)\nset ytics " + detail::signed_log_ticks() + "\n";
  out +=
      "set object 1 rectangle from graph 0, first -0.01 to graph 1, first 0.01 fc rgb '#56B4E9' "
      "fs transparent solid 0.25 noborder behind\n"
      "set arrow 1 from graph 0, first 0.1 to graph 1, first 0.1 nohead dt 2 lw 0.9 lc rgb '#444444'\n"
      "plot keyentry with points pt 7 ps 1.4 lc rgb '#444444' title 'critical', \\\n"
      "  keyentry with points pt 6 ps 1.4 lc rgb '#444444' title 'no mark', \\\n"
      "  keyentry with points pt 2 ps 1.4 lc rgb '#444444' title 'negligible', \\\n"
      "  keyentry with points pt 13 ps 2 lc rgb '#444444' title 'better than intact', \\\n"
      "  keyentry with lines dt 2 lc rgb '#444444' title '0.1 (critical above)', \\\n"
      "  keyentry with boxes fs solid 0.3 noborder fc rgb '#56B4E9' title '± 0.01 (negligible within)', \\\n  ";
  for (std::size_t i = 0; i < n; ++i) {
    const auto& s = detail::series_of(r.tables[i].name, i);
    if (r.tables[i].control) continue;
    const int point[] = {s.hollow, s.filled, 2, 13};
    for (int mark = 0; mark < 4; ++mark)
      out += "'" + detail::data_file(i) + "' using ($1+" + shift(i) + "):($8==" + std::to_string(mark) +
             "?$5:NaN):6:7 with yerrorbars lc rgb '#" + s.colour + "' pt " + std::to_string(point[mark]) + " ps " +
             number(mark == 3 ? 2.0 : s.size) + " lw 1.2 notitle, \\\n  ";
  }
  return out + "NaN notitle\nunset multiplot\n";
}

resect::status try_draw_plots(const study_record& r, const std::filesystem::path& folder) {
  const auto work = folder / "plots";
  std::filesystem::create_directory(work);
  write_file((work / "norms.dat").string(), norms_data(r));
  write_file((work / "norms.gp").string(), norms_script(r));
  for (std::size_t i = 0; i < r.tables.size(); ++i)
    write_file((work / detail::data_file(i)).string(), effects_data(r, r.tables[i]));
  if (compares_bits(r)) write_file((work / "bits.dat").string(), bits_data(r));
  for (std::size_t i = 0; i < r.panels.size(); ++i)
    write_file((work / panel_file(i)).string(), panel_data(r.panels[i]));
  write_file((work / "effects.gp").string(), !r.panels.empty()  ? panels_script(r)
                                             : compares_bits(r) ? bits_script(r)
                                                                : effects_script(r));
  for (const char* name : {"norms", "effects"}) {
    if (auto s = try_gnuplot(work, std::string(name) + ".gp"); !s) return s;
    std::filesystem::rename(work / (std::string(name) + ".png"), folder / (std::string(name) + ".png"));
  }
  std::filesystem::remove_all(work);
  return {};
}

}  // namespace studies
