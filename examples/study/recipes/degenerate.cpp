// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What happens to a model when a layer loses its weights, and how much of it comes back when the layer is trained anew?
#include <cmath>
#include <memory>

#include <study/io/cli.hpp>

#include <resect/metrics/verdicts/multiple.hpp>
#include <resect/student/host_block.hpp>
#include <study/recipes/bench.hpp>
#include <study/recipes/inject_students.hpp>
#include <study/recipes/recipes.hpp>
#include <study/recipes/sums_ratio.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
namespace student = resect::student;
namespace residual = resect::residual;
using resect::index_t;

struct options {
  bool full = false;
  int seeds = 5;
  index_t steps = 300;
  std::vector<int> retrained;  // layers
};

// What a layer is trained from, and on.
enum class origin { random, own, gaussian };
constexpr std::string_view name(origin o) {
  constexpr std::string_view names[] = {"random", "own", "gaussian"};
  return names[static_cast<int>(o)];
}

// The layer's parameters after so many rows.
struct snapshot {
  std::int64_t rows = 0;
  student::network<float> weights;
};
struct retrained_layer {
  int layer = 0;
  origin start = origin::random;
  std::vector<snapshot> snapshots;  // ascending; the last are the parameters of the least held-out loss
  student::student_verdict verdict;
  double seconds = 0;
};

void declare(CLI::App& app, options& o) {
  app.add_flag("--full", o.full, "every layer is retrained, however long that takes");
  app.add_option("--reinit-seeds", o.seeds, "seeds of re-initialization, 5 or more")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
  app.add_option("--retrain-steps", o.steps, "training steps of a layer, of about 1,024 rows each")
      ->check(CLI::Range(std::int64_t{16}, std::int64_t{1} << 20))
      ->capture_default_str();
}

void check(bench& b, options& o) {
  const auto& all = b.layers();
  o.retrained = o.full ? all : std::vector{all.front(), all[all.size() / 2], all.back()};
  o.retrained.erase(std::unique(o.retrained.begin(), o.retrained.end()), o.retrained.end());
}

// --- arms without training ------------------------------------------------------------------------------------------

study::arm arm_of(std::string label, residual::step step) {
  study::arm out;
  out.label = std::move(label);
  need(out.plan.try_add(std::move(step)));
  return out;
}

std::vector<arm_table> plain_tables(bench& b, const options& o) {
  std::vector<arm_table> out{{"skip", "the layer is left out"},
                             {"zero_stream", "control: the whole stream after the layer is zero", {}, true},
                             {"reinit_keep", "random weights in place of the layer's, norm gains kept"},
                             {"reinit_reset", "random weights in place of the layer's, norm gains reset"}};
  for (const int l : b.layers()) {
    const auto at = residual::layer(l);
    const std::string of = " of layer " + std::to_string(l);
    out[0].arms.push_back(arm_of("skip" + of, residual::skip(at)));
    out[1].arms.push_back(arm_of("zero" + of, residual::zero_stream(at)));
    for (int run = 0; run < o.seeds; ++run) {
      const auto seed = b.seed() + static_cast<std::uint64_t>(run);
      out[2].arms.push_back(arm_of("reinit" + of, residual::reinit(at, seed, residual::norm_gains::keep)));
      out[3].arms.push_back(arm_of("reinit" + of, residual::reinit(at, seed, residual::norm_gains::reset)));
    }
  }
  return out;
}

// --- retraining -----------------------------------------------------------------------------------------------------

student::training_options training_of(const options& o) {
  return {.loss = {.floor = 1e-2}, .steps = o.steps, .learning_rate = 2e-3, .patience = 0};
}

