// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The E8 codebook for caldera_torch.py: both sides of `./run compare qlr` choose codes by the same function.
#include <cstdint>

#include <resect/quant/grids/e8.hpp>

// values (n, 8), contiguous, in units of the scale ← the nearest vectors of the codebook.
extern "C" void qlr_nearest_e8(float* values, std::int64_t n) {
  using grid = resect::quant::e8_grid;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::span<float> v(values + 8 * i, 8);
    grid::decode(grid::encode(v, {1.0f}), {1.0f}, v);
  }
}
