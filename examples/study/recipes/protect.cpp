// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which layers must stay intact when all others are stored with few bytes: what study S004 asked of seven items.
#include <study/recipes/protect.hpp>

#include <algorithm>
#include <cmath>
#include <memory>

#include <study/io/cli.hpp>

#include <resect/quant/gather_hessians.hpp>
#include <resect/random/distributions.hpp>
#include <study/io/arguments.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace quant = resect::quant;
using resect::index_t;
using resect::model::weight_desc;
using study::layer_set;

struct options {
  std::vector<double> bits{3.0, 4.0};
  std::string items;
  int search_items = 500, confirmation_items = 1500, evaluations = 32, random_sets = 20;
};

void declare(CLI::App& app, options& o) {
  app.add_option("--bits", o.bits,
                 "bits a weight with all overhead, 2.25 to 5; protection is searched for at the fewest")
      ->delimiter(',')
      ->check(CLI::Range(2.25, 5.0))
      ->capture_default_str();
  app.add_option("--items", o.items, "items as JSON lines (default: the model folder's items.jsonl)");
  app.add_option("--search-items", o.search_items, "items of the search half that each evaluation asks")
      ->check(CLI::Range(50, 100000))
      ->capture_default_str();
  app.add_option("--confirmation-items", o.confirmation_items, "items of the other half, for the verdicts")
      ->check(CLI::Range(50, 100000))
      ->capture_default_str();
  app.add_option("--evaluations", o.evaluations, "evaluations of the search, the intact model's included")
      ->check(CLI::Range(16, 10000))
      ->capture_default_str();
  app.add_option("--random-sets", o.random_sets, "random sets of the size of each named one")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
}

// --- storage ----------------------------------------------------------------------------------------------------------

double weights_of(const compress_bench& at) {
  double out = 0;
  for (const weight_desc& w : at.matrices) out += static_cast<double>(w.rows * w.cols);
  return out;
}

// Two widths in groups of 64 that take at most so many bits a weight.
storing_list uniform_at(const compress_bench& at, double bits) {
  constexpr index_t group = 64;
  storing_list best;
  for (const int width : {2, 3, 4, 5}) {
    auto list = mixture(at, width, group, bits * weights_of(at));
    if (!list.empty() && (best.empty() || bits_of(at, list) > bits_of(at, best))) best = std::move(list);
  }
  if (best.empty()) fail({resect::errc::invalid_argument, "--bits", resect::text(bits), "a width that fits"});
  return best;
}

// A list as a method on weights, so that its values are made once and every arm has the same bytes.
resect::compress::weight_method method_of(compress_bench& at, storing_list list, const char* name) {
  resect::fingerprint print;
  for (const storing& s : list)
    print.add(static_cast<std::uint64_t>(s.bits)).add(static_cast<std::uint64_t>(s.group)).add(at.seed);
  const auto place = [&at](const weight_desc& w) {
    std::size_t i = 0;
    while (at.matrices[i].layer != w.layer || at.matrices[i].id != w.id) ++i;
    return i;
  };
  resect::compress::weight_method out{name, print.value(), {}};
  out.id = "resect.store_matrices/1";
  out.apply = [&at, list, place](const weight_desc& w, resect::matrix_view<float> values, resect::executor_ref) {
    const std::size_t i = place(w);
    return try_store(at.exec, list[i], at.seed, w, at.h[static_cast<index_t>(i)], values);
  };
  out.stored_bits = [list, place](const weight_desc& w) { return stored_bits(list[place(w)], w); };
  return out;
}

