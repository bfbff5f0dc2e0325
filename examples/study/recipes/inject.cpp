// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Can layers be left out, replaced by a map, or fed with an embedding in the middle? What a stream survives.
#include <study/recipes/inject_run.hpp>

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include <study/io/cli.hpp>

#include <study/io/arguments.hpp>
#include <study/recipes/bench.hpp>
#include <study/recipes/labels.hpp>
#include <study/recipes/recipes.hpp>
#include <study/report/numbers.hpp>

namespace studies {

namespace {

namespace study = resect::study;
using resect::index_t;

// What the study is made of, one by one to be chosen.
enum class part { splice, skip, dose, mean_delta, resample_delta, untrained, injected, maps, students };
constexpr std::array all_parts{part::splice,    part::skip,     part::dose, part::mean_delta, part::resample_delta,
                               part::untrained, part::injected, part::maps, part::students};
constexpr std::string_view name(part p) {
  constexpr std::string_view names[] = {"splice",    "skip",     "dose", "mean_delta", "resample_delta",
                                        "untrained", "injected", "maps", "students"};
  return names[static_cast<int>(p)];
}

struct options {
  bool full = false;
  std::string parts = "splice,skip,dose,mean_delta,resample_delta,untrained,injected,maps,students";
  int student_blocks = 1;
  resect::index_t student_steps = 300;
  bool has_training_text = false;  // given, or the model's own
  std::vector<int> lengths;        // of replaced spans; empty: 1, 2, 3 of up to 12 layers, else 1, 3, 5
  int positions = 0;               // spans of each length; 0: all of up to 12 layers, else 2
  index_t rank = 0;
  int probe_texts = 1024;
  std::string labels;

