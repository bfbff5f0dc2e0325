// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes the logits of a stretch of tokens as float32, row-major: for comparing runtimes.
#include <study/io/cli.hpp>
#include <study/io/input.hpp>
#include <study/io/output.hpp>

#include <hosts/llama/host.hpp>
#include <resect/backend/cpu.hpp>

int main(int argc, char** argv) {
  CLI::App options{"Logits of a stretch of tokens", "logits"};
  std::string model = "tiny", ids, out;
  int first = 0, count = 64, threads = 2;
  options.add_option("--model", model, "tiny, a GGUF file or a safetensors folder");
  options.add_option("--ids", ids, "token ids, int32")->required();
  options.add_option("--first", first, "first id")->check(CLI::NonNegativeNumber);
  options.add_option("--count", count, "number of ids, one sequence from position 0")->check(CLI::PositiveNumber);
  options.add_option("--threads", threads, "worker threads")->check(CLI::PositiveNumber);
  options.add_option("--out", out, "file to write")->required();
  if (const int done = studies::parse(options, argc, argv); done >= 0) return done;

  return studies::guarded("logits", [&] {
    const std::string model_path = studies::model_path(model);
    auto inputs = studies::model_files(model_path);
    inputs.push_back(ids);
    studies::check_output_file(out, "--out", inputs);
    const auto loaded = studies::need(hosts::try_load_llama(model_path));
    const auto tokens = studies::need(hosts::try_read_ids(ids));
    if (static_cast<std::size_t>(first) + static_cast<std::size_t>(count) > tokens.size())
      studies::fail({resect::errc::invalid_argument, "ids to run", resect::text("[", first, ", ", first + count, ")"),
                     resect::text("a stretch of the ", tokens.size(), " ids")});
    resect::cpu exec{resect::threads{threads}};
    hosts::llama_host host(exec, loaded);
    std::vector<resect::model::row_meta> batch;
    for (int i = 0; i < count; ++i)
      batch.push_back({0, i, tokens[static_cast<std::size_t>(first + i)], resect::model::row_meta::wants_logits});
    studies::need(host.try_forward(batch, resect::model::no_hooks<float>()));

    const auto logits = host.logits();
    studies::write_file(
        out, {reinterpret_cast<const char*>(logits.data), static_cast<std::size_t>(logits.rows * logits.cols) * 4});
    return 0;
  });
}
