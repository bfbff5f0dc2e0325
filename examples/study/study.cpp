// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The layer study: how much does each layer of a model matter?
#include <chrono>
#include <optional>
#include <thread>

#include <study/cli.hpp>
#include <study/input.hpp>

#include <hosts/llama/host.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/quant/grid_detector.hpp>
#include <resect/study/sensitivity.hpp>
#include <resect/compress/weight_methods.hpp>
#include <study/arguments.hpp>
#include <study/clusters.hpp>
#include <study/make_record.hpp>
#include <study/plots.hpp>
#include <study/progress_bar.hpp>
#include <study/report_html.hpp>
#include <study/report_json.hpp>
#include <study/staged_folder.hpp>
#include <study/table.hpp>

namespace {

namespace study = resect::study;
using backend = resect::cpu<resect::threads>;
using host = hosts::llama_host;

const std::vector<std::string> report_files{"clusters.npz", "norms.png", "sensitivity.png", "report.html",
                                            "report.json"};

struct arguments {
  std::string model = "tiny", model_name, ids, alterations = "skip,mean_delta,reinit,zero_stream";
  std::string out = "build/study", command;
  std::optional<std::string> text, layers;
  study::window_options windows;
  study::sensitivity_options study;
  int quantize_bits = 0, low_rank = 0;
  resect::index_t group = 64;
  std::string scale = "min-max", zero = "integer";
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  bool quiet = false;
};

void declare(CLI::App& app, arguments& a) {
  app.add_option("--model", a.model, "tiny, a GGUF file or a safetensors folder")->capture_default_str();
  app.add_option("--model-name", a.model_name, "name that the report shows (default: of the file or folder)");
  app.add_option("--text", a.text, "text to evaluate on (default: that of --ids, or the model folder's heldout.txt)");
  app.add_option("--ids", a.ids,
                 "token ids of the text (int32), for models without a plain vocabulary; without --text they are the "
                 "text that the report names");
  app.add_option("--sequences", a.windows.sequences, "windows to evaluate")->capture_default_str();
  app.add_option("--context", a.windows.context, "tokens a window")->capture_default_str();
  app.add_option("--layers", a.layers, "layers to alter, as in 0-3,7 (default: all)");
  app.add_option("--alterations", a.alterations, "what to do to them")->capture_default_str();
  app.add_option("--quantize", a.quantize_bits, "also: the layers' matrices at this many bits, 2 to 8")
      ->check(CLI::Range(2, 8));
  app.add_option("--group", a.group, "columns that share a scale, 0 for the whole row")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 31))
      ->capture_default_str();
  app.add_option("--scale", a.scale, "how scales are chosen: min-max or mse")
      ->check(CLI::IsMember({"min-max", "mse"}))
      ->capture_default_str();
  app.add_option("--zero", a.zero, "zero points: integer or symmetric")
      ->check(CLI::IsMember({"integer", "symmetric"}))
      ->capture_default_str();
  app.add_option("--low-rank", a.low_rank, "also: the layers' matrices as products of this rank")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--reinit-seeds", a.study.reinit_seeds, "seeds of re-initialization, 5 or more")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
  app.add_option("--seed", a.study.seed, "first seed")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53))
      ->capture_default_str();
  app.add_option("--threads", a.threads, "worker threads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--out", a.out, "folder of the report")->capture_default_str();
  app.add_option("--command", a.command, "command line that the report names (default: this one)");
  app.add_flag("--quiet", a.quiet, "no progress and no table, only the report");
}

// The report's files replace those of their names in the output folder; none of these may be one that is read.
void check_inputs_stay(const arguments& a, const app::text_source& text, const std::string& model_path) {
  auto inputs = app::model_files(model_path);
  inputs.insert(inputs.end(), {text.text, text.ids});
  std::error_code ignored;
  for (const auto& name : report_files)
    if (const auto path = std::filesystem::path(a.out) / name; std::filesystem::exists(path, ignored))
      app::check_output_file(path.string(), "--out", inputs);
}

