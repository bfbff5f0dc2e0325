// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stores one matrix of a model with fewer bits, and says what that does to the matrix and to the model.
#include <cstdio>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/quant/affine.hpp>
#include <resect/quant/loss.hpp>
#include <resect/quant/quantize.hpp>
#include <resect/quant/search/mse.hpp>
#include <resect/resect.hpp>
#include <resect/residual/swap_matrix.hpp>
#include <resect/study/compare_plans.hpp>

int main() try {
  using resect::value_or_throw;
  namespace quant = resect::quant;
  namespace residual = resect::residual;
  namespace study = resect::study;
  const auto model = value_or_throw(hosts::try_load_llama("examples/models/tiny"));
  const auto words = value_or_throw(hosts::vocabulary::try_open("examples/models/tiny/vocab.txt"));
  const auto text = value_or_throw(words.try_encode_file("examples/models/tiny/heldout.txt"));
  const auto windows = study::windows({text.ids, text.document}, {.sequences = 16});
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);

  // The widest matrix of the first layer, as the host gives it: (out, in), one row an output.
  resect::model::weight_desc weight = host.weights(0).front();
  for (const auto& w : host.weights(0))
    if (w.rows * w.cols > weight.rows * weight.cols) weight = w;
  std::vector<float> values(static_cast<std::size_t>(weight.rows * weight.cols));
  const resect::matrix_view<float> W{values.data(), weight.rows, weight.cols};
  value_or_throw(host.try_read_weight(weight, W));
  std::printf("%s of layer 0, %lld x %lld\n", weight.name.c_str(), static_cast<long long>(W.rows),
              static_cast<long long>(W.cols));

  std::vector<float> restored(values.size());
  const resect::matrix_view<float> V{restored.data(), W.rows, W.cols};
  std::vector<study::arm> arms;
  std::vector<double> size, error;
  const std::vector<int> precisions{8, 6, 5, 4, 3, 2};
  for (const int bits : precisions) {
    // A grid with a scale and a zero point every 64 columns, the scale with the least squared error.
    const quant::affine_format format{.bits = bits, .group = 64};
    value_or_throw(quant::try_visit(format, [&](auto f) -> resect::status {
      const auto q = quant::quantize(exec, W, f, quant::nearest{}, quant::mse_scale{});
      size.push_back(q.bits_per_weight());
      error.push_back(100 * quant::loss(exec, W, q).relative_frobenius);
      return quant::try_dequantize(exec, q, V);
    }));
    arms.push_back({residual::plan{} | residual::swap_matrix(residual::layer(0), weight.name.view(), V)});
  }
  const auto report = study::compare_plans(exec, host, windows, arms);
  for (std::size_t i = 0; i < arms.size(); ++i) {
    const auto& kl = report.rows[i].mean.kl;
    std::printf("%d bits (%.2f with scales): error %5.2f %% of the matrix, KL %.5f [%.5f, %.5f] nats\n", precisions[i],
                size[i], error[i], kl.value, kl.lo, kl.hi);
  }
  if (std::fflush(stdout) != 0) return std::perror("quantize_a_matrix"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "quantize_a_matrix: %s\n", e.what()), 2;
}