// Rows of the mean and covariance of `like`, normal, and what the layer makes of them: what the claim is about that a layer
// can be learned from random vectors.
student::row_pairs gaussian_pairs(bench& b, const student::row_pairs& like, int layer) {
  const index_t d = like.x.cols, n = like.x.rows;
  student::pair_moments m(d, 1);
  resect::matrix<float> kept(n, d);
  index_t rows = 0;
  for (index_t r = 0; r < n; ++r) {
    if (like.task.apart.is_apart(like.rows[r], student::row_norm(like.x.view(), r))) continue;
    resect::copy(like.x.view().middle_rows(r, 1), kept.view().middle_rows(rows++, 1));
  }
  const resect::matrix<float> none(rows, 1);
  need(m.try_add(b.exec(), std::as_const(kept).view().middle_rows(0, rows), none.view()));
  resect::matrix<double> factor(d, d);
  const double count = static_cast<double>(rows);
  double diagonal = 0;
  for (index_t i = 0; i < d; ++i)
    for (index_t j = 0; j <= i; ++j) {
      const auto mean = [&](index_t k) { return m.sums_x()[static_cast<std::size_t>(k)] / count; };
      factor(i, j) = m.xx(i, j) / count - mean(i) * mean(j);
      if (i == j) diagonal += factor(i, i) / static_cast<double>(d);
    }
  for (index_t i = 0; i < d; ++i) factor(i, i) += 1e-6 * diagonal;
  if (!need(b.exec().try_cholesky(factor.view())).positive_definite())
    fail({resect::errc::invalid_argument, "covariance of the rows", "not positive definite",
          "rows that span the stream"});
  for (index_t i = 0; i < d; ++i)
    for (index_t j = i + 1; j < d; ++j) factor(i, j) = 0;

  student::row_pairs out = like;
  const resect::random::philox_stream draws{b.seed(), 0x67617573u + (static_cast<std::uint64_t>(layer) << 40)};
  const auto sequences = student::detail::sequences_of(like.batch());
  resect::matrix<double> normal(sequences.front().count, d), x(sequences.front().count, d);
  for (const auto& s : sequences) {
    normal.resize(s.count, d);
    x.resize(s.count, d);
    for (index_t i = 0; i < s.count * d; ++i)
      normal.data[i] = resect::random::gaussian(draws, static_cast<std::uint64_t>(s.first * d + i));
    need(
        b.exec().try_gemm(1.0, std::as_const(normal).view(), std::as_const(factor).view().transposed(), 0.0, x.view()));
    for (index_t i = 0; i < s.count; ++i)
      for (index_t c = 0; c < d; ++c)
        out.x(s.first + i, c) = static_cast<float>(x(i, c) + m.sums_x()[static_cast<std::size_t>(c)] / count);
  }
  for (index_t i = 0; i < sequences.size();) {
    const index_t first = sequences[i].first;
    index_t size = 0;
    for (; i < sequences.size() && (size == 0 || size + sequences[i].count <= 2048); ++i) size += sequences[i].count;
    auto state =
        need(b.model().try_embed(out.batch().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size))));
    resect::copy(std::as_const(out.x).view().middle_rows(first, size), b.model().stream(state));
    need(b.model().try_run(state, layer, layer + 1, resect::model::no_hooks<float>()));
    resect::copy(b.model().stream(state), out.y.view().middle_rows(first, size));
  }
  return out;
}

// Trains one layer; snapshots after an eighth, a quarter, a half and all of the steps.
retrained_layer retrain(bench& b, const options& o, int layer, origin start, const student::split_pairs& rows,
                        const student::row_pairs& evaluated, const student::closed_forms& maps) {
  const double begun = study::detail::seconds_now();
  const auto shape = shape_of(b.studied().model.config);
  auto weights = start == origin::own ? student::try_layer_student(b.model(), layer, shape)
                                      : student::try_random_layer_student(b.model(), layer, shape, b.seed(),
                                                                          residual::norm_gains::reset);
  const auto a_window = student::detail::sequences_of(rows.first.batch()).front().count;
  auto batches = need(student::pair_batches::try_make(rows.first, std::max<index_t>(1, 1024 / a_window), b.seed()));
  auto run = need(student::trainer<float>::try_make(need(std::move(weights)), training_of(o), rows.first));
  retrained_layer out{layer, start, {}, {}, 0};
  double loss = 0;
  need(student::try_train(b.exec(), run, batches, rows.rest, std::max<index_t>(1, o.steps / 8),
                          [&](const student::training_report& report, const student::batch_loss&) -> resect::status {
                            loss = report.loss;
                            const index_t eighth = std::max<index_t>(1, o.steps / 8), at = run.state().step / eighth;
                            if ((at == 1 || at == 2 || at == 4) && !run.finished())
                              out.snapshots.push_back({run.state().rows, run.state().weights});
                            return {};
                          }));
  out.snapshots.push_back({run.state().rows, run.best()});
  out.verdict = need(student::try_judge_student(b.exec(), run.best(), loss, evaluated, maps));
  out.seconds = study::detail::seconds_now() - begun;
  return out;
}

