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
  using namespace resect::residual;
  const auto model = value_or_throw(hosts::try_load_llama("examples/models/tiny"));
  const auto words = value_or_throw(hosts::vocabulary::try_open("examples/models/tiny/vocab.txt"));
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);

  // Pairs of prompts that differ in their first step. Both batches have the same sequences and positions.
  const std::string steps[] = {"soars", "falls", "climbs", "sinks", "grows", "rises", "dips"};
  constexpr int pairs = 24, length = 16, first_step = 6;
  std::vector<row_meta> clean, corrupt;
  const auto add = [&](std::vector<row_meta>& to, int seq, const std::string& first) {
    const auto task = "game from joe 15 ; " + first + " " + steps[(seq + 1) % 7] + " end . which steps did joe take ?";
    const auto ids = value_or_throw(words.try_encode(task)).ids;
    for (int pos = 0; const int id : ids) to.push_back({seq, pos++, id, row_meta::wants_logits});
    return ids[first_step];
  };
  int right[pairs], wrong[pairs];
  for (int i = 0; i < pairs; ++i)
    right[i] = add(clean, i, steps[i % 7]), wrong[i] = add(corrupt, i, steps[(i + 2 + i / 7) % 7]);
  // How much more the last row of a sequence bets on the clean first step than on the corrupt one.
  const auto bets = [&](int i) {
    return host.logits()((i + 1) * length - 1, right[i]) - host.logits()((i + 1) * length - 1, wrong[i]);
  };
  double best[pairs], base[pairs];
  row_store rows(site::resid_post, layers(0, 6), 256, length * pairs);
  value_or_throw(try_capture(host, plan{}, clean, rows));
  for (int i = 0; i < pairs; ++i) best[i] = bets(i);
  forward(host, plan{}, corrupt);
  for (int i = 0; i < pairs; ++i) base[i] = bets(i);
  const resect::shared_value<row_store> source(std::move(rows));
  for (int pos = 0; pos < length; ++pos) {  // the share of the difference that the clean row of one place recovers
    std::printf("%-7s", words.word(clean[static_cast<std::size_t>(pos)].token).c_str());
    for (int l = 0; l < 6; ++l) {
      const auto here = at(range(pos, pos + 1), patch(patch_direction::denoise, layer(l), site::resid_post, source));
      forward(host, plan{} | here, corrupt);
      resect::metrics::clustered_sums share(pairs);
      for (int i = 0; i < pairs; ++i) share.add(i, (bets(i) - base[i]) / (best[i] - base[i]));
      std::printf(" %5.2f [%5.2f,%5.2f]", share.estimate().value, share.estimate().lo, share.estimate().hi);
    }
    std::printf("\n");
  }
  if (std::fflush(stdout) != 0) return std::perror("activation_patching"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "activation_patching: %s\n", e.what()), 2;
}
