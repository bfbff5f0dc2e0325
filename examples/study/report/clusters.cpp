// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/report/clusters.hpp>

namespace studies {

std::string clusters_npz(const cluster_sums& s) {
  const auto clusters = static_cast<resect::index_t>(s.ids.size());
  const auto runs = static_cast<resect::index_t>(s.runs.size());
  resect::io::npz_archive out;
  out.add<std::int64_t>("cluster_id", s.ids, {clusters});
  out.add<std::int64_t>("window_first_id", s.window_starts, {static_cast<resect::index_t>(s.window_starts.size())});
  detail::cluster_table intact;
  intact.append(s.nll);
  intact.store(out, "baseline_nll", {clusters});
  for (std::size_t m = 0; m < n_measures; ++m) {
    detail::cluster_table table;
    for (const run_sums& run : s.runs) table.append(run[m]);
    table.store(out, measure_names[m], {runs, clusters});
  }
  return out.bytes();
}

}  // namespace studies