  // Made of these and of the model before anything runs.
  inject_settings settings;
  std::vector<layer_range> nearest;  // of each length
  std::optional<labelled_file> labelled;
  std::map<std::string, double> step_flop;  // of each call of the progress
};

void declare(CLI::App& app, options& o) {
  app.add_flag("--full", o.full, "all positions, depths and layers, however long that takes");
  app.add_option("--parts", o.parts, "what is done to layers")->capture_default_str();
  app.add_option("--spans", o.lengths,
                 "numbers of layers that a map replaces (default: 1,2,3; of 13 layers and more 1,3,5)")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  app.add_option("--positions", o.positions,
                 "replaced spans of each length, by angular distance (default: all; of 13 layers and more 2)")
      ->check(CLI::Range(1, 1000));
  app.add_option("--rank", o.rank, "rank of the reduced map (default: an eighth of the width)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  app.add_option("--student-blocks", o.student_blocks, "blocks of each student of the first layers, 1 to 3")
      ->check(CLI::Range(1, 3))
      ->capture_default_str();
  app.add_option("--student-steps", o.student_steps, "training steps of a student, of about 1,024 rows each")
      ->check(CLI::Range(std::int64_t{10}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--labels", o.labels,
                 "labelled texts for the probe, JSON lines of text and label (the small model has its own)")
      ->check(CLI::ExistingFile);
  app.add_option("--probe-texts", o.probe_texts, "labelled texts of the probe, half of them to fit it; 0: no probe")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
}

// At most `most` of the values, spread evenly.
std::vector<int> spread(const std::vector<int>& all, std::size_t most) {
  if (all.size() <= most) return all;
  std::vector<int> out;
  for (std::size_t i = 0; i < most; ++i) out.push_back(all[i * (all.size() - 1) / (most - 1)]);
  return out;
}

void choose_spans(bench& b, options& o, bool small) {
  auto& s = o.settings;
  if (o.lengths.empty()) o.lengths = small ? std::vector{1, 2, 3} : std::vector{1, 3, 5};
  std::sort(o.lengths.begin(), o.lengths.end());
  o.lengths.erase(std::unique(o.lengths.begin(), o.lengths.end()), o.lengths.end());
  const int layers = b.model().describe().n_layers;
  for (const int n : o.lengths)
    if (n >= layers)
      fail({resect::errc::invalid_argument, "--spans", resect::text(n), resect::text("1 to ", layers - 1, " layers")});
  const std::size_t most = o.full ? 1000 : o.positions > 0 ? static_cast<std::size_t>(o.positions) : small ? 1000 : 2;
  auto calibration = b.windows(role::calibration);
  for (auto& of_one : nearest_spans(b.model(), calibration, o.lengths, most)) {
    o.nearest.push_back(of_one.front());
    std::sort(of_one.begin(), of_one.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
    s.spans.insert(s.spans.end(), of_one.begin(), of_one.end());
  }
  for (const int n : o.lengths) {
    std::vector<int> first;
    for (int l = 0; l + n <= layers; ++l) first.push_back(l);
    if (n > 1)
      for (const int l : spread(first, o.full || small ? 1000 : 8)) s.skips.push_back({l, l + n});
  }
  for (const auto& one : s.spans) {
    const bool listed = one.last - one.first == 1
                            ? std::find(s.layers.begin(), s.layers.end(), one.first) != s.layers.end()
                            : std::find(s.skips.begin(), s.skips.end(), one) != s.skips.end();
    if (!listed) s.skips.push_back(one);
  }
  std::sort(s.skips.begin(), s.skips.end(), [](const auto& x, const auto& y) {
    return std::pair{x.last - x.first, x.first} < std::pair{y.last - y.first, y.first};
  });
}

std::vector<part> chosen_parts(const options& o) {
  return need(try_parse_names(o.parts, "--parts", std::vector(all_parts.begin(), all_parts.end()),
                              [](part p) { return name(p); }));
}

// Students of each of the first layers, which also run as a chain; of the first j layers; and of one such span by 1, 2 and 4
// blocks.
void choose_students(bench& b, options& o, bool small) {
  auto& s = o.settings.students;
  const auto& c = b.studied().model.config;
  s.shape = shape_of(c);
  s.training = {
      .loss = {.unit = resect::student::error_unit::mean, .cap = 10}, .steps = o.student_steps, .patience = 4};
  s.judge_every = std::max<resect::index_t>(1, o.student_steps / 10);
  const auto add = [&](student_job job) {
    if (std::find(s.jobs.begin(), s.jobs.end(), job) == s.jobs.end()) s.jobs.push_back(job);
  };
  for (int l = 0; l < std::min(c.n_layers, small ? 4 : 3); ++l) {
    s.chain.push_back({l, l + 1});
    add({{l, l + 1}, 1});
  }
  std::vector<int> depths;
  for (int j = 2; j <= c.n_layers; ++j) depths.push_back(j);
  depths = spread(depths, o.full ? 1000 : small ? 4 : 3);
  for (const int j : depths) add({{0, j}, o.student_blocks});
  if (depths.empty()) return;
  const int middle = depths[depths.size() / 2 - (depths.size() > 1)];
  for (const int blocks : {1, 2, 4}) add({{0, middle}, blocks});
}

// What is not asked for is not listed.
void keep_parts(options& o) {
  auto& s = o.settings;
  const auto chosen = chosen_parts(o);
  const auto asked = [&](part p) { return std::find(chosen.begin(), chosen.end(), p) != chosen.end(); };
  if (asked(part::splice)) s.splice_layers = s.layers;
  if (asked(part::mean_delta)) s.mean_layers = s.layers;
  if (!asked(part::dose)) s.dose_layers.clear();
  if (!asked(part::resample_delta)) s.resample_layers.clear();
  if (!asked(part::untrained)) s.untrained_depths.clear();
  if (!asked(part::injected)) s.depths.clear();
  if (!asked(part::maps)) s.spans.clear(), o.nearest.clear();
  if (!asked(part::students) || !o.has_training_text) s.students = {};
  if (!asked(part::skip)) s.layers.clear(), s.skips = s.spans;  // what maps are compared with
}

void check(bench& b, options& o) {
  auto& s = o.settings;
  const int layers = b.model().describe().n_layers;
  const bool small = layers <= 12;
  s.seed = b.seed();
  s.maps.rank = o.rank;
  s.layers = b.layers();
  std::vector<int> depths;
  for (int k = 1; k <= layers; ++k) depths.push_back(k);
  s.depths = depths;
  s.untrained_depths = spread(depths, o.full || small ? 1000 : 3);
  s.dose_layers = spread(s.layers, o.full ? 1000 : small ? 6 : 3);
  s.resample_layers = spread(s.layers, o.full || small ? 1000 : 3);
  choose_spans(b, o, small);
  choose_students(b, o, small);
  keep_parts(o);
  if (o.probe_texts == 0) return;
  const auto& config = b.studied().model.config;
  const auto most = static_cast<std::size_t>(o.probe_texts);
  const std::string& path = b.studied().path;
  if (!o.labels.empty()) o.labelled = read_labels(o.labels, path, config.n_vocab, config.bos, most);
  else if (std::filesystem::exists(std::filesystem::path(path) / "items.jsonl"))
    o.labelled = read_last_steps(path, config.n_vocab, config.bos, most);
}

std::size_t student_spans(const options& o) {
  std::set<std::pair<int, int>> out;
  for (const auto& job : o.settings.students.jobs) out.emplace(job.span.first, job.span.last);
  return out.size();
}

study::study_cost cost(bench& b, options& o) {
  const auto fits = unfitted(b.model(), o.settings);
  const auto tables = injection_tables(b.exec(), b.model(), o.settings, fits);
  const auto arms = plain_arms(tables);
  auto out = study::estimate_cost(b.model(), b.evaluation(), arms);
  const auto& calibration = b.windows(role::calibration);
  const auto& m = b.model().describe();
  const double rows = static_cast<double>(calibration.rows.size()), d = m.d_model;
  double layers = 0;
  for (int l = 0; l < m.n_layers; ++l) layers += study::detail::layer_flop(b.model(), l, 1);
  auto& step = o.step_flop;
  const double spans = static_cast<double>(o.settings.spans.size()),
               depths = static_cast<double>(o.settings.depths.size());
  step["means of the layers"] = o.settings.mean_layers.empty() ? 0 : rows * layers;
  step["moments of spans"] = rows * (layers + 12 * d * d * (spans + depths));  // in double, at half the speed
  step["maps of spans"] = 2 * 130 * d * d * d + 12 * 4 * d * d * static_cast<double>(o.settings.kept_rows);
  step["moments of embeddings"] = rows * layers;
  step["maps of the embedding"] = 2 * 130 * d * d * d;
  step["intact streams"] = layers * static_cast<double>(b.evaluation().rows.size());
  std::set<std::string> kinds{""};
  for (const auto& a : arms)
    if (const auto kind = inject_detail::speed_kind(a.plan)) kinds.insert(*kind);
  const double a_window =
      static_cast<double>(b.evaluation().rows.size()) / static_cast<double>(b.evaluation().n_windows);
  step["speed of plans"] = static_cast<double>(kinds.size()) * inject_detail::speed_rounds * 2 * 4 * a_window *
                           (layers + study::detail::head_flop(m, 1));
  if (const auto& students = o.settings.students; !students.jobs.empty()) {
    double blocks = 0;
    for (const auto& job : students.jobs) blocks += job.blocks;
    const double all =
        blocks * 3 * students.shape.flop() * static_cast<double>(students.training.steps * students.batch_rows);
    step["students"] = all / static_cast<double>(students.jobs.size());
    const double trained = static_cast<double>(b.windows(role::train).rows.size());
    step["rows of students"] = trained * (layers + 24 * d * d);
  }
  if (o.labelled) step["probes"] = 0.6 * layers * static_cast<double>(o.labelled->texts.rows.size()) + 60 * d * d * d;
  for (const auto& [name, flop] : step)
    out.flop += flop * (name == "maps of spans"           ? spans
                        : name == "maps of the embedding" ? depths
                        : name == "students"              ? static_cast<double>(o.settings.students.jobs.size())
                        : name == "rows of students"      ? static_cast<double>(student_spans(o))
                        : name == "probes"                ? static_cast<double>(arms.size())
                                                          : 1);
  out.bytes += 4 * d * 4 * static_cast<double>(b.windows(role::train).rows.size());
  const double held = 8 * 1.5 * d * d * 4;  // moments of a span in four folds
  out.bytes += std::max(spans, depths) * held + 4 * d * 2 * spans * static_cast<double>(o.settings.kept_rows) +
               4 * d * static_cast<double>(m.n_layers + 1) * static_cast<double>(b.evaluation().rows.size());
  return out;
}

void describe(bench& b, const options& o) {
  study_record& r = b.record();
  const auto& s = o.settings;
  r.options["full"] = o.full;
  r.options["parts"] = o.parts;
  r.options["span_lengths"] = o.lengths;
  r.options["positions"] = o.positions;
  r.options["seeds"] = s.seeds;
  r.options["kept_rows"] = s.kept_rows;
  r.facts.emplace_back("maps", "fitted on " +
                                   grouped(static_cast<long long>(b.windows(role::calibration).rows.size())) +
                                   " calibration rows in 4 folds; first positions and rows above ten medians apart");
  r.facts.emplace_back("untrained", "normal, sd each matrix's own root mean square, norm gains reset, " +
                                        std::to_string(s.seeds) + " seeds from " + std::to_string(s.seed));
  if (!s.students.jobs.empty()) {
    r.options["students"] = {
        {"blocks", o.student_blocks}, {"steps", o.student_steps}, {"batch_rows", s.students.batch_rows}};
    r.facts.emplace_back("students", "blocks like the model's, " + std::to_string(o.student_steps) + " steps of " +
                                         grouped(s.students.batch_rows) + " rows of " +
                                         grouped(static_cast<long long>(b.windows(role::train).rows.size())) +
                                         " training rows at most, the last eighth of which says when to stop");
  }
  if (!o.labelled) return;
  const auto& l = *o.labelled;
  r.facts.emplace_back("probe", l.name + ", " + l.task + ": " + std::to_string(l.texts.fitted) + " texts to fit, " +
                                    std::to_string(l.texts.size() - l.texts.fitted) + " to judge, " +
                                    std::to_string(l.classes.size()) + " labels");
  r.options["labels"] = {{"name", l.name}, {"fitted", l.texts.fitted}, {"judged", l.texts.size() - l.texts.fitted}};
}

void measure(bench& b, options& o) {
  describe(b, o);
  const inject_progress show = [&](const std::string& step) { b.show(step, b.progress().done + o.step_flop[step]); };
  const inject_texts texts{b.evaluation(), b.windows(role::calibration), o.labelled ? &o.labelled->texts : nullptr,
                           o.settings.students.jobs.empty() ? nullptr : &b.windows(role::train)};
  const auto fits = fit_injection(b.exec(), b.model(), texts, o.settings, show);
  auto& run = b.run();
  auto found = measure_injection(b.exec(), b.model(), run, texts, o.settings,
                                 injection_tables(b.exec(), b.model(), o.settings, fits), fits, show, b.report(),
                                 [&] { return b.progress(); });
  found.least_angular = o.nearest;
  add_injection(b.record(), o.settings, found);
}

}  // namespace

recipe inject_recipe() {
  const auto o = std::make_shared<options>();
  recipe out{.name = "inject",
             .says =
                 "layers are left out, averaged, replaced by closed-form maps and trained students, and fed with "
                 "embeddings",
             .roles = {role::calibration, role::train},
             .windows = 128,
             .role_windows = 256,
             .train_windows = 1024};
  out.accept = [o](const common_options& given) {
    const auto train = given.roles.find(role::train);
    o->has_training_text = (train != given.roles.end() && train->second.text) ||
                           (!given.models.empty() && !documents_of(model_path(given.models.front())).empty());
  };
  out.needs = [o](role r) {
    const auto chosen = chosen_parts(*o);
    return r != role::train ||
           (o->has_training_text && std::find(chosen.begin(), chosen.end(), part::students) != chosen.end());
  };
  out.declare = [o](CLI::App& app) { declare(app, *o); };
  out.check = [o](bench& b) { check(b, *o); };
  out.cost = [o](bench& b) { return cost(b, *o); };
  out.run = [o](bench& b) { measure(b, *o); };
  return out;
}

}  // namespace studies
