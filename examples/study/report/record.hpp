// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <resect/io/report.hpp>
#include <resect/metrics/accumulators/clustered.hpp>
#include <resect/metrics/intervals/estimate.hpp>
#include <resect/study/floor.hpp>

// Everything that a study found, as plain values: what the table, the page, the plots, report.json and clusters.npz are
// written from.
namespace studies {

using resect::io::report_row;
using resect::metrics::estimate;

// The four measures of an altered model, as report.json calls them.
inline constexpr std::array measure_names{"kl", "top1_agreement", "dlnppl", "cosine_head_norm"};
inline constexpr std::size_t n_measures = measure_names.size();

// The mark of an arm whose KL cannot be told from that of the intact model with itself.
inline constexpr std::string_view at_floor_mark = "at the floor";

struct measures {
  estimate kl, top1, dlnppl, cosine;
};

// One altered model with one seed: the sums of its measures, in the order of measure_names.
using run_sums = std::vector<resect::metrics::clustered_sums>;

// What clusters.npz holds: the sums behind every estimate.
struct cluster_sums {
  std::vector<std::int64_t> ids;            // of each cluster: the document or the window
  std::vector<std::int64_t> window_starts;  // where each window begins in the text's ids
  resect::metrics::clustered_sums nll;      // of the intact model
  std::vector<run_sums> runs;               // of every row of the report that is over no seeds, in their order
};

struct quantiles {
  double p1 = std::numeric_limits<double>::quiet_NaN();
  double p50 = p1, p99 = p1, max = p1;
  std::int64_t n = 0;
};

// The intact model's stream as a layer reads it, what the layer adds to it, and how much it turns it. First rows
// of a window are kept apart: many models carry a massive activation there.
struct layer_record {
  int layer = 0;                          // the number of layers for the stream that the head reads
  quantiles norm, first_norm;             // of the stream
  estimate relative_delta, delta_cosine;  // ‖Δ‖ / ‖h‖ and cos(Δ, h), not first rows
  estimate influence;                     // 1 − mean cos(h, h + Δ), all rows
};

// A further column of a table, which a recipe asks for: an estimate or a number of its rows by its name in report.json.
struct column_record {
  std::string name;   // "restored_kl"
  std::string title;  // "spared: R"
  bool with_sign = false;
};

// One table of a report: arms that are marked and ranked among each other.
struct table_record {
  std::string name;                       // "skip"
  std::string says;                       // what its arms do, in words
  std::vector<std::size_t> rows = {};     // of the report; rows of single seeds are not among them
  std::vector<std::string> varying = {};  // parameters that its rows do not share
  bool control = false;
  std::string headline = {};                // above the further columns
  std::vector<column_record> columns = {};  // shown beside the places, below the table
  bool compared = false;                    // its recipe says what its rows mean: `said`, and KL against bits a weight
};

// A table of texts that a recipe adds, as it is to be shown.
struct plain_table {
  std::string name, says;
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> cells;  // row by row
};

// A picture of curves that a recipe adds to effects.png: its own axes, and a curve for each name.
struct curve_record {
  std::string name;
  std::vector<std::pair<double, estimate>> points;  // ascending
};
struct panel_record {
  std::string title, x_title, y_title;
  bool logarithmic = false;  // the y axis; values that are not above 0 are left out then
  std::vector<curve_record> curves;
};

// A way to store the layers' matrices with fewer bytes, and what it does to all of them together.
struct compression_record {
  std::string name;         // of its table
  std::string description;  // "quantize 4 bit, group 64"
  std::string fingerprint;  // hexadecimal, of everything that changes what it does
  std::vector<resect::io::named<resect::io::report_value>> options;
  measures all;            // every chosen layer altered
  estimate unigram_kl;     // KL(intact ‖ word frequencies)
  bool saturated = false;  // all altered: more than half of that; nothing is said of spared layers then
  double bits = std::numeric_limits<double>::quiet_NaN();  // stored bits a weight of the altered matrices
};

// How many of the layers' matrices lie on a grid of few bits, and on which (the first that was found).
struct grid_record {
  int matrices = 0;  // that were looked at
  int on_grid = 0;
  int bits = 0;
  std::int64_t group = 0;
  std::string kind;
};

// Which id begins a text and why: "id 1: tokenizer.ggml.add_bos_token is true; …", "none: …".
std::string begin_text(const resect::io::report_rules& r);

struct study_record {
  resect::io::report report;  // its sections and findings are made of the rest when it is written
  std::string title;          // of the recipe: what was done
  double parameters = 0;      // of the first model
  bool documents = false;     // the text marks them
  std::vector<int> layers;    // that were altered
  std::int64_t bootstrap = 0;
  nlohmann::ordered_json options = nlohmann::ordered_json::object();  // the recipe's own, for the section "options"
  std::vector<std::pair<std::string, std::string>> facts;             // what a reader needs to do it again
  std::vector<layer_record> profile;                                  // one a layer, and one for what the head reads
  std::vector<table_record> tables;
  std::vector<plain_table> extras;               // below the tables
  std::vector<panel_record> panels;              // effects.png shows these where there are any
  std::vector<resect::io::report_finding> said;  // findings of the recipe's own
  std::vector<compression_record> compressions;
  grid_record grid;
  std::optional<resect::study::kl_floor> floor;  // of the KL of all tables; its mean is report.floor
  cluster_sums sums;

  const resect::io::report_set& evaluation() const { return report.sets.front().value; }
  const resect::io::report_model& model() const { return report.models.front(); }
  estimate baseline(std::string_view name) const {
    const auto* found = resect::io::find_named(report.baseline, name);
    return found ? *found : estimate{};
  }
};

using row_list = std::vector<const report_row*>;

inline const table_record* find_table(const study_record& r, std::string_view name) {
  const auto found = std::find_if(r.tables.begin(), r.tables.end(), [&](const auto& t) { return t.name == name; });
  return found == r.tables.end() ? nullptr : &*found;
}

row_list rows_of(const study_record& r, const table_record& t);
row_list rows_of(const study_record& r, std::string_view table);

inline const compression_record* compression_of(const study_record& r, std::string_view table) {
  for (const auto& c : r.compressions)
    if (c.name == table) return &c;
  return nullptr;
}

estimate find_estimate(const std::vector<resect::io::named<estimate>>& list, std::string_view name);
measures measures_of(const report_row& row);
inline estimate kl_of(const report_row& row) { return find_estimate(row.metrics, "kl"); }
// An estimate of a row, whether the schema or the recipe names it.
inline const estimate* find_measure(const report_row& row, std::string_view name) {
  const auto* found = resect::io::find_named(row.metrics, name);
  return found ? found : resect::io::find_named(row.estimates, name);
}
double number_of(const std::vector<resect::io::named<double>>& list, std::string_view name);

}  // namespace studies
