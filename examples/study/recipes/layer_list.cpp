// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What does it cost to store a layer's matrices with fewer bytes? Each layer alone, and all but each.
#include <study/recipes/compress.hpp>

#include <algorithm>
#include <cmath>

#include <study/io/cli.hpp>

#include <resect/compress/weight_methods.hpp>
#include <resect/study/compression.hpp>
#include <study/recipes/bench.hpp>
#include <study/report/make_record.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace quant = resect::quant;

}  // namespace

void declare_layer_list(CLI::App& app, layer_list_options& o) {
  app.add_option("--quantize", o.quantize_bits,
                 "the layers' matrices at this many bits, 2 to 8 (default without --low-rank: 4)")
      ->check(CLI::Range(2, 8));
  app.add_option("--group", o.group, "columns that share a scale, 0 for the whole row")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))
      ->capture_default_str();
  app.add_option("--scale", o.scale, "how scales are chosen: min-max or mse")
      ->check(CLI::IsMember({"min-max", "mse"}))
      ->capture_default_str();
  app.add_option("--zero", o.zero, "zero points: integer or symmetric")
      ->check(CLI::IsMember({"integer", "symmetric"}))
      ->capture_default_str();
  app.add_option("--low-rank", o.low_rank, "the layers' matrices as products of this rank")
      ->check(CLI::Range(1, 1 << 20));
}

namespace {

// A way to store matrices that was asked for, under the name of its table.
struct named_method {
  std::string name;
  resect::compress::weight_method method;
};

std::vector<named_method> methods(backend& exec, const layer_list_options& o) {
  std::vector<named_method> out;
  if (o.quantize_bits > 0) {
    const auto zero = o.zero == "symmetric" ? quant::zero_point::symmetric : quant::zero_point::integer;
    const quant::affine_format format{o.quantize_bits, zero, o.group};
    out.push_back({"quantize", o.scale == "mse"
                                   ? resect::compress::quantize_weights(format, quant::nearest{}, quant::mse_scale{})
                                   : resect::compress::quantize_weights(format)});
  }
  if (o.low_rank > 0)
    out.push_back({"low_rank", resect::compress::factorize_weights(exec, {.rank = o.low_rank, .error_probes = 0})});
  return out;
}

}  // namespace

// A rank that no matrix of the chosen layers is larger than would alter nothing.
void check_layer_list(bench& b, const layer_list_options& o) {
  if (o.low_rank == 0) return;
  resect::index_t largest = 0;
  for (const int l : b.layers())
    for (const auto& w : b.model().weights(l))
      if (w.role == resect::model::weight_role::matrix) largest = std::max(largest, std::min(w.rows, w.cols));
  if (o.low_rank >= largest)
    fail({resect::errc::invalid_argument, "--low-rank", resect::text(o.low_rank),
          resect::text("1 to ", largest - 1, ", as no matrix of these layers has a rank above ", largest)});
}

namespace {

study::compression_options study_options(const bench& b) {
  return {.layers = b.layers(), .seed = b.seed(), .bootstrap = bootstrap_resamples, .floor = b.floor()};
}

}  // namespace

study::study_cost layer_list_cost(bench& b, const layer_list_options& o) {
  study::study_cost out;
  for (std::size_t i = 0, n = methods(b.exec(), o).size(); i < n; ++i) {
    const auto one = study::estimate_compression_cost(b.model(), b.evaluation(), study_options(b));
    out.runs += one.runs;
    out.flop += one.flop - (i > 0 ? one.baseline_flop : 0);
    out.baseline_flop = one.baseline_flop;
    out.bytes = std::max(out.bytes, one.bytes);
  }
  return out;
}

namespace {

compression_record to_record(const std::string& name, const study::compression_report& r) {
  compression_record out;
  out.name = name;
  out.description = r.method.view();
  out.fingerprint = hexadecimal(r.method_hash);
  for (const auto& f : r.parameters) out.options.push_back({std::string(f.name), {f.number, std::string(f.word)}});
  out.all = studies::detail::to_record(r.all);
  out.unigram_kl = r.unigram_kl;
  out.saturated = r.saturated;
  out.bits = 0;
  for (const auto& row : r.rows)
    out.bits += row.bits / static_cast<double>(r.rows.size());  // layers have the same shapes
  return out;
}

// The columns S, R and R − S below the table, and what stands above them.
table_record table_of(const compression_record& c) {
  table_record out{.name = c.name, .says = c.description + ", the matrices of the layer alone"};
  out.headline = c.name + ", all of these layers: KL " + with_interval(c.all.kl) + " nats, Δln PPL " +
                 with_interval(c.all.dlnppl, 1, sign::always) +
                 (std::isfinite(c.bits) ? ", " + fixed(c.bits, 2) + " bits a weight" : "");
  out.columns.push_back({"kl", "alone: S"});
  if (!c.saturated) {
    out.columns.push_back({"restored_kl", "spared: R"});
    out.columns.push_back({"interaction_kl", "R − S", true});
  }
  out.columns.push_back({"weight_error", "|W−Ŵ|/|W|"});
  return out;
}

// Of one layer all are the same as it alone, of two the other one alone is all but the first: each arm once.
void add_new_run(study_record& to, const study::arm_identity& id, const study::effect_sums& sums) {
  const auto& rows = to.report.rows;
  const bool known = std::any_of(rows.begin(), rows.end(), [&](const report_row& row) { return row.arm == id.key; });
  if (!known && !id.layers.empty()) add_run(to, id, sums);
}

void add_results(study_record& to, const std::string& name, const study::compression_report& r) {
  const auto c = to_record(name, r);
  std::vector<study::table_row> alone;
  for (const auto& row : r.rows) alone.push_back(row.alone);
  add_table(to, table_of(c), alone);
  for (std::size_t i = 0; i < r.rows.size(); ++i) {
    report_row& row = to.report.rows[to.tables.back().rows[i]];
    row.estimates = {{"restored_kl", r.rows[i].causal.restored}, {"interaction_kl", r.rows[i].causal.interaction}};
    row.numbers = {{"weight_error", r.rows[i].error}};
  }
  add_new_run(to, r.all_id, r.all_sums);
  for (const auto& row : r.rows) add_new_run(to, row.without_id, row.without);
  to.compressions.push_back(c);
}

}  // namespace

void measure_layer_list(bench& b, const layer_list_options& o) {
  for (const auto& [name, method] : methods(b.exec(), o)) {
    auto& run = b.run();
    add_results(b.record(), name,
                need(study::try_compression(b.exec(), b.model(), run, b.windows(role::calibration), method,
                                            study_options(b), b.report(), b.progress())));
  }
  b.record().grid = look_for_grids(b);
}

}  // namespace studies