std::vector<retrained_layer> retrain_all(bench& b, const options& o, double flop_a_layer) {
  std::vector<retrained_layer> out;
  for (const int l : o.retrained) {
    const layer_range span{l, l + 1};
    const auto rows =
        inject_detail::split_for_stopping(inject_detail::pairs_of(b.model(), b.windows(role::train), span));
    const auto evaluated = inject_detail::pairs_of(b.model(), b.evaluation(), span);
    const auto maps = inject_detail::forms_of(b.exec(), rows.first, {});
    for (const origin start : {origin::random, origin::own, origin::gaussian}) {
      if (start == origin::gaussian) {
        const student::split_pairs drawn{gaussian_pairs(b, rows.first, l), rows.rest};
        out.push_back(retrain(b, o, l, start, drawn, evaluated, maps));
      } else {
        out.push_back(retrain(b, o, l, start, rows, evaluated, maps));
      }
      b.show("retraining", b.progress().done + flop_a_layer);
    }
  }
  return out;
}

// Arms of every snapshot; the last of each layer and start in the table of that start.
std::vector<arm_table> retrained_tables(bench& b, const std::vector<retrained_layer>& all) {
  std::vector<arm_table> out{
      {"retrained", "random weights (norm gains reset), trained on the training windows"},
      {"retrained_own", "control: the layer's own weights, trained in the same way"},
      {"retrained_gaussian", "random weights, trained on normal rows of the same mean and covariance"},
      {"on_the_way", "the layers of these tables after fewer rows"}};
  for (const auto& r : all)
    for (std::size_t i = 0; i < r.snapshots.size(); ++i) {
      const auto& s = r.snapshots[i];
      auto& to = out[i + 1 == r.snapshots.size() ? static_cast<std::size_t>(r.start) : 3];
      to.arms.push_back(arm_of(
          "layer " + std::to_string(r.layer) + " from " + std::string(name(r.start)),
          residual::replace_span(residual::layer(r.layer),
                                 student::on(b.exec(), s.weights, {}, {name(r.start), static_cast<double>(s.rows)}))));
    }
  std::erase_if(out, [](const auto& t) { return t.arms.empty(); });
  return out;
}

// --- what was found -------------------------------------------------------------------------------------------------

// The share of the lost ln PPL that a retrained layer brings back: 1 − Δ/Δ of the random weights that it began with.
estimate recovered(const study::effect_sums& now, const study::effect_sums& random) {
  const auto left = ratio_of(now.dlnppl.sums(), random.dlnppl.sums());
  return {1 - left.value, left.se, 1 - left.hi, 1 - left.lo, left.n, left.n_clusters};
}

// KL of word frequencies in nats, one added to every count: near 0, the texts are of one domain.
double domain_gap(const study::token_windows& p, const study::token_windows& q, int vocabulary) {
  std::vector<double> a(static_cast<std::size_t>(vocabulary), 1), c = a;
  for (const auto& row : p.rows) ++a[static_cast<std::size_t>(row.token)];
  for (const auto& row : q.rows) ++c[static_cast<std::size_t>(row.token)];
  double of_a = 0, of_c = 0, out = 0;
  for (std::size_t i = 0; i < a.size(); ++i) of_a += a[i], of_c += c[i];
  for (std::size_t i = 0; i < a.size(); ++i) out += a[i] / of_a * std::log(a[i] / of_a * of_c / c[i]);
  return out;
}

