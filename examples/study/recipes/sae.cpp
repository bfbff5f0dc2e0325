// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sparse autoencoders of a model's streams: trains them, and asks what the model keeps when they stand in.
#include <study/recipes/sae.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include <resect/sae/similarity.hpp>
#include <resect/study/codec_rows.hpp>
#include <resect/study/detail/walk_cost.hpp>
#include <resect/study/speed.hpp>
#include <study/io/cli.hpp>

#include <study/io/arguments.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace sae = resect::sae;
namespace study = resect::study;

constexpr std::array layer_sites{resect::model::site::resid_pre, resect::model::site::attn_delta,
                                 resect::model::site::resid_mid, resect::model::site::mlp_delta,
                                 resect::model::site::resid_post};

struct options {
  std::string sites = "resid_post";
  index_t features = 0;
  int seeds = 1;
  std::int64_t held_out = 100'000, dead_after = 0;
  sae_settings settings;

  study::token_windows held;  // rows that codecs are judged on
  double training_flop = 0;   // what the model could do in the time of training
};

void declare(CLI::App& app, options& o) {
  auto& s = o.settings;
  const auto positive = CLI::Range(std::int64_t{1}, std::int64_t{1} << 40);
  app.add_option("--sites", o.sites, "sites of each layer: resid_pre, attn_delta, resid_mid, mlp_delta, resid_post")
      ->capture_default_str();
  app.add_option("--features", o.features, "latents of an autoencoder (default: 8 times the model's width)")
      ->check(positive);
  app.add_option("--k", s.latents_a_row, "latents that a row keeps; of jump_relu the mean that is asked for")
      ->check(positive)
      ->capture_default_str();
  app.add_option("--architecture", s.architecture, "topk, batch_topk or jump_relu")->capture_default_str();
  app.add_option("--tokens", s.tokens, "rows that each autoencoder is trained on; a shorter text is read again")
      ->check(positive)
      ->capture_default_str();
  app.add_option("--seeds", o.seeds, "autoencoders of each site, of seeds from --seed on")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--batch", s.batch, "rows a step")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("--learning-rate", s.trainer.learning_rate, "of Adam (default: 2e-4/sqrt(features/16384))")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--dead-after", o.dead_after,
                 "rows without a latent after which it is dead (default: a tenth of --tokens)")
      ->check(positive);
  app.add_option("--held-out", o.held_out, "tokens of --selection that autoencoders are judged on, at most")
      ->check(positive)
      ->capture_default_str();
  app.add_option("--save-every", s.save_every, "seconds from checkpoint to checkpoint")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  app.add_flag("--fresh", s.fresh, "begins anew, whatever checkpoints --out holds");
}

// What can be said before a model is loaded.
void accept(const options& o) {
  const auto& s = o.settings;
  const std::vector<std::string_view> known{"topk", "batch_topk", "jump_relu"};
  need(try_parse_names(s.architecture, "--architecture", known, [](std::string_view x) { return x; }));
  if (s.batch > s.tokens)
    fail({resect::errc::invalid_argument, "--batch", resect::text(s.batch),
          resect::text("at most the ", s.tokens, " of --tokens")});
}

// The first windows of a set.
study::token_windows first_windows(const study::token_windows& all, index_t tokens) {
  study::token_windows out = all;
  out.n_windows = std::clamp<index_t>(tokens / all.context, 1, all.n_windows);
  const auto rows = all.rows.size() / static_cast<std::size_t>(all.n_windows) * static_cast<std::size_t>(out.n_windows);
  out.rows.resize(rows);
  out.cluster.resize(rows);
  return out;
}