// The altered matrices of each chosen layer, made once.
struct stored_model {
  std::vector<study::detail::layer_artifact> layers;
  double bits = 0;  // a weight
};
stored_model store(bench& b, compress_bench& at, const storing_list& list, const char* name) {
  const auto method = method_of(at, list, name);
  stored_model out;
  for (const int l : b.layers())
    out.layers.push_back(need(study::detail::try_layer_artifact(b.exec(), b.model(), method, l)));
  out.bits = bits_of(at, list) / weights_of(at);
  return out;
}
// The model with the layers of a set as they are and the others stored; the set counts the chosen layers.
study::arm arm_of(const stored_model& from, const layer_set& kept, std::string label) {
  study::arm out{{}, std::move(label)};
  for (std::size_t i = 0; i < from.layers.size(); ++i)
    if (!kept.contains(static_cast<index_t>(i))) need(out.plan.try_add(from.layers[i].step));
  return out;
}
// Bits a weight of such a model: kept matrices have 16.
double bits_of_set(const compress_bench& at, const storing_list& list, const std::vector<int>& layers,
                   const layer_set& kept) {
  double out = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const weight_desc& w = at.matrices[i];
    const auto place = std::find(layers.begin(), layers.end(), w.layer) - layers.begin();
    out += kept.contains(place) ? 16 * static_cast<double>(w.rows * w.cols) : stored_bits(list[i], w);
  }
  return out / weights_of(at);
}

// --- the search -------------------------------------------------------------------------------------------------------

// before − after, paired by item and clustered.
estimate paired(const study::item_set& items, const std::vector<double>& before, const std::vector<double>& after) {
  resect::metrics::goodhart_arms arms(items.n_clusters());
  using resect::metrics::grade;
  const auto graded = [](double x) { return x > 0.5 ? grade::pass : grade::fail; };
  for (std::size_t i = 0; i < before.size(); ++i)
    arms.add(items.cluster(static_cast<index_t>(i)), {grade::pass, graded(after[i])}, {grade::pass, graded(before[i])});
  return arms.execution_change();
}

// Sets as they are named by relative depth, and the search's own; none twice, none empty, none whole.
std::vector<std::pair<std::string, layer_set>> named_sets(index_t n, const layer_set& found) {
  std::vector<std::pair<std::string, layer_set>> out;
  const auto add = [&](std::string name, const layer_set& set) {
    if (set.size() == 0 || set.size() == n) return;
    for (const auto& known : out)
      if (known.second == set) return;
    out.emplace_back(std::move(name), set);
  };
  const auto count = [n](double share) {
    return static_cast<index_t>(std::ceil(share * static_cast<double>(n) - 1e-9));
  };
  add("named by the search", found);
  for (const auto& [name, share] : {std::pair{"last 5/28", 5.0 / 28}, std::pair{"last 3/28", 3.0 / 28},
                                    std::pair{"last 1/28", 1.0 / 28}, std::pair{"last 1/8", 1.0 / 8}})
    add(name, layer_set::suffix(n, count(share)));
  layer_set first(n), middle(n);
  for (index_t l = 0; l < count(6.0 / 28); ++l) {
    first.insert(l);
    middle.insert((n - count(6.0 / 28)) / 2 + l);
  }
  add("first 6/28", first);
  add("middle 6/28", middle);
  return out;
}

// Drawn sets of one size, each once; all of them where there are few.
std::vector<layer_set> random_sets(index_t n, index_t size, int count, std::uint64_t seed,
                                   const std::vector<std::pair<std::string, layer_set>>& known) {
  std::vector<layer_set> out;
  const resect::random::philox_stream stream{seed, 20};
  std::uint64_t drawn = 0;
  for (int tries = 0; tries < 50 * count && static_cast<int>(out.size()) < count; ++tries) {
    layer_set set(n);
    while (set.size() < size)
      set.insert(static_cast<index_t>(resect::random::integer_below(stream, drawn++, static_cast<std::uint64_t>(n))));
    const bool there = std::find(out.begin(), out.end(), set) != out.end() ||
                       std::any_of(known.begin(), known.end(), [&](const auto& k) { return k.second == set; });
    if (!there) out.push_back(set);
  }
  return out;
}

struct protect_run {
  bench& b;
  options& o;
  item_bench& items;
  compress_bench& at;
  runner& run;
  storing_list list;  // at the fewest bits
  stored_model stored;
  std::vector<double> intact_search, intact_confirmation;
  protect_results& found;

  index_t n() const { return static_cast<index_t>(b.layers().size()); }

