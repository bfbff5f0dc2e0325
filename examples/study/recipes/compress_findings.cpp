// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/compress.hpp>

#include <cmath>

#include <resect/metrics/accumulators/contrast.hpp>
#include <resect/metrics/verdicts/multiple.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

// ln of the ratio of mean KL, arm i to uniform, the first one, on the same tokens.
estimate log_ratio(const budget_result& r, std::size_t i) {
  const std::vector<resect::metrics::clustered_sums> kl{r.effects[i].kl.sums(), r.effects[0].kl.sums()};
  const std::vector<double> k{1, -1};
  return need(resect::metrics::try_log_contrast(kl, k));
}

std::string shown_p(double p) { return p < 1e-4 ? "below 0.0001" : fixed(p, 4); }

std::string sentence(const budget_result& r, const estimate& ratio, double p) {
  std::string out = "At " + plain(r.budget) + " bits a weight the allocation by measured KL has × " +
                    with_interval(ratio) + " the KL of the best uniform mixture (" + r.uniform + "), " +
                    grouped(static_cast<long long>(ratio.n_clusters)) + " clusters, Holm's p " + shown_p(p) + ": ";
  out += ratio.hi < 1 && p <= 0.025 ? "it loses less" : ratio.lo > 1 ? "it loses more" : "the two are not told apart";
  if (r.fell_back) out += "; it measured no better on selection windows, so uniform was kept";
  return out + ".";
}

}  // namespace

void add_budget_findings(study_record& to, const std::vector<budget_result>& found) {
  std::vector<double> p;
  for (const budget_result& r : found) {
    const estimate ln = log_ratio(r, r.arms.size() - 1);
    p.push_back(r.fell_back ? 1.0 : resect::metrics::p_below(ln, 0));
  }
  const auto adjusted = resect::metrics::holm(p);
  plain_table table{"equal bytes",
                    "KL of each arm as a factor of uniform's, on the same tokens, with its paired interval",
                    {"budget", "arm", "bits/weight", "KL", "× uniform"},
                    {}};
  for (std::size_t k = 0; k < found.size(); ++k) {
    const budget_result& r = found[k];
    nlohmann::ordered_json section{{"budget", r.budget},
                                   {"uniform", r.uniform},
                                   {"fell_back", r.fell_back},
                                   {"allocated_loss", r.loss},
                                   {"gap", r.gap},
                                   {"p_holm", adjusted[static_cast<resect::index_t>(k)]},
                                   {"selection_kl_allocated", resect::io::to_json(r.allocated_selection)},
                                   {"selection_kl_uniform", resect::io::to_json(r.uniform_selection)}};
    for (std::size_t i = 0; i < r.arms.size(); ++i) {
      const auto kl = r.effects[i].kl.estimate();
      const auto ratio = resect::metrics::map_exp(log_ratio(r, i));
      table.cells.push_back({plain(r.budget), r.arms[i].method, fixed(r.arms[i].bits, 3), with_interval(kl),
                             i == 0 ? "1" : with_interval(ratio)});
      section["arms"].push_back({{"method", r.arms[i].method},
                                 {"bits_per_weight", r.arms[i].bits},
                                 {"kl_ratio", resect::io::to_json(ratio)}});
      if (i + 1 == r.arms.size())
        to.said.push_back({"allocated", "compress", sentence(r, ratio, adjusted[static_cast<resect::index_t>(k)]), {}});
    }
    to.report.sections["budgets"].push_back(section);
  }
  to.extras.push_back(std::move(table));
}

}  // namespace studies
