// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/make_record.hpp>

namespace studies {

std::string hexadecimal(std::uint64_t x) { return std::string(resect::hexadecimal(x).view()); }

std::string sha256_of_ids(std::span<const std::int32_t> ids) {
  std::string bytes;
  for (const std::int32_t id : ids)
    for (int shift = 0; shift < 32; shift += 8)
      bytes += static_cast<char>(static_cast<std::uint32_t>(id) >> shift & 255);
  return sha256(bytes);
}

resect::io::report_set to_record(const tokens& text, const resect::study::token_windows& w) {
  std::vector<std::int32_t> ids;  // of the text: a BOS in front is a rule of the study (rules.bos)
  for (std::size_t r = 0; r < w.rows.size(); ++r)
    if (w.cluster[r] >= 0) ids.push_back(w.rows[r].token);
  return {text.name, sha256_of_ids(ids), w.n_windows,
          w.context, w.n_clusters,       static_cast<std::int64_t>(text.ids.size())};
}

resect::io::report_text to_record(const tokens& text, const resect::study::window_options& o) {
  return {text.name, text.sha256, sha256_of_ids(text.ids), static_cast<std::int64_t>(text.ids.size()), o.sequences,
          o.context, text.parts};
}

resect::io::report_rules rules_of(bool documents, int bos, const std::string& why) {
  resect::io::report_rules out;
  out.interval = std::string("95 %, mean over tokens, variance of the sums of ") +
                 (documents ? "documents" : "windows") + " (and of seeds, where there are any), t over clusters: ";
  out.interval.append(resect::metrics::interval_rule);
  if (bos >= 0) out.bos = bos;
  out.bos_rule = bos >= 0 ? why + "; run in front of every window, not counted" : "none: " + why;
  return out;
}

estimate unigram_nll(std::span<const resect::metrics::id_count> unigrams,
                     const resect::study::token_windows& evaluation, int n_vocab) {
  std::vector<double> count(static_cast<std::size_t>(n_vocab), 1.0);
  double total = n_vocab;
  for (const auto& u : unigrams) {
    count[static_cast<std::size_t>(u.id)] += static_cast<double>(u.count);
    total += static_cast<double>(u.count);
  }
  resect::metrics::clustered_sums sums(evaluation.n_clusters);
  for (resect::index_t r = 0; r < static_cast<resect::index_t>(evaluation.rows.size()); ++r)
    if (const auto next = evaluation.next_token(r); next >= 0)
      sums.add(evaluation.cluster[static_cast<std::size_t>(r)],
               std::log(total / count[static_cast<std::size_t>(next)]));
  return sums.estimate();
}

namespace detail {

std::vector<resect::io::named<estimate>> to_metrics(const resect::study::effect& e) {
  return {{"kl", e.kl}, {"top1_agreement", e.top1}, {"dlnppl", e.dlnppl}, {"cosine_head_norm", e.cosine}};
}

run_sums to_sums(const resect::study::effect_sums& s) {
  return {s.kl.sums(), s.top1.sums(), s.dlnppl.sums(), s.cosine.sums()};
}

layer_record to_record(int layer, const resect::metrics::norm_profile& p) {
  return {layer,
          to_record(p.rest().norms()),
          to_record(p.first().norms()),
          p.rest().delta_ratio(),
          p.rest().delta_cosine(),
          p.influence().estimate()};
}

// Two steps of an arm may have a parameter of one name with two values.
std::vector<resect::io::named<resect::io::report_value>> to_parameters(
    const std::vector<resect::study::parameter>& parameters) {
  std::vector<resect::io::named<resect::io::report_value>> out;
  for (const auto& p : parameters) {
    std::string name = p.name;
    for (int i = 2; resect::io::find_named(out, name); ++i) name = p.name + " " + std::to_string(i);
    out.push_back({name, {p.number, p.word}});
  }
  return out;
}

report_row to_row(const resect::study::arm_identity& id) {
  report_row out;
  out.arm = id.key;
  out.operation = id.operation;
  out.layers = id.layers;
  out.matrix = id.matrix;
  out.parameters = to_parameters(id.parameters);
  return out;
}

// The parameters that rows of a table do not share; "matrix" is one of them.
std::vector<std::string> varying_parameters(const row_list& rows) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& name) {
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  };
  const auto value = [](const report_row& row, const std::string& name) -> std::pair<double, std::string> {
    const auto* v = resect::io::find_named(row.parameters, name);
    return v ? std::pair{v->number, v->text} : std::pair{0.0, std::string("–")};
  };
  for (const auto* row : rows) {
    if (row->matrix != rows.front()->matrix) add("matrix");
    for (const auto* other : {rows.front(), row})
      for (const auto& p : other->parameters)
        if (value(*row, p.name) != value(*rows.front(), p.name)) add(p.name);
  }
  return out;
}

}  // namespace detail

