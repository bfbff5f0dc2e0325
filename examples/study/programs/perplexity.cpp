// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Perplexity of a text by llama.cpp's chunking: chunk i holds ids [i·C, (i + 1)·C) and is run from position 0;
// positions C/2 … C−2 are scored on the id that follows. Where the model asks for a BOS it takes the place of a
// chunk's first id.
#include <chrono>
#include <optional>
#include <thread>

#include <study/io/cli.hpp>
#include <study/io/input.hpp>
#include <study/io/output.hpp>

#include <hosts/llama/host.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/io/report.hpp>
#include <resect/metrics/accumulators/perplexity.hpp>
#include <resect/metrics/rows/logits.hpp>
#include <study/io/arguments.hpp>
#include <study/io/progress_bar.hpp>
#include <study/programs/chunk.hpp>
#include <study/report/numbers.hpp>

namespace {

struct arguments {
  std::string model = "tiny", ids, json;
  std::optional<std::string> text;
  int chunks = 0, context = 512;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
};

void declare(CLI::App& app, arguments& a) {
  app.add_option("--model", a.model, "tiny, a GGUF file or a safetensors folder")->capture_default_str();
  app.add_option("--text", a.text,
                 "text, for models with a plain vocabulary (default: the model folder's heldout.txt)");
  app.add_option("--ids", a.ids, "token ids of the text (int32), for other models");
  app.add_option("--chunks", a.chunks, "chunks to score, 0 for all that fit")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--context", a.context, "tokens a chunk")->capture_default_str()->check(CLI::Range(4, 1 << 20));
  app.add_option("--threads", a.threads, "worker threads")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--json", a.json, "file to write the figures to");
}

int chunks_to_score(const arguments& a, std::size_t ids) {
  const auto fit = static_cast<long long>(ids) / a.context;
  if (fit == 0 || a.chunks > fit)
    studies::fail({resect::errc::invalid_argument,
                   resect::text(std::max(a.chunks, 1), " chunks of ", a.context, " tokens"),
                   resect::text("a text of ", ids, " tokens"),
                   fit == 0 ? resect::text("a text of ", a.context, " tokens or more")
                            : resect::text("at most ", fit, " chunks of ", a.context)});
  return a.chunks > 0 ? a.chunks : static_cast<int>(fit);
}

resect::metrics::perplexity score(const arguments& a, const hosts::llama_model& model,
                                  std::span<const std::int32_t> ids, int chunks) {
  resect::cpu exec{resect::threads{a.threads}};
  hosts::llama_host host(exec, model);
  studies::progress_bar bar(studies::progress_bar::style_of_stderr());
  const int first = a.context / 2;
  resect::metrics::perplexity out(chunks, {.window = a.context, .skip = first, .bos = model.config.bos >= 0});
  std::vector<double> nll(static_cast<std::size_t>(a.context - 1 - first));
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const auto tokens = ids.subspan(static_cast<std::size_t>(chunk) * static_cast<std::size_t>(a.context),
                                    static_cast<std::size_t>(a.context));
    const auto batch =
        studies::chunk_batch(a.context, model.config.bos, [&](int i) { return tokens[static_cast<std::size_t>(i)]; });
    host.forget(0);
    studies::need(host.try_forward(batch, resect::model::no_hooks<float>()));
    const auto logits = host.logits();
    exec.bulk(logits.rows, [&](resect::index_t r) {
      const auto row = logits.row(r);
      nll[static_cast<std::size_t>(r)] = resect::metrics::nll({row.data, static_cast<std::size_t>(row.size)},
                                                              tokens[static_cast<std::size_t>(first + 1 + r)]);
    });
    for (std::size_t i = 0; i < nll.size(); ++i) {
      if (!std::isfinite(nll[i]))
        studies::fail({resect::errc::not_finite,
                       resect::text("logits of chunk ", chunk, ", position ", first + static_cast<int>(i)),
                       "NaN or infinite values", "finite logits"});
      out.add(chunk, nll[i]);
    }
    bar.show(chunk + 1, chunks, "chunk " + std::to_string(chunk + 1) + " of " + std::to_string(chunks));
  }
  return out;
}

int run(const arguments& a) {
  const std::string model_path = studies::model_path(a.model);
  const auto text = studies::choose_texts(a.text ? std::vector{*a.text} : std::vector<std::string>{},
                                          a.ids.empty() ? std::vector<std::string>{} : std::vector{a.ids}, model_path);
  auto inputs = studies::model_files(model_path);
  inputs.insert(inputs.end(), {text.front().text, text.front().ids});
  studies::check_output_file(a.json, "--json", inputs);
  const auto model = studies::need(hosts::try_load_llama(model_path));
  const auto ids = studies::read_tokens(text, model_path, model.config.n_vocab).ids;
  const int chunks = chunks_to_score(a, ids.size());
  studies::note_long_context(a.context, model.config.context);

  const auto start = std::chrono::steady_clock::now();
  const auto measured = score(a, model, ids, chunks);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto by_token = measured.estimate_tokens();
  const auto by_chunk = measured.estimate();
  const double rate = static_cast<double>(chunks) * a.context / seconds;

  std::printf("PPL = %.4f ± %.4f (tokens independent, as llama.cpp) ± %s (by chunk)%s\n", by_token.value, by_token.se,
              studies::fixed(by_chunk.se, 4).c_str(),
              by_chunk.has_interval() ? "" : ", too few chunks for an interval (6 are needed)");
  if (by_chunk.has_interval())
    std::printf(
        "95 %% interval by chunk: %.4f to %.4f%s\n", by_chunk.lo, by_chunk.hi,
        resect::metrics::reliability_of(by_chunk) == resect::metrics::reliability::marked ? " (few chunks)" : "");
  std::printf("%s tokens scored in %d chunks of %d, %s (%.1f tokens/s run)\n", studies::grouped(by_token.n).c_str(),
              chunks, a.context, studies::duration(seconds).c_str(), rate);
  if (!a.json.empty())
    studies::write_file(a.json,
                        resect::io::json_text(nlohmann::ordered_json{{"ppl", by_token.value},
                                                                     {"se_tokens", resect::io::to_json(by_token.se)},
                                                                     {"se_clustered", resect::io::to_json(by_chunk.se)},
                                                                     {"lo", resect::io::to_json(by_chunk.lo)},
                                                                     {"hi", resect::io::to_json(by_chunk.hi)},
                                                                     {"tokens", by_token.n},
                                                                     {"chunks", chunks},
                                                                     {"context", a.context},
                                                                     {"skip", measured.rule().skip},
                                                                     {"bos", measured.rule().bos},
                                                                     {"seconds", seconds},
                                                                     {"tokens_per_second", rate}}));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App options{"Perplexity of a text, by llama.cpp's chunking", "perplexity"};
  arguments a;
  declare(options, a);
  if (const int done = studies::parse(options, argc, argv); done >= 0) return done;
  return studies::guarded("perplexity", [&] { return run(a); });
}