  // Quality on the search half: E(P) − E(intact), paired, so that the intact model has 0 without noise.
  auto objective() {
    return [this](const layer_set& kept, index_t draw) {
      b.show("evaluation " + std::to_string(draw + 1) + ": " + kept.words() + " intact", b.progress().done);
      const auto e = executions(b, items, items.search, items.executes_search, arm_of(stored, kept, "").plan);
      estimate gain = paired(items.search, e, intact_search);
      // no item changed: what Wilson's interval leaves open
      if (gain.se == 0) gain.se = kept.size() == n() ? 0 : std::fabs(gain.hi - gain.lo) / 4;
      return items.halves.search.estimate(gain);
    };
  }

  void search_layers() {
    const study::search_options shared{
        .budget = std::max<index_t>(o.evaluations, n() + 1), .noise = study::noise_kind::shared, .seed = b.seed()};
    const auto f = objective();
    auto one_pass = shared;
    one_pass.budget = n() + 1;
    found.alone = need(study::try_screening(f, n(), study::screening_kind::leave_one_in, one_pass)).effects;
    found.spared = need(study::try_screening(f, n(), study::screening_kind::leave_one_out, one_pass)).effects;
    found.search = need(study::try_random_masks(f, n(), shared));
  }

  estimate kl_of(const study::arm& a) { return need(run.try_effects(std::span(&a, 1))).front().kl.estimate(); }
  std::vector<double> executed(const study::arm& a) {
    return executions(b, items, items.confirmation, items.executes, a.plan);
  }
  estimate loss_of(const std::vector<double>& e) { return paired(items.confirmation, intact_confirmation, e); }

  void judge_sets() {
    const auto sets = named_sets(n(), found.search.named);
    std::vector<layer_set> judged;
    for (const auto& [name, set] : sets) {
      set_result r{name, set};
      const auto arm = arm_of(stored, set, name);
      b.show("set " + name, b.progress().done);
      r.bits = bits_of_set(at, list, b.layers(), set);
      r.kl = kl_of(arm);
      const auto kept = executed(arm);
      r.loss = loss_of(kept);
      const auto equal = uniform_at(at, r.bits);
      const auto uniform = store(b, at, equal, "uniform");
      const auto equal_arm = arm_of(uniform, layer_set(n()), "uniform");
      r.equal_bits = uniform.bits;
      r.equal_kl = kl_of(equal_arm);
      const auto stored_all = executed(equal_arm);
      r.equal_loss = loss_of(stored_all);
      r.advantage = paired(items.confirmation, kept, stored_all);
      judged.push_back(set);
      found.sets.push_back(std::move(r));
    }
    std::size_t next = 0;
    const auto confirmation = [&](const layer_set&) {
      return items.halves.confirmation.estimate(found.sets[next++].loss);
    };
    const auto verdicts = need(study::try_confirm(confirmation, judged));
    for (std::size_t i = 0; i < verdicts.size(); ++i) found.sets[i].confirmed = verdicts[i];
    std::vector<index_t> sizes;
    for (const layer_set& set : judged)
      if (std::find(sizes.begin(), sizes.end(), set.size()) == sizes.end()) sizes.push_back(set.size());
    for (const index_t size : sizes)
      for (const layer_set& set : random_sets(n(), size, o.random_sets, b.seed(), sets)) {
        set_result r{"random, " + std::to_string(size), set};
        const auto arm = arm_of(stored, set, r.name);
        b.show("random set " + set.words(), b.progress().done);
        r.bits = bits_of_set(at, list, b.layers(), set);
        r.kl = kl_of(arm);
        r.loss = loss_of(executed(arm));
        found.sets.push_back(std::move(r));
      }
  }
};

void describe(bench& b, const options& o, const item_bench& items) {
  study_record& r = b.record();
  for (const double bits : o.bits) r.options["bits"].push_back(bits);
  r.options["search_items"] = items.search.size();
  r.options["confirmation_items"] = items.confirmation.size();
  r.options["evaluations"] = o.evaluations;
  r.facts.emplace_back("items", grouped(items.all.size()) + " in all, halves by seed " + std::to_string(b.seed()) +
                                    "; " + grouped(items.search.size()) + " for the search, " +
                                    grouped(items.confirmation.size()) + " for the verdicts, in " +
                                    grouped(items.confirmation.n_clusters()) + " clusters");
  r.facts.emplace_back("grader", items.executes.id() + ", self-test passed on every item; greedy replies");
}