void check(bench& b, options& o) {
  auto& s = o.settings;
  const auto& m = b.model().describe();
  const auto sites = need(try_parse_names(o.sites, "--sites", std::vector(layer_sites.begin(), layer_sites.end()),
                                          [](resect::model::site x) { return resect::model::name(x); }));
  const bool middle = !b.options().layers && m.n_layers > 12;
  for (const int l : middle ? std::vector{m.n_layers / 2} : b.layers())
    for (const auto site : sites) s.sites.push_back({l, site});
  if (middle && !b.options().quiet)
    std::fprintf(stderr, "note: of %d layers the middle one, %d; --layers 0-%d trains all\n", m.n_layers,
                 m.n_layers / 2, m.n_layers - 1);
  auto& t = s.trainer;
  t.latents = o.features > 0 ? o.features : index_t{8} * m.d_model;
  if (s.latents_a_row > t.latents)
    fail({resect::errc::invalid_argument, "--k", resect::text(s.latents_a_row),
          resect::text("at most ", t.latents, ", the features")});
  t.steps = (s.tokens + s.batch - 1) / s.batch;
  t.warm_up = std::clamp<index_t>(t.steps / 20, 1, 1000);
  t.dead_after = o.dead_after > 0 ? o.dead_after : std::clamp<std::int64_t>(s.tokens / 10, 1, 10'000'000);
  t.seed = b.seed();
  for (int k = 0; k < o.seeds; ++k) s.seeds.push_back(b.seed() + static_cast<std::uint64_t>(k));
  s.rows.seed = b.seed() + 1;
  s.rows.bos = b.evaluation().cluster.front() < 0 ? b.evaluation().rows.front().token : -1;
  s.rows.rows_a_pass = std::max<index_t>(2048, b.evaluation().context + 1);
  s.folder = (std::filesystem::path(b.options().out) / "checkpoints").string();
  need(t.check());
  need(s.set().check(s.rows.rows_a_pass + 2 * b.evaluation().context));
  o.held = first_windows(b.windows(role::selection), o.held_out);
}

// --- the cost -----------------------------------------------------------------------------------------------------------

sae::codec codec_of_zeros(const sae_settings& s, index_t width) {
  return {sae::dictionary<float>(s.trainer.latents, width, true), 0};
}

// The arms of a site: every codec, random directions, zeros, the mean.
std::vector<arm_table> tables_of(bench& b, const sae_settings& s, const sae_trained& t) {
  std::vector<arm_table> out{{"sae",
                              "reconstructions of the trained autoencoders (of several seeds the first) stand at their "
                              "site, behind the first position"},
                             {.name = "random", .says = "the same of random directions, tied", .control = true},
                             {.name = "zero", .says = "zeros stand there", .control = true},
                             {.name = "mean", .says = "the mean of training rows stands there", .control = true}};
  const std::vector<float> zeros(static_cast<std::size_t>(b.model().describe().d_model));
  std::size_t next = 0;
  for (std::size_t i = 0; i < s.sites.size(); ++i) {
    for (const std::uint64_t seed : s.seeds)
      out[0].arms.push_back(need(study::try_codec_arm(b.exec(), s.sites[i], t.codecs[next++],
                                                      "SAE, seed " + std::to_string(seed), s.rows.bos)));
    out[1].arms.push_back(need(study::try_codec_arm(b.exec(), s.sites[i], t.random[i], "random", s.rows.bos)));
    out[2].arms.push_back(need(study::try_constant_arm(s.sites[i], zeros, "zeros", s.rows.bos)));
    out[3].arms.push_back(need(study::try_constant_arm(s.sites[i], t.means[i], "mean", s.rows.bos)));
  }
  return out;
}

double training_flop(const sae_settings& s, index_t width) {
  const double f = static_cast<double>(s.trainer.latents), d = static_cast<double>(width);
  const double rows = static_cast<double>(s.trainer.steps * s.batch);
  return static_cast<double>(s.trainers()) * rows * (2 * f * d + 8 * static_cast<double>(s.latents_a_row) * d);
}

// Operations of the host's passes for training rows, and of judging codecs on held-out rows.
double pass_flop(bench& b, const sae_settings& s) {
  double layers = 0;
  int deepest = 0;
  for (const auto& site : s.sites) deepest = std::max(deepest, site.layer);
  for (int l = 0; l <= deepest; ++l) layers += study::detail::layer_flop(b.model(), l, 1);
  return layers * static_cast<double>(s.trainer.steps * s.batch + 2 * s.rows.sample_rows);
}
double judge_flop(bench& b, const options& o) {
  const auto& s = o.settings;
  const double codecs = static_cast<double>(s.trainers() + s.sites.size());
  return static_cast<double>(o.held.rows.size()) * codecs * 2 * static_cast<double>(s.trainer.latents) *
         static_cast<double>(b.model().describe().d_model);
}

