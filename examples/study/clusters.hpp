// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <resect/io/npy.hpp>
#include <resect/study/sensitivity.hpp>

// clusters.npz: the sums behind every estimate of a study, so that two reports on the same text can be compared in
// pairs later. For each alteration A and measure M (kl, top1_agreement, dlnppl, cosine_head_norm):
//   A_layer (runs), A_seed (runs; −1 where nothing is drawn)
//   A_M_sum, A_M_count (runs, clusters)
// and of the intact model baseline_nll_sum, baseline_nll_count (clusters); cluster_id (clusters) is the document
// or the window, window_first_id (windows) where each window begins in the text's ids.
namespace app {

namespace detail {

struct cluster_table {
  std::vector<double> sums;
  std::vector<std::int64_t> counts;

  void append(const resect::metrics::clustered_sums& s) {
    for (resect::index c = 0; c < s.clusters(); ++c) {
      sums.push_back(s.sum(c));
      counts.push_back(s.count(c));
    }
  }
  void store(resect::io::npz_archive& to, const std::string& name, const std::vector<resect::index>& shape) const {
    to.add<double>(name + "_sum", sums, shape);
    to.add<std::int64_t>(name + "_count", counts, shape);
  }
};

}  // namespace detail

inline std::string clusters_npz(const resect::study::sensitivity_report& report,
                                const resect::study::token_windows& windows) {
  resect::io::npz_archive out;
  std::vector<std::int64_t> ids(windows.documents.begin(), windows.documents.end());
  for (resect::index c = windows.documents.empty() ? 0 : windows.n_clusters; c < windows.n_clusters; ++c)
    ids.push_back(c);
  out.add<std::int64_t>("cluster_id", ids, {windows.n_clusters});
  out.add<std::int64_t>("window_first_id", windows.starts, {windows.n_windows});
  detail::cluster_table intact;
  intact.append(report.intact.ppl.sums());
  intact.store(out, "baseline_nll", {windows.n_clusters});

  for (const auto what : report.options.alterations) {
    const std::string name{resect::study::name(what)};
    std::vector<std::int64_t> layers, seeds;
    detail::cluster_table kl, top1, dlnppl, cosine;
    for (const auto& row : report.rows) {
      if (row.what != what) continue;
      for (std::size_t i = 0; i < row.runs.size(); ++i) {
        layers.push_back(row.layer);
        seeds.push_back(row.seeds.empty() ? -1 : static_cast<std::int64_t>(row.seeds[i]));
        kl.append(row.runs[i].kl.sums());
        top1.append(row.runs[i].top1.sums());
        dlnppl.append(row.runs[i].dlnppl.sums());
        cosine.append(row.runs[i].cosine.sums());
      }
    }
    const auto runs = static_cast<resect::index>(layers.size());
    out.add<std::int64_t>(name + "_layer", layers, {runs});
    out.add<std::int64_t>(name + "_seed", seeds, {runs});
    kl.store(out, name + "_kl", {runs, windows.n_clusters});
    top1.store(out, name + "_top1_agreement", {runs, windows.n_clusters});
    dlnppl.store(out, name + "_dlnppl", {runs, windows.n_clusters});
    cosine.store(out, name + "_cosine_head_norm", {runs, windows.n_clusters});
  }
  return out.bytes();
}

}  // namespace app
