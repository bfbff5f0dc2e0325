// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every matrix of the model at 2 to 8 bits, by every method: what each costs in outputs.
#include <study/recipes/quantize.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>

#include <study/io/cli.hpp>

#include <resect/quant/gather_hessians.hpp>
#include <resect/quant/gptq.hpp>
#include <resect/quant/h_loss.hpp>
#include <resect/quant/rotated_host.hpp>
#include <resect/random/distributions.hpp>
#include <resect/study/speed.hpp>
#include <study/io/arguments.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace quant = resect::quant;
using resect::index_t;
using resect::model::weight_desc;
using rotated = quant::rotated_host<host>;

struct options {
  std::vector<int> bits{2, 3, 4, 5, 6, 8};
  std::vector<std::string> methods;  // empty: all
  index_t group = 64;
  std::string rotate = "auto";

  // Made of these and of the model before anything runs.
  std::vector<quantize_arm> arms;
  grid_record grid;
  bool on_rotation = false;
  std::vector<double> arm_flop;  // of each arm, with its quantizing
  double gather_flop = 0, trap_flop = 0;
};

std::vector<std::string> method_names() {
  std::vector<std::string> out;
  for (const auto& q : all_quantizers()) out.emplace_back(q.name);
  return out;
}

void declare(CLI::App& app, options& o) {
  app.add_option("--bits", o.bits, "widths, of 2, 3, 4, 5, 6 and 8 (5 and more by min-max, mse and gptq alone)")
      ->delimiter(',')
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8}))
      ->capture_default_str();
  app.add_option("--methods", o.methods, "methods (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(method_names()));
  app.add_option("--group", o.group, "columns that share a scale of the integer grids, 0 for the whole row")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))
      ->capture_default_str();
  app.add_option("--rotate", o.rotate,
                 "work on a rotation of the residual stream: auto (where the weights lie on a grid), "
                 "always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

bool has(const std::vector<std::string>& list, std::string_view name) {
  return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
}

void choose_arms(options& o) {
  std::sort(o.bits.begin(), o.bits.end());
  o.bits.erase(std::unique(o.bits.begin(), o.bits.end()), o.bits.end());
  for (const int bits : o.bits)
    for (const auto& q : all_quantizers())
      if (has(o.methods, q.name) && std::find(q.widths.begin(), q.widths.end(), bits) != q.widths.end())
        o.arms.push_back({q.what, bits});
  if (o.arms.empty())
    fail({resect::errc::invalid_argument, "--methods", "methods that exist at none of these widths",
          "one that exists at a width of --bits"});
}

void check(bench& b, options& o) {
  o.grid = look_for_grids(b);
  o.on_rotation = works_on_rotation(b, o.rotate, o.grid);
}

// --- arms -----------------------------------------------------------------------------------------------------------

// What quantizing asks for, and what it leaves: outlives the plans that refer to it.
struct workbench {
  backend& exec;
  quantizer_options options;
  std::vector<weight_desc> matrices;  // of the chosen layers
  resect::array<quant::hessian> h;    // of each of them
  std::function<void(std::size_t)> done = {};

  // The place of a matrix in these lists; none of other weights.
  std::optional<std::size_t> find(const weight_desc& w) const {
    for (std::size_t i = 0; i < matrices.size(); ++i)
      if (matrices[i].layer == w.layer && matrices[i].id == w.id) return i;
    return std::nullopt;
  }
};

// Quantizes one matrix in place, and adds what that lost.
resect::status try_alter(workbench& at, const quantize_arm& a, std::size_t i, resect::matrix_view<float> values,
                         matrix_losses& to) {
  resect::matrix<float> before(values.rows, values.cols);
  for (index_t r = 0; r < values.rows; ++r)
    for (index_t c = 0; c < values.cols; ++c) before(r, c) = values(r, c);
  const quant::hessian& h = at.h[static_cast<index_t>(i)];
  const auto bits = try_quantize_matrix(at.exec, a.what, a.bits, at.options, at.matrices[i], h, values);
  if (!bits) return bits.error();
  const resect::matrix_view<const float> was = before.view(), is = values;
  const auto loss = quant::try_h_loss(at.exec, was, is, h);
  if (!loss) return loss.error();
  for (index_t r = 0; r < was.rows; ++r)
    for (index_t c = 0; c < was.cols; ++c) {
      const double w = was(r, c), e = w - static_cast<double>(is(r, c));
      to.whole += w * w;
      to.lost += e * e;
    }
  to.bits += *bits;
  to.weights += static_cast<double>(values.rows * values.cols);
  to.h_loss += loss->relative();
  ++to.matrices;
  return {};
}

// An operator that does that to every matrix of a layer, as it is asked for its weights.
struct quantize_all {
  static constexpr std::string_view id = "resect.quantize_all/1";
  workbench* at;
  quantize_arm a;
  matrix_losses* to;

  resect::residual::operator_facts facts() const noexcept {
    return {.what = resect::residual::form::weights, .overwrites = true};
  }
  void fields(resect::field_visitor& v) const {
    v.number("bits", a.bits);
    v.word("method", info(a.what).name);
    v.number("group", static_cast<double>(at->options.group));
    v.key("seed of transforms", at->options.seed, resect::listed_by::source);
  }
  resect::residual::weight_change change(const weight_desc& w, resect::matrix_view<float> values,
                                         resect::executor_ref) const {
    const auto i = at->find(w);
    if (!i) return false;
    if (auto st = try_alter(*at, a, *i, values, *to); !st)
      return st.error().within(resect::text(shown_name(a), ", layer ", w.layer, ", ", w.name.view()).view());
    if (at->done) at->done(*i);
    return true;
  }
};

study::arm arm_of(bench& b, workbench& at, const quantize_arm& a, matrix_losses& to) {
  study::arm out{{}, shown_name(a)};
  for (const int l : b.layers()) need(out.plan.try_add({resect::residual::layer(l), quantize_all{&at, a, &to}}));
  return out;
}

// --- what it costs --------------------------------------------------------------------------------------------------

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Quantizing is timed on one matrix with an H of random rows, and counted as operations at the speed of passes.
// Searches cost as the weights, feedback and H-loss as the weights times the columns.
double quantizing_seconds(workbench& sample, const workbench& all, const quantize_arm& a,
                          const resect::matrix<float>& values) {
  resect::matrix<float> copy = values;
  const weight_desc& w = sample.matrices.front();
  const double search = seconds_of(
      [&] { need(try_quantize_matrix(sample.exec, a.what, a.bits, sample.options, w, sample.h[0], copy.view())); });
  const resect::matrix_view<const float> was = values.view(), is = copy.view();
  const double loss = seconds_of([&] { need(quant::try_h_loss(sample.exec, was, is, sample.h[0])); });
  double out = 0;
  for (const weight_desc& m : all.matrices) {
    const double size = static_cast<double>(m.rows * m.cols) / static_cast<double>(w.rows * w.cols);
    const double wide = size * static_cast<double>(m.cols) / static_cast<double>(w.cols);
    out += search * (info(a.what).full_h ? 0.5 * (size + wide) : size) + loss * wide;
  }
  return out;
}

study::study_cost cost(bench& b, options& o) {
  workbench all{b.exec(), {o.group, b.seed()}, matrices_of(b), {}};
  std::vector<matrix_losses> none(o.arms.size());
  const double pass = study::estimate_cost(b.model(), b.evaluation(), std::span<const study::arm>{}).baseline_flop;
  const double speed = need(study::try_measure_speed(b.exec(), b.model(), b.evaluation())).flop_per_second;

  workbench sample{b.exec(), all.options, {all.matrices.front()}, {}};
  const weight_desc& w = sample.matrices.front();
  resect::matrix<float> values(w.rows, w.cols), rows(2 * w.cols, w.cols);
  need(b.model().try_read_weight(w, values.view()));
  resect::random::fill_gaussian(rows.data.span(), b.seed(), 0, 0, 1.0);
  sample.h.push_back(quant::hessian(w.cols));
  need(sample.h[0].try_add(b.exec(), rows.view()));

  study::study_cost out;
  out.runs = static_cast<index_t>(o.arms.size());
  out.baseline_flop = pass;
  const auto& calibration = b.windows(role::calibration);
  o.gather_flop = study::estimate_cost(b.model(), calibration, std::span<const study::arm>{}).baseline_flop;
  double held = 0;
  for (const weight_desc& m : all.matrices) {
    const double n = static_cast<double>(m.cols);
    o.gather_flop += 2 * n * n * static_cast<double>(calibration.rows.size());  // in double, at half the speed
    held += 4 * n * n + 4 * static_cast<double>(m.rows) * n;
  }
  o.arm_flop.clear();
  for (const quantize_arm& a : o.arms) o.arm_flop.push_back(pass + speed * quantizing_seconds(sample, all, a, values));
  if (o.on_rotation && o.grid.on_grid > 0) {
    o.trap_flop = 3 * pass;
    out.runs += 2;
  }
  out.flop = pass + o.gather_flop + o.trap_flop;
  for (const double flop : o.arm_flop) out.flop += flop;
  out.bytes = study::estimate_cost(b.model(), b.evaluation(), std::span<const study::arm>{}).bytes + held;
  return out;
}

// --- what is measured -----------------------------------------------------------------------------------------------

// Stores the matrices of a layer as files of Q4_1 do.
struct quantize_stored {
  static constexpr std::string_view id = "resect.quantize_stored/1";
  workbench* at;
  bool rotation;

  resect::residual::operator_facts facts() const noexcept {
    return {.what = resect::residual::form::weights, .overwrites = true};
  }
  void fields(resect::field_visitor& v) const {
    v.number("bits", 4);
    v.word("method", "float minimum, min-max, group 32");
    v.word("weights", rotation ? "rotated" : "as stored");
  }
  resect::residual::weight_change change(const weight_desc& w, resect::matrix_view<float> values,
                                         resect::executor_ref) const {
    if (!at->find(w)) return false;
    if (auto bits = try_store_as_q4_1(at->exec, values); !bits) return bits.error();
    return true;
  }
};

// One step for a layer that stores its matrices as files of Q4_1 do.
study::arm stored_arm(bench& b, workbench& at, bool rotation) {
  study::arm out{{}, rotation ? "Q4_1 of the rotated model" : "Q4_1 of the file's weights"};
  for (const int l : b.layers()) need(out.plan.try_add({resect::residual::layer(l), quantize_stored{&at, rotation}}));
  return out;
}

// What the host does under one arm. The runner is one of any host.
template <class Runner>
study::effect_sums effect_of(Runner& run, const study::arm& a) {
  return std::move(need(run.try_effects(std::span(&a, 1))).front());
}

// Everything but the trap, on the model or on its rotation.
template <class H>
void measure(bench& b, H& on, options& o, workbench& at, std::optional<study::effect_sums> as_stored) {
  double done = o.trap_flop;
  const auto& calibration = b.windows(role::calibration);
  b.show("H of " + std::to_string(at.matrices.size()) + " matrices", done);
  at.h = need(quant::try_gather_hessians(b.exec(), on, at.matrices, batches_of(calibration),
                                         {b.sets().at(role::calibration).text.name, calibration.fingerprint()}));
  b.show("H of " + std::to_string(at.matrices.size()) + " matrices", done += o.gather_flop);
  auto run = b.start(on);
  done = b.progress().done;

  quantize_results found{o.arms, std::vector<matrix_losses>(o.arms.size()), {}};
  arm_table table{"quantize", "every matrix of these layers, groups of " + std::to_string(o.group) +
                                  " where the method says nothing else"};
  for (std::size_t i = 0; i < o.arms.size(); ++i) {
    const std::string name = shown_name(o.arms[i]);
    b.show(name, done);
    at.done = [&](std::size_t matrix) {
      b.show(name,
             done + o.arm_flop[i] * 0.9 * static_cast<double>(matrix + 1) / static_cast<double>(at.matrices.size()));
    };
    table.arms.push_back(arm_of(b, at, o.arms[i], found.losses[i]));
    found.effects.push_back(effect_of(run, table.arms.back()));
    b.show(name, done += o.arm_flop[i]);
  }
  at.done = {};
  std::vector<arm_table> tables{std::move(table)};
  std::vector<study::effect_sums> measured = found.effects;
  if (as_stored) {
    tables.push_back({"stored",
                      "a quantizer that meets the file's grid, on its weights and on the rotated model's",
                      {stored_arm(b, at, false), stored_arm(b, at, true)}});
    measured.push_back(*as_stored);
    measured.push_back(effect_of(run, tables.back().arms.back()));
  }
  b.add_tables(tables, measured);

  study_record& r = b.record();
  table_record& main = r.tables[0];
  main.compared = true;
  main.headline =
      "all of it: bits a weight with all overhead, relative error over all weights, mean H-loss of a matrix";
  main.columns = {{"bits_per_weight", "bits/weight"},
                  {"weight_error", "|W−Ŵ|/|W|"},
                  {"h_loss", "H-loss"},
                  {"kl", "KL, nats"},
                  {"dlnppl", "Δln PPL", true}};
  for (std::size_t i = 0; i < o.arms.size(); ++i) {
    const matrix_losses& l = found.losses[i];
    auto& row = r.report.rows[main.rows[i]];
    row.numbers = {{"bits_per_weight", l.bits_per_weight()},
                   {"weight_error", l.relative_error()},
                   {"h_loss", l.mean_h_loss()},
                   {"calibrated", info(o.arms[i].what).calibrated ? 1.0 : 0.0}};
  }
  if (as_stored) {
    r.tables[1].compared = true;
    add_trap_finding(r, {o.grid, as_stored->kl.estimate(), measured.back().kl.estimate()});
  }
  add_comparisons(r, found);
  add_rotation_table(r, found);
}

void describe(bench& b, const options& o) {
  study_record& r = b.record();
  for (const int bits : o.bits) r.options["bits"].push_back(bits);
  r.options["group"] = o.group;
  r.options["rotated_stream"] = o.on_rotation;
  r.options["matrices_on_a_grid"] = o.grid.on_grid;
  const auto& rows = b.windows(role::calibration).rows;
  r.facts.emplace_back("H", "mean of x·xᵀ over " + grouped(static_cast<long long>(rows.size())) +
                                " calibration rows of the intact model; for feedback " +
                                plain(quant::gptq_options{}.damping) + " of the mean of its diagonal is added to it");
  r.facts.emplace_back("weights",
                       o.on_rotation ? "of the model with its residual stream rotated, seed " + std::to_string(b.seed())
                                     : std::string("as the model has them"));
}

void measure(bench& b, options& o) {
  workbench at{b.exec(), {o.group, b.seed()}, matrices_of(b), {}};
  describe(b, o);
  if (!o.on_rotation) return measure(b, b.model(), o, at, std::nullopt);
  std::optional<study::effect_sums> as_stored;
  if (o.grid.on_grid > 0) {
    b.show("the file's own weights", 0);
    auto run = need(runner::try_start(b.exec(), b.model(), b.evaluation()));
    as_stored = effect_of(run, stored_arm(b, at, false));
  }
  b.show("rotating the residual stream", o.trap_flop);
  auto on = need(rotated::try_make(b.exec(), b.model(), b.seed()));
  measure(b, on, o, at, std::move(as_stored));
}

}  // namespace

recipe quantize_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "quantize",
             .says = "every matrix at 2 to 8 bits by many methods, with and without calibration",
             .roles = {role::calibration},
             .windows = 512,
             .role_windows = 512};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.accept = [o](const common_options&) { choose_arms(*o); };
  out.check = [o](bench& b) { check(b, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { measure(b, *o); };
  return out;
}

}  // namespace studies