// An arm that was measured, where it is to be found again.
struct measured_arm {
  const retrained_layer* of;
  const snapshot* at;
  const study::effect_sums* effects;
};

void add_recovery(study_record& to, const std::vector<measured_arm>& all,
                  const std::vector<std::pair<int, const study::effect_sums*>>& random, double gap) {
  plain_table t{
      "recovery",
      "the share of the ln PPL lost to random weights that training brings back, by rows trained on, and FVU of the "
      "layer's delta on the evaluated windows, which took no part in training",
      {"layer", "from", "rows", "Δln PPL", "recovered", "FVU of Δ", "best map", "seconds"},
      {}};
  panel_record panel{"recovery of a retrained layer", "rows trained on", "share of the lost ln PPL", false, {}};
  std::vector<double> p;
  std::vector<const measured_arm*> judged;
  for (const auto& m : all) {
    const auto lost = std::find_if(random.begin(), random.end(), [&](const auto& r) { return r.first == m.of->layer; });
    const bool last = m.at == &m.of->snapshots.back();
    const auto e = m.effects->estimate().dlnppl;
    const auto share = recovered(*m.effects, *lost->second);
    const bool own = m.of->start == origin::own;
    const auto shown = split(e, 1, sign::always);
    t.cells.push_back(
        {std::to_string(m.of->layer), std::string(name(m.of->start)), grouped(m.at->rows),
         shown.value + " ± " + shown.half, own ? "–" : with_interval(share),
         last ? fixed(m.of->verdict.student.fvu_delta.value, 3) : "–",
         last ? std::string(m.of->verdict.map) + " " + fixed(m.of->verdict.best_map.fvu_delta.value, 3) : "–",
         last ? fixed(m.of->seconds, 1) : "–"});
    to.report.sections["recovery"].push_back({{"layer", m.of->layer},
                                              {"start", std::string(name(m.of->start))},
                                              {"rows", m.at->rows},
                                              {"last", last},
                                              {"dlnppl", resect::io::to_json(e)},
                                              {"recovered", resect::io::to_json(share)},
                                              {"fvu_delta", resect::io::to_json(m.of->verdict.student.fvu_delta)},
                                              {"beats_map", m.of->verdict.beats_map()},
                                              {"seconds", m.of->seconds}});
    if (last) {
      p.push_back(resect::metrics::p_below(e, 0));
      judged.push_back(&m);
    }
    if (own) continue;
    const std::string curve = "layer " + std::to_string(m.of->layer) + ", " + std::string(name(m.of->start));
    auto at = std::find_if(panel.curves.begin(), panel.curves.end(), [&](const auto& c) { return c.name == curve; });
    if (at == panel.curves.end()) at = panel.curves.insert(at, {curve, {}});
    at->points.emplace_back(static_cast<double>(m.at->rows), share);
  }
  to.extras.push_back(std::move(t));
  to.panels.push_back(std::move(panel));

  const auto adjusted = resect::metrics::holm(p);
  std::string better;
  for (std::size_t i = 0; i < judged.size(); ++i)
    if (adjusted[static_cast<index_t>(i)] <= 0.05)
      better += (better.empty() ? "layer " : ", layer ") + std::to_string(judged[i]->of->layer) + " from " +
                std::string(name(judged[i]->of->start));
  const std::string same = gap < 0.1 ? "; training and evaluation are of one domain (word frequencies " + plain(gap) +
                                           " nats apart), so this says nothing of other texts"
                                     : "";
  to.said.push_back({better.empty() ? "not_better" : "better",
                     "retrained",
                     better.empty()
                         ? "No retrained layer makes the model better than the intact one (after Holm over " +
                               std::to_string(judged.size()) + " arms)" + same + "."
                         : "Better than the intact model after Holm over " + std::to_string(judged.size()) +
                               " arms: " + better + same + ".",
                     {}});
  if (gap < 0.1)
    to.said.push_back({"one_domain",
                       "retrained",
                       "The layers were trained on a text of the evaluated one's domain: word frequencies are " +
                           plain(gap) + " nats apart.",
                       {}});
}

