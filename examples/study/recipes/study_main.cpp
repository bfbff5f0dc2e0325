// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <study/recipes/study_main.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include <study/io/cli.hpp>

#include <study/io/arguments.hpp>
#include <study/io/gnuplot.hpp>
#include <study/io/output.hpp>
#include <study/io/staged_folder.hpp>
#include <study/recipes/bench.hpp>
#include <study/report/clusters.hpp>
#include <study/report/plots.hpp>
#include <study/report/report_html.hpp>
#include <study/report/report_json.hpp>
#include <study/report/table.hpp>

#include <resect/study/speed.hpp>

namespace studies {

namespace {

const std::vector<std::string> report_files{"clusters.npz", "norms.png", "effects.png", "report.html", "report.json"};

// --- the command line -----------------------------------------------------------------------------------------------

void declare(CLI::App& app, common_options& o) {
  app.add_option("--recipe", o.recipe, "what is altered; `list` lists the recipes");
  repeated(app.add_option("--model", o.models, "tiny, a GGUF file or a safetensors folder (default: tiny)"));
  repeated(
      app.add_option("--model-name", o.model_names, "name that the report shows (default: of the file or folder)"));
  repeated(app.add_option("--text", o.texts,
                          "text to evaluate on; several are evaluated as one (default: that of --ids, or the model "
                          "folder's heldout.txt)"));
  repeated(app.add_option(
      "--ids", o.ids,
      "token ids of the text (int32, or .npy), for models without a plain vocabulary; without --text they "
      "are the text that the report names"));
  app.add_option("--sequences", o.windows.sequences, "windows to evaluate")->capture_default_str();
  app.add_option("--context", o.windows.context, "tokens a window")->capture_default_str();
  app.add_option("--layers", o.layers, "layers to alter, as in 0-3,7 (default: all)");
  app.add_option("--seed", o.seed, "first seed")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53))
      ->capture_default_str();
  app.add_option("--threads", o.threads, "worker threads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--out", o.out, "folder of the report; that of a named recipe ends in its name")
      ->capture_default_str();
  app.add_option("--command", o.command, "command line that the report names (default: this one)");
  app.add_flag("--quiet", o.quiet, "no progress and no table, only the report");
}

// A recipe's own options, and those of the texts that it may ask for.
void declare(CLI::App& app, const recipe& r, common_options& o) {
  if (r.declare) r.declare(app);
  for (const role one : r.roles) {
    const std::string option = "--" + std::string(name(one));
    role_source& to = o.roles[one];
    app.add_option(option, to.text,
                   "text for " + std::string(name(one)) + ", or `rest`: what evaluation leaves of its own");
    app.add_option(option + "-ids", to.ids, "its token ids (int32, or .npy)")->needs(option);
  }
}

std::string list_of(const std::vector<recipe>& recipes) {
  std::string out = "Recipes:\n";
  for (const recipe& r : recipes) out += "  " + padded(r.name, 24, align::left) + r.says + "\n";
  return out;
}

// The value of --recipe, whatever else stands there.
std::string named_recipe(int argc, char** argv) {
  std::string out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--recipe" && i + 1 < argc) out = argv[++i];
    else if (word.starts_with("--recipe=")) out = word.substr(9);
  }
  return out;
}

const recipe& find_recipe(const std::vector<recipe>& recipes, const std::string& name) {
  if (name.empty()) return recipes.front();
  resect::short_text<120> known;
  for (const recipe& r : recipes) {
    if (r.name == name) return r;
    known.append(known.empty() ? "" : ", ").append(r.name);
  }
  fail({resect::errc::invalid_argument, "--recipe", hosts::shown(name).view(), known});
}

