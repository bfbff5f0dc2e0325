// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <vector>

#include <study/report/diff_record.hpp>
#include <study/report/diff_text.hpp>
#include <study/report/report_json.hpp>

// A comparison of two reports for programs, schema 1:
//   {schema, resect, a, b {report, command, seed, model {name, fingerprint, layers}},
//    text {name, sha256, windows, context, clusters, cluster},
//    baseline {perplexity_a, perplexity_b, nll_difference, perplexity_ratio: estimate, p, differs},
//    rows [{operator, first, last, matrix, seeds_a, seeds_b,
//           metrics {kl, top1_agreement, dlnppl, cosine_head_norm: {a, b, difference: estimate, p, p_holm, differs}},
//           rank {a, b: {value, lo, hi}, differs}}],
//    only_a, only_b {operators, rows [{operator, layers}]}, methods [{operator, a, b}], notes, findings}
// Differences are B − A; an estimate is as in report.json, and so is null.
namespace studies {

namespace detail {

inline json side_json(const stored_report& r) {
  return {{"report", r.path},
          {"command", r.command},
          {"seed", r.seed},
          {"model", {{"name", r.model.name}, {"fingerprint", r.model.fingerprint}, {"layers", r.model.layers}}}};
}

inline json rank_json(const rank_record& r) {
  const auto end = [](int rank) { return rank == 0 ? json(nullptr) : json(rank); };
  return {{"value", end(r.value)}, {"lo", end(r.lo)}, {"hi", end(r.hi)}};
}

inline json only_json(const report_difference& d, const std::vector<std::string>& operators,
                      std::vector<int> table_difference::*layers) {
  json rows = json::array();
  for (const auto& t : d.tables)
    if (!(t.*layers).empty()) rows.push_back({{"operator", t.alteration}, {"layers", t.*layers}});
  return {{"operators", operators}, {"rows", std::move(rows)}};
}

}  // namespace detail

inline json diff_json(const stored_report& a, const stored_report& b, const report_difference& d) {
  json out{{"schema", 1},
           {"resect", RESECT_VERSION},
           {"a", detail::side_json(a)},
           {"b", detail::side_json(b)},
           {"text",
            {{"name", a.text.name},
             {"sha256", a.text.sha256},
             {"windows", a.evaluation.windows},
             {"context", a.evaluation.context},
             {"clusters", a.evaluation.clusters},
             {"cluster", a.cluster}}},
           {"baseline",
            {{"perplexity_a", to_json(d.perplexity_a)},
             {"perplexity_b", to_json(d.perplexity_b)},
             {"nll_difference", to_json(d.nll)},
             {"perplexity_ratio", to_json(d.perplexity_ratio)},
             {"p", number_or_null(d.nll_p)},
             {"differs", d.nll_p <= diff_alpha}}},
           {"rows", json::array()},
           {"only_a", detail::only_json(d, d.only_a, &table_difference::only_a)},
           {"only_b", detail::only_json(d, d.only_b, &table_difference::only_b)},
           {"methods", json::array()},
           {"notes", d.notes},
           {"findings", diff_findings(a, d)}};
  for (const auto& t : d.tables)
    if (!t.method_a.empty() || !t.method_b.empty())
      out["methods"].push_back({{"operator", t.alteration}, {"a", t.method_a}, {"b", t.method_b}});
  for (const auto& t : d.tables)
    for (const auto& row : t.rows) {
      json one{{"operator", t.alteration}, {"first", row.layer},   {"last", row.layer + 1},
               {"matrix", nullptr},        {"seeds_a", t.seeds_a}, {"seeds_b", t.seeds_b}};
      for (std::size_t m = 0; m < n_measures; ++m) {
        const auto& x = row.measures[m];
        one["metrics"][measure_names[m]] = {{"a", to_json(x.a)},
                                            {"b", to_json(x.b)},
                                            {"difference", to_json(x.difference)},
                                            {"p", number_or_null(x.p)},
                                            {"p_holm", number_or_null(x.p_holm)},
                                            {"differs", x.differs}};
      }
      one["rank"] = {
          {"a", detail::rank_json(row.rank_a)}, {"b", detail::rank_json(row.rank_b)}, {"differs", row.rank_differs}};
      out["rows"].push_back(std::move(one));
    }
  return out;
}

}  // namespace studies