void measure(bench& b, options& o) {
  std::sort(o.bits.begin(), o.bits.end());
  auto items = read_items(o.items, b.studied().path, o.search_items, o.confirmation_items, b.seed());
  describe(b, o, items);
  compress_bench at{b.exec(), b.seed(), matrices_of(b)};
  const auto& calibration = b.windows(role::calibration);
  b.show("H of " + std::to_string(at.matrices.size()) + " matrices", 0);
  at.h = need(quant::try_gather_hessians(b.exec(), b.model(), at.matrices, batches_of(calibration),
                                         {b.sets().at(role::calibration).text.name, calibration.fingerprint()}));
  auto& run = b.run();

  protect_results found;
  found.layers = b.layers();
  found.arms.push_back(judge_arm(b, items, "intact", {}, false));
  found.arm_bits.push_back(0);
  std::vector<stored_model> uniform;
  arm_table table{"protect", "all matrices of these layers in two widths, groups of 64, rounded with the full H"};
  for (const double bits : o.bits) {
    b.show("uniform storage at " + plain(bits) + " bits", b.progress().done);
    const auto list = uniform_at(at, bits);
    uniform.push_back(store(b, at, list, "uniform"));
    table.arms.push_back(arm_of(at, list, "uniform", bits));
    found.arms.push_back(judge_arm(b, items, "uniform, " + plain(bits) + " bits",
                                   arm_of(uniform.back(), layer_set(static_cast<index_t>(b.layers().size())), "").plan,
                                   true));
    found.arm_bits.push_back(uniform.back().bits);
  }
  const auto effects = need(run.try_effects(table.arms, b.report(), b.progress()));
  b.add_tables({table}, effects);
  study_record& r = b.record();
  table_record& main = r.tables[0];
  main.compared = true;
  main.headline = "all of it: bits a weight with all overhead";
  main.columns = {{"bits_per_weight", "bits/weight"}, {"kl", "KL, nats"}, {"dlnppl", "Δln PPL", true}};
  for (std::size_t i = 0; i < uniform.size(); ++i)
    r.report.rows[main.rows[i]].numbers = {{"bits_per_weight", uniform[i].bits}, {"calibrated", 1.0}};

  const auto list = uniform_at(at, o.bits.front());
  found.width = uniform.front().bits;
  found.kl = need(study::try_compression(
      b.exec(), b.model(), run, calibration, method_of(at, list, "uniform"),
      {.layers = b.layers(), .seed = b.seed(), .bootstrap = bootstrap_resamples, .floor = b.floor()}, b.report(),
      b.progress()));
  protect_run search{b, o, items, at, run, list, std::move(uniform.front()), {}, {}, found};
  search.intact_search = executions(b, items, items.search, items.executes_search, {});
  search.intact_confirmation = executions(b, items, items.confirmation, items.executes, {});
  search.search_layers();
  search.judge_sets();
  if (!found.sets.empty()) {
    const set_result& first = found.sets.front();
    found.arms.push_back(judge_arm(b, items, first.name, arm_of(search.stored, first.set, "").plan, true));
    found.arm_bits.push_back(first.bits);
  }
  add_protection(r, items, found);
}

study::study_cost cost(bench& b, const options& o) {
  const auto layers = static_cast<double>(b.layers().size());
  auto out = study::estimate_compression_cost(b.model(), b.evaluation(), {.layers = b.layers()});
  const double row = study::estimate_cost(b.model(), b.evaluation(), std::span<const study::arm>{}).baseline_flop /
                     static_cast<double>(b.evaluation().rows.size());
  constexpr double rows_an_item = 30;
  const double sets = 6 + 3 * o.random_sets;
  out.flop += row * rows_an_item * (o.search_items * (o.evaluations + 2 * layers) + o.confirmation_items * (12 + sets));
  out.flop += 12 * out.baseline_flop + row * static_cast<double>(b.windows(role::calibration).rows.size());
  out.runs += static_cast<index_t>(o.evaluations + 2 * layers + sets);
  return out;
}

}  // namespace

recipe protect_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "protect",
             .says = "which layers must stay intact, asked of the model's own answers",
             .roles = {role::calibration},
             .windows = 128,
             .role_windows = 256};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { measure(b, *o); };
  return out;
}

}  // namespace studies
