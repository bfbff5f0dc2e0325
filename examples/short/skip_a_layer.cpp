// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Leaves one layer out of a model and says what that costs.
//   skip_a_layer [FOLDER [LAYER]]     a model folder with heldout.txt and vocab.txt (the small model), and a layer (3)
#include <cstdio>
#include <cstdlib>
#include <string>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/resect.hpp>
#include <resect/study/compare_plans.hpp>

int main(int argc, char** argv) try {
  using resect::value_or_throw;
  namespace residual = resect::residual;
  namespace study = resect::study;
  const std::string folder = argc > 1 ? argv[1] : "examples/models/tiny";
  const int layer = argc > 2 ? std::atoi(argv[2]) : 3;

  // A model, and a text as token ids. Windows of the text are what the models are run on.
  const auto model = value_or_throw(hosts::try_load_llama(folder));
  const auto words = value_or_throw(hosts::vocabulary::try_open(folder + "/vocab.txt"));
  const auto text = value_or_throw(words.try_encode_file(folder + "/heldout.txt"));
  const auto windows = study::windows({text.ids, text.document}, {.sequences = 32, .context = 64});

  // Whoever multiplies, and the runtime that resect works on.
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);

  // The intact model, and the same windows without the layer. A plan says what is done to the model; it can hold many
  // steps, and many plans can be compared at once.
  const auto plan = residual::plan{} | residual::skip(residual::layer(layer));
  const auto report = study::compare_plans(exec, host, windows, {{plan}});
  const auto& effect = report.rows.front().mean;

  const auto ppl = report.intact.ppl.estimate();
  const auto ratio = resect::metrics::map_exp(effect.dlnppl);  // exp Δln PPL is the ratio of the perplexities
  std::printf("%s without layer %d, %lld tokens in %lld documents\n", model.name.c_str(), layer,
              static_cast<long long>(effect.kl.n), static_cast<long long>(effect.kl.n_clusters));
  std::printf("  KL(intact, altered)   %.3f nats [%.3f, %.3f]\n", effect.kl.value, effect.kl.lo, effect.kl.hi);
  std::printf("  same first choice     %.1f %% [%.1f, %.1f]\n", 100 * effect.top1.value, 100 * effect.top1.lo,
              100 * effect.top1.hi);
  std::printf("  perplexity            %.2f intact, %.3f [%.3f, %.3f] times that without the layer\n", ppl.value,
              ratio.value, ratio.lo, ratio.hi);
  if (std::fflush(stdout) != 0) return std::perror("skip_a_layer"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "skip_a_layer: %s\n", e.what()), 2;
}