std::string mark_text(bool at_floor, resect::metrics::mark mark) {
  return at_floor ? std::string(at_floor_mark) : std::string(resect::metrics::name(mark));
}

void add_floor(study_record& to, resect::study::kl_floor floor) {
  to.report.floor = floor.mean;
  to.floor = std::move(floor);
}

void add_run(study_record& to, const resect::study::arm_identity& id, const resect::study::effect_sums& sums) {
  report_row row = detail::to_row(id);
  row.seed = id.seed;
  row.metrics = detail::to_metrics(sums.estimate());
  to.report.rows.push_back(std::move(row));
  to.sums.runs.push_back(detail::to_sums(sums));
}

void add_table(study_record& to, table_record table, std::span<const resect::study::table_row> rows) {
  for (const auto& measured : rows) {
    report_row row = detail::to_row(measured.id);
    row.metrics = detail::to_metrics(measured.mean);
    row.verdict = resect::io::report_verdict{table.name, mark_text(measured.at_floor, measured.mark),
                                             detail::to_record(measured.rank), table.control};
    table.rows.push_back(to.report.rows.size());
    row.seeds = measured.seeds;
    if (!row.seeds.empty()) row.seed_sd = {{"kl", measured.mean.kl_seed_sd}, {"dlnppl", measured.mean.dlnppl_seed_sd}};
    to.report.rows.push_back(std::move(row));
    if (measured.seeds.empty()) to.sums.runs.push_back(detail::to_sums(measured.runs.front()));
    for (std::size_t i = 0; i < measured.seeds.size(); ++i) {
      auto id = measured.id;
      id.seed = measured.seeds[i];
      id.key = id.group + ", seed " + std::to_string(measured.seeds[i]);
      add_run(to, id, measured.runs[i]);
    }
  }
  to.tables.push_back(std::move(table));
  to.tables.back().varying = detail::varying_parameters(rows_of(to, to.tables.back()));
}

void add_baseline(study_record& to, const resect::study::baseline& intact,
                  const resect::study::token_windows& evaluation) {
  to.report.baseline.insert(to.report.baseline.begin(),
                            {{"nll", intact.ppl.mean_nll()},
                             {"perplexity", intact.ppl.estimate()},
                             {"perplexity_tokens_independent", intact.ppl.estimate_tokens()}});
  for (const auto& profile : intact.layers)
    to.profile.push_back(detail::to_record(static_cast<int>(to.profile.size()), profile));
  to.profile.push_back(detail::to_record(static_cast<int>(to.profile.size()), intact.output));
  to.sums.ids.assign(evaluation.documents.begin(), evaluation.documents.end());
  if (to.sums.ids.empty())
    for (resect::index_t c = 0; c < evaluation.n_clusters; ++c) to.sums.ids.push_back(c);
  to.sums.window_starts.assign(evaluation.starts.begin(), evaluation.starts.end());
  to.sums.nll = intact.ppl.sums();
}

}  // namespace studies
