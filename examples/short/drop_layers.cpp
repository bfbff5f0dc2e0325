// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Drops the n neighbouring layers whose input and output differ by the least angle, and says what that costs.
#include <cstdio>
#include <string>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/metrics/similarity/angular_table.hpp>
#include <resect/resect.hpp>
#include <resect/residual/capture.hpp>
#include <resect/study/compare_plans.hpp>

int main() try {
  using resect::value_or_throw;
  namespace residual = resect::residual;
  namespace study = resect::study;
  const auto model = value_or_throw(hosts::try_load_llama("examples/models/tiny"));
  const auto words = value_or_throw(hosts::vocabulary::try_open("examples/models/tiny/vocab.txt"));
  const auto text = value_or_throw(words.try_encode_file("examples/models/tiny/heldout.txt"));
  const study::token_text all{text.ids, text.document};
  const auto windows = study::windows(all, {.sequences = 64});
  const auto calibration = study::calibration_windows(all, windows, {.sequences = 64});
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);
  const int n_layers = host.describe().n_layers;
  const resect::index_t width = host.describe().d_model, rows = static_cast<resect::index_t>(calibration.rows.size());

  // The stream before and after every layer at the last token of each calibration window, and the angles between them.
  residual::row_store embedded(residual::site::resid_pre, residual::layer(0), width, rows);
  residual::row_store outputs(residual::site::resid_post, residual::layers(0, n_layers), width, rows);
  for (auto* store : {&embedded, &outputs})
    value_or_throw(residual::try_capture(host, residual::plan{}, calibration.rows, *store));
  resect::metrics::angular_table angles(calibration.n_windows, n_layers + 1);
  for (int w = 0; w < calibration.n_windows; ++w) {
    const resect::model::token_place last{w, static_cast<int>(calibration.context) - 1};
    const auto first = embedded.find(0, last);
    std::vector<float> stream(first.begin(), first.end());
    for (int l = 0; l < n_layers; ++l)
      for (const float x : outputs.find(l, last)) stream.push_back(x);
    angles.add(w, {stream.data(), n_layers + 1, width});
  }

  // What is chosen on the calibration windows is judged on others.
  std::vector<study::arm> arms;
  for (int n = 1; n < n_layers; ++n) {
    const int first = static_cast<int>(angles.best_block(n));
    arms.push_back({residual::plan{} | residual::skip(residual::layers(first, first + n)), {}});
  }
  for (const auto& row : study::compare_plans(exec, host, windows, arms).rows) {
    const auto ratio = resect::metrics::map_exp(row.mean.dlnppl);
    std::printf("%-8s perplexity x %6.3f [%.3f, %.3f], KL %.3f nats [%.3f, %.3f]\n", row.label.c_str(), ratio.value,
                ratio.lo, ratio.hi, row.mean.kl.value, row.mean.kl.lo, row.mean.kl.hi);
  }
  if (std::fflush(stdout) != 0) return std::perror("drop_layers"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "drop_layers: %s\n", e.what()), 2;
}
