// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Activation patching: at which layer and position does the model hold the first step of a task that it will repeat?
#include <cstdio>
#include <string>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/resect.hpp>
#include <resect/residual/capture.hpp>
#include <resect/residual/patch.hpp>

int main() try {
  using resect::value_or_throw;
  using namespace resect::residual;
  const auto model = value_or_throw(hosts::try_load_llama("examples/models/tiny"));
  const auto words = value_or_throw(hosts::vocabulary::try_open("examples/models/tiny/vocab.txt"));
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);

  // Pairs of prompts that differ in their first step. Both batches have the same sequences and positions.
  const std::string steps[] = {"soars", "falls", "climbs", "sinks", "grows", "rises", "dips"};
  constexpr std::size_t pairs = 24;
  std::vector<row_meta> clean, corrupt;
  const auto add = [&](std::vector<row_meta>& to, std::size_t i, const std::string& first) {
    const auto task = "game from joe 15 ; " + first + " " + steps[(i + 1) % 7] + " end . which steps did joe take ?";
    for (const int id : value_or_throw(words.try_encode(task)).ids)
      to.push_back({static_cast<int>(i), static_cast<int>(to.size()) % 17, id, row_meta::wants_logits});
  };
  for (std::size_t i = 0; i < pairs; ++i) add(clean, i, steps[i % 7]), add(corrupt, i, steps[(i + 2 + i / 7) % 7]);

  // The difference of the logits of the two first steps after the last word, in every sequence under a plan.
  const auto differences = [&](const plan& p, const std::vector<row_meta>& batch) {
    value_or_throw(try_forward(host, p, batch));
    std::vector<double> out;
    for (std::size_t i = 0; i < pairs; ++i) {
      const auto logits = host.logits().row(static_cast<resect::index_t>(17 * i + 16));
      out.push_back(logits[clean[17 * i + 5].token] - logits[corrupt[17 * i + 5].token]);
    }
    return out;
  };
  row_store rows(site::resid_post, layers(0, 6), 256, 17 * pairs);
  value_or_throw(try_capture(host, plan{}, clean, rows));
  const resect::shared_value<row_store> source(std::move(rows));
  const auto best = differences({}, clean), base = differences({}, corrupt);
  for (int pos = 0; pos < 17; ++pos) {  // the share of the difference that the clean row of one place recovers
    std::printf("%-7s", words.word(clean[static_cast<std::size_t>(pos)].token).c_str());
    for (int l = 0; l < 6; ++l) {
      const auto here = patch(patch_direction::denoise, layer(l), site::resid_post, source);
      const auto got = differences(plan{} | at(range(pos, pos + 1), here), corrupt);
      resect::metrics::clustered_sums share(pairs);
      for (std::size_t i = 0; i < pairs; ++i)
        share.add(static_cast<resect::index_t>(i), (got[i] - base[i]) / (best[i] - base[i]));
      std::printf(" %5.2f [%5.2f,%5.2f]", share.estimate().value, share.estimate().lo, share.estimate().hi);
    }
    std::printf("\n");
  }
  return std::fflush(stdout) == 0 ? 0 : 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "activation_patching: %s\n", e.what()), 2;
}
