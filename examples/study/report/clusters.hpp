// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <resect/io/npy.hpp>
#include <study/report/record.hpp>

// clusters.npz: the sums behind every estimate of a study, so that two reports on the same text can be compared in
// pairs later. For each measure M (kl, top1_agreement, dlnppl, cosine_head_norm):
//   M_sum, M_count (runs, clusters)     a run for every row of report.json that is over no seeds, in their order
// and baseline_nll_sum, baseline_nll_count (clusters) of the intact model; cluster_id (clusters) is the document or the
// window, window_first_id (windows) where each window begins in the text's ids.
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

}  // namespace detail

std::string clusters_npz(const cluster_sums& s);

}  // namespace studies
