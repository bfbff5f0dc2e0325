// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times prefill: one sequence from an empty cache, logits of the last token, as engines' benchmarks do.
#include <chrono>

#include <study/io/cli.hpp>
#include <study/io/input.hpp>
#include <study/io/output.hpp>

#include <hosts/llama/host.hpp>
#include <nlohmann/json.hpp>
#include <resect/backend/cpu.hpp>

int main(int argc, char** argv) {
  CLI::App options{"Prefill speed", "prefill_bench"};
  std::string model = "tiny", json;
  int tokens = 512, threads = 2, repeat = 5;
  options.add_option("--model", model, "tiny, a GGUF file or a safetensors folder");
  options.add_option("--tokens", tokens, "length of the prompt")->check(CLI::PositiveNumber);
  options.add_option("--threads", threads, "worker threads")->check(CLI::PositiveNumber);
  options.add_option("--repeat", repeat, "timed passes, after one that is not timed")->check(CLI::PositiveNumber);
  options.add_option("--json", json, "file to write the figures to");
  if (const int done = studies::parse(options, argc, argv); done >= 0) return done;

  return studies::guarded("prefill_bench", [&] {
    const std::string model_path = studies::model_path(model);
    studies::check_output_file(json, "--json", studies::model_files(model_path));
    const auto loaded = studies::need(hosts::try_load_llama(model_path));
    resect::cpu exec{resect::threads{threads}};
    hosts::llama_host host(exec, loaded);
    std::vector<resect::model::row_meta> batch;
    for (int i = 0; i < tokens; ++i)
      batch.push_back({0, i, static_cast<std::int32_t>(i * 7919ll % loaded.config.n_vocab), 0});
    batch.back().flags = resect::model::row_meta::wants_logits;

    nlohmann::json rates = nlohmann::json::array();
    for (int i = 0; i <= repeat; ++i) {
      host.forget(0);
      const auto start = std::chrono::steady_clock::now();
      studies::need(host.try_forward(batch, resect::model::no_hooks<float>()));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (i == 0) continue;
      rates.push_back(tokens / seconds);
      std::printf("%.1f tokens/s\n", tokens / seconds);
    }
    if (!json.empty())
      studies::write_file(
          json, nlohmann::json{{"tokens", tokens}, {"threads", threads}, {"tokens_per_second", rates}}.dump(1) + "\n");
    return 0;
  });
}