// What an argument that this recipe does not know is: an option of other recipes, or nothing that is known.
std::string explain_left_over(const std::vector<recipe>& recipes, const recipe& chosen,
                              const std::vector<std::string>& left) {
  for (const std::string& word : left) {
    const std::string option = word.substr(0, word.find('='));
    std::vector<std::string> owners;
    for (const recipe& r : recipes) {
      CLI::App app;
      common_options none;
      declare(app, r, none);
      if (option.starts_with("--") && app.get_option_no_throw(option)) owners.push_back(r.name);
    }
    if (!owners.empty())
      return option + ": an option of recipe " + detail::and_list(owners) + ", got with recipe " + chosen.name;
  }
  return "";
}

void check_models(const recipe& r, common_options& o) {
  if (o.models.empty()) o.models.push_back("tiny");
  const auto wanted = static_cast<std::size_t>(r.models);
  if (o.models.size() > wanted)
    fail({resect::errc::invalid_argument, "--model",
          resect::text("a ", wanted == 1 ? "second" : "further", " one, ", hosts::shown(o.models[wanted]).view()),
          resect::text(wanted, wanted == 1 ? " model" : " models", ", as recipe ", r.name, " studies")});
  if (o.models.size() < wanted)
    fail({resect::errc::invalid_argument, "--model", resect::text(o.models.size()),
          resect::text(wanted, " models, as recipe ", r.name, " studies")});
}

// --- what is said before the work ---------------------------------------------------------------------------------------

void print_models(bench& b) {
  for (std::size_t i = 0; i < b.models(); ++i) {
    const auto& m = b.record().report.models[i];
    std::printf("model  %s: %d layers, width %d, vocabulary %s", m.name.c_str(), m.layers, m.d_model,
                grouped(m.vocabulary).c_str());
    if (i == 0) std::printf(", %.1f million parameters", b.record().parameters / 1e6);
    std::printf("\n");
  }
}

void print_sets(bench& b) {
  const auto& r = b.record();
  const auto& e = r.evaluation();
  std::printf("%s", detail::wrapped(begin_text(r.report.rules), "begin  ", "       ").c_str());
  const std::string documents = r.documents ? " from " + std::to_string(e.clusters) + " documents" : std::string();
  std::printf("text   %s: %s tokens\n       evaluation: %lld windows of %lld%s\n", r.report.text.name.c_str(),
              grouped(r.report.text.tokens).c_str(), static_cast<long long>(e.windows),
              static_cast<long long>(e.context), documents.c_str());
  for (const auto& [one, set] : b.sets()) {
    const std::string evaluated =
        set.windows.left_out > 0 ? " (" + grouped(set.windows.left_out) + " of them evaluated or used, left out)" : "";
    std::printf("       %s: %s, %s tokens%s, of them %lld windows of %lld\n", std::string(name(one)).c_str(),
                set.text.name.c_str(), grouped(static_cast<long long>(set.text.ids.size())).c_str(), evaluated.c_str(),
                static_cast<long long>(set.windows.n_windows), static_cast<long long>(set.windows.context));
    if (const auto warning = small_set_warning(one, set, b.options().windows.sequences); !warning.empty())
      std::fprintf(stderr, "note: %s\n", warning.c_str());
  }
}

void print_cost(bench& b, const resect::study::study_cost& cost) {
  const auto speed = need(resect::study::try_measure_speed(b.exec(), b.model(), b.evaluation()));
  const int threads = b.options().threads;
  std::printf(
      "cost   %lld altered models, %s GFLOP, %s GB of memory; about %s on %d thread%s\n"
      "       (at %s GFLOP/s, timed just now on %lld of the windows)\n\n",
      static_cast<long long>(cost.runs), grouped(std::llround(cost.flop / 1e9)).c_str(),
      fixed((4 * b.record().parameters + cost.bytes) / 1e9, 2).c_str(),
      duration(cost.flop / speed.flop_per_second).c_str(), threads, threads == 1 ? "" : "s",
      plain(speed.flop_per_second / 1e9).c_str(), static_cast<long long>(speed.windows));
  std::fflush(stdout);
}

