// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Are two models the same? Compares them token by token on one text: a fine-tuned model with its base, a quantized one
// with the original, an export with its source. Both need the same vocabulary.
//   compare_two_models A B [TEXT]     folders with model.safetensors, or GGUF files; the vocabulary is the small
//   model's
#include <algorithm>
#include <cstdio>
#include <string>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/resect.hpp>

int main(int argc, char** argv) try {
  using resect::value_or_throw;
  namespace study = resect::study;
  if (argc < 3) return std::fprintf(stderr, "usage: compare_two_models A B [TEXT]\n"), 2;
  const std::string tiny = "examples/models/tiny";
  const auto words = value_or_throw(hosts::vocabulary::try_open(tiny + "/vocab.txt"));
  const auto text = value_or_throw(words.try_encode_file(argc > 3 ? argv[3] : tiny + "/heldout.txt"));
  const auto windows = study::windows({text.ids, text.document}, {.sequences = 32});

  resect::cpu exec{resect::threads{2}};
  const auto first = value_or_throw(hosts::try_load_llama(argv[1]));
  const auto second = value_or_throw(hosts::try_load_llama(argv[2]));
  hosts::llama_host a(exec, first), b(exec, second);
  if (a.describe().n_vocab != b.describe().n_vocab || a.describe().d_model != b.describe().d_model)
    return std::fprintf(stderr, "compare_two_models: the models differ in vocabulary or width\n"), 2;

  // Both models' outputs are compared row by row. Differences are taken of the same token, so what both find hard
  // cancels: intervals are far narrower than those of the two perplexities.
  using runner = study::runner<resect::cpu<resect::threads>, decltype(a)>;
  const auto of_a = value_or_throw(runner::try_start(exec, a, windows));
  const auto of_b = value_or_throw(runner::try_start(exec, b, windows));
  study::effect_sums sums(windows.n_clusters);
  for (resect::index_t r = 0; r < static_cast<resect::index_t>(windows.rows.size()); ++r) {
    const resect::index_t next = windows.next_token(r), cluster = windows.cluster[static_cast<std::size_t>(r)];
    const auto c = resect::metrics::compare_logits(of_a.outputs().logits_of(r), of_b.outputs().logits_of(r), next);
    sums.kl.add(cluster, c.kl);
    sums.top1.add(cluster, c.top1_full, c.top1_edited, c.tie_full || c.tie_edited);
    if (next >= 0) sums.dlnppl.add(cluster, c.nll_full, c.nll_edited);
  }
  const auto effect = sums.estimate();
  const auto ppl = of_a.intact().ppl.estimate();
  const auto ratio = resect::metrics::map_exp(effect.dlnppl);
  std::printf("perplexity of A   %.3f [%.3f, %.3f]\n", ppl.value, ppl.lo, ppl.hi);
  std::printf("perplexity B / A  %.4f [%.4f, %.4f]\n", ratio.value, ratio.lo, ratio.hi);
  std::printf("KL(A, B)          %.5f [%.5f, %.5f] nats a token\n", effect.kl.value, effect.kl.lo, effect.kl.hi);
  const auto& same = effect.top1;
  std::printf("same first choice %.2f %% [%.2f, %.2f]\n", 100 * same.value, 100 * same.lo, 100 * same.hi);
  const double p = 2 * std::min(resect::metrics::p_above(effect.dlnppl, 0), resect::metrics::p_below(effect.dlnppl, 0));
  std::printf("%s\n", effect.kl.value == 0 ? "The outputs are the same."
                      : p <= 0.05          ? "The perplexities differ."
                                           : "No difference of perplexity shown.");
  if (std::fflush(stdout) != 0) return std::perror("compare_two_models"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "compare_two_models: %s\n", e.what()), 2;
}
