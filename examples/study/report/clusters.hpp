// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <resect/io/npy.hpp>
#include <resect/study/compression.hpp>
#include <resect/study/sensitivity.hpp>
#include <study/report/record.hpp>

// clusters.npz: the sums behind every estimate of a study, so that two reports on the same text can be compared in
// pairs later. For each alteration A and measure M (kl, top1_agreement, dlnppl, cosine_head_norm):
//   A_layer (runs), A_seed (runs; −1 where nothing is drawn)
//   A_M_sum, A_M_count (runs, clusters)
// of a compression C also C_all_but_one_kl_sum, …_count (layers, clusters) and C_all_kl_sum, …_count (clusters)
// and of the intact model baseline_nll_sum, baseline_nll_count (clusters); cluster_id (clusters) is the document
// or the window, window_first_id (windows) where each window begins in the text's ids.
namespace studies {

namespace detail {

struct cluster_table {
  std::vector<double> sums;
  std::vector<std::int64_t> counts;

  void append(const resect::metrics::clustered_sums& s) {
    for (resect::index_t c = 0; c < s.clusters(); ++c) {
      sums.push_back(s.sum(c));
      counts.push_back(s.count(c));
    }
  }
  void store(resect::io::npz_archive& to, const std::string& name, const std::vector<resect::index_t>& shape) const {
    to.add<double>(name + "_sum", sums, shape);
    to.add<std::int64_t>(name + "_count", counts, shape);
  }
};

// Runs of one alteration, one row each.
struct run_table {
  std::vector<std::int64_t> layers, seeds;
  cluster_table kl, top1, dlnppl, cosine;

  void append(int layer, std::int64_t seed, const resect::study::effect_sums& sums) {
    layers.push_back(layer);
    seeds.push_back(seed);
    kl.append(sums.kl.sums());
    top1.append(sums.top1.sums());
    dlnppl.append(sums.dlnppl.sums());
    cosine.append(sums.cosine.sums());
  }
  void store(resect::io::npz_archive& out, const std::string& name, resect::index_t clusters) const {
    const auto runs = static_cast<resect::index_t>(layers.size());
    out.add<std::int64_t>(name + "_layer", layers, {runs});
    out.add<std::int64_t>(name + "_seed", seeds, {runs});
    kl.store(out, name + "_kl", {runs, clusters});
    top1.store(out, name + "_top1_agreement", {runs, clusters});
    dlnppl.store(out, name + "_dlnppl", {runs, clusters});
    cosine.store(out, name + "_cosine_head_norm", {runs, clusters});
  }
};

}  // namespace detail

// A compression study under the name of its rows.
struct named_compression {
  std::string name;
  resect::study::compression_report report;
  std::vector<method_option> options = {};
};

inline std::string clusters_npz(const resect::study::sensitivity_report& report,
                                const resect::study::token_windows& windows,
                                const std::vector<named_compression>& compressions = {}) {
  resect::io::npz_archive out;
  std::vector<std::int64_t> ids(windows.documents.begin(), windows.documents.end());
  for (resect::index_t c = windows.documents.empty() ? 0 : windows.n_clusters; c < windows.n_clusters; ++c)
    ids.push_back(c);
  out.add<std::int64_t>("cluster_id", ids, {windows.n_clusters});
  out.add<std::int64_t>("window_first_id", windows.starts, {windows.n_windows});
  detail::cluster_table intact;
  intact.append(report.intact.ppl.sums());
  intact.store(out, "baseline_nll", {windows.n_clusters});

  for (const auto what : report.options.alterations) {
    detail::run_table runs;
    for (const auto& row : report.rows) {
      if (row.what != what) continue;
      for (std::size_t i = 0; i < row.runs.size(); ++i)
        runs.append(row.layer, row.seeds.empty() ? -1 : static_cast<std::int64_t>(row.seeds[i]), row.runs[i]);
    }
    runs.store(out, std::string(resect::study::name(what)), windows.n_clusters);
  }
  for (const auto& [name, compression, options] : compressions) {
    detail::run_table runs;
    detail::cluster_table without;
    for (const auto& row : compression.rows) {
      runs.append(row.layer, -1, row.alone);
      without.append(row.without);
    }
    runs.store(out, name, windows.n_clusters);
    without.store(out, name + "_all_but_one_kl",
                  {static_cast<resect::index_t>(compression.rows.size()), windows.n_clusters});
    detail::cluster_table all;
    all.append(compression.all_sums.kl.sums());
    all.store(out, name + "_all_kl", {windows.n_clusters});
  }
  return out.bytes();
}

}  // namespace studies
