// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <study/report/record.hpp>

// A small study that was never run.
namespace support {

inline studies::estimate around(double value, double half, resect::index_t clusters = 32) {
  studies::estimate e;
  e.value = value;
  e.n = 2048;
  e.n_clusters = clusters;
  if (clusters >= 6) {
    e.se = half / 2;
    e.lo = value - half;
    e.hi = value + half;
  }
  return e;
}

inline studies::report_row row(const std::string& table, int layer, double kl, double dlnppl, const char* mark,
                               int rank, resect::index_t clusters = 32) {
  studies::report_row out;
  out.operation = table;
  out.arm = table + " " + std::to_string(layer);
  out.layers = {layer};
  out.metrics = {{"kl", around(kl, kl / 10, clusters)},
                 {"top1_agreement", around(0.75, 0.02, clusters)},
                 {"dlnppl", around(dlnppl, 0.004, clusters)},
                 {"cosine_head_norm", around(0.9, 0.01, clusters)}};
  const auto end = clusters < 6 ? 0 : rank;
  out.verdict = resect::io::report_verdict{table, clusters < 6 ? "" : mark, {rank, end, end}, table == "zero_stream"};
  return out;
}

// A row that is over seeds, and a row for each of them behind it.
inline void append(studies::study_record& to, studies::report_row one, const std::vector<std::uint64_t>& seeds = {}) {
  auto& table = to.tables.back();
  table.rows.push_back(to.report.rows.size());
  one.seeds = seeds;
  if (!seeds.empty()) one.seed_sd = {{"kl", 0.25}, {"dlnppl", 0.125}};
  to.report.rows.push_back(one);
  for (const auto seed : seeds) {
    auto run = one;
    run.seeds.clear();
    run.seed_sd.clear();
    run.verdict.reset();
    run.seed = seed;
    run.arm += ", seed " + std::to_string(seed);
    to.report.rows.push_back(run);
  }
}

inline studies::study_record small_study(resect::index_t clusters = 32) {
  studies::study_record r;
  r.report.command = "study --model tiny";
  r.report.recipe = "sensitivity";
  r.report.seed = 1;
  r.report.models = {{"tiny", "0x0123456789abcdef", 3, 256, 192}};
  r.report.text = {"heldout.txt", "aa", "bb", 39090, 32, 64};
  r.report.sets = {{"evaluation", {"heldout.txt", "cc", 32, 64, clusters, 39090}},
                   {"calibration", {"other.txt", "dd", 32, 64, 32, 41000}}};
  r.report.rules = {"t over clusters", {}, "none"};
  r.report.baseline = {{"nll", around(1.5, 0.1, clusters)},
                       {"perplexity", around(4.5, 0.4, clusters)},
                       {"perplexity_tokens_independent", around(4.5, 0.2, 2048)},
                       {"unigram_nll", around(4.5, 0.1, clusters)}};
  r.title = "each layer is altered alone";
  r.parameters = 2e6;
  r.layers = {0, 1, 2};
  r.bootstrap = 1000;
  for (int l = 0; l < 4; ++l) {
    studies::layer_record profile;
    profile.layer = l;
    profile.norm = {1.0 + l, 2.0 + l, 3.0 + l, 4.0 + l, 2016};
    profile.first_norm = {10, 20, 30, 40, 32};
    profile.relative_delta = around(0.5, 0.05, clusters);
    profile.delta_cosine = around(0.1, 0.02, clusters);
    profile.influence = around(0.2, 0.01, clusters);
    r.profile.push_back(profile);
  }
  r.tables.push_back({.name = "skip", .says = "the layer is left out"});
  append(r, row("skip", 0, 2.0, 1.9, "critical", 1, clusters));
  append(r, row("skip", 1, 0.001, 0.001, "negligible", 3, clusters));
  append(r, row("skip", 2, 0.02, -0.02, "better than intact", 2, clusters));
  r.tables.push_back({.name = "reinit", .says = "random weights in place of the layer's"});
  for (int l = 0; l < 3; ++l) append(r, row("reinit", l, 3.0 - l, 2.5 - l, "critical", l + 1, clusters), {1, 2});
  r.tables.push_back(
      {.name = "zero_stream", .says = "control: the whole stream after the layer is zero", .control = true});
  for (int l = 0; l < 3; ++l) append(r, row("zero_stream", l, 5.0 + l, 4.0, "critical", 3 - l, clusters));
  return r;
}

// The same model with every two neighbouring layers left out, and scaled by two factors.
inline studies::study_record small_spans() {
  auto r = small_study();
  r.report.rows.clear();
  r.tables = {{.name = "skip", .says = "two neighbouring layers are left out"}};
  for (int l = 0; l < 2; ++l) {
    auto one = row("skip", l, 2.0 - l, 1.9 - l, "critical", l + 1);
    one.layers = {l, l + 1};
    one.arm = "skip " + std::to_string(l) + "-" + std::to_string(l + 1);
    append(r, one);
  }
  return r;
}

inline studies::study_record small_doses() {
  auto r = small_study();
  r.report.rows.clear();
  r.tables = {{.name = "scale", .says = "what the layer adds is scaled", .varying = {"factor"}}};
  for (const double factor : {0.5, 2.0})
    for (int l = 0; l < 2; ++l) {
      auto one = row("scale", l, factor + l, 0.2, l == 0 ? "negligible" : "", 1 + l);
      one.parameters = {{"factor", {factor, {}}}};
      one.arm += ": factor " + std::to_string(factor);
      append(r, one);
    }
  return r;
}

}  // namespace support
