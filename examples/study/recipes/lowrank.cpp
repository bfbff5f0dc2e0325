// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every matrix as a product of thin factors of 8 bits: what study S002 did, with what its numbers mean.
#include <study/recipes/lowrank.hpp>
#include <study/recipes/lowrank_runs.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include <study/io/cli.hpp>

#include <resect/quant/gather_hessians.hpp>
#include <resect/quant/rotated_host.hpp>
#include <resect/random/distributions.hpp>
#include <resect/study/compression.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace quant = resect::quant;
namespace compress = resect::compress;
using resect::index_t;
using resect::matrix;
using resect::matrix_view;
using resect::model::weight_desc;
using rotated = quant::rotated_host<host>;

struct options {
  std::vector<double> shares{1.0 / 16, 1.0 / 8, 3.0 / 16, 1.0 / 4};
  std::string rotate = "auto";
  int prompts = 32, new_ids = 64;

  grid_record grid;
  bool on_rotation = false;
};

void declare(CLI::App& app, options& o) {
  app.add_option("--shares", o.shares, "ranks as shares of each matrix's smaller extent")
      ->delimiter(',')
      ->check(CLI::Range(0.001, 1.0));
  app.add_option("--prompts", o.prompts, "prompts of 16 ids that are continued, 0 for none")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--rotate", o.rotate,
                 "work on a rotation of the residual stream: auto (where the weights lie on a grid), always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

// --- arms -----------------------------------------------------------------------------------------------------------

// What the plans' steps refer to: made before anything runs, filled before they do.
struct workbench {
  backend& exec;
  int n_layers;
  std::vector<low_rank_matrix> matrices = {};
  std::vector<matrix<float>> values = {};

  const low_rank_matrix* find(const weight_desc& w) const {
    for (const auto& m : matrices)
      if (m.w.layer == w.layer && m.w.id == w.id) return &m;
    return nullptr;
  }
};

// As reports call an arm's way: a literal, as fields keep it.
const char* method_of(const lowrank_arm& a) {
  const bool svd = a.kind == pair_kind::svd;
  if (a.scope == "attention") return svd ? "svd, attention" : "weighted, attention";
  if (a.scope == "S002") return svd ? "svd, ranks of S002" : "weighted, ranks of S002";
  return svd ? "svd" : "weighted";
}

std::vector<lowrank_arm> main_arms(const options& o) {
  std::vector<lowrank_arm> out;
  for (const pair_kind kind : {pair_kind::svd, pair_kind::weighted}) {
    for (const char* const scope : {"all", "attention"})
      for (const double share : o.shares)
        out.push_back(
            {kind, compress::uniform_policy(share, scope == std::string("all") ? "*" : "*.attn.*"), scope, share});
    out.push_back({kind, compress::s002_policy(), "S002", 0});
  }
  return out;
}

// Stores the matrices of a layer as pairs of 8 bits.
struct low_rank_pairs {
  static constexpr std::string_view id = "resect.low_rank_8_bits/1";
  const workbench* at;
  lowrank_arm arm;

  resect::residual::operator_facts facts() const noexcept {
    return {.what = resect::residual::form::weights, .overwrites = true};
  }
  void fields(resect::field_visitor& v) const {
    v.number("share", arm.share);
    v.word("method", method_of(arm));
  }
  resect::residual::weight_change change(const weight_desc& w, matrix_view<float> values, resect::executor_ref) const {
    const auto choice = arm.policy.try_choose(w, at->n_layers);
    if (!choice) return choice.error();
    const low_rank_matrix* const m = at->find(w);
    if (!*choice || m == nullptr) return false;
    const auto factors = try_round_pair(at->exec, *m, arm.kind, (*choice)->rank);
    if (!factors) return factors.error();
    matrix<double> wide(values.rows, values.cols);
    if (auto st = factors->try_to_dense(at->exec, wide.view()); !st) return st.error();
    for (index_t r = 0; r < values.rows; ++r)
      for (index_t c = 0; c < values.cols; ++c) values(r, c) = static_cast<float>(wide(r, c));
    return true;
  }
};

study::arm arm_of(const workbench& at, const lowrank_arm& a, const std::vector<int>& layers) {
  study::arm out;
  out.label = method_of(a) + (a.share > 0 ? ", rank " + plain(a.share) + " of the extent" : std::string());
  for (const int l : layers) need(out.plan.try_add({resect::residual::layer(l), low_rank_pairs{&at, a}}));
  return out;
}

// Layers one at a time, all but each, all, and drawn sets of 2, 4, …: in this order.
struct layer_arms {
  std::vector<study::arm> arms;
  std::vector<std::vector<std::size_t>> sets;  // of the drawn ones, places in the list of layers
};
layer_arms single_arms(const workbench& at, const lowrank_arm& a, const std::vector<int>& layers, std::uint64_t seed) {
  constexpr int draws = 8;
  layer_arms out;
  for (const int l : layers) out.arms.push_back(arm_of(at, a, {l}));
  for (const int l : layers) {
    std::vector<int> rest;
    for (const int other : layers)
      if (other != l) rest.push_back(other);
    out.arms.push_back(arm_of(at, a, rest));
  }
  out.arms.push_back(arm_of(at, a, layers));
  const resect::random::philox_stream stream{seed, 2};
  std::uint64_t drawn = 0;
  for (std::size_t size = 2; size < layers.size(); size *= 2)
    for (int i = 0; i < draws; ++i) {
      std::vector<std::size_t> places(layers.size()), set;
      for (std::size_t k = 0; k < places.size(); ++k) places[k] = k;
      for (std::size_t k = 0; k < size; ++k) {
        const auto left = static_cast<std::uint64_t>(places.size() - k);
        std::swap(places[k], places[k + resect::random::integer_below(stream, drawn++, left)]);
      }
      set.assign(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(size));
      std::sort(set.begin(), set.end());
      std::vector<int> chosen;
      for (const std::size_t k : set) chosen.push_back(layers[k]);
      out.arms.push_back(arm_of(at, a, chosen));
      out.sets.push_back(std::move(set));
    }
  return out;
}

// The arm whose layers are taken apart: the largest rank, all matrices, the pair of least loss.
lowrank_arm layer_arm(const options& o) {
  const double share = *std::max_element(o.shares.begin(), o.shares.end());
  return {pair_kind::weighted, compress::uniform_policy(share), "all", share};
}

// --- what is measured -----------------------------------------------------------------------------------------------

struct plan_of_study {
  std::vector<lowrank_arm> arms;
  double gather = 0, factor = 0, generate = 0;
};

void check(bench& b, options& o) {
  std::sort(o.shares.begin(), o.shares.end());
  o.shares.erase(std::unique(o.shares.begin(), o.shares.end()), o.shares.end());
  o.grid = look_for_grids(b);
  o.on_rotation = works_on_rotation(b, o.rotate, o.grid);
}

plan_of_study planned(bench& b, const options& o) {
  plan_of_study out{main_arms(o)};
  const auto pass = [&](const study::token_windows& w) {
    return study::estimate_cost(b.model(), w, std::span<const study::arm>{}).baseline_flop;
  };
  const auto& calibration = b.windows(role::calibration);
  out.gather = pass(calibration);
  for (const weight_desc& w : matrices_of(b)) {
    const double m = static_cast<double>(w.rows), n = static_cast<double>(w.cols), k = std::min(m, n);
    out.gather += 2 * n * n * static_cast<double>(calibration.rows.size());
    // spectrum; two pairs; losses in double of two pairs at every share
    out.factor +=
        8 * k * k * k + 4 * k * m * n + 16 * m * n * k + 8 * static_cast<double>(o.shares.size()) * 4 * m * n * n;
  }
  const double a_row = pass(b.evaluation()) / static_cast<double>(b.evaluation().rows.size());
  const double rows = static_cast<double>(o.prompts) * (static_cast<double>(prompt_ids) + o.new_ids);
  out.generate = 4 * 2 * a_row * rows * static_cast<double>(2 * o.shares.size() + 3);  // few rows a pass are slow
  return out;
}

study::study_cost cost(bench& b, const options& o) {
  const auto plan = planned(b, o);
  const workbench at{b.exec(), b.model().describe().n_layers};
  std::vector<study::arm> arms;
  for (const auto& a : plan.arms) arms.push_back(arm_of(at, a, b.layers()));
  for (auto& a : single_arms(at, layer_arm(o), b.layers(), b.seed()).arms) arms.push_back(std::move(a));
  auto out = study::estimate_cost(b.model(), b.evaluation(), arms);
  out.flop += plan.gather + plan.factor + plan.generate;
  for (const weight_desc& w : matrices_of(b))
    out.bytes +=
        4 * static_cast<double>(w.cols) * static_cast<double>(w.cols) + 8 * static_cast<double>(w.rows * w.cols);
  return out;
}

// Bits a weight, error and loss of an arm over the matrices that it alters.
struct arm_numbers {
  double bits = 0, weights = 0, lost = 0, whole = 0, loss = 0;
  int matrices = 0;
};
arm_numbers numbers_of(const workbench& at, const lowrank_arm& a, const lowrank_results& found) {
  arm_numbers out;
  for (std::size_t i = 0; i < at.matrices.size(); ++i) {
    const auto& m = at.matrices[i];
    const auto choice = need(a.policy.try_choose(m.w, at.n_layers));
    if (!choice) continue;
    const double rank = static_cast<double>(choice->rank);
    out.weights += static_cast<double>(m.w.rows * m.w.cols);
    out.bits += rank * (8 * static_cast<double>(m.w.rows + m.w.cols) + 2 * 16);
    for (const auto& l : found.losses) {
      if (l.matrix != i || l.kind != a.kind || l.rank != choice->rank) continue;
      double size = 0;
      for (const double s : m.squares) size += s;
      out.lost += l.error * l.error * size;
      out.whole += size;
      out.loss += l.loss;
      ++out.matrices;
      break;
    }
  }
  return out;
}

template <class H>
void measure(bench& b, H& on, const options& o) {
  const auto plan = planned(b, o);
  workbench at{b.exec(), b.model().describe().n_layers};
  const auto list = matrices_of(b);
  double done = 0;
  b.show("H of " + std::to_string(list.size()) + " matrices", done);
  const auto& calibration = b.windows(role::calibration);
  const auto h =
      need(quant::try_gather_hessians(b.exec(), on, list, batches_of(calibration),
                                      {b.sets().at(role::calibration).text.name, calibration.fingerprint()}));
  const double largest = std::max(layer_arm(o).share, 3.0 / 16);
  for (std::size_t i = 0; i < list.size(); ++i) {
    b.show("factors of matrix " + std::to_string(i + 1) + " of " + std::to_string(list.size()),
           done + plan.gather + plan.factor * 0.5 * static_cast<double>(i) / static_cast<double>(list.size()));
    auto& values = at.values.emplace_back(list[i].rows, list[i].cols);
    need(on.try_read_weight(list[i], values.view()));
    at.matrices.push_back(
        factorize(b.exec(), list[i], matrix_view<const float>(values.view()), h[static_cast<index_t>(i)], largest));
  }
  lowrank_results found;
  found.arms = plan.arms;
  found.shares = o.shares;
  if (std::find(found.shares.begin(), found.shares.end(), 3.0 / 32) == found.shares.end()) {
    found.shares.push_back(3.0 / 32);  // what S002 gives attention's matrices
    for (const double share : {1.0 / 8, 3.0 / 16})
      if (std::find(found.shares.begin(), found.shares.end(), share) == found.shares.end())
        found.shares.push_back(share);
  }
  b.show("errors of matrices", done + plan.gather + 0.5 * plan.factor);
  found.losses = losses_of(b.exec(), at.matrices, h, at.values, found.shares, b.seed());
  found.shares = o.shares;
  found.matrices = &at.matrices;
  found.n_layers = at.n_layers;
  at.values.clear();
  b.show("intact model", done += plan.gather + plan.factor);

  auto run = b.start(on);
  arm_table table{"lowrank",
                  "matrices as L·R with factors of 8 bits; svd: the best pair in the Frobenius norm, weighted: "
                  "in the norm of H"};
  for (const auto& a : found.arms) table.arms.push_back(arm_of(at, a, b.layers()));
  found.effects = need(run.try_effects(table.arms, b.report(), b.progress()));
  const std::size_t n = b.layers().size();
  auto single = single_arms(at, layer_arm(o), b.layers(), b.seed());
  const auto measured = need(run.try_effects(single.arms, b.report(), b.progress()));
  found.single_share = layer_arm(o).share;
  found.layers = b.layers();
  const auto part = [&](std::size_t from) {
    return std::vector<study::effect_sums>(measured.begin() + static_cast<std::ptrdiff_t>(from),
                                           measured.begin() + static_cast<std::ptrdiff_t>(from + n));
  };
  found.alone = part(0);
  found.without = part(n);
  found.together = measured[2 * n];
  for (std::size_t i = 0; i < single.sets.size(); ++i) {
    double sum = 0;
    for (const std::size_t k : single.sets[i]) sum += measured[k].kl.estimate().value;
    found.subsets.push_back(
        {static_cast<int>(single.sets[i].size()), measured[2 * n + 1 + i].kl.estimate().value, sum});
  }
  const auto unigram = need(study::detail::try_unigram_kl(b.exec(), run.outputs(), run.windows(), calibration));
  found.saturated = found.together->kl.estimate().value > 0.5 * unigram.estimate().value;

  found.loops.resize(found.arms.size());
  if (o.prompts > 0) {
    std::tie(found.intact_greedy, found.intact_sampled) =
        loops_under(b, on, resect::residual::plan{}, o.prompts, o.new_ids);
    for (std::size_t i = 0; i < found.arms.size(); ++i)
      if (found.arms[i].scope != "attention") {
        b.show("continuations, " + table.arms[i].label,
               b.progress().done + plan.generate / static_cast<double>(2 * o.shares.size() + 3));
        found.loops[i] = loops_under(b, on, table.arms[i].plan, o.prompts, o.new_ids);
      }
  }

  b.add_tables({table}, found.effects);
  study_record& r = b.record();
  table_record& main = r.tables[0];
  main.compared = true;
  main.headline =
      "bits a weight of the altered matrices, all overhead counted; relative error over their weights; mean H-loss";
  main.columns = {{"bits_per_weight", "bits/weight"},
                  {"weight_error", "|W−Ŵ|/|W|"},
                  {"h_loss", "H-loss"},
                  {"kl", "KL, nats"},
                  {"cosine_head_norm", "cosine"}};
  for (std::size_t i = 0; i < found.arms.size(); ++i) {
    const auto numbers = numbers_of(at, found.arms[i], found);
    found.bits.push_back(numbers.weights > 0 ? numbers.bits / numbers.weights : 0);
    r.report.rows[main.rows[i]].numbers = {
        {"bits_per_weight", found.bits.back()},
        {"weight_error", numbers.whole > 0 ? std::sqrt(numbers.lost / numbers.whole) : 0},
        {"h_loss", numbers.matrices > 0 ? numbers.loss / numbers.matrices : 0},
        {"calibrated", found.arms[i].kind == pair_kind::weighted ? 1.0 : 0.0}};
  }
  add_matrix_tables(r, found);
  add_layer_table(r, found);
  if (o.prompts > 0) add_loop_table(r, found);
  add_speed(b, on, o.shares, at.matrices);
  add_lowrank_findings(r, found);
}

void measure(bench& b, options& o) {
  study_record& r = b.record();
  for (const double share : o.shares) r.options["shares"].push_back(share);
  r.options["rotated_stream"] = o.on_rotation;
  r.options["matrices_on_a_grid"] = o.grid.on_grid;
  r.facts.emplace_back("weights",
                       o.on_rotation ? "of the model with its residual stream rotated, seed " + std::to_string(b.seed())
                                     : std::string("as the model has them"));
  if (!o.on_rotation) return measure(b, b.model(), o);
  auto on = need(rotated::try_make(b.exec(), b.model(), b.seed()));
  measure(b, on, o);
}

}  // namespace

recipe lowrank_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "lowrank",
             .says = "matrices as products of thin factors of 8 bits, at several ranks",
             .roles = {role::calibration},
             .windows = 128,
             .role_windows = 256};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.check = [o](bench& b) { check(b, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { measure(b, *o); };
  return out;
}

}  // namespace studies
