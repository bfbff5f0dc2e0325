// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the recipe `sae` found: tables, pictures, sentences.
#include <study/recipes/sae.hpp>

#include <algorithm>
#include <cmath>

#include <study/report/numbers.hpp>

namespace studies {

namespace {

using resect::sae::codec_metrics;

estimate only(double value) {
  estimate e;
  e.value = value;
  return e;
}
double sd(const std::vector<double>& x) {
  double mean = 0, squares = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) squares += (v - mean) * (v - mean);
  return x.size() < 2 ? 0 : std::sqrt(squares / static_cast<double>(x.size() - 1));
}
double mean(const std::vector<double>& x) {
  double out = 0;
  for (const double v : x) out += v / static_cast<double>(x.size());
  return out;
}
std::string percent(double share) { return fixed(100 * share, 2); }
estimate explained(const estimate& fvu) {
  estimate out = fvu;
  out.value = 1 - fvu.value;
  out.lo = 1 - fvu.hi;
  out.hi = 1 - fvu.lo;
  return out;
}

struct found_at {
  const sae_settings& o;
  const sae_results& r;

  std::size_t seeds() const { return o.seeds.size(); }
  const sae_measured& codec(std::size_t site, std::size_t k) const { return r.codecs[site * seeds() + k]; }
  template <class F>
  std::vector<double> values(std::size_t site, F f) const {
    std::vector<double> out;
    for (std::size_t k = 0; k < seeds(); ++k) out.push_back(f(codec(site, k)));
    return out;
  }
  template <class F>
  double sd_of(std::size_t site, F f) const {
    return sd(values(site, f));
  }
};

// --- tables -------------------------------------------------------------------------------------------------------------

void add_rows_table(study_record& to, const found_at& f) {
  plain_table t{
      "autoencoders",
      "on " + grouped(f.r.codecs.front().rows.rows()) +
          " held-out rows: latents a row, unexplained and explained variance about the mean of training rows, "
          "latents that no row kept, mean largest cosine of living latents to those of other seeds (of random "
          "directions: those of the first seed to them)",
      {"layer", "", "L0", "FVU", "EV", "silent %", "MMCS"},
      {}};
  for (std::size_t i = 0; i < f.o.sites.size(); ++i) {
    const std::string place = site_cell(f.o, static_cast<index_t>(i));
    const auto add = [&](const std::string& what, const codec_metrics& m, const std::string& mmcs) {
      t.cells.push_back({place, what, fixed(m.mean_latents().value, 2), with_interval(m.fvu()),
                         fixed(1 - m.fvu().value, 4), percent(m.silent()), mmcs});
    };
    const auto& between = f.r.between[i];
    for (std::size_t k = 0; k < f.seeds(); ++k)
      add("seed " + std::to_string(f.o.seeds[k]), f.codec(i, k).rows,
          between.empty() || k > 0 ? "" : fixed(mean(between), 3));
    if (f.seeds() > 1)
      t.cells.push_back({place, "sd of seeds",
                         fixed(f.sd_of(i, [](const auto& c) { return c.rows.mean_latents().value; }), 3),
                         fixed(f.sd_of(i, [](const auto& c) { return c.rows.fvu().value; }), 5), "",
                         percent(f.sd_of(i, [](const auto& c) { return c.rows.silent(); })), fixed(sd(between), 4)});
    add("random", f.r.random[i].rows, fixed(f.r.to_random[i], 3));
    t.cells.push_back(
        {place, "zero output", "0", fixed(f.r.zero[i].fvu().value, 3), fixed(1 - f.r.zero[i].fvu().value, 3), "", ""});
  }
  to.extras.push_back(std::move(t));
}

void add_recovery_table(study_record& to, const found_at& f) {
  plain_table t{
      "recovered",
      "share of what zero and mean ablation of the site destroy that the reconstructions keep, of cross entropy "
      "(CE) and of KL; 1: nothing is lost, 0: as much as by the ablation",
      {"layer", "", "CE, zero", "CE, mean", "KL, zero", "KL, mean"},
      {}};
  using member = estimate resect::study::codec_recovery::*;
  const member all[] = {&resect::study::codec_recovery::ce_zero, &resect::study::codec_recovery::ce_mean,
                        &resect::study::codec_recovery::kl_zero, &resect::study::codec_recovery::kl_mean};
  for (std::size_t i = 0; i < f.o.sites.size(); ++i) {
    const std::string place = site_cell(f.o, static_cast<index_t>(i));
    const auto add = [&](const std::string& what, const resect::study::codec_recovery& r) {
      std::vector<std::string> cells{place, what};
      for (const member m : all) {
        const auto shown = split(r.*m);
        cells.push_back(shown.value + " ± " + shown.half);
      }
      t.cells.push_back(std::move(cells));
    };
    for (std::size_t k = 0; k < f.seeds(); ++k) add("seed " + std::to_string(f.o.seeds[k]), f.codec(i, k).recovery);
    if (f.seeds() > 1) {
      std::vector<std::string> cells{place, "sd of seeds"};
      for (const member m : all)
        cells.push_back(fixed(f.sd_of(i, [m](const auto& c) { return (c.recovery.*m).value; }), 4));
      t.cells.push_back(std::move(cells));
    }
    add("random", f.r.random[i].recovery);
  }
  to.extras.push_back(std::move(t));
}

// --- report.json --------------------------------------------------------------------------------------------------------

nlohmann::ordered_json json_of(const sae_measured& m) {
  using resect::io::to_json;
  return {{"mean_latents", to_json(m.rows.mean_latents())},
          {"fvu", to_json(m.rows.fvu())},
          {"explained_variance", to_json(explained(m.rows.fvu()))},
          {"silent", m.rows.silent()},
          {"rows", m.rows.rows()},
          {"ce_recovered_zero", to_json(m.recovery.ce_zero)},
          {"ce_recovered_mean", to_json(m.recovery.ce_mean)},
          {"kl_recovered_zero", to_json(m.recovery.kl_zero)},
          {"kl_recovered_mean", to_json(m.recovery.kl_mean)}};
}

void add_section(study_record& to, const found_at& f) {
  auto& all = to.report.sections["autoencoders"];
  for (std::size_t i = 0; i < f.o.sites.size(); ++i) {
    nlohmann::ordered_json one{{"layer", f.o.sites[i].layer}, {"site", resect::model::name(f.o.sites[i].where)}};
    for (std::size_t k = 0; k < f.seeds(); ++k) {
      auto codec = json_of(f.codec(i, k));
      codec["seed"] = f.o.seeds[k];
      codec["file"] = "checkpoints/" + f.r.trained.files[i * f.seeds() + k];
      one["trained"].push_back(std::move(codec));
    }
    if (f.seeds() > 1)
      one["seed_sd"] = {{"mean_latents", f.sd_of(i, [](const auto& c) { return c.rows.mean_latents().value; })},
                        {"fvu", f.sd_of(i, [](const auto& c) { return c.rows.fvu().value; })},
                        {"silent", f.sd_of(i, [](const auto& c) { return c.rows.silent(); })},
                        {"ce_recovered_mean", f.sd_of(i, [](const auto& c) { return c.recovery.ce_mean.value; })},
                        {"kl_recovered_mean", f.sd_of(i, [](const auto& c) { return c.recovery.kl_mean.value; })}};
    one["random"] = json_of(f.r.random[i]);
    one["zero_output_fvu"] = f.r.zero[i].fvu().value;
    one["mmcs_between_seeds"] = f.r.between[i];
    one["mmcs_to_random"] = f.r.to_random[i];
    all.push_back(std::move(one));
  }
  const auto& counts = f.r.trained.counts;
  to.report.sections["training_rows"] = {{"kept", counts.kept},
                                         {"first_positions", counts.first},
                                         {"massive", counts.massive},
                                         {"epochs", f.r.trained.epochs}};
  // The rows of arms have the numbers of their codecs, too; those of further seeds come last.
  const auto fill = [](report_row& row, const codec_metrics& m) {
    row.estimates = {{"fvu", m.fvu()}, {"mean_latents", m.mean_latents()}};
  };
  for (auto& t : to.tables) {
    if (t.name != "sae" && t.name != "random") continue;
    t.columns = {{"fvu", "FVU"}, {"mean_latents", "L0"}};
    for (std::size_t i = 0; i < t.rows.size(); ++i)
      fill(to.report.rows[t.rows[i]], t.name == "sae" ? f.codec(i, 0).rows : f.r.random[i].rows);
  }
  std::size_t row = to.report.rows.size() - f.o.sites.size() * (f.seeds() - 1);
  for (std::size_t i = 0; i < f.o.sites.size(); ++i)
    for (std::size_t k = 1; k < f.seeds(); ++k) fill(to.report.rows[row++], f.codec(i, k).rows);
}

// --- pictures -----------------------------------------------------------------------------------------------------------

void add_curves(study_record& to, const found_at& f) {
  panel_record loss{"loss of the batch (FVU)", "million rows", "FVU", true, {}},
      kept{"latents a row of the batch", "million rows", "L0", false, {}},
      dead{"dead latents", "million rows", "latents", false, {}};
  for (std::size_t i = 0; i < f.o.sites.size(); ++i) {
    curve_record a{"layer " + site_cell(f.o, static_cast<index_t>(i)), {}}, b = a, c = a;
    for (const auto& p : f.r.trained.curve) {
      if (p.site != static_cast<index_t>(i) || p.seed != 0) continue;
      const double x = static_cast<double>((p.step + 1) * f.o.batch) / 1e6;
      a.points.emplace_back(x, only(p.fvu));
      b.points.emplace_back(x, only(p.mean_latents));
      c.points.emplace_back(x, only(static_cast<double>(p.dead)));
    }
    loss.curves.push_back(std::move(a));
    kept.curves.push_back(std::move(b));
    dead.curves.push_back(std::move(c));
  }
  to.panels.push_back(std::move(loss));
  to.panels.push_back(std::move(kept));
  const auto any_dead = [](const curve_record& c) {
    return std::any_of(c.points.begin(), c.points.end(), [](const auto& p) { return p.second.value > 0; });
  };
  if (std::any_of(dead.curves.begin(), dead.curves.end(), any_dead)) to.panels.push_back(std::move(dead));
}

// How many latents fire how often, in quarters of a decade, from the rarest that one has on.
void add_density(study_record& to, const found_at& f) {
  panel_record panel{"how often latents fire on held-out rows", "log10 of the share of rows", "latents", false, {}};
  constexpr double step = 0.25;
  for (std::size_t i = 0; i < f.o.sites.size(); ++i) {
    const codec_metrics& m = f.codec(i, 0).rows;
    const double rows = static_cast<double>(m.rows());
    const int bins = static_cast<int>(std::ceil(std::log10(rows) / step)) + 1;
    std::vector<double> n(static_cast<std::size_t>(bins));
    for (index_t j = 0; j < f.o.trainer.latents; ++j) {
      if (m.fired(j) == 0) continue;
      const double log = std::log10(static_cast<double>(m.fired(j)) / rows);
      n[static_cast<std::size_t>(std::clamp(static_cast<int>(-log / step), 0, bins - 1))] += 1;
    }
    curve_record c{"layer " + site_cell(f.o, static_cast<index_t>(i)), {}};
    int rarest = bins - 1;
    while (rarest > 0 && n[static_cast<std::size_t>(rarest)] == 0) --rarest;
    for (int k = rarest; k >= 0; --k) c.points.emplace_back(-(k + 0.5) * step, only(n[static_cast<std::size_t>(k)]));
    panel.curves.push_back(std::move(c));
  }
  to.panels.push_back(std::move(panel));
}

void add_recovery_panel(study_record& to, const found_at& f) {
  if (f.o.sites.size() < 2) return;
  panel_record panel{"cross entropy recovered over mean ablation", "layer", "share", false, {}};
  for (const auto site :
       {resect::model::site::resid_pre, resect::model::site::attn_delta, resect::model::site::resid_mid,
        resect::model::site::mlp_delta, resect::model::site::resid_post}) {
    curve_record trained{std::string(resect::model::name(site)), {}}, random{"random directions", {}};
    for (std::size_t i = 0; i < f.o.sites.size(); ++i) {
      if (f.o.sites[i].where != site) continue;
      trained.points.emplace_back(f.o.sites[i].layer, f.codec(i, 0).recovery.ce_mean);
      random.points.emplace_back(f.o.sites[i].layer, f.r.random[i].recovery.ce_mean);
    }
    if (trained.points.empty()) continue;
    panel.curves.push_back(std::move(trained));
    panel.curves.push_back(std::move(random));
  }
  to.panels.push_back(std::move(panel));
}

// --- sentences ----------------------------------------------------------------------------------------------------------

void say(study_record& to, const char* kind, std::string text, std::vector<int> layers = {}) {
  to.said.push_back({kind, "sae", std::move(text), std::move(layers)});
}

// "0.12 to 0.34 (layer 2 to layer 5)": the least and the largest of a number over sites.
template <class F>
std::string span_of(const found_at& f, int decimals, F value) {
  std::size_t low = 0, high = 0;
  for (std::size_t i = 1; i < f.o.sites.size(); ++i) {
    if (value(i) < value(low)) low = i;
    if (value(i) > value(high)) high = i;
  }
  if (fixed(value(low), decimals) == fixed(value(high), decimals)) return fixed(value(0), decimals);
  return fixed(value(low), decimals) + " (layer " + site_cell(f.o, static_cast<index_t>(low)) + ") to " +
         fixed(value(high), decimals) + " (layer " + site_cell(f.o, static_cast<index_t>(high)) + ")";
}

void add_sentences(study_record& to, const found_at& f) {
  const auto& trained = f.r.trained;
  const auto& c = trained.counts;
  say(to, "training_rows",
      grouped(c.seen()) + " positions were read in " + fixed(trained.epochs, 2) + " rounds of the training text" +
          (trained.epochs > 1 ? ", which is shorter than what was asked for and was repeated" : "") + "; " +
          grouped(c.first) + " first positions and " + grouped(c.massive) +
          " rows of norm above ten medians were left out.");
  say(to, "explained",
      "Autoencoders of " + grouped(f.o.trainer.latents) + " latents leave FVU " +
          span_of(f, 3, [&](std::size_t i) { return f.codec(i, 0).rows.fvu().value; }) +
          " of held-out rows; random directions leave " +
          span_of(f, 3, [&](std::size_t i) { return f.r.random[i].rows.fvu().value; }) + ".");
  double worst = 0;
  for (const auto& m : f.r.codecs)
    worst = std::max(worst, std::fabs(m.rows.mean_latents().value / static_cast<double>(f.o.latents_a_row) - 1));
  say(to, "latents",
      "L0 on held-out rows is within " + percent(worst) + " % of the " + grouped(f.o.latents_a_row) +
          " that were asked for.");
  say(to, "silent",
      "Of the latents " + span_of(f, 2, [&](std::size_t i) { return 100 * f.codec(i, 0).rows.silent(); }) +
          " % fire on none of " + grouped(f.r.codecs.front().rows.rows()) + " held-out rows.");
  std::vector<int> worse;
  for (std::size_t i = 0; i < f.o.sites.size(); ++i)
    if (!(f.codec(i, 0).recovery.ce_mean.lo > f.r.random[i].recovery.ce_mean.hi)) worse.push_back(f.o.sites[i].layer);
  say(to, "recovered",
      "In the place of the stream they recover " +
          span_of(f, 3, [&](std::size_t i) { return f.codec(i, 0).recovery.ce_mean.value; }) +
          " of the cross entropy that mean ablation costs, and " +
          span_of(f, 3, [&](std::size_t i) { return f.codec(i, 0).recovery.kl_mean.value; }) +
          " of the KL; random directions " +
          span_of(f, 3, [&](std::size_t i) { return f.r.random[i].recovery.ce_mean.value; }) + " of the cross entropy" +
          (worse.empty() ? "." : ". Where intervals meet, the autoencoder is not told apart from random directions."),
      worse);
  if (f.seeds() > 1) {
    say(to, "seeds",
        "Living latents of two seeds have a mean largest cosine of " +
            span_of(f, 3, [&](std::size_t i) { return mean(f.r.between[i]); }) + "; to random directions it is " +
            span_of(f, 3, [&](std::size_t i) { return f.r.to_random[i]; }) + ".");
  } else {
    say(to, "one_seed",
        "One seed was trained, so nothing is said of how much of this another seed would find again (--seeds 3).");
  }
}

}  // namespace

std::string site_cell(const sae_settings& o, index_t site) {
  const auto& s = o.sites[static_cast<std::size_t>(site)];
  const bool others = std::any_of(o.sites.begin(), o.sites.end(),
                                  [](const auto& x) { return x.where != resect::model::site::resid_post; });
  return std::to_string(s.layer) + (others ? " " + std::string(resect::model::name(s.where)) : "");
}

void add_saes(study_record& to, const sae_settings& o, const sae_results& found) {
  const found_at f{o, found};
  for (auto& t : to.tables) t.compared = true;
  add_section(to, f);
  add_rows_table(to, f);
  add_recovery_table(to, f);
  add_curves(to, f);
  add_density(to, f);
  add_recovery_panel(to, f);
  add_sentences(to, f);
  to.facts.emplace_back("rows", "trained on " + grouped(found.trained.counts.kept) +
                                    " kept positions; left out: first "
                                    "positions, the BOS, and rows of norm above ten medians at one of the sites");
  to.facts.emplace_back("training", duration(found.trained.seconds) + " for steps " + grouped(found.trained.begun_at) +
                                        " to " + grouped(o.trainer.steps) + ", the model's passes included");
}

}  // namespace studies
