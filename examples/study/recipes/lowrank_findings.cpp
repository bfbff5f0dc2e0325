// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/lowrank.hpp>

#include <algorithm>
#include <cmath>
#include <functional>

#include <resect/metrics/accumulators/contrast.hpp>
#include <study/report/numbers.hpp>
#include <study/report/places.hpp>

namespace studies {

namespace {

using resect::index_t;
using resect::metrics::clustered_sums;
using resect::metrics::mean_range;

void say(study_record& to, const char* kind, std::string text) {
  to.said.push_back({kind, "lowrank", std::move(text), {}});
}

// The mean over matrices, each a cluster.
estimate mean_of(const lowrank_results& r, const std::function<bool(const matrix_loss&)>& wanted,
                 double matrix_loss::*what) {
  clustered_sums sums(static_cast<index_t>(r.matrices->size()));
  for (const auto& l : r.losses)
    if (wanted(l)) sums.add(static_cast<index_t>(l.matrix), l.*what);
  return sums.estimate(0.95, mean_range::nonnegative);
}

std::vector<std::string> roles_of(const lowrank_results& r) {
  std::vector<std::string> out;
  for (const auto& m : *r.matrices)
    if (std::find(out.begin(), out.end(), m.w.name.view()) == out.end()) out.emplace_back(m.w.name.view());
  return out;
}

std::vector<std::string> loss_cells(const lowrank_results& r, std::string title,
                                    const std::function<bool(const low_rank_matrix&)>& in, double share) {
  const auto of = [&](pair_kind kind, double matrix_loss::*what) {
    return with_interval(mean_of(
        r, [&](const matrix_loss& l) { return l.kind == kind && l.share == share && in((*r.matrices)[l.matrix]); },
        what));
  };
  return {std::move(title),
          of(pair_kind::svd, &matrix_loss::truncated),
          of(pair_kind::svd, &matrix_loss::null),
          of(pair_kind::svd, &matrix_loss::error),
          of(pair_kind::svd, &matrix_loss::cosine),
          of(pair_kind::svd, &matrix_loss::loss),
          of(pair_kind::weighted, &matrix_loss::error),
          of(pair_kind::weighted, &matrix_loss::loss)};
}

const std::vector<std::string> loss_titles{"",
                                           "svd: truncation |W−LR|/|W|",
                                           "the same of Gaussian matrices",
                                           "svd, 8 bits",
                                           "svd: cosine",
                                           "svd: H-loss",
                                           "weighted: |W−Ŵ|/|W|",
                                           "weighted: H-loss"};

std::string shown(double share) {
  const double sixteenths = 16 * share;
  return std::fabs(sixteenths - std::round(sixteenths)) < 1e-9 ? std::to_string(std::lround(sixteenths)) + "/16"
                                                               : plain(share);
}

std::optional<std::size_t> find_arm(const lowrank_results& r, pair_kind kind, const std::string& scope, double share) {
  for (std::size_t i = 0; i < r.arms.size(); ++i)
    if (r.arms[i].kind == kind && r.arms[i].scope == scope && (scope == "S002" || r.arms[i].share == share)) return i;
  return std::nullopt;
}

// ln(KL of all layers / mean KL of one) / ln(number of layers), paired: 1 where the parts add up.
estimate additivity_slope(const lowrank_results& r) {
  const double n = static_cast<double>(r.alone.size());
  clustered_sums mean(r.together->kl.sums().clusters());
  for (index_t c = 0; c < mean.clusters(); ++c) {
    double sum = 0;
    for (const auto& a : r.alone) sum += a.kl.sums().sum(c) / n;
    mean.add_sum(c, sum, r.alone.front().kl.sums().count(c));
  }
  const std::vector<clustered_sums> both{r.together->kl.sums(), mean};
  const std::vector<double> k{1 / std::log(n), -1 / std::log(n)};
  return need(resect::metrics::try_log_contrast(both, k));
}

}  // namespace

void add_matrix_tables(study_record& to, const lowrank_results& r) {
  plain_table ranks{"matrices, by rank",
                    "means over matrices, each one a draw; ranks as shares of the smaller extent",
                    loss_titles,
                    {}};
  ranks.titles[0] = "rank";
  for (const double share : r.shares)
    ranks.cells.push_back(loss_cells(r, shown(share), [](const low_rank_matrix&) { return true; }, share));
  const double at = r.shares.back();
  plain_table roles{"matrices, by role", "the same at rank " + shown(at), loss_titles, {}};
  roles.titles[0] = "matrix";
  for (const auto& name : roles_of(r))
    roles.cells.push_back(loss_cells(r, name, [&](const low_rank_matrix& m) { return m.w.name.view() == name; }, at));
  plain_table depth{"matrices, by depth", "the same at rank " + shown(at) + ", thirds of the layers", loss_titles, {}};
  depth.titles[0] = "layers";
  const char* const thirds[] = {"first third", "middle third", "last third"};
  for (int third = 0; third < 3; ++third)
    depth.cells.push_back(loss_cells(
        r, thirds[third], [&](const low_rank_matrix& m) { return m.w.layer * 3 / std::max(1, r.n_layers) == third; },
        at));
  for (auto* table : {&ranks, &roles, &depth}) to.extras.push_back(std::move(*table));

  for (const auto& l : r.losses) {
    const auto& w = (*r.matrices)[l.matrix].w;
    to.report.sections["matrices"].push_back({{"layer", w.layer},
                                              {"matrix", std::string(w.name.view())},
                                              {"pair", name(l.kind)},
                                              {"share", l.share},
                                              {"rank", l.rank},
                                              {"truncation_error", l.truncated},
                                              {"error", l.error},
                                              {"cosine", l.cosine},
                                              {"h_loss", l.loss},
                                              {"forecast", l.forecast},
                                              {"null_error", l.null}});
  }
}

void add_layer_table(study_record& to, const lowrank_results& r) {
  plain_table layers{"layers, left in and left out",
                     "weighted pairs of rank " + shown(r.single_share) +
                         ": KL where one layer alone is altered (S), and what sparing it gives back where all are (R)",
                     {"layer", "alone: S", "spared: R", "R − S"},
                     {}};
  const std::vector<double> minus{1, -1}, twice{1, -1, -1};
  for (std::size_t i = 0; i < r.layers.size(); ++i) {
    const auto one = r.alone[i].kl.estimate();
    const std::vector<clustered_sums> spared{r.together->kl.sums(), r.without[i].kl.sums()},
        all{r.together->kl.sums(), r.without[i].kl.sums(), r.alone[i].kl.sums()};
    const auto restored = need(resect::metrics::try_contrast(spared, minus)),
               interaction = need(resect::metrics::try_contrast(all, twice));
    layers.cells.push_back({std::to_string(r.layers[i]), with_interval(one),
                            r.saturated ? "saturated" : with_interval(restored, 1, sign::always),
                            r.saturated ? "–" : with_interval(interaction, 1, sign::always)});
    to.report.sections["layers_alone"].push_back({{"layer", r.layers[i]},
                                                  {"kl", resect::io::to_json(one)},
                                                  {"restored", resect::io::to_json(restored)},
                                                  {"interaction", resect::io::to_json(interaction)}});
  }
  to.extras.push_back(std::move(layers));

  plain_table sets{"sets of layers",
                   "KL of a set beside the sum of its layers' own; means over drawn sets",
                   {"layers at once", "sets", "KL", "sum of S", "KL / sum", "mean S × k^−½"},
                   {}};
  double mean_one = 0;
  for (const auto& a : r.alone) mean_one += a.kl.estimate().value / static_cast<double>(r.alone.size());
  const auto add = [&](std::size_t k, std::size_t count, double kl, double sum) {
    sets.cells.push_back({std::to_string(k), std::to_string(count), plain(kl), plain(sum), fixed(kl / sum, 2),
                          plain(mean_one / std::sqrt(static_cast<double>(k)))});
    to.report.sections["additivity"].push_back({{"layers", k}, {"sets", count}, {"kl", kl}, {"sum", sum}});
  };
  add(1, r.alone.size(), mean_one, mean_one);
  for (std::size_t at = 0; at < r.subsets.size();) {
    std::size_t end = at;
    double kl = 0, sum = 0;
    for (; end < r.subsets.size() && r.subsets[end].size == r.subsets[at].size; ++end) {
      kl += r.subsets[end].kl;
      sum += r.subsets[end].sum;
    }
    const double n = static_cast<double>(end - at);
    add(static_cast<std::size_t>(r.subsets[at].size), end - at, kl / n, sum / n);
    at = end;
  }
  if (r.alone.size() > 1)
    add(r.alone.size(), 1, r.together->kl.estimate().value, mean_one * static_cast<double>(r.alone.size()));
  to.extras.push_back(std::move(sets));
}

void add_loop_table(study_record& to, const lowrank_results& r) {
  plain_table out{"free continuations",
                  "shares of repeated 4-grams and of outputs that end in a cycle, greedy and at temperature 1",
                  {"model", "4-grams, greedy", "cycles, greedy", "4-grams, sampled", "cycles, sampled"},
                  {}};
  const auto add = [&](std::string name, const resect::study::loop_sums& greedy,
                       const resect::study::loop_sums& sampled) {
    to.report.sections["loops"].push_back({{"model", name},
                                           {"repeated_greedy", resect::io::to_json(greedy.repeated_share())},
                                           {"cycles_greedy", resect::io::to_json(greedy.cycle_share())},
                                           {"repeated_sampled", resect::io::to_json(sampled.repeated_share())},
                                           {"cycles_sampled", resect::io::to_json(sampled.cycle_share())}});
    out.cells.push_back({std::move(name), with_interval(greedy.repeated_share()), with_interval(greedy.cycle_share()),
                         with_interval(sampled.repeated_share()), with_interval(sampled.cycle_share())});
  };
  add("intact", r.intact_greedy, r.intact_sampled);
  for (std::size_t i = 0; i < r.arms.size(); ++i)
    if (r.loops[i])
      add(std::string(name(r.arms[i].kind)) +
              (r.arms[i].scope == "S002" ? ", ranks of S002" : ", " + shown(r.arms[i].share)),
          r.loops[i]->first, r.loops[i]->second);
  to.extras.push_back(std::move(out));
}

void add_lowrank_findings(study_record& to, const lowrank_results& r) {
  const double low = r.shares.front(), high = r.shares.back();
  const auto of = [&](pair_kind kind, double share, double matrix_loss::*what) {
    return mean_of(r, [&](const matrix_loss& l) { return l.kind == kind && l.share == share; }, what);
  };
  say(to, "spectrum",
      "At rank " + shown(low) + " of the extent svd leaves a relative error of " +
          with_interval(of(pair_kind::svd, low, &matrix_loss::truncated)) +
          " (Gaussian matrices of the same extents: " + with_interval(of(pair_kind::svd, low, &matrix_loss::null)) +
          "), at " + shown(high) + " " + with_interval(of(pair_kind::svd, high, &matrix_loss::truncated)) + " (" +
          with_interval(of(pair_kind::svd, high, &matrix_loss::null)) + "); means over matrices.");
  double apart = 0, added = 0;
  for (const auto& l : r.losses) {
    if (l.kind == pair_kind::svd) {
      apart = std::max(apart, std::fabs(l.forecast - l.truncated));
      added = std::max(added, l.error - l.truncated);
    }
  }
  say(to, "forecast",
      "The spectrum forecasts the truncation error to within " + scientific(apart) +
          " for every matrix and rank; rounding "
          "factors to 8 bits adds at most " +
          scientific(std::max(added, 0.0)) + " to it.");
  say(to, "weighted",
      "At rank " + shown(high) + " the H-loss of weighted pairs is " +
          with_interval(of(pair_kind::weighted, high, &matrix_loss::loss)) + ", of svd " +
          with_interval(of(pair_kind::svd, high, &matrix_loss::loss)) + ", though the weights' error is larger (" +
          with_interval(of(pair_kind::weighted, high, &matrix_loss::error)) + " against " +
          with_interval(of(pair_kind::svd, high, &matrix_loss::error)) + ").");
  for (const char* const scope : {"all", "attention", "S002"}) {
    const auto svd = find_arm(r, pair_kind::svd, scope, high), weighted = find_arm(r, pair_kind::weighted, scope, high);
    if (!svd || !weighted) continue;
    const std::vector<clustered_sums> both{r.effects[*weighted].kl.sums(), r.effects[*svd].kl.sums()};
    const std::vector<double> k{1, -1};
    const auto ratio = resect::metrics::map_exp(need(resect::metrics::try_log_contrast(both, k)));
    const std::string what = scope == std::string("S002")  ? "With S002's ranks for attention"
                             : scope == std::string("all") ? "With all matrices at rank " + shown(high)
                                                           : "With attention alone at rank " + shown(high);
    say(to, "kl",
        what + " KL is " + with_interval(r.effects[*weighted].kl.estimate()) + " for weighted pairs and " +
            with_interval(r.effects[*svd].kl.estimate()) + " for svd (" + fixed(r.bits[*svd], 2) +
            " bits a weight of these matrices): × " + with_interval(ratio) + ".");
  }
  if (r.alone.size() > 1) {
    const auto slope = additivity_slope(r);
    to.report.sections["additivity_slope"] = resect::io::to_json(slope);
    say(to, "additivity",
        "From one altered layer to all " + std::to_string(r.alone.size()) +
            ", KL grows as the number of layers to the power " + with_interval(slope) +
            " (1: effects add up; S002's ε/√N would give −½)" +
            (r.saturated ? "; all layers together destroy the output, so that R says nothing" : "") + ".");
  }
  std::optional<std::size_t> worst;
  for (std::size_t i = 0; i < r.arms.size(); ++i)
    if (r.loops[i] && (!worst || r.loops[i]->first.cycle_share().value > r.loops[*worst]->first.cycle_share().value))
      worst = i;
  if (worst)
    say(to, "loops",
        "Greedy continuations end in a cycle in " + with_interval(r.loops[*worst]->first.cycle_share()) +
            " of outputs at most (" + name(r.arms[*worst].kind) +
            (r.arms[*worst].scope == "S002" ? ", ranks of S002" : ", rank " + shown(r.arms[*worst].share)) +
            "), and in " + with_interval(r.intact_greedy.cycle_share()) + " with the intact model.");
}

}  // namespace studies
