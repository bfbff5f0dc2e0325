// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <resect/version.hpp>
#include <study/report/findings.hpp>
#include <study/report/record.hpp>

// report.json, schema 1: for programs. Numbers that do not exist (no interval) are null.
namespace studies {

using json = nlohmann::ordered_json;

inline json number_or_null(double x) { return std::isfinite(x) ? json(x) : json(nullptr); }

inline json to_json(const estimate& e) {
  return {{"value", number_or_null(e.value)},
          {"se", number_or_null(e.se)},
          {"lo", number_or_null(e.lo)},
          {"hi", number_or_null(e.hi)},
          {"n", e.n},
          {"n_clusters", e.n_clusters}};
}

inline json to_json(const measures& m) {
  return {{"kl", to_json(m.kl)},
          {"top1_agreement", to_json(m.top1)},
          {"dlnppl", to_json(m.dlnppl)},
          {"cosine_head_norm", to_json(m.cosine)}};
}

inline json to_json(const quantiles& q) {
  return {{"p1", number_or_null(q.p1)},
          {"p50", number_or_null(q.p50)},
          {"p99", number_or_null(q.p99)},
          {"max", number_or_null(q.max)},
          {"n", q.n}};
}

inline json to_json(const windows_record& w) {
  return {{"sha256", w.sha256}, {"windows", w.windows}, {"context", w.context}, {"clusters", w.clusters}};
}

// A row over all seeds (seed null), then one a seed where there are any. `last` is exclusive.
inline void append_rows(json& out, const row_record& row) {
  const auto place = [&](json seed) {
    return json{{"operator", row.alteration},
                {"first", row.layer},
                {"last", row.layer + 1},
                {"matrix", nullptr},
                {"seed", std::move(seed)}};
  };
  json mean = place(nullptr);
  mean["metrics"] = to_json(row.mean);
  mean["mark"] = row.mark.empty() ? json(nullptr) : json(row.mark);
  const auto end = [](int rank) { return rank == 0 ? json(nullptr) : json(rank); };
  mean["rank"] = {{"value", end(row.rank.value)}, {"lo", end(row.rank.lo)}, {"hi", end(row.rank.hi)}};
  mean["control"] = is_control(row.alteration);
  if (!row.seeds.empty()) {
    mean["seeds"] = row.seeds;
    mean["seed_sd"] = {{"kl", number_or_null(row.kl_seed_sd)}, {"dlnppl", number_or_null(row.dlnppl_seed_sd)}};
  }
  if (row.weight_error == row.weight_error) {
    mean["restored_kl"] = to_json(row.restored);
    mean["interaction_kl"] = to_json(row.interaction);
    mean["weight_error"] = row.weight_error;
  }
  out.push_back(std::move(mean));
  for (std::size_t i = 0; i < row.seeds.size(); ++i) {
    json one = place(row.seeds[i]);
    one["metrics"] = to_json(row.per_seed[i]);
    out.push_back(std::move(one));
  }
}

inline json profile_json(const study_record& r) {
  json out = json::array();
  for (const auto& l : r.profile) {
    json one{{"layer", l.layer}, {"norm", to_json(l.norm)}, {"first_token_norm", to_json(l.first_norm)}};
    if (l.layer < r.model.layers) {
      one["relative_delta"] = to_json(l.relative_delta);
      one["delta_cosine"] = to_json(l.delta_cosine);
      one["block_influence"] = to_json(l.influence);
    }
    out.push_back(std::move(one));
  }
  return out;
}

inline json options_json(const study_record& r) {
  const auto& o = r.options;
  return {{"layers", r.layers},
          {"alterations", o.alterations},
          {"reinit",
           {{"seeds", o.reinit_seeds},
            {"norm_gains", o.reinit_gains},
            {"std", o.reinit_std > 0 ? json(o.reinit_std) : json("rms of the matrix")}}},
          {"bootstrap_resamples", o.bootstrap},
          {"level", 0.95},
          {"cluster", r.text.documents ? "document" : "window"},
          {"marks", {{"critical_above", 0.1}, {"negligible_within", 0.01}, {"correction", "holm"}}}};
}

// Whole numbers without a fraction, as they were given.
inline json options_json(const std::vector<method_option>& options) {
  json out = json::object();
  for (const auto& o : options)
    if (!o.word.empty()) out[o.name] = o.word;
    else if (o.number == std::floor(o.number) && std::abs(o.number) < 1e15)
      out[o.name] = static_cast<std::int64_t>(o.number);
    else out[o.name] = number_or_null(o.number);
  return out;
}

inline json report_json(const study_record& r, const std::vector<finding>& findings) {
  const auto& b = r.baseline;
  json out{{"schema", 1},
           {"resect", RESECT_VERSION},
           {"command", r.command},
           {"seed", r.options.seed},
           {"model",
            {{"name", r.model.name},
             {"fingerprint", r.model.fingerprint},
             {"layers", r.model.layers},
             {"d_model", r.model.d_model},
             {"vocabulary", r.model.vocabulary}}},
           {"text",
            {{"name", r.text.name},
             {"sha256", r.text.sha256},
             {"ids_sha256", r.text.ids_sha256},
             {"tokens", r.text.tokens},
             {"sequences", r.options.sequences},
             {"context", r.options.context}}},
           {"evaluation", to_json(r.evaluation)},
           {"calibration", to_json(r.calibration)},
           {"options", options_json(r)},
           {"baseline",
            {{"nll", to_json(b.nll)},
             {"perplexity", to_json(b.perplexity)},
             {"perplexity_tokens_independent", to_json(b.perplexity_tokens)},
             {"unigram_nll", to_json(b.unigram_nll)}}},
           {"profile", profile_json(r)},
           {"clusters", "clusters.npz"},
           {"rows", json::array()},
           {"findings", json::array()}};
  for (const auto& row : r.rows) append_rows(out["rows"], row);
  if (r.grid.matrices > 0)
    out["grid"] = {{"matrices", r.grid.matrices}, {"on_grid", r.grid.on_grid}, {"bits", r.grid.bits},
                   {"group", r.grid.group},       {"kind", r.grid.kind}};
  for (const auto& c : r.compressions)
    out["compressions"].push_back({{"operator", c.name},
                                   {"description", c.description},
                                   {"fingerprint", c.fingerprint},
                                   {"options", options_json(c.options)},
                                   {"all", to_json(c.all)},
                                   {"unigram_kl", to_json(c.unigram_kl)},
                                   {"saturated", c.saturated},
                                   {"bits_per_weight", number_or_null(c.bits)}});
  for (const auto& f : findings)
    out["findings"].push_back({{"kind", f.kind},
                               {"operator", f.about.empty() ? json(nullptr) : json(f.about)},
                               {"text", f.text},
                               {"layers", f.layers}});
  return out;
}

// As it stands in the file; bytes that are not UTF-8 are replaced.
inline std::string report_text(const json& report) {
  return report.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace studies
