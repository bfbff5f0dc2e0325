// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Matrices at equal bytes: one width, ranks by depth, and bits and ranks allocated by measured KL.
#include <study/recipes/compress.hpp>

#include <algorithm>
#include <map>
#include <memory>

#include <study/io/cli.hpp>

#include <resect/quant/gather_hessians.hpp>
#include <resect/quant/h_loss.hpp>
#include <resect/quant/rotated_host.hpp>
#include <study/io/arguments.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace quant = resect::quant;
namespace compress = resect::compress;
using resect::index_t;
using resect::model::weight_desc;
using rotated = quant::rotated_host<host>;

struct options {
  std::string list;  // budgets or layers; empty: layers where one of its options was given
  layer_list_options layers;
  std::vector<double> budgets{3.0, 3.5, 4.0};
  std::string curves = "auto", rotate = "auto";

  // Made of these and of the model before anything runs.
  bool of_layers = false, on_rotation = false, measured = true;
  study::token_windows selection;
  grid_record grid;
  double gather_flop = 0, arm_flop = 0, trial_flop = 0, budget_flop = 0;  // of a curve's arm, of a whole on each set
};

void declare(CLI::App& app, options& o) {
  app.add_option(
         "--list", o.list,
         "budgets: all matrices at equal bytes, allocated in several ways; layers: each layer alone and all but "
         "each (default: budgets; layers with --quantize or --low-rank)")
      ->check(CLI::IsMember({"budgets", "layers"}));
  app.add_option("--budgets", o.budgets, "bits a weight with all overhead, 2.25 to 6")
      ->delimiter(',')
      ->check(CLI::Range(2.25, 6.0))
      ->capture_default_str();
  app.add_option(
         "--curves", o.curves,
         "KL of each matrix alone: measured at every option, or scaled from one by its H-loss; auto: measured up to "
         "60 matrices")
      ->check(CLI::IsMember({"auto", "measured", "scaled"}))
      ->capture_default_str();
  app.add_option("--rotate", o.rotate,
                 "work on a rotation of the residual stream: auto (where the weights lie on a grid), always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  declare_layer_list(app, o.layers);
}

void accept(options& o) {
  const bool asked = o.layers.quantize_bits > 0 || o.layers.low_rank > 0;
  if (asked && o.list == "budgets")
    fail({resect::errc::invalid_argument, "--list", "budgets with --quantize or --low-rank", "layers"});
  o.of_layers = asked || o.list == "layers";
  if (o.of_layers && !asked) o.layers.quantize_bits = 4;
  std::sort(o.budgets.begin(), o.budgets.end());
  o.budgets.erase(std::unique(o.budgets.begin(), o.budgets.end()), o.budgets.end());
}

// What a matrix may be stored as.
std::vector<storing> all_storings(const options& o) {
  std::vector<storing> out;
  for (const int bits : {2, 3, 4, 5, 6})
    for (const index_t group : {index_t{32}, index_t{64}, index_t{128}})
      if (o.measured || group == 64) out.push_back({bits, group, 0});
  for (const int bits : {2, 3})
    for (const index_t rank : {index_t{8}, index_t{16}})
      if (o.measured || rank == 16) out.push_back({bits, 128, rank});
  return out;
}
constexpr storing scaled_from{3, 64, 0};
constexpr index_t selection_windows = 128, scaled_windows = 32;
constexpr index_t uniform_groups[] = {32, 64, 128};

// At most n of the windows, as far apart as they go: what curves are measured on.
study::token_windows some_windows(const study::token_windows& all, index_t n) {
  study::token_windows out;
  out.context = all.context;
  out.contents = all.contents;
  out.text = all.text;
  const index_t step = std::max(index_t{1}, all.n_windows / n);
  const std::size_t length = all.rows.size() / static_cast<std::size_t>(std::max(index_t{1}, all.n_windows));
  std::map<index_t, index_t> places;  // of clusters
  for (index_t i = 0; i < all.n_windows && out.n_windows < n; i += step) {
    const auto seq = static_cast<std::int32_t>(out.n_windows++);
    out.starts.push_back(all.starts[static_cast<std::size_t>(i)]);
    for (std::size_t r = static_cast<std::size_t>(i) * length; r < static_cast<std::size_t>(i + 1) * length; ++r) {
      out.rows.push_back(all.rows[r]);
      out.rows.back().seq = seq;
      const index_t from = all.cluster[r];
      if (from < 0) {
        out.cluster.push_back(from);
        continue;
      }
      const auto [at, fresh] = places.try_emplace(from, static_cast<index_t>(places.size()));
      out.cluster.push_back(at->second);
      if (fresh && !all.documents.empty()) out.documents.push_back(all.documents[static_cast<std::size_t>(from)]);
    }
  }
  out.n_clusters = static_cast<index_t>(places.size());
  return out;
}

void check(bench& b, options& o) {
  if (o.of_layers) return check_layer_list(b, o.layers);
  o.grid = look_for_grids(b);
  o.on_rotation = works_on_rotation(b, o.rotate, o.grid);
  o.measured = o.curves == "measured" || (o.curves == "auto" && matrices_of(b).size() <= 60);
  o.selection = some_windows(b.windows(role::selection), o.measured ? selection_windows : scaled_windows);
}

study::study_cost cost(bench& b, options& o) {
  if (o.of_layers) return layer_list_cost(b, o.layers);
  const std::span<const study::arm> none;
  const double pass = study::estimate_cost(b.model(), b.evaluation(), none).baseline_flop;
  const double trial = study::estimate_cost(b.model(), o.selection, none).baseline_flop;
  const auto matrices = matrices_of(b);
  study::study_cost out = study::estimate_cost(b.model(), b.evaluation(), none);
  o.gather_flop = study::estimate_cost(b.model(), b.windows(role::calibration), none).baseline_flop;
  double storing_flop = 0;  // of all matrices once: LDLQ with sweeps, at a quarter of the speed of products
  for (const weight_desc& w : matrices) {
    const double m = static_cast<double>(w.rows), n = static_cast<double>(w.cols);
    o.gather_flop += 2 * n * n * static_cast<double>(b.windows(role::calibration).rows.size());
    storing_flop += 4 * (12 * m * n * n + 400 * m * n);
  }
  const auto arms = static_cast<double>(matrices.size());
  const double ways = static_cast<double>(all_storings(o).size());
  o.arm_flop = o.measured ? ways * (0.6 * trial + storing_flop / arms) : 0.6 * trial + ways * storing_flop / arms;
  o.trial_flop = trial + storing_flop;
  o.budget_flop = pass + storing_flop;
  const auto n = static_cast<double>(o.budgets.size());
  out.runs = static_cast<index_t>(arms * (o.measured ? ways : 1) + n * 11);
  out.flop = pass + o.gather_flop + trial + arms * o.arm_flop + n * (6 * o.trial_flop + 5 * o.budget_flop);
  return out;
}

// --- curves ---------------------------------------------------------------------------------------------------------

template <class Runner>
study::effect_sums effect_of(Runner& run, const study::arm& a) {
  return std::move(need(run.try_effects(std::span(&a, 1))).front());
}

// The matrix alone as each storing, the others as they are.
template <class Runner>
std::vector<double> alone(Runner& run, compress_bench& at, std::size_t i, const std::vector<storing>& ways) {
  std::vector<study::arm> arms;
  for (const storing& s : ways) {
    storing_list list(at.matrices.size());
    list[i] = s;
    arms.push_back(arm_of(at, list, "", 0));
  }
  std::vector<double> out;
  for (const auto& e : need(run.try_effects(arms))) out.push_back(e.kl.estimate().value);
  return out;
}

// tr(E·H·Eᵀ) of the matrix as each storing.
template <class H>
std::vector<double> h_losses(H& on, compress_bench& at, std::size_t i, const std::vector<storing>& ways) {
  const weight_desc& w = at.matrices[i];
  const quant::hessian& h = at.h[static_cast<index_t>(i)];
  resect::matrix<float> before(w.rows, w.cols);
  need(on.try_read_weight(w, before.view()));
  std::vector<double> out;
  for (const storing& s : ways) {
    auto values = before;
    need(try_store(at.exec, s, at.seed, w, h, values.view()));
    const resect::matrix_view<const float> was = std::as_const(before).view(), is = std::as_const(values).view();
    out.push_back(need(quant::try_h_loss(at.exec, was, is, h)).total);
  }
  return out;
}

// The options of every matrix: bytes and the KL of the model with it alone stored so.
template <class H, class Runner>
compress::allocator curves_of(bench& b, H& on, Runner& run, compress_bench& at, const options& o, double& done) {
  const auto ways = all_storings(o);
  const auto reference = static_cast<std::size_t>(std::find(ways.begin(), ways.end(), scaled_from) - ways.begin());
  std::vector<compress::allocation_matrix> out;
  for (std::size_t i = 0; i < at.matrices.size(); ++i) {
    const weight_desc& w = at.matrices[i];
    b.show("curve of layer " + std::to_string(w.layer) + ", " + std::string(w.name.view()), done);
    std::vector<double> kl;
    if (o.measured) {
      kl = alone(run, at, i, ways);
    } else {
      kl = h_losses(on, at, i, ways);
      const double scale = alone(run, at, i, {scaled_from}).front() / std::max(kl[reference], 1e-300);
      for (double& x : kl) x *= scale;
    }
    compress::allocation_matrix m;
    m.name = resect::text<48>("layer ", w.layer, ", ", w.name.view());
    for (std::size_t k = 0; k < ways.size(); ++k)
      m.options.push_back({static_cast<index_t>(k), stored_bits(ways[k], w) / 8, kl[k]});
    out.push_back(std::move(m));
    done += o.arm_flop;
  }
  return need(compress::allocator::try_make(out));
}

// --- budgets --------------------------------------------------------------------------------------------------------

// The best uniform list on selection windows: two widths mixed, in groups of one size.
template <class Runner>
storing_list best_uniform(Runner& run, compress_bench& at, double bits, double weights, budget_result& to) {
  storing_list best;
  for (const int width : {2, 3, 4, 5})
    for (const index_t group : uniform_groups) {
      const auto list = mixture(at, width, group, bits);
      const bool all_wide = std::all_of(list.begin(), list.end(), [&](const storing& x) { return x.bits > width; });
      if (list.empty() || (all_wide && bits_of(at, list) < bits - 0.03 * weights)) continue;
      const auto kl = effect_of(run, arm_of(at, list, "", 0)).kl.estimate();
      if (!best.empty() && !(kl.value < to.uniform_selection.value)) continue;
      best = list;
      to.uniform_selection = kl;
      to.uniform =
          std::to_string(width) + " and " + std::to_string(width + 1) + " bits in groups of " + std::to_string(group);
    }
  if (best.empty())
    fail({resect::errc::invalid_argument, "--budgets", resect::text(to.budget), "a budget that two widths fit"});
  return best;
}

template <class Runner>
storing_list allocated(Runner& run, compress_bench& at, const compress::allocator& from, const options& o, double bits,
                       const storing_list& uniform, budget_result& to) {
  const auto ways = all_storings(o);
  auto found = need(from.try_solve(bits / 8));
  to.loss = found.loss;
  to.gap = found.gap();
  storing_list list;
  for (const index_t id : found.ids) list.push_back(ways[static_cast<std::size_t>(id)]);
  const auto measure = [&](const compress::allocation& a) -> resect::result<estimate> {
    return a.ids.empty() ? to.uniform_selection : effect_of(run, arm_of(at, list, "", 0)).kl.estimate();
  };
  const auto kept = need(compress::try_measured(std::move(found), compress::allocation{}, measure));
  to.allocated_selection = kept.measured;
  to.fell_back = kept.fell_back;
  return kept.fell_back ? uniform : list;
}

template <class Runner>
budget_result arms_at(bench& b, Runner& run, compress_bench& at, const compress::allocator& from, const options& o,
                      double budget) {
  double weights = 0;
  for (const weight_desc& w : at.matrices) weights += static_cast<double>(w.rows * w.cols);
  budget_result out;
  out.budget = budget;
  const auto add = [&](const char* method, storing_list list) {
    if (list.empty()) return;
    const double bits = bits_of(at, list) / weights;
    out.arms.push_back({method, std::move(list), bits});
  };
  const double bits = budget * weights;
  const auto uniform = best_uniform(run, at, bits, weights, out);
  add("uniform", uniform);
  const int base = std::max(2, static_cast<int>(budget - 0.375));
  const int n_layers = static_cast<int>(b.model().describe().n_layers);
  using compress::rank_preset;
  add("uniform rank", preset_list(at, rank_preset::uniform, base, bits, n_layers));
  add("selective", preset_list(at, rank_preset::selective, base, bits, n_layers));
  add("ultra", preset_list(at, rank_preset::ultra, base, bits, n_layers));
  add("allocated", allocated(run, at, from, o, bits, uniform, out));
  return out;
}

// Measures the arms of all budgets on the evaluated windows, and adds their table.
template <class Runner>
void evaluate(bench& b, Runner& run, compress_bench& at, const options& o, std::vector<budget_result>& found,
              double done) {
  std::vector<arm_table> tables{{"compress", "every matrix of these layers, at equal bytes"}};
  std::vector<study::effect_sums> measured;
  for (budget_result& r : found)
    for (const budget_arm& a : r.arms) {
      b.show(a.method + " at " + plain(r.budget) + " bits", done);
      tables[0].arms.push_back(arm_of(at, a.list, a.method, r.budget));
      measured.push_back(effect_of(run, tables[0].arms.back()));
      r.effects.push_back(measured.back());
      done += o.budget_flop;
    }
  b.add_tables(tables, measured);
  study_record& record = b.record();
  table_record& table = record.tables[0];
  table.compared = true;
  table.headline = "all of it: bits a weight with all overhead";
  table.columns = {{"bits_per_weight", "bits/weight"}, {"kl", "KL, nats"}, {"dlnppl", "Δln PPL", true}};
  std::size_t i = 0;
  for (const budget_result& r : found)
    for (const budget_arm& a : r.arms)
      record.report.rows[table.rows[i++]].numbers = {{"bits_per_weight", a.bits}, {"calibrated", 1.0}};
}

// On the model or on its rotation.
template <class H>
void measure(bench& b, H& on, const options& o) {
  compress_bench at{b.exec(), b.seed(), matrices_of(b)};
  const auto& calibration = b.windows(role::calibration);
  double done = 0;
  b.show("H of " + std::to_string(at.matrices.size()) + " matrices", done);
  at.h = need(quant::try_gather_hessians(b.exec(), on, at.matrices, batches_of(calibration),
                                         {b.sets().at(role::calibration).text.name, calibration.fingerprint()}));
  done += o.gather_flop;
  std::vector<budget_result> found;
  {
    auto selecting = need(study::runner<backend, H>::try_start(b.exec(), on, o.selection));
    const auto from = curves_of(b, on, selecting, at, o, done);
    for (const double budget : o.budgets) {
      b.show("uniform and allocated at " + plain(budget) + " bits", done);
      found.push_back(arms_at(b, selecting, at, from, o, budget));
      done += 6 * o.trial_flop;
    }
  }
  b.show("intact model", done);
  auto run = b.start(on);
  evaluate(b, run, at, o, found, b.progress().done);
  add_budget_findings(b.record(), found);
}

void describe(bench& b, const options& o) {
  study_record& r = b.record();
  for (const double budget : o.budgets) r.options["budgets"].push_back(budget);
  r.options["curves"] = o.measured ? "measured" : "scaled";
  r.options["rotated_stream"] = o.on_rotation;
  r.facts.emplace_back("H", "mean of x·xᵀ over " +
                                grouped(static_cast<long long>(b.windows(role::calibration).rows.size())) +
                                " calibration rows of the intact model");
  r.facts.emplace_back("curves", std::string("KL of the model with one matrix stored, on ") +
                                     grouped(o.selection.n_windows) + " selection windows" +
                                     (o.measured ? "" : " at 3 bits, scaled by H-loss to the other options"));
}

void measure(bench& b, const options& o) {
  describe(b, o);
  b.record().grid = o.grid;
  if (!o.on_rotation) return measure(b, b.model(), o);
  auto on = need(rotated::try_make(b.exec(), b.model(), b.seed()));
  measure(b, on, o);
}

}  // namespace

recipe compress_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "compress",
             .says = "matrices at equal bytes, one width or allocated; or layer by layer",
             .roles = {role::calibration, role::selection},
             .windows = 512,
             .role_windows = 128};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.accept = [o](const common_options&) { accept(*o); };
  out.needs = [o](role r) { return r == role::calibration || !o->of_layers; };
  out.check = [o](bench& b) { check(b, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { o->of_layers ? measure_layer_list(b, o->layers) : measure(b, *o); };
  return out;
}

}  // namespace studies
