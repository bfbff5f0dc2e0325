// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <vector>

#include <support/llama_models.hpp>

#include <resect/random/distributions.hpp>
#include <resect/study/windows.hpp>

namespace support {

// A small random model, a random text of 1,000 ids, 8 windows of 12 to evaluate and 8 others to calibrate on.
struct study_setting {
  hosts::llama_config config;
  hosts::llama_model model;
  std::vector<std::int32_t> ids;
  resect::study::token_windows evaluation, calibration;

  explicit study_setting(int n_layers)
      : config{.n_layers = n_layers,
               .d_model = 32,
               .d_ff = 48,
               .n_heads = 4,
               .n_kv_heads = 2,
               .head_dim = 8,
               .n_vocab = 61},
        model(random_llama(config, output_matrix::tied, 5)) {
    const resect::random::philox_stream draws{11, 0};
    for (std::uint64_t i = 0; i < 1000; ++i)
      ids.push_back(static_cast<std::int32_t>(resect::random::integer_below(draws, i, 61)));
    evaluation = resect::study::windows({ids, {}}, {.sequences = 8, .context = 12});
    calibration = resect::study::calibration_windows({ids, {}}, evaluation, {.sequences = 8, .context = 12});
  }
};

}  // namespace support