// --- what is left behind ------------------------------------------------------------------------------------------------

// The report's files replace those of their names in the output folder; none of these may be one that is read.
void check_inputs_stay(const common_options& o) {
  std::vector<std::string> inputs;
  for (const std::string& m : o.models)
    for (const std::string& file : model_files(model_path(m))) inputs.push_back(file);
  inputs.insert(inputs.end(), o.texts.begin(), o.texts.end());
  inputs.insert(inputs.end(), o.ids.begin(), o.ids.end());
  for (const auto& [r, source] : o.roles) inputs.insert(inputs.end(), {source.text.value_or(""), source.ids});
  std::error_code ignored;
  for (const auto& name : report_files)
    if (const auto path = std::filesystem::path(o.out) / name; std::filesystem::exists(path, ignored))
      check_output_file(path.string(), "--out", inputs);
}

void write_report(const std::string& out, const study_record& record, const std::vector<finding>& findings) {
  const std::string report = resect::io::json_text(report_json(record, findings));
  const staged_folder folder(out);
  folder.write("clusters.npz", clusters_npz(record.sums));
  need(try_draw_plots(record, folder.path()));
  folder.write("report.html", report_html(record, findings));
  folder.write("report.json", report);
  folder.commit(report_files);
}

// A path as a reader may type it: below the current folder without what leads there.
std::string short_path(const std::string& path) {
  std::error_code ignored;
  const auto near = std::filesystem::proximate(path, ignored);
  return ignored || near.empty() || *near.begin() == ".." ? path : near.string();
}

int run(const recipe& what, common_options o) {
  const auto start = std::chrono::steady_clock::now();
  check_models(what, o);
  if (what.accept) what.accept(o);
  need(check_output_folder(o.out, report_files));
  need(check_gnuplot());
  for (const std::string& text : o.texts) read_file(text, "--text");  // before a large model is loaded
  check_inputs_stay(o);

  bench b(what, o);
  if (what.check) what.check(b);
  auto cost = what.cost(b);
  cost.flop += b.floor_flop();
  if (!o.quiet) {
    print_models(b);
    print_sets(b);
    print_cost(b, cost);
  }
  b.start_progress(cost);
  what.run(b);
  b.end_progress();
  const auto& record = b.record();
  const auto findings = find(record);
  write_report(o.out, record, findings);
  if (o.quiet) return 0;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%s\n%s\nreport in %s (report.html, report.json), %s\n", study_table(record).c_str(),
              findings_text(findings).c_str(), short_path(o.out).c_str(), duration(seconds).c_str());
  return 0;
}

}  // namespace

int study_main(const std::vector<recipe>& recipes, int argc, char** argv) {
  return guarded("study", [&] {
    const std::string named = named_recipe(argc, argv);
    if (named == "list") {
      std::fputs(list_of(recipes).c_str(), stdout);
      return 0;
    }
    const recipe& chosen = find_recipe(recipes, named);
    CLI::App app{"What does altering a model do to its outputs? A recipe says what is altered; this is " + chosen.name +
                     ": " + chosen.says + ".",
                 "study"};
    app.footer(list_of(recipes));
    common_options o;
    o.out = std::string(RESECT_BUILD_DIR "/study") + (named.empty() ? "" : "/" + chosen.name);
    o.windows.sequences = chosen.windows;
    declare(app, o);
    declare(app, chosen, o);
    const auto explain = [&](const std::vector<std::string>& left) { return explain_left_over(recipes, chosen, left); };
    if (const int done = parse(app, argc, argv, explain); done >= 0) return done;
    const bool small = o.models.empty() || !documents_of(model_path(o.models.front())).empty();
    if (app.count("--sequences") == 0 && !small) o.windows.sequences = resect::study::window_options{}.sequences;
    if (o.command.empty()) o.command = shell_command(argc, argv);
    return run(chosen, std::move(o));
  });
}

}  // namespace studies