double flop_of_retraining(bench& b, const options& o) {
  return 3 * shape_of(b.studied().model.config).flop() * 1024.0 * static_cast<double>(o.steps);
}

study::study_cost cost(bench& b, const options& o) {
  auto tables = plain_tables(b, o);
  auto out = b.cost(tables);
  const double arms = 12.0 * static_cast<double>(o.retrained.size());
  out.runs += static_cast<index_t>(arms);
  out.flop += 3.0 * static_cast<double>(o.retrained.size()) * flop_of_retraining(b, o) + arms * out.baseline_flop;
  out.bytes += 4.0 * static_cast<double>(b.model().describe().d_model) * 6 *
               static_cast<double>(b.windows(role::train).rows.size());
  return out;
}

void measure(bench& b, const options& o) {
  study_record& to = b.record();
  const auto& training = b.windows(role::train);
  const double gap = domain_gap(b.evaluation(), training, b.studied().model.config.n_vocab);
  to.options["full"] = o.full;
  to.options["reinit_seeds"] = o.seeds;
  to.options["retrain_steps"] = o.steps;
  to.options["retrained_layers"] = o.retrained;
  to.facts.emplace_back("re-initialization",
                        "normal, sd each matrix's own root mean square, norm gains kept or reset to 1, " +
                            std::to_string(o.seeds) + " seeds from " + std::to_string(b.seed()));
  to.facts.emplace_back("retraining",
                        std::to_string(o.steps) + " steps of about 1,024 rows of " +
                            grouped(static_cast<long long>(training.rows.size())) +
                            " training rows, on the layer's delta, each row's error by its own norm; the last "
                            "eighth of the rows chooses the step");
  to.facts.emplace_back("domain", "word frequencies of the training windows are " + plain(gap) +
                                      " nats from those of the evaluated ones");
  b.run();
  const auto retrained = retrain_all(b, o, flop_of_retraining(b, o));
  auto tables = plain_tables(b, o);
  const std::size_t plain_arms = [&] {
    std::size_t n = 0;
    for (const auto& t : tables) n += t.arms.size();
    return n;
  }();
  for (auto& t : retrained_tables(b, retrained)) tables.push_back(std::move(t));
  std::vector<study::arm> arms;
  for (const auto& t : tables) arms.insert(arms.end(), t.arms.begin(), t.arms.end());
  const auto effects = need(b.run().try_effects(arms, b.report(), b.progress()));
  b.add_tables(tables, effects);

  std::vector<std::pair<int, const study::effect_sums*>> random;  // of the seed that retraining began with
  for (std::size_t i = 0; i < plain_arms; ++i) {
    const auto& step = arms[i].plan.steps().front();
    if (step.op.id() == residual::operators::reinit<residual::norm_gains::reset>::id &&
        study::identity_of(arms[i].plan).seed == b.seed())
      random.emplace_back(step.range.first, &effects[i]);
  }
  std::vector<measured_arm> found;
  for (const auto& r : retrained)
    for (const auto& s : r.snapshots)
      for (std::size_t i = plain_arms; i < arms.size(); ++i) {
        const auto* op = arms[i].plan.steps().front().op.as<student::trained_operator<backend>>();
        if (op != nullptr && op->origin.start == name(r.start) && op->origin.rows == static_cast<double>(s.rows) &&
            arms[i].plan.steps().front().range.first == r.layer)
          found.push_back({&r, &s, &effects[i]});
      }
  add_recovery(to, found, random, gap);
}

}  // namespace

recipe degenerate_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "degenerate",
             .says = "layers are left out, zeroed and re-initialized, and some are trained anew",
             .roles = {role::train},
             .windows = 128,
             .train_windows = 1024};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.check = [o](bench& b) { check(b, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { measure(b, *o); };
  return out;
}

}  // namespace studies