// Training is timed on steps with random rows, and said. → what the model could do in that time: the cost and the progress of
// a recipe are in operations of the model.
double timed_training(bench& b, const sae_settings& s) {
  const index_t d = b.model().describe().d_model;
  const double step = seconds_of_step(b.exec(), d, s);
  const double all = step * static_cast<double>(s.trainer.steps) * static_cast<double>(s.trainers());
  const double out = all * need(study::try_measure_speed(b.exec(), b.model(), b.evaluation())).flop_per_second;
  if (b.options().quiet) return out;
  std::printf(
      "train  %zu %s autoencoder%s of %s latents: %s rows each, %s steps of %s rows, %s GFLOP, about %s\n"
      "       (a step of one takes %s ms, timed just now; below it counts as the %s GFLOP of the model in that time)\n",
      s.trainers(), s.architecture.c_str(), s.trainers() == 1 ? "" : "s", grouped(s.trainer.latents).c_str(),
      grouped(s.trainer.steps * s.batch).c_str(), grouped(s.trainer.steps).c_str(), grouped(s.batch).c_str(),
      grouped(std::llround(training_flop(s, d) / 1e9)).c_str(), duration(all).c_str(), plain(1e3 * step).c_str(),
      grouped(std::llround(out / 1e9)).c_str());
  return out;
}

study::study_cost cost(bench& b, options& o) {
  const auto& s = o.settings;
  const index_t d = b.model().describe().d_model;
  sae_trained none;
  for (std::size_t i = 0; i < s.sites.size(); ++i) {
    for (std::size_t k = 0; k < s.seeds.size(); ++k) {
      none.codecs.push_back(codec_of_zeros(s, d));
      none.codecs.back().weights.bias[0] = static_cast<float>(none.codecs.size());  // no arm is another's twin
    }
    none.random.push_back(codec_of_zeros(s, d));
    none.means.emplace_back(static_cast<std::size_t>(d), 1.0f);
  }
  auto out = b.cost(tables_of(b, s, none));
  o.training_flop = timed_training(b, s);
  out.flop += o.training_flop + pass_flop(b, s) + judge_flop(b, o);
  const double tables = static_cast<double>(s.trainer.latents * d);
  out.bytes += 4 * (static_cast<double>(s.trainers()) * (8 * tables + 4 * static_cast<double>(s.batch * d)) +
                    static_cast<double>(s.sites.size()) * static_cast<double>(s.set().waiting() * d) +
                    256 * static_cast<double>(s.trainer.latents));
  return out;
}

// --- the run ------------------------------------------------------------------------------------------------------------

void describe(bench& b, const options& o) {
  study_record& r = b.record();
  const auto& s = o.settings;
  r.options["sites"] = o.sites;
  r.options["features"] = s.trainer.latents;
  r.options["k"] = s.latents_a_row;
  r.options["architecture"] = s.architecture;
  r.options["tokens"] = s.trainer.steps * s.batch;
  r.options["batch"] = s.batch;
  r.options["seeds"] = s.seeds;
  r.options["learning_rate"] = s.trainer.rate();
  r.options["warm_up_steps"] = s.trainer.warm_up;
  r.options["dead_after"] = s.trainer.dead_after;
  r.options["held_out_tokens"] = o.held.rows.size();
}

// MMCS between latents that fire on the judged rows.
resect::matrix<float> alive_rows(const sae::codec& c, const sae::codec_metrics& m) {
  resect::matrix<float> out;
  index_t n = 0;
  for (index_t j = 0; j < c.weights.latents(); ++j) n += m.fired(j) > 0 ? 1 : 0;
  out.resize(n, c.weights.width());
  n = 0;
  for (index_t j = 0; j < c.weights.latents(); ++j) {
    if (m.fired(j) == 0) continue;
    for (index_t k = 0; k < out.cols; ++k) out(n, k) = c.weights.decoder(j, k);
    ++n;
  }
  return out;
}

void compare_dictionaries(bench& b, const sae_settings& s, const study::judged_rows& judged, sae_results& to) {
  const std::size_t seeds = s.seeds.size();
  for (std::size_t i = 0; i < s.sites.size(); ++i) {
    std::vector<resect::matrix<float>> alive;
    for (std::size_t k = 0; k < seeds; ++k)
      alive.push_back(alive_rows(to.trained.codecs[i * seeds + k], judged.of[static_cast<index_t>(i * seeds + k)]));
    const auto mmcs = [&](const resect::matrix<float>& of, const resect::matrix<float>& in) {
      return need(sae::try_mean_max_cosine(b.exec(), of.view(), in.view()));
    };
    auto& between = to.between.emplace_back();
    for (std::size_t k = 0; k < seeds; ++k)
      for (std::size_t l = 0; l < seeds; ++l)
        if (k != l) between.push_back(mmcs(alive[k], alive[l]));
    to.to_random.push_back(mmcs(alive[0], to.trained.random[i].weights.decoder));
  }
}