// Seeds are numbers in JSON, which are exact below 2^53.
void check_seeds(const arguments& a) {
  const std::uint64_t last = (std::uint64_t{1} << 53) - static_cast<std::uint64_t>(a.study.reinit_seeds);
  if (a.study.seed > last)
    app::fail({resect::errc::invalid_argument, "--seed", resect::text(a.study.seed),
               resect::text("0 to ", last, ", so that ", a.study.reinit_seeds, " seeds are exact in a report")});
}

std::string shown_name(const arguments& a, const std::string& model_path) {
  if (!a.model_name.empty()) return a.model_name;
  std::filesystem::path path = std::filesystem::path(model_path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
}

double parameters_of(const host& h) {
  const auto& m = h.describe();
  double n = static_cast<double>(m.d_model) * (static_cast<double>(m.n_vocab) * (m.tied_head ? 1 : 2) + 1);
  for (int l = 0; l < m.n_layers; ++l)
    for (const auto& w : h.weights(l)) n += static_cast<double>(w.rows * w.cols);
  return n;
}

// Floating point operations a second, from passes through the whole model over a few windows, comparison of
// the outputs included.
struct speed {
  resect::index_t windows = 0;
  double flop_per_second = 0;
};

speed measure_speed(backend& exec, host& h, const study::token_windows& evaluation,
                    const study::sensitivity_options& o) {
  study::token_windows few = evaluation;
  few.n_windows = std::min<resect::index_t>(4, evaluation.n_windows);
  const auto rows =
      evaluation.rows.size() / static_cast<std::size_t>(evaluation.n_windows) * static_cast<std::size_t>(few.n_windows);
  few.rows.resize(rows);
  few.cluster.resize(rows);
  study::intact_outputs outputs;
  study::head_workspace work{.rows = o.head_rows};
  app::need(study::try_baseline(exec, h, few, work, outputs));  // not timed: memory is touched first here

  const double flop = study::estimate_cost(h, few, 0, o).baseline_flop;
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  int passes = 0;
  do {
    auto state = app::need(h.try_embed(few.rows));
    app::need(h.try_run(state, 0, h.describe().n_layers, resect::model::no_hooks<float>()));
    app::need(study::try_effect(exec, h, state, few, outputs, work));
    ++passes;
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  } while (seconds < 0.3 && passes < 20);
  return {few.n_windows, flop * passes / seconds};
}

// A way to store matrices that was asked for, under the name of its rows.
struct named_method {
  std::string name;
  resect::compress::weight_method method;
  std::vector<app::method_option> options;
};

std::vector<named_method> methods(backend& exec, const arguments& a) {
  namespace quant = resect::quant;
  std::vector<named_method> out;
  if (a.quantize_bits > 0) {
    const quant::affine_format format{
        a.quantize_bits, a.zero == "symmetric" ? quant::zero_point::symmetric : quant::zero_point::integer, a.group};
    out.push_back({"quantize",
                   a.scale == "mse" ? resect::compress::quantize_weights(format, quant::mse_scale{})
                                    : resect::compress::quantize_weights(format),
                   {{"bits", static_cast<double>(a.quantize_bits)},
                    {"group", static_cast<double>(a.group)},
                    {"zero", 0, a.zero},
                    {"scale", 0, a.scale}}});
  }
  if (a.low_rank > 0) {
    const resect::factor::truncated_svd_options svd{.rank = a.low_rank, .error_probes = 0};
    out.push_back({"low_rank",
                   resect::compress::factorize_weights(exec, svd),
                   {{"rank", static_cast<double>(svd.rank)},
                    {"oversampling", static_cast<double>(svd.oversampling)},
                    {"power_iterations", static_cast<double>(svd.power_iterations)},
                    {"seed", static_cast<double>(svd.seed)}}});
  }
  return out;
}

// A rank that no matrix of the chosen layers is larger than would alter nothing.
void check_rank(const host& h, const arguments& a) {
  if (a.low_rank == 0) return;
  resect::index_t largest = 0;
  for (int l = 0; l < h.describe().n_layers; ++l)
    if (const auto& only = a.study.layers; only.empty() || std::find(only.begin(), only.end(), l) != only.end())
      for (const auto& w : h.weights(l))
        if (w.role == resect::model::weight_role::matrix) largest = std::max(largest, std::min(w.rows, w.cols));
  if (a.low_rank >= largest)
    app::fail({resect::errc::invalid_argument, "--low-rank", resect::text(a.low_rank),
               resect::text("1 to ", largest - 1, ", as no matrix of these layers has a rank above ", largest)});
}

// How many matrices of the layers lie on a grid of few bits already: a quantizer that meets it makes no error.
app::grid_record look_for_grids(backend& exec, const host& h, const std::vector<int>& layers) {
  app::grid_record out;
  for (const int l : layers)
    for (const auto& w : h.weights(l)) {
      if (w.role != resect::model::weight_role::matrix) continue;
      std::vector<float> values(static_cast<std::size_t>(w.rows * w.cols));
      app::need(h.try_read_weight(w, {values.data(), w.rows, w.cols}));
      const auto found = app::need(
          resect::quant::try_detect_grid(exec, resect::matrix_view<const float>{values.data(), w.rows, w.cols}));
      ++out.matrices;
      if (!found.found()) continue;
      if (out.on_grid++ == 0) {
        out.bits = found.bits;
        out.group = found.group;
        out.kind = resect::quant::name(found.kind);
      }
    }
  return out;
}

void print_plan(const app::study_record& r, const study::sensitivity_cost& cost, const speed& s, int threads) {
  std::printf("model  %s: %d layers, width %d, vocabulary %s, %.1f million parameters\n", r.model.name.c_str(),
              r.model.layers, r.model.d_model, app::grouped(r.model.vocabulary).c_str(), r.model.parameters / 1e6);
  const std::string documents =
      r.text.documents ? " (from " + std::to_string(r.evaluation.clusters) + " documents)" : std::string();
  std::printf("text   %s: %s tokens\n       %lld windows of %lld evaluated%s, %lld others for calibration\n",
              r.text.name.c_str(), app::grouped(r.text.tokens).c_str(), static_cast<long long>(r.evaluation.windows),
              static_cast<long long>(r.evaluation.context), documents.c_str(),
              static_cast<long long>(r.calibration.windows));
  std::printf(
      "cost   %lld altered models, %s GFLOP, %s GB of memory; about %s on %d thread%s\n"
      "       (at %s GFLOP/s, timed just now on %lld of the windows)\n\n",
      static_cast<long long>(cost.runs), app::grouped(std::llround(cost.flop / 1e9)).c_str(),
      app::fixed((4 * r.model.parameters + cost.bytes) / 1e9, 2).c_str(),
      app::duration(cost.flop / s.flop_per_second).c_str(), threads, threads == 1 ? "" : "s",
      app::plain(s.flop_per_second / 1e9).c_str(), static_cast<long long>(s.windows));
  std::fflush(stdout);
}

study::sensitivity_report run_study(backend& exec, host& h, const study::token_windows& evaluation,
                                    const study::token_windows& calibration, const arguments& a) {
  app::progress_bar bar(a.quiet ? app::progress_bar::style::silent : app::progress_bar::style_of_stderr());
  return app::need(study::try_sensitivity(exec, h, evaluation, calibration, a.study, [&](const study::progress& p) {
    const bool altered = p.step != "baseline" && p.step != "calibration";
    bar.show(p.done, p.total,
             altered ? std::string(p.step) + " of layer " + std::to_string(p.layer) : std::string("intact model"));
  }));
}

study::compression_report run_compression(backend& exec, host& h, const study::token_windows& evaluation,
                                          const study::token_windows& calibration, const arguments& a,
                                          const resect::compress::weight_method& method) {
  app::progress_bar bar(a.quiet ? app::progress_bar::style::silent : app::progress_bar::style_of_stderr());
  const study::compression_options options{
      .layers = a.study.layers, .seed = a.study.seed, .bootstrap = a.study.bootstrap, .head_rows = a.study.head_rows};
  return app::need(
      study::try_compression(exec, h, evaluation, calibration, method, options, [&](const study::progress& p) {
        bar.show(p.done, p.total, std::string(method.name.view()) + ", layer " + std::to_string(p.layer));
      }));
}

void write_report(const std::string& out, const app::study_record& record, const std::vector<app::finding>& findings,
                  const std::string& clusters) {
  const app::staged_folder folder(out);
  folder.write("clusters.npz", clusters);
  app::need(app::try_draw_plots(record, folder.path()));
  folder.write("report.html", app::report_html(record, findings));
  folder.write("report.json", app::report_text(app::report_json(record, findings)));
  folder.commit(report_files);
}

int run(arguments a) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector all{study::alteration::skip, study::alteration::mean_delta, study::alteration::reinit,
                        study::alteration::zero_stream};
  a.study.alterations = app::need(
      app::try_parse_names(a.alterations, "--alterations", all, [](study::alteration x) { return study::name(x); }));
  check_seeds(a);
  app::need(app::check_output_folder(a.out, report_files));
  app::need(app::check_gnuplot());
  const std::string model_path = app::model_path(a.model);
  const auto text = app::choose_text(a.text, a.ids, model_path);
  app::read_file(text.text, "--text");  // before a large model is loaded
  check_inputs_stay(a, text, model_path);

  const auto model = app::need(hosts::try_load_llama(model_path));
  if (a.layers) a.study.layers = app::need(app::try_parse_layers(*a.layers, model.config.n_layers));
  const auto tokens = app::read_tokens(text, model_path, model.config.n_vocab);
  a.windows.bos = model.config.bos;
  const auto evaluation = app::need(study::try_windows(tokens.view(), a.windows));
  study::token_windows calibration;  // of the means and of word frequencies
  if (study::detail::needs_calibration(a.study) || a.quantize_bits > 0 || a.low_rank > 0)
    calibration = app::need(study::try_calibration_windows(tokens.view(), evaluation, a.windows));

  app::note_long_context(a.windows.context, model.config.context);

  backend exec{resect::threads{a.threads}};
  host h(exec, model);
  check_rank(h, a);
  app::study_record record;
  record.command = a.command;
  record.model = {shown_name(a, model_path), app::hexadecimal(model.fingerprint),
                  model.config.n_layers,     model.config.d_model,
                  model.config.n_vocab,      parameters_of(h)};
  record.text = {tokens.name, tokens.sha256, app::sha256_of_ids(tokens.ids),
                 static_cast<std::int64_t>(tokens.ids.size()), !tokens.documents.empty()};
  record.evaluation = app::to_record(evaluation);
  record.calibration = app::to_record(calibration);
  record.options = app::to_record(a.study, a.windows);
  record.baseline.unigram_nll = app::unigram_nll(app::need(study::try_unigrams(tokens.view(), evaluation)), evaluation,
                                                 model.config.n_vocab);

  const auto compress = methods(exec, a);
  if (!a.quiet) {
    auto cost = study::estimate_cost(h, evaluation, static_cast<resect::index_t>(calibration.rows.size()), a.study);
    for (std::size_t i = 0; i < compress.size(); ++i) {
      const auto more = study::estimate_compression_cost(h, evaluation, {.layers = a.study.layers});
      cost.runs += more.runs;
      cost.flop += more.flop;
      cost.bytes = std::max(cost.bytes, more.bytes);
    }
    print_plan(record, cost, measure_speed(exec, h, evaluation, a.study), a.threads);
  }
  const auto measured = run_study(exec, h, evaluation, calibration, a);
  app::add_results(record, measured);
  std::vector<app::named_compression> compressions;
  for (const auto& [name, method, options] : compress) {
    compressions.push_back({name, run_compression(exec, h, evaluation, calibration, a, method), options});
    app::add_results(record, compressions.back());
  }
  if (!compress.empty()) record.grid = look_for_grids(exec, h, record.layers);
  const auto findings = app::find(record);
  write_report(a.out, record, findings, app::clusters_npz(measured, evaluation, compressions));
  if (a.quiet) return 0;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%s\n%s\nreport in %s (report.html, report.json), %s\n", app::study_table(record).c_str(),
              app::findings_text(findings).c_str(), a.out.c_str(), app::duration(seconds).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App options{
      "How much does each layer of a model matter? Every layer is altered alone, and the outputs are "
      "compared with the intact model's.",
      "study"};
  arguments a;
  declare(options, a);
  if (const int done = app::parse(options, argc, argv); done >= 0) return done;
  if (a.command.empty()) a.command = app::shell_command(argc, argv);
  return app::guarded("study", [&] { return run(a); });
}
