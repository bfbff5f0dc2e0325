// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <unistd.h>

#include <study/recipes/inject_run.hpp>
#include <study/recipes/labels.hpp>
#include <study/report/curves_plot.hpp>
#include <study/report/findings.hpp>
#include <study/report/make_record.hpp>
#include <study/report/report_json.hpp>
#include <study/report/table.hpp>
#include <support/catch.hpp>
#include <support/neox_host.hpp>

#include <resect/backend/cpu_extern.hpp>
#include <resect/random/distributions.hpp>

// The recipe `inject` on a host of the tests' own: its arms, measures and report know nothing of the example runtime.
namespace {

namespace study = resect::study;
using resect::index_t;
using neox = support::neox::host<>;
using studies::layer_range;

struct setting {
  resect::cpu<> exec;
  neox model{{support::neox::block::parallel, support::neox::positions::rotary}};
  std::vector<std::int32_t> ids;
  study::token_windows evaluation, calibration;
  study::labelled_texts labelled;

  setting() {
    const resect::random::philox_stream draws{3, 0};
    for (std::uint64_t i = 0; i < 1500; ++i)
      ids.push_back(static_cast<std::int32_t>(resect::random::integer_below(draws, i, 41)));
    evaluation = study::windows({ids, {}}, {.sequences = 10, .context = 12});
    calibration = study::calibration_windows({ids, {}}, evaluation, {.sequences = 40, .context = 12});
    for (std::int32_t i = 0; i < 60; ++i) {  // the label is the last token
      const std::int32_t text[] = {i % 41, (7 * i) % 41, i % 3};
      resect::value_or_throw(labelled.try_add(text, i % 3));
    }
    labelled.fitted = 40;
  }
};

studies::inject_settings all_of_it() {
  studies::inject_settings o;
  o.splice_layers = o.layers = o.mean_layers = {0, 1, 2};
  o.dose_layers = o.resample_layers = {1};
  o.skips = {{0, 2}, {1, 3}};
  o.spans = {{1, 2}, {0, 2}, {1, 3}};
  o.depths = {1, 2, 3};
  o.untrained_depths = {1, 3};
  o.kept_rows = 200;
  o.maps.rank = 4;
  o.students.jobs = {{{0, 1}, 1}, {{1, 2}, 1}, {{0, 2}, 2}};
  o.students.chain = {{0, 1}, {1, 2}};
  o.students.shape = {.width = 16, .hidden = 24, .heads = 2, .kv_heads = 1, .head_dim = 8};
  o.students.training.steps = 120;
  o.students.batch_rows = 96;
  return o;
}

studies::study_record empty_record(const setting& s) {
  studies::study_record r;
  r.report.command = "study --recipe inject";
  r.report.recipe = "inject";
  r.report.seed = 1;
  r.report.models = {{"neox", "0x1", 3, 16, 41}};
  r.report.text = {"random ids", "aa", "bb", 1500, 10, 12};
  r.report.sets = {{"evaluation", {"random ids", "cc", 10, 12, s.evaluation.n_clusters, 1500}}};
  r.report.rules = {"t over clusters", {}, "none"};
  r.report.baseline = {{"unigram_nll", studies::estimate{.value = 3.7}}};
  r.title = "layers are left out, averaged, replaced and injected";
  r.layers = {0, 1, 2};
  r.bootstrap = 100;
  return r;
}

}  // namespace

