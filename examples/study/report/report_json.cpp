// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/report_json.hpp>

namespace studies {

namespace detail {

json to_json(const measures& m) {
  return {{"kl", resect::io::to_json(m.kl)},
          {"top1_agreement", resect::io::to_json(m.top1)},
          {"dlnppl", resect::io::to_json(m.dlnppl)},
          {"cosine_head_norm", resect::io::to_json(m.cosine)}};
}

json to_json(const quantiles& q) {
  return {{"p1", resect::io::to_json(q.p1)},
          {"p50", resect::io::to_json(q.p50)},
          {"p99", resect::io::to_json(q.p99)},
          {"max", resect::io::to_json(q.max)},
          {"n", q.n}};
}

json profile_json(const study_record& r) {
  json out = json::array();
  for (const auto& l : r.profile) {
    json one{{"layer", l.layer}, {"norm", to_json(l.norm)}, {"first_token_norm", to_json(l.first_norm)}};
    if (l.layer < r.model().layers) {
      one["relative_delta"] = resect::io::to_json(l.relative_delta);
      one["delta_cosine"] = resect::io::to_json(l.delta_cosine);
      one["block_influence"] = resect::io::to_json(l.influence);
    }
    out.push_back(std::move(one));
  }
  return out;
}

// What all recipes share; the recipe's own come behind it.
json options_json(const study_record& r) {
  json out{{"layers", r.layers},
           {"bootstrap_resamples", r.bootstrap},
           {"level", 0.95},
           {"cluster", r.documents ? "document" : "window"},
           {"marks", {{"critical_above", 0.1}, {"negligible_within", 0.01}, {"correction", "holm"}}}};
  out.update(r.options);
  return out;
}

json tables_json(const study_record& r) {
  json out = json::array();
  for (const auto& t : r.tables) out.push_back({{"name", t.name}, {"says", t.says}, {"control", t.control}});
  return out;
}

json floor_json(const resect::study::kl_floor& f) {
  json passes = json::array();
  for (const auto& p : f.passes) passes.push_back({{"pass", p.by}, {"mean", p.mean}, {"max", p.max}});
  return {{"mean", f.mean}, {"max", f.max}, {"passes", std::move(passes)}};
}

json compression_json(const compression_record& c) {
  return {{"table", c.name},
          {"description", c.description},
          {"fingerprint", c.fingerprint},
          {"options", resect::io::to_json(c.options)},
          {"all", to_json(c.all)},
          {"unigram_kl", resect::io::to_json(c.unigram_kl)},
          {"saturated", c.saturated},
          {"bits_per_weight", resect::io::to_json(c.bits)}};
}

}  // namespace detail

json report_json(const study_record& r, const std::vector<finding>& findings) {
  resect::io::report out = r.report;
  out.findings = findings;
  out.clusters = "clusters.npz";
  out.sections["options"] = detail::options_json(r);
  out.sections["tables"] = detail::tables_json(r);
  out.sections["profile"] = detail::profile_json(r);
  if (r.floor) out.sections["floor_of_kl"] = detail::floor_json(*r.floor);
  if (r.grid.matrices > 0)
    out.sections["grid"] = {{"matrices", r.grid.matrices},
                            {"on_grid", r.grid.on_grid},
                            {"bits", r.grid.bits},
                            {"group", r.grid.group},
                            {"kind", r.grid.kind}};
  for (const auto& c : r.compressions) out.sections["compressions"].push_back(detail::compression_json(c));
  return need(resect::io::try_report_json(out));
}

}  // namespace studies
