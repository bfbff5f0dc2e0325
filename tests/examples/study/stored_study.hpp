// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <study/report/clusters.hpp>
#include <study/report/make_record.hpp>
#include <study/io/output.hpp>
#include <study/report/report_json.hpp>

// Studies whose every token is planted, written as the study program writes them.
namespace support {

struct token_values {
  double kl = 0, top1 = 1, dlnppl = 0, cosine = 1;
};

struct planted_study {
  int layers = 3;
  resect::index_t windows = 8, context = 5;
  std::vector<resect::study::alteration> alterations{resect::study::alteration::skip};
  std::uint64_t seed = 1;
  int seeds = 5;
  std::string text = "heldout.txt", model = "tiny";
  std::int32_t first_id = 0;  // of the text's ids
  // of token t of a cluster, under an alteration of a layer with a seed
  std::function<token_values(resect::study::alteration, int layer, std::uint64_t seed, resect::index_t cluster, int t)>
      token = [](auto, int, std::uint64_t, resect::index_t, int) { return token_values{}; };
  std::function<double(resect::index_t cluster, int t)> nll = [](resect::index_t, int) { return 1.0; };
};

// report.json and clusters.npz of it, in `folder`.
inline void write_study(const planted_study& p, const std::filesystem::path& folder) {
  namespace study = resect::study;
  std::vector<std::int32_t> ids;
  for (resect::index_t i = 0; i < p.windows * p.context; ++i)
    ids.push_back(p.first_id + static_cast<std::int32_t>(i % 7));
  const auto windows = study::windows({ids, {}}, {.sequences = p.windows, .context = p.context});

  study::sensitivity_report measured;
  measured.options.alterations = p.alterations;
  measured.options.seed = p.seed;
  measured.options.reinit_seeds = p.seeds;
  measured.options.bootstrap = 50;
  for (int l = 0; l < p.layers; ++l) measured.options.layers.push_back(l);
  measured.intact.ppl = resect::metrics::perplexity(p.windows);
  for (resect::index_t c = 0; c < p.windows; ++c)
    for (int t = 0; t + 1 < p.context; ++t) measured.intact.ppl.add(c, p.nll(c, t));
  for (const auto a : p.alterations) {
    std::vector<study::sensitivity_row> table;
    for (int l = 0; l < p.layers; ++l) {
      study::sensitivity_row row;
      row.what = a;
      row.layer = l;
      const bool seeded = a == study::alteration::reinit;
      for (int r = 0; r < (seeded ? p.seeds : 1); ++r) {
        const std::uint64_t seed = p.seed + static_cast<std::uint64_t>(r);
        study::effect_sums sums(p.windows);
        for (resect::index_t c = 0; c < p.windows; ++c)
          for (int t = 0; t < p.context; ++t) {
            const token_values v = p.token(a, l, seed, c, t);
            sums.kl.add(c, v.kl);
            sums.top1.add(c, resect::index_t{1}, v.top1 > 0.5 ? resect::index_t{1} : resect::index_t{2});
            sums.cosine.add(c, v.cosine);
            const double intact = p.nll(c, t);
            if (t + 1 < p.context) sums.dlnppl.add(c, intact, intact + v.dlnppl);
          }
        if (seeded) row.seeds.push_back(seed);
        row.per_run.push_back(sums.estimate());
        row.runs.push_back(std::move(sums));
      }
      row.mean = resect::value_or_throw(study::try_mean_effect(row.runs));
      table.push_back(std::move(row));
    }
    resect::value_or_throw(
        study::detail::mark_and_rank(table, study::detail::kl_over_runs, p.seed, measured.options.bootstrap));
    for (auto& row : table) measured.rows.push_back(std::move(row));
  }

  studies::study_record record;
  record.command = "study of " + p.model;
  record.model = {p.model, "0x0123456789abcdef", p.layers, 4, 16, 100};
  record.text = {p.text, studies::sha256(p.text), studies::sha256_of_ids(ids), static_cast<std::int64_t>(ids.size()), false};
  record.evaluation = studies::to_record(windows);
  record.calibration = record.evaluation;
  record.options = studies::to_record(measured.options, {.sequences = p.windows, .context = p.context});
  studies::add_results(record, measured);
  std::filesystem::create_directories(folder);
  studies::write_file((folder / "clusters.npz").string(), studies::clusters_npz(measured, windows));
  studies::write_file((folder / "report.json").string(), studies::report_text(studies::report_json(record, {})));
}

}  // namespace support
