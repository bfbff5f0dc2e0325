// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <resect/study/sensitivity.hpp>
#include <study/io/output.hpp>
#include <study/report/clusters.hpp>
#include <study/report/make_record.hpp>
#include <study/report/report_json.hpp>

// Studies whose every token is planted, written as the study program writes them.
namespace support {

struct token_values {
  double kl = 0, top1 = 1, dlnppl = 0, cosine = 1;
};

struct planted_study {
  int layers = 3;
  int span = 1;               // neighbouring layers that an arm alters
  bool all_together = false;  // also an arm that leaves out all layers and stands in no table: layer −1 to `token`
  resect::index_t windows = 8, context = 5;
  std::vector<resect::study::alteration> alterations{resect::study::alteration::skip};
  std::uint64_t seed = 1;
  int seeds = 5;
  std::string text = "heldout.txt", model = "tiny", says = "what is done";
  resect::residual::reinit_options reinit{};
  std::int32_t first_id = 0;  // of the text's ids
  // of token t of a cluster, under an alteration of a layer with a seed
  std::function<token_values(resect::study::alteration, int layer, std::uint64_t seed, resect::index_t cluster, int t)>
      token = [](auto, int, std::uint64_t, resect::index_t, int) { return token_values{}; };
  std::function<double(resect::index_t cluster, int t)> nll = [](resect::index_t, int) { return 1.0; };
};

inline resect::study::arm planted_arm(const planted_study& p, resect::study::alteration a, int layer,
                                      std::uint64_t seed) {
  if (p.span == 1)
    return resect::value_or_throw(resect::study::detail::alteration_arm(a, layer, seed, {.reinit = p.reinit}, {}));
  return {resect::residual::plan{} | resect::residual::skip(resect::residual::layers(layer, layer + p.span))};
}

inline resect::study::effect_sums planted_sums(const planted_study& p, resect::study::alteration a, int layer,
                                               std::uint64_t seed) {
  resect::study::effect_sums sums(p.windows);
  for (resect::index_t c = 0; c < p.windows; ++c)
    for (int t = 0; t < p.context; ++t) {
      const token_values v = p.token(a, layer, seed, c, t);
      sums.kl.add(c, v.kl);
      sums.top1.add(c, resect::index_t{1}, v.top1 > 0.5 ? resect::index_t{1} : resect::index_t{2});
      sums.cosine.add(c, v.cosine);
      const double intact = p.nll(c, t);
      if (t + 1 < p.context) sums.dlnppl.add(c, intact, intact + v.dlnppl);
    }
  return sums;
}

// report.json and clusters.npz of it, in `folder`.
inline void write_study(const planted_study& p, const std::filesystem::path& folder) {
  namespace study = resect::study;
  studies::tokens text{p.text, studies::sha256(p.text), {}, {}};
  for (resect::index_t i = 0; i < p.windows * p.context; ++i)
    text.ids.push_back(p.first_id + static_cast<std::int32_t>(i % 7));
  const study::window_options options{.sequences = p.windows, .context = p.context};
  const auto windows = study::windows(text.view(), options);

  study::baseline intact;
  intact.ppl = resect::metrics::perplexity(p.windows);
  for (resect::index_t c = 0; c < p.windows; ++c)
    for (int t = 0; t + 1 < p.context; ++t) intact.ppl.add(c, p.nll(c, t));

  studies::study_record record;
  record.bootstrap = 50;
  record.report.command = "study of " + p.model;
  record.report.recipe = "sensitivity";
  record.report.seed = p.seed;
  record.report.models = {{p.model, "0x0123456789abcdef", p.layers, 4, 16}};
  record.report.text = studies::to_record(text, options);
  record.report.sets = {{"evaluation", studies::to_record(text, windows)}};
  record.report.rules = studies::rules_of(false, -1);
  studies::add_baseline(record, intact, windows);
  for (const auto a : p.alterations) {
    std::vector<study::arm> arms;
    std::vector<study::effect_sums> sums;
    for (int l = 0; l + p.span <= p.layers; ++l)
      for (int s = 0; s < (a == study::alteration::reinit ? p.seeds : 1); ++s) {
        arms.push_back(planted_arm(p, a, l, p.seed + static_cast<std::uint64_t>(s)));
        sums.push_back(planted_sums(p, a, l, p.seed + static_cast<std::uint64_t>(s)));
      }
    const auto rows =
        resect::value_or_throw(study::try_tabulate(arms, sums, {study::table_of::all_arms, p.seed, record.bootstrap}));
    studies::add_table(record, {.name = std::string(study::name(a)), .says = p.says}, rows);
  }
  if (p.all_together)
    studies::add_run(
        record,
        study::identity_of(resect::residual::plan{} | resect::residual::skip(resect::residual::layers(0, p.layers))),
        planted_sums(p, study::alteration::skip, -1, p.seed));
  std::filesystem::create_directories(folder);
  studies::write_file((folder / "clusters.npz").string(), studies::clusters_npz(record.sums));
  studies::write_file((folder / "report.json").string(), resect::io::json_text(studies::report_json(record, {})));
}

}  // namespace support
