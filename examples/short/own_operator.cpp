// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An operator of one's own: of what an MLP adds to the stream, only the largest values are kept. How many are needed?
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <hosts/llama/host.hpp>
#include <hosts/llama/load.hpp>
#include <hosts/vocabulary.hpp>
#include <resect/backend/cpu.hpp>
#include <resect/resect.hpp>
#include <resect/study/compare_plans.hpp>

namespace residual = resect::residual;

// In every row of the MLP's delta all but the `count` largest values become 0. An operator is a value with an id and the
// fields that change what it does (plans are told apart by them), and a function of rows.
struct keep_largest {
  static constexpr std::string_view id = "examples.keep_largest/1";
  int count = 0;

  void fields(resect::field_visitor& v) const { v.number("count", count); }
  resect::status apply(const resect::model::tap&, resect::matrix_view<const float>,
                       resect::matrix_view<float> delta) const {
    std::vector<float> sizes(static_cast<std::size_t>(delta.cols));
    for (resect::index_t r = 0; r < delta.rows; ++r) {
      for (resect::index_t c = 0; c < delta.cols; ++c) sizes[static_cast<std::size_t>(c)] = std::abs(delta(r, c));
      std::nth_element(sizes.begin(), sizes.end() - count, sizes.end());
      for (resect::index_t c = 0; c < delta.cols; ++c)
        if (std::abs(delta(r, c)) < *(sizes.end() - count)) delta(r, c) = 0;
    }
    return {};
  }
};

int main() try {
  using resect::value_or_throw;
  namespace study = resect::study;
  const auto model = value_or_throw(hosts::try_load_llama("examples/models/tiny"));
  const auto words = value_or_throw(hosts::vocabulary::try_open("examples/models/tiny/vocab.txt"));
  const auto text = value_or_throw(words.try_encode_file("examples/models/tiny/heldout.txt"));
  const auto windows = study::windows({text.ids, text.document}, {.sequences = 16});
  resect::cpu exec{resect::threads{2}};
  hosts::llama_host host(exec, model);
  const auto all = residual::layers(0, host.describe().n_layers);
  std::vector<study::arm> arms;
  for (const int count : {256, 128, 64, 32, 16, 8})  // of 256 values
    arms.push_back({residual::plan{} | residual::step(all, resect::model::site::mlp_delta, keep_largest{count}),
                    std::to_string(count)});
  for (const auto& row : study::compare_plans(exec, host, windows, arms).rows) {
    const auto& kl = row.mean.kl;
    std::printf("%3s of 256 values: KL %.4f [%.4f, %.4f] nats\n", row.label.c_str(), kl.value, kl.lo, kl.hi);
  }
  if (std::fflush(stdout) != 0) return std::perror("own_operator"), 2;
} catch (const resect::exception& e) {
  return std::fprintf(stderr, "own_operator: %s\n", e.what()), 2;
}