TEST_CASE("the recipe's arms, measures and report run on a GPT-NeoX host that the example runtime has no part in") {
  setting s;
  const auto o = all_of_it();
  std::vector<std::string> steps;
  const studies::inject_progress show = [&](const std::string& step) { steps.push_back(step); };
  const studies::inject_texts texts{s.evaluation, s.calibration, &s.labelled, &s.calibration};
  const auto fits = studies::fit_injection(s.exec, s.model, texts, o, show);
  REQUIRE(fits.spans.size() == 3);
  REQUIRE(fits.depths.size() == 3);
  auto run = resect::value_or_throw(study::runner<resect::cpu<>, neox>::try_start(s.exec, s.model, s.evaluation));
  const auto tables = studies::injection_tables(s.exec, s.model, o, fits);
  const auto found = studies::measure_injection(s.exec, s.model, run, texts, o, tables, fits, show,
                                                study::detail::no_report, [] { return study::progress{}; });

  std::set<std::string> keys, names;
  std::size_t i = 0;
  for (const auto& t : found.tables) {
    names.insert(t.name);
    for (const auto& a : t.arms) {
      const auto& row = found.rows[i++];
      INFO(t.name << ": " << a.arm.label);
      CHECK(keys.insert(study::identity_of(a.arm.plan).key).second);  // a report holds each arm once
      const auto e = row.effects.estimate();
      CHECK(std::isfinite(e.kl.value));
      CHECK(row.errors.fvu.size() == static_cast<std::size_t>(4 - a.splice));
      CHECK(row.flop <= found.intact_flop + 1 + (a.map_flop > 0 ? a.map_flop : 0));
      if (t.name == "splice") {
        CHECK(e.kl.value == 0);
        for (const auto& f : row.errors.fvu) CHECK(f.value == 0);
      } else if (!row.errors.empty()) {
        CHECK(row.errors.fvu.front().value > 0);
        CHECK(std::fabs(row.errors.amplification.front().value - 1) < 1e-12);
      }
      const bool probed = t.name != "splice" && t.name != "resample_delta";  // which has no rows for other texts
      CHECK(row.probe.has_value() == (probed && study::identity_of(a.arm.plan).seed.value_or(1) == 1));
    }
  }
  CHECK(names == std::set<std::string>{"splice", "skip", "dose", "mean_delta", "resample_delta", "untrained",
                                       "injected", "identity", "scalar", "channel", "linear_patch", "reduced_rank",
                                       "affine", "cosine", "student", "chain"});
  REQUIRE(found.students.size() == 3);
  for (const auto& f : found.students) {
    INFO(f.job.blocks << " blocks: FVU " << f.verdict.student.fvu_delta.value << ", training loss "
                      << f.verdict.training_loss);
    CHECK(f.verdict.student.fvu_delta.value < 1);  // better than the mean delta, on windows that it was not trained on
    CHECK(f.verdict.documents == 10);
    CHECK(f.step == 120);
    CHECK(f.verdict.beats_map() == (f.verdict.difference.hi < 0));
  }
  const auto error_of = [&](const std::string& table, layer_range span) {
    std::size_t at = 0;
    for (const auto& t : found.tables)
      for (const auto& a : t.arms) {
        const auto& of = a.arm.plan.steps().front().range;
        if (t.name == table && of == span) return found.rows[at].errors.fvu.front().value;
        ++at;
      }
    return std::nan("");
  };
  CHECK(error_of("affine", {1, 3}) < error_of("channel", {1, 3}));
  CHECK(error_of("channel", {1, 3}) < error_of("skip", {1, 3}));
  REQUIRE(found.probe_last);
  CHECK(found.probe_last->accuracy.value > 0.9);  // the label is the last token
  CHECK(found.intact_tokens_per_second > 0);

  auto record = empty_record(s);
  studies::add_baseline(record, run.intact(), s.evaluation);
  auto with_spans = found;
  with_spans.least_angular = studies::nearest_spans(s.model, s.calibration, {1, 2}, 1).front();
  studies::add_injection(record, o, with_spans);
  const auto findings = studies::find(record);
  const auto json = studies::report_json(record, findings);
  CHECK(json["rows"].size() >= keys.size());
  CHECK(json["fits"].size() == 3);
  REQUIRE(json["students"].size() == 3);
  CHECK(json["students"][2]["blocks"] == 2);
  CHECK(json["students"][0]["training_loss"].get<double>() > 0);
  CHECK(json["probe"]["embed_out_last"]["classes"] == 3);
  CHECK(json["amplification"].size() > 0);
  const std::string table = studies::study_table(record);
  for (const char* text :
       {"maps of many numbers", "cost of plans", "embed_out, last token", "students one after another"}) {
    INFO(text);
    CHECK(table.find(text) != std::string::npos);
  }
  const std::string sentences = studies::findings_text(findings);
  INFO(sentences);
  CHECK(sentences.find("3 of 3 splices of the host's own layers leave the outputs as they were") != std::string::npos);
  CHECK(sentences.find("of 3 students beat the best closed form of their span on held-out rows") != std::string::npos);
  CHECK(sentences.find("the stream of all layers so far is lost") == std::string::npos);
  REQUIRE(record.panels.size() >= 4);
  CHECK(studies::panels_script(record).find("panel3.dat") != std::string::npos);
}