// The table of autoencoders has those of the first seed; further seeds stand behind the tables.
void add_arms(bench& b, const sae_settings& s, std::vector<arm_table> tables,
              const std::vector<study::effect_sums>& effects) {
  const std::size_t seeds = s.seeds.size(), codecs = s.trainers();
  std::vector<study::arm> first, further;
  std::vector<study::effect_sums> of_tables, of_further;
  for (std::size_t i = 0; i < effects.size(); ++i) {
    const bool extra = i < codecs && i % seeds > 0;
    if (i < codecs) (extra ? further : first).push_back(tables[0].arms[i]);
    (extra ? of_further : of_tables).push_back(effects[i]);
  }
  tables[0].arms = std::move(first);
  b.add_tables(tables, of_tables);
  for (std::size_t i = 0; i < further.size(); ++i)
    add_run(b.record(), study::identity_of(further[i].plan), of_further[i]);
}

void measure(bench& b, options& o) {
  describe(b, o);
  const auto& s = o.settings;
  auto& run = b.run();
  const double begun = b.progress().done;
  const double training = o.training_flop + pass_flop(b, s);
  sae_results found;
  found.trained = train_saes(b.exec(), b.model(), b.windows(role::train), b.windows(role::calibration), s,
                             [&](const std::string& step, double share) { b.show(step, begun + share * training); });

  b.show("held-out rows", begun + training);
  std::vector<study::judged_codec> judged;
  for (std::size_t i = 0; i < found.trained.codecs.size(); ++i)
    judged.push_back(
        {static_cast<index_t>(i / s.seeds.size()), &found.trained.codecs[i], found.trained.means[i / s.seeds.size()]});
  for (std::size_t i = 0; i < s.sites.size(); ++i)
    judged.push_back({static_cast<index_t>(i), &found.trained.random[i], found.trained.means[i]});
  const sae::codec nothing{sae::dictionary<float>(1, b.model().describe().d_model, true), 0};  // x̂ = 0
  for (std::size_t i = 0; i < s.sites.size(); ++i)
    judged.push_back({static_cast<index_t>(i), &nothing, found.trained.means[i]});
  const auto rows = need(study::try_judge_codecs(b.exec(), b.model(), o.held, s.sites, judged, s.rows));
  found.judged = rows.counts;
  compare_dictionaries(b, s, rows, found);
  b.show("effects", begun + training + judge_flop(b, o));

  const auto tables = tables_of(b, s, found.trained);
  std::vector<study::arm> arms;
  for (const auto& t : tables) arms.insert(arms.end(), t.arms.begin(), t.arms.end());
  const auto effects = need(run.try_effects(arms, b.report(), b.progress()));
  const std::size_t codecs = s.trainers(), sites = s.sites.size();
  const auto recovery = [&](std::size_t arm, std::size_t site) {
    return need(
        study::try_codec_recovery(effects[arm], effects[codecs + sites + site], effects[codecs + 2 * sites + site]));
  };
  for (std::size_t i = 0; i < codecs; ++i)
    found.codecs.push_back({rows.of[static_cast<index_t>(i)], recovery(i, i / s.seeds.size())});
  for (std::size_t i = 0; i < sites; ++i)
    found.random.push_back({rows.of[static_cast<index_t>(codecs + i)], recovery(codecs + i, i)});
  for (std::size_t i = 0; i < sites; ++i) found.zero.push_back(rows.of[static_cast<index_t>(codecs + sites + i)]);
  add_arms(b, s, tables, effects);
  add_saes(b.record(), s, found);
}

}  // namespace

recipe sae_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "sae",
             .says = "sparse autoencoders are trained on the model's streams, and stand in for them",
             .roles = {role::train, role::selection, role::calibration},
             .windows = 256,
             .role_windows = index_t{1} << 40};
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.needs = [o](role r) { return r != role::calibration || o->settings.architecture != "topk"; };
  out.accept = [o](const common_options&) { accept(*o); };
  out.check = [o](bench& b) { check(b, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { measure(b, *o); };
  return out;
}

}  // namespace studies
