// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/diff_json.hpp>

namespace studies {

namespace detail {

json begin_json(const stored_report& r) {
  const auto& rules = r.report.rules;
  return {{"id", rules.bos ? json(*rules.bos) : json()}, {"rule", rules.bos_rule}};
}

json side_json(const stored_report& r) {
  const auto& m = r.report.models.front();
  return {
      {"report", r.path},          {"command", r.report.command},
      {"recipe", r.report.recipe}, {"seed", r.report.seed},
      {"bos", begin_json(r)},      {"model", {{"name", m.name}, {"fingerprint", m.fingerprint}, {"layers", m.layers}}}};
}

json only_json(const report_difference& d, const std::vector<std::string>& tables,
               std::vector<report_row> table_difference::*rows) {
  json arms = json::array();
  for (const auto& t : d.tables)
    for (const auto& row : t.*rows) arms.push_back(row.arm);
  return {{"tables", tables}, {"arms", std::move(arms)}};
}

json diff_row_json(const table_difference& t, const row_difference& row) {
  const bool span = resect::io::is_span(row.a.layers);
  json one{{"arm", row.a.arm},
           {"arm_b", row.b.arm},
           {"table", t.name.empty() ? json() : json(t.name)},
           {"operator", row.a.operation},
           {"layers", row.a.layers}};
  one["first"] = span ? json(row.a.layers.front()) : json();
  one["last"] = span ? json(row.a.layers.back() + 1) : json();
  one["matrix"] = row.a.matrix.empty() ? json() : json(row.a.matrix);
  one["seeds_a"] = row.a.seeds;
  one["seeds_b"] = row.b.seeds;
  for (std::size_t m = 0; m < n_measures; ++m) {
    const auto& x = row.measures[m];
    one["metrics"][measure_names[m]] = {{"a", resect::io::to_json(x.a)},
                                        {"b", resect::io::to_json(x.b)},
                                        {"difference", resect::io::to_json(x.difference)},
                                        {"p", resect::io::to_json(x.p)},
                                        {"p_holm", resect::io::to_json(x.p_holm)},
                                        {"differs", x.differs}};
  }
  one["rank"] = {
      {"a", resect::io::to_json(row.rank_a)}, {"b", resect::io::to_json(row.rank_b)}, {"differs", row.rank_differs}};
  return one;
}

}  // namespace detail

json diff_json(const stored_report& a, const stored_report& b, const report_difference& d) {
  const auto& evaluation = a.evaluation();
  json out{{"schema", 1},
           {"resect", RESECT_VERSION},
           {"a", detail::side_json(a)},
           {"b", detail::side_json(b)},
           {"text",
            {{"name", a.report.text.name},
             {"sha256", a.report.text.sha256},
             {"windows", evaluation.windows},
             {"context", evaluation.context},
             {"clusters", evaluation.clusters},
             {"cluster", a.cluster}}},
           {"baseline",
            {{"perplexity_a", resect::io::to_json(d.perplexity_a)},
             {"perplexity_b", resect::io::to_json(d.perplexity_b)},
             {"nll_difference", resect::io::to_json(d.nll)},
             {"perplexity_ratio", resect::io::to_json(d.perplexity_ratio)},
             {"p", resect::io::to_json(d.nll_p)},
             {"differs", d.nll_p <= diff_alpha}}},
           {"floor", {{"a", detail::floor_json(a)}, {"b", detail::floor_json(b)}}},
           {"rows", json::array()},
           {"only_a", detail::only_json(d, d.only_a, &table_difference::only_a)},
           {"only_b", detail::only_json(d, d.only_b, &table_difference::only_b)},
           {"tables", json::array()},
           {"notes", d.notes},
           {"findings", diff_findings(a, d)}};
  for (const auto& t : d.tables) {
    if (!t.name.empty()) out["tables"].push_back({{"name", t.name}, {"a", t.says_a}, {"b", t.says_b}});
    for (const auto& row : t.rows) out["rows"].push_back(detail::diff_row_json(t, row));
  }
  return out;
}

}  // namespace studies
