// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>

namespace bench {

// The sum of n floats, read in `Streams` streams that run side by side, asking for lines `Ahead` bytes before they are read.
template <std::size_t Streams, std::size_t Ahead>
float read_memory(const float* data, std::size_t n) {
  using wide [[gnu::vector_size(64)]] = float;
  const std::size_t each = n / Streams;
  wide sum[Streams][4] = {};
  for (std::size_t i = 0; i + 64 <= each; i += 64)
    for (std::size_t s = 0; s < Streams; ++s) {
      const float* p = data + s * each + i;
      for (std::size_t k = 0; k < 4; ++k) {
        if constexpr (Ahead > 0) __builtin_prefetch(p + 16 * k + Ahead / 4);
        wide w;
        __builtin_memcpy(&w, p + 16 * k, sizeof w);
        sum[s][k] += w;
      }
    }
  float total = 0;
  for (auto& stream : sum)
    for (auto& w : stream)
      for (std::size_t j = 0; j < 16; ++j) total += w[j];
  return total;
}

}  // namespace bench
