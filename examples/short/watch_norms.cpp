// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Watches the residual stream of an intact model: how long are the rows that each layer reads?
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/resect.hpp>

int main() try {
  using resect::value_or_throw;
  namespace residual = resect::residual;
  const auto model = value_or_throw(hosts::try_load_llama("examples/models/tiny"));
  const auto words = value_or_throw(hosts::vocabulary::try_open("examples/models/tiny/vocab.txt"));
  const auto text = value_or_throw(words.try_encode_file("examples/models/tiny/heldout.txt"));
  const auto windows = resect::study::windows({text.ids, {}}, {.sequences = 24});  // a window is a cluster
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);

  // Accumulators take numbers as they come and end in an estimate with an interval; they need no memory for the rows.
  const auto layers = static_cast<std::size_t>(host.describe().n_layers);
  std::vector<resect::metrics::clustered_sums> norms(layers, resect::metrics::clustered_sums(windows.n_clusters));
  std::vector<resect::metrics::log_histogram> spread(layers);

  // An observer is called with the rows at a site, and a tap that says what they are. It reads; it cannot write.
  const auto look = [&](const resect::model::tap& at, resect::matrix_view<const float> h) {
    for (resect::index_t r = 0; r < h.rows; ++r) {
      const std::span<const float> row{h.row(r).data, static_cast<std::size_t>(h.cols)};
      const double norm = std::sqrt(resect::dot(row, row));
      const auto layer = static_cast<std::size_t>(at.layer);
      norms[layer].add(at.rows[static_cast<std::size_t>(r)].seq, norm);
      spread[layer].add(norm);
    }
  };
  value_or_throw(host.try_forward(windows.rows, resect::model::site_set{resect::model::site::resid_pre}, look));

  const double longest = norms.back().estimate().value;
  std::printf("layer    mean norm          p1 to p99\n");
  for (std::size_t l = 0; l < layers; ++l) {
    const auto mean = norms[l].estimate();
    std::printf("%5zu  %6.1f ± %5.1f  %6.1f to %6.1f  %s\n", l, mean.value, mean.hi - mean.value,
                spread[l].quantile(0.01), spread[l].quantile(0.99),
                std::string(static_cast<std::size_t>(40 * mean.value / longest), '#').c_str());
  }
  if (std::fflush(stdout) != 0) return std::perror("watch_norms"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "watch_norms: %s\n", e.what()), 2;
}