TEST_CASE("the estimate of the cost lists the arms that are measured, without a fit") {
  setting s;
  const auto o = all_of_it();
  const auto unfitted = studies::unfitted(s.model, o);
  const auto arms = studies::plain_arms(studies::injection_tables(s.exec, s.model, o, unfitted));
  const studies::inject_texts texts{s.evaluation, s.calibration, nullptr, &s.calibration};
  const auto fits = studies::fit_injection(s.exec, s.model, texts, o, [](const std::string&) {});
  const auto measured = studies::plain_arms(studies::injection_tables(s.exec, s.model, o, fits));
  CHECK(arms.size() == measured.size());
  const auto before = study::estimate_cost(s.model, s.evaluation, arms),
             after = study::estimate_cost(s.model, s.evaluation, measured);
  CHECK(before.flop == after.flop);
}

TEST_CASE("labelled texts are halved within each label, whatever the order of the file") {
  namespace fs = std::filesystem;
  const fs::path path = fs::temp_directory_path() / ("resect_halves_" + std::to_string(::getpid()) + ".jsonl");
  const auto halves_of = [&](std::size_t most, auto label_of) {
    {
      std::ofstream out(path);
      for (int i = 0; i < 96; ++i)
        out << "{\"text\": \"t" << i << "\", \"label\": \"" << label_of(i) << "\", \"ids\": [1]}\n";
    }
    const auto found = studies::read_labels(path.string(), "no folder", 41, -1, most);
    std::vector<std::vector<int>> count(2, std::vector<int>(found.classes.size(), 0));
    for (std::size_t i = 0; i < found.texts.labels.size(); ++i)
      ++count[i < static_cast<std::size_t>(found.texts.fitted) ? 0 : 1]
             [static_cast<std::size_t>(found.texts.labels[i])];
    return count;
  };
  const auto alternating = [](int i) { return i % 2; };
  const auto sorted = [](int i) { return i / 48; };
  const auto fours = [](int i) { return i % 4; };
  for (const std::size_t most : {std::size_t{96}, std::size_t{48}}) {
    const int each = static_cast<int>(most) / 4;
    CHECK(halves_of(most, alternating) == std::vector<std::vector<int>>(2, {each, each}));
    CHECK(halves_of(most, sorted) == std::vector<std::vector<int>>(2, {each, each}));
    CHECK(halves_of(most, fours) == std::vector<std::vector<int>>(2, std::vector<int>(4, each / 2)));
  }
  fs::remove(path);
}

TEST_CASE("labelled texts come from JSON lines; a line that is none is named") {
  namespace fs = std::filesystem;
  const fs::path path = fs::temp_directory_path() / ("resect_labels_" + std::to_string(::getpid()) + ".jsonl");
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  std::string lines;
  for (int i = 0; i < 8; ++i)
    lines += "{\"text\": \"t" + std::to_string(i) + "\", \"label\": \"" + (i % 2 ? "b" : "a") + "\", \"ids\": [" +
             std::to_string(i) + ", 2]}\n";
  write(lines);
  const auto found = studies::read_labels(path.string(), "no folder", 41, -1, 8);
  CHECK(found.classes == std::vector<std::string>{"a", "b"});
  CHECK(found.texts.fitted == 4);
  CHECK(found.texts.rows.size() == 16);
  const auto says = [&](const std::string& text) {
    write(text);
    try {
      (void)studies::read_labels(path.string(), "no folder", 41, -1, 6);
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
    return std::string("nothing");
  };
  CHECK(says(lines + "[1]\n").find("line 9") != std::string::npos);
  CHECK(says("{\"text\": \"t\"}\n").find("\"label\"") != std::string::npos);
  CHECK(says(lines + "{\"text\": \"u\", \"label\": \"a\", \"ids\": [41]}\n" + lines).find("token id 41") ==
        std::string::npos);
  CHECK(says("{\"text\": \"u\", \"label\": \"a\"}\n").find("1 texts") != std::string::npos);
  CHECK(says(lines + "{\"text\": \"t3\", \"label\": \"a\"}\n")
            .find("--labels: got labels \"b\" and \"a\" of the text \"t3\", wanted one label a text") !=
        std::string::npos);
  CHECK(says(lines + "{\"text\": \"rare\", \"label\": \"c\", \"ids\": [1]}\n").find("with the label \"c\"") !=
        std::string::npos);
  std::string one_label;
  for (int i = 0; i < 5; ++i)
    one_label += "{\"text\": \"t" + std::to_string(i) + "\", \"label\": \"a\", \"ids\": [1]}\n";
  CHECK(says(one_label).find("--labels: got the label \"a\" alone, wanted 2 labels or more") != std::string::npos);
  fs::remove(path);
}
